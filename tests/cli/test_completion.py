"""Completion as shells do it: each is given the script, asked, and what it offers is looked at."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sweepline.cli.commands import COMMANDS
from tests.conftest import DEADLINE_S, Project

RUNS = """\
sweep,run_id,run_name,state
lr,0123456789ab,lr0.1-s0,finished
lr,0123456789ac,$(touch pwned),finished
lr,0123456789ad,a b;c,finished
"""


@pytest.fixture
def home(project: Project) -> Project:
    """A folder with a sweep of three runs, two of them with names that a shell would take for more than a word."""
    project.write("outputs/lr/runs.csv", RUNS)
    project.write("outputs/lr/runs/0123456789ae/command.txt", "python train.py\n")
    return project


@functools.cache
def script_of(shell: str) -> str:
    """Return what ``sweepline completion`` prints for a shell."""
    return subprocess.run(
        [sys.executable, "-m", "sweepline.cli.main", "completion", shell], capture_output=True, text=True, check=True
    ).stdout


def needs(shell: str) -> str:
    """Return where a shell is; skip the test where there is none."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"needs {shell}")
    return path


def ask(shell: str, script: str, *, cwd: Path) -> list[str]:
    """Return the lines that a script of a shell prints, with ``sweepline`` of this environment."""
    environ = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(cwd), "TERM": "dumb"}
    done = subprocess.run(
        [shell, "-c", script], capture_output=True, text=True, cwd=cwd, env=environ, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def complete_bash(project: Project, *words: str) -> list[str]:
    script = script_of("bash")
    quoted = " ".join(f"'{word}'" for word in words)
    tail = f'COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _sweepline; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return ask(needs("bash"), f"{script}\n{tail}", cwd=project.path)


def complete_fish(project: Project, line: str) -> list[str]:
    project.write("completion.fish", script_of("fish"))
    lines = ask(needs("fish"), f"source completion.fish; complete -C '{line}'", cwd=project.path)
    return [line.partition("\t")[0] for line in lines]


def test_bash_offers_all_commands_and_those_that_begin_so(project: Project) -> None:
    assert complete_bash(project, "sweepline", "") == [*COMMANDS]
    assert complete_bash(project, "sweepline", "st") == [name for name in COMMANDS if name.startswith("st")]


def test_bash_offers_options_and_their_values(project: Project) -> None:
    assert {"--set", "--count"} <= set(complete_bash(project, "sweepline", "run", "--"))
    assert complete_bash(project, "sweepline", "run", "--start", "") == ["auto", "warm", "cold"]
    assert complete_bash(project, "sweepline", "run", "--start", "=", "w") == ["warm"]


def test_bash_offers_runs_where_one_is_asked_for_and_runs_nothing_of_their_names(home: Project) -> None:
    plain = ["lr0.1-s0", "0123456789ab", "0123456789ac", "0123456789ad", "0123456789ae"]
    assert complete_bash(home, "sweepline", "diff", "") == plain
    assert complete_bash(home, "sweepline", "explain", "lr") == ["lr0.1-s0"]
    assert complete_bash(home, "sweepline", "status", "lr") == [""]
    assert not (home.path / "pwned").exists()


def test_fish_offers_commands_options_values_and_runs(home: Project) -> None:
    assert complete_fish(home, "sweepline impor") == ["import", "importance"]
    assert "--retry-failed" in complete_fish(home, "sweepline run --retry")
    assert complete_fish(home, "sweepline best --goal ") == ["maximize", "minimize"]
    assert "lr0.1-s0" in complete_fish(home, "sweepline explain lr")


ZSH = """
autoload -U compinit; compinit -u -d dump
source ./completion.zsh
compadd() { local word; for word in "$@"; do [[ $word != -* ]] && print -r -- "$word"; done }
_describe() { local name=$argv[-1]; print -rl -- "${(@P)name%%:*}" }
_files() { print files }
words=(WORDS) CURRENT=${#words} PREFIX=$words[-1]
_sweepline
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("sweepline ''", "status"),
        ("sweepline run --", "--retry-failed"),
        ("sweepline run --start ''", "warm"),
        ("sweepline run --devices ''", "files"),
        ("sweepline diff ''", "lr0.1-s0"),
        ("sweepline completion ''", "fish"),
    ],
)
def test_zsh_offers_commands_options_values_and_runs(home: Project, words: str, offered: str) -> None:
    home.write("completion.zsh", script_of("zsh"))
    assert offered in ask(needs("zsh"), ZSH.replace("WORDS", words), cwd=home.path)


def test_without_a_shell_completion_says_which_there_are(project: Project) -> None:
    result = project.command("completion")
    assert result.returncode == 2
    assert result.stderr == "sweepline: completion: name the shell: bash, zsh or fish\n"
