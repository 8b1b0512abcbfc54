"""The command line as a user meets it: dry runs, bad input, help, the live display on a real terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DEADLINE_S, EXPERIMENT, REPOSITORY, Project

TOY = """
    program: toy.py
    name: toys
    method: grid
    metric: {name: loss, goal: minimize}
    parameters: {x: [1, 2], y: [0.5]}
    devices: cpu
"""


@pytest.fixture
def toys(project: Project) -> Project:
    """A project with the toy and a sweep of two runs."""
    project.asset("toy.py")
    project.write("sweep.yaml", TOY)
    return project


def orchestrate(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXPERIMENT / "orchestrate_sweep.py"), *args],
        capture_output=True,
        text=True,
        env=os.environ | environ,
        timeout=DEADLINE_S,
        check=False,
    )


def test_the_default_sweep_says_72_combinations_54_after_merging() -> None:
    result = orchestrate("--dry-run", "--commands")
    assert result.returncode == 0, result.stderr
    assert "# 72 combinations, 54 after merging (36 sgd, 18 adam), 1 seed: 54 runs" in result.stdout
    assert sum(not line.startswith("#") for line in result.stdout.splitlines()) == 54


@pytest.mark.parametrize(("args", "code", "said"), [(["--help"], 0, "compare"), ([], 2, "COMMAND"), (["x"], 2, "'x'")])
def test_without_a_command_the_commands_are_said(project: Project, args: list[str], code: int, said: str) -> None:
    result = project.command(*args)
    assert (result.returncode, said in result.stdout + result.stderr) == (code, True)
    assert "Traceback" not in result.stderr


def test_a_dry_run_starts_and_writes_nothing(toys: Project) -> None:
    before = sorted(toys.path.rglob("*"))
    toys.run("--dry-run")
    assert sorted(toys.path.rglob("*")) == before


def test_a_line_of_the_dry_run_can_be_pasted_into_a_shell(
    toys: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [line for line in toys.run("--dry-run", "--commands").stdout.splitlines() if not line.startswith("#")]
    pasted = subprocess.run(
        ["bash", "-c", lines[1]], cwd=tmp_path_factory.mktemp("elsewhere"), capture_output=True, text=True, check=True
    )
    assert "METRIC loss=2.5" in pasted.stdout


def test_a_dry_run_shows_slots_and_their_environment(toys: Project) -> None:
    toys.write("sweep.yaml", TOY.replace("devices: cpu", "devices: [4, 6]"))
    out = toys.run("-n", "--commands").stdout
    assert "on gpu 4\n" in out
    assert "CUDA_VISIBLE_DEVICES=6" in out


def test_a_dry_run_says_when_no_run_would_start(toys: Project) -> None:
    toys.write("sweep.yaml", TOY.replace("toy.py", "ghost.py"))
    assert toys.run("-n").stdout.startswith("note: no run would start: program 'ghost.py' not found\n")
    assert toys.run().stderr.strip().endswith(f"; looked in {toys.path}")


def test_a_dry_run_of_an_endless_search_shows_ten_draws(toys: Project) -> None:
    toys.write("sweep.yaml", TOY.replace("grid", "random").replace("x: [1, 2]", "x: {min: 0.0, max: 1.0}"))
    out = toys.run("-n", "--commands").stdout
    assert "set samples or run_cap, or --count N; the first 10 draws" in out
    assert sum(not line.startswith("#") for line in out.splitlines()) == 10


def test_a_dry_run_imports_neither_torch_nor_pandas_nor_wandb() -> None:
    script = (
        "import sys; from pathlib import Path; from sweepline.cli.main import orchestrate; "
        f"orchestrate(['-n'], default_sweep=Path({str(EXPERIMENT)!r}) / 'cfg' / 'sweep.yaml'); "
        "print(sorted({'torch', 'pandas', 'wandb', 'numpy', 'rich'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


BAD = {
    "missing file": (None, "sweep.yaml: no such file"),
    "empty file": ("", "sweep.yaml: the file is empty"),
    "YAML syntax": (
        "a: [1,\nb: 2\n",
        "sweep.yaml:3:1: YAML syntax: did not find expected ',' or ']' (while parsing a flow sequence",
    ),
    "a tab": ("parameters:\n\tx: [1]\n", "indent with spaces, not tabs"),
    "unknown key in a parameter": (
        TOY.replace("[1, 2]", "{vlaues: [1]}"),
        "unknown key 'vlaues'; did you mean 'values'?",
    ),
    "wrong type": (TOY + "    max_concurrent: many\n", "max_concurrent: should be a valid integer, got 'many'"),
    "empty list": (TOY.replace("[1, 2]", "[]"), "sweep.yaml:5: parameters.x: values is empty"),
    "min above max": (TOY.replace("[1, 2]", "{min: 3, max: 1}"), "int_uniform needs min < max, got min=3 and max=1"),
    "log of zero": (
        TOY.replace("[1, 2]", "{distribution: log_uniform_values, min: 0.0, max: 1}"),
        "log_uniform_values needs 0 < min < max, got min=0.0",
    ),
    "unknown method": (TOY.replace("grid", "gird"), "sweep.yaml:3: method: unknown value 'gird'; did you mean 'grid'?"),
    "program not found": (TOY.replace("toy.py", "ghost.py"), "program 'ghost.py' not found; looked in /"),
    "constraint on an unknown parameter": (
        TOY + "    constraints: ['z=1 -> x=2']\n",
        "constraint on unknown parameter 'z'",
    ),
    "constraints that leave nothing": (
        TOY + "    constraints: [{when: {y: 0.5}, skip: true}]\n",
        "0 of 2 combinations pass the constraints ('y=0.5 -> skip')",
    ),
    "grid above the limit": (
        TOY.replace("y: [0.5]", ", ".join(f"{c}: {{min: 1, max: 1000}}" for c in "abcd")),
        "the grid has 2,000,000,000,000 combinations (limit 1,000,000)",
    ),
    "endless search": (TOY.replace("grid", "random").replace("[1, 2]", "{min: 0.0, max: 1.0}"), "needs an end"),
    "override without a value": (TOY, "override 'x': expected key=value"),
}


@pytest.mark.parametrize(("text", "sentence"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_clear_sentence_and_exit_code_two(toys: Project, text: str | None, sentence: str) -> None:
    (toys.path / "sweep.yaml").unlink()
    write = toys.write if text is not None else lambda *_: None
    write("sweep.yaml", text or "")
    fixed = ["--set", "x"] if text == TOY else []
    result = toys.run(*fixed)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(toys.path.glob("outputs/*/runs/*"))


def test_all_faults_of_a_file_come_at_once(toys: Project) -> None:
    toys.write("sweep.yaml", TOY.replace("x: [1, 2], y: [0.5]", "x: [], y: {min: 2, max: 1}, z: {vlaue: 1}"))
    faults = toys.run().stderr.splitlines()
    assert len(faults) == 3


def test_a_device_that_does_not_exist_is_named(toys: Project) -> None:
    result = toys.run("--devices", "7,7")
    assert result.returncode == 2
    assert "GPU 7 is named twice" in result.stderr


def test_warnings_are_errors_when_strict(toys: Project) -> None:
    toys.write("sweep.yaml", TOY + "    projct: mine\n")
    loose, strict = toys.run("-n"), toys.run("-n", "--strict")
    assert (loose.returncode, strict.returncode) == (0, 2)
    assert "unknown key, ignored; did you mean 'project'?" in strict.stderr


def test_the_shipped_schema_is_the_one_that_is_printed() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "sweepline.cli.main", "schema"], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(printed) == json.loads((EXPERIMENT / "cfg" / "sweep.schema.json").read_text())


@pytest.mark.parametrize("name", ["sweep.yaml", "demo.yaml"])
def test_shipped_sweep_files_name_the_schema_and_have_no_warnings(name: str) -> None:
    result = orchestrate("-n", "--strict", str(EXPERIMENT / "cfg" / name))
    assert result.returncode == 0, result.stderr
    assert "note: " not in result.stdout
    assert "$schema=sweep.schema.json" in (EXPERIMENT / "cfg" / name).read_text()


def test_a_terminal_shows_the_live_table_and_ends_with_the_summary(toys: Project) -> None:
    toys.write("sweep.yaml", TOY.replace("y: [0.5]", "y: [0.5], hold: [1]"))
    terminal, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sweepline.cli.main", "run"],
        cwd=toys.path,
        env=toys.environment({"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}),
        stdin=inner,
        stdout=inner,
        stderr=inner,
    )
    os.close(inner)
    shown = read_terminal(terminal)
    assert process.wait(DEADLINE_S) == 0
    assert re.search(r"slot +run +at +loss +elapsed", shown)
    assert "epoch 1" in shown
    assert "2 runs: 2 finished" in shown


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}], ids=str)
def test_a_terminal_that_wants_text_alone_is_told_every_event_on_a_line(toys: Project, environ: dict[str, str]) -> None:
    terminal, inner = pty.openpty()
    command = [*toys.sweepline, "run"]
    process = subprocess.Popen(
        command, cwd=toys.path, env=toys.environment(environ), stdin=inner, stdout=inner, stderr=inner
    )
    os.close(inner)
    shown = read_terminal(terminal)
    assert process.wait(DEADLINE_S) == 0
    assert ("started x1" in shown, "[2/2] finished" in shown, "\x1b" in shown) == (True, True, False)


def test_the_end_says_what_to_do_next_in_three_lines(toys: Project) -> None:
    toys.write("sweep.yaml", TOY.replace("y: [0.5]", "mode: [ok, fail]"))
    done = toys.run("--keep-going")
    *_, best, report, failed = done.stdout.splitlines()
    assert (best, report) == ("next    sweepline best", "report  outputs/toys/report.html")
    assert re.fullmatch(r"failed  outputs/toys/runs/[0-9a-f]{12}/stderr\.log", failed)
    assert "the toy broke on purpose" in (toys.path / failed.split()[1]).read_text()
    assert done.stdout.splitlines()[-3:] == toys.path.joinpath(log_of(done.stdout)).read_text().splitlines()[-3:]


def test_what_to_do_next_can_be_pasted_where_the_file_has_another_name(toys: Project) -> None:
    (toys.path / "sweep.yaml").rename(toys.path / "other file.yaml")
    (line,) = [line for line in toys.run("other file.yaml").stdout.splitlines() if line.startswith("next ")]
    words = shlex.split(line)[1:]
    assert "2 runs: 2 finished" in toys.command(*words[1:]).stdout


def log_of(shown: str) -> str:
    return next(line.split()[1] for line in shown.splitlines() if line.startswith("log "))


def read_terminal(terminal: int) -> str:
    """Return everything that a terminal shows until its program ends."""
    shown = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other end is closed
            return shown.decode()
        shown += chunk


def test_make_help_names_every_target() -> None:
    result = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert {"setup", "demo", "sweep", "test", "lint", "clean"} <= {
        line.split()[0] for line in result.stdout.splitlines()
    }


def test_command_lines_are_quoted_for_the_shell(toys: Project) -> None:
    toys.write("sweep.yaml", TOY.replace("x: [1, 2]", "x: [1], name: ['a b; rm -rf /']"))
    (line,) = [line for line in toys.run("-n", "--commands").stdout.splitlines() if not line.startswith("#")]
    assert "--name=a b; rm -rf /" in shlex.split(line)


def test_status_of_a_sweep_that_never_ran_says_so(toys: Project) -> None:
    result = toys.command("status")
    assert result.returncode == 2
    assert "no sweep has been run here" in result.stderr


def test_a_sweep_folder_of_a_newer_version_is_left_alone(toys: Project) -> None:
    toys.run()
    journal: Path = toys.sweep_dir / "events.jsonl"
    journal.write_text(re.sub(r',"crc":"\w+"', "", journal.read_text()).replace('{"v":2,', '{"v":9,'))
    before = journal.read_bytes()
    result = toys.run()
    assert result.returncode == 2
    assert "written by format 9" in result.stderr
    assert journal.read_bytes() == before
