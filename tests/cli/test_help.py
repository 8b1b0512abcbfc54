"""What ``--help`` says of each command, and that what it shows can be typed."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys

import pytest

from sweepline.cli import batch_size
from sweepline.cli.commands import COMMANDS, GROUPS, load
from sweepline.cli.exitcodes import MEANINGS
from sweepline.cli.manual import EXAMPLES, build_parser
from sweepline.training import commandline
from tests.conftest import REPOSITORY, Project

_OF_COMMANDS = [(name, line) for name in COMMANDS for line, _ in load(name).EXAMPLES]


def words_of(line: str) -> list[str]:
    """Return the words of an example as a shell hands them over, redirection left out."""
    words = shlex.split(line)
    return words[: words.index(">")] if ">" in words else words


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_has_two_to_five_examples(name: str) -> None:
    command = load(name)
    assert len(command.DESCRIPTION) > 80
    assert command.DESCRIPTION.endswith(".")
    least = 1 if name == "schema" else 2
    assert least <= len(command.EXAMPLES) <= 5


@pytest.mark.parametrize(("name", "line"), [pair for pair in _OF_COMMANDS if pair[0] not in ("train", "data")])
def test_every_example_of_a_command_is_one_that_it_accepts(name: str, line: str) -> None:
    first, second, *words = words_of(line)
    assert (first, second) == ("sweepline", name)
    command = load(name)
    parser = build_parser(name, command)
    assert parser is not None
    is_before_another = hasattr(command, "run_with_words") and "--" in words
    is_history = words[:1] == [batch_size.HISTORY]  # which stands alone, before any parser
    parser.parse_args(words[: words.index("--")] if is_before_another else [] if is_history else words)


@pytest.mark.parametrize("line", [line for line, _ in EXAMPLES])
def test_every_example_of_sweepline_itself_is_one_that_its_command_accepts(line: str) -> None:
    _, name, *words = words_of(line)
    parser = build_parser(name, load(name))
    assert parser is not None
    parser.parse_args(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_of_a_command_is_explained(name: str) -> None:
    parser = build_parser(name, load(name)) or argparse.ArgumentParser()
    assert [action.dest for action in parser._actions if not action.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples_after_the_arguments(name: str, project: Project) -> None:
    result = project.command(name, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: sweepline {name}")
    assert load(name).EXAMPLES[0][0] in result.stdout
    assert result.stdout.index("options:") < result.stdout.index("examples:")


def test_help_of_sweepline_has_every_command_once_in_its_group_and_all_exit_codes(project: Project) -> None:
    shown = project.command("--help").stdout
    starts = [line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line[2] != " "]
    assert [name for name in starts if name in COMMANDS] == [*COMMANDS]
    assert [line[:-1] for line in shown.splitlines() if line[:-1] in GROUPS] == [*GROUPS]
    assert [line.strip() for line in shown.splitlines()[-10:-2]] == [f"{n:<3} {text}" for n, text in MEANINGS.items()]


def test_help_before_a_command_is_the_help_of_it(project: Project) -> None:
    assert project.command("help", "status").stdout == project.command("status", "--help").stdout
    assert project.command("help").stdout == project.command("--help").stdout


def test_a_mistyped_command_is_told_the_nearest(project: Project) -> None:
    result = project.command("stauts")
    assert result.returncode == 2
    assert "there is no command 'stauts'; did you mean 'status'?" in result.stderr


def test_only_the_command_that_is_asked_is_loaded() -> None:
    script = (
        "import sys; from contextlib import suppress; from sweepline.cli.main import main\n"
        "with suppress(SystemExit): main(['schema', '--help'])\n"
        "import json; print(json.dumps([name for name in sys.modules if name.startswith('sweepline.cli.')]))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    loaded = {name.rpartition(".")[2].replace("_", "-") for name in json.loads(result.stdout.splitlines()[-1])}
    assert loaded & set(COMMANDS) == {"schema"}


@pytest.mark.parametrize("line", [line for name, line in _OF_COMMANDS if name == "train"])
def test_the_examples_of_train_are_ones_that_the_trainer_accepts(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class AcceptedError(Exception):
        pass

    def accept(parser: argparse.ArgumentParser, args: list[str]) -> None:
        parser.parse_known_args(args)
        raise AcceptedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", accept)
    with pytest.raises(AcceptedError):
        commandline.main(words_of(line)[2:])
