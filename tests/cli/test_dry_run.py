"""What a dry run shows: what varies, what is shared, the command once, how long it takes; and every line."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from datetime import datetime

import pytest

from sweepline.cli.dry_run import describe_estimate
from sweepline.cli.dry_table import mask_differences
from sweepline.display.widths import width_of
from sweepline.engine.estimate import estimate_time
from sweepline.runs import State
from tests.cli.test_command_line import read_terminal
from tests.conftest import DEADLINE_S, Project
from tests.fakes import recorded

SWEEP = """
    program: toy.py
    name: toys
    method: grid
    metric: {name: loss, goal: minimize}
    parameters: {x: [1, 2, 3], y: {value: 0.5}, opt: [sgd, adam], model.width: [64, 128]}
    seeds: [0, 1]
    devices: cpu
"""
LONG = """
    program: toy.py
    name: a_sweep_of_long_names
    method: grid
    parameters:
      trainer.optimizer.learning_rate: [0.001, 0.0001]
      trainer.optimizer.weight_decay: [0.0, 0.123456789]
      data.augmentation: [randaugment_strong_and_more, randaugment_strong_and_less]
      model.encoder.hidden_dimension: [64, 128]
      model.decoder.hidden_dimension: [64, 128]
      schedule: {value: cosine_with_restarts_and_warmup_over_many_epochs}
    devices: cpu
"""


@pytest.fixture
def toys(project: Project) -> Project:
    """A project with the toy and a sweep of 24 runs."""
    project.asset("toy.py")
    project.write("sweep.yaml", SWEEP)
    return project


def lines_of(project: Project, *args: str) -> list[str]:
    result = project.run("-n", *args)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def on_terminal(project: Project, n_columns: int, *args: str) -> list[str]:
    """Return the lines of a dry run on a terminal of that width."""
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, n_columns, 0, 0))
    environ = {k: v for k, v in project.environment().items() if k not in ("COLUMNS", "LINES")}
    command = [*project.sweepline, "run", "-n", *args]
    process = subprocess.Popen(command, cwd=project.path, env=environ, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    shown = read_terminal(terminal)
    assert process.wait(DEADLINE_S) == 0
    return shown.splitlines()


def test_the_first_ten_runs_are_a_table_of_what_varies(toys: Project) -> None:
    lines = lines_of(toys)
    at = next(i for i, line in enumerate(lines) if line.startswith("run "))
    assert lines[at].split() == ["run", "x", "opt", "model.width", "seed"]
    assert [line.split()[1:] for line in lines[at + 1 : at + 3]] == [["1", "sgd", "64", "0"], ["1", "sgd", "64", "1"]]
    assert lines[at + 11] == "... 14 more; --all or --commands prints the rest"


def test_all_runs_stand_in_the_table_when_asked_for(toys: Project) -> None:
    lines = lines_of(toys, "--all")
    assert sum(re.match(r"[0-9a-f]{12} ", line) is not None for line in lines) == 24
    assert not [line for line in lines if "more; " in line]


def test_what_all_runs_share_is_said_once(toys: Project) -> None:
    lines = lines_of(toys)
    assert lines[lines.index("the same for all runs:") + 1] == "  y  0.5"


def test_the_command_is_shown_once_with_marks_for_what_differs(toys: Project) -> None:
    *_, command = lines_of(toys)
    assert command.split()[1:] == ["toy.py", "--x=…", "--y=0.5", "--opt=…", "--model.width=…", "--seed=…"]


@pytest.mark.parametrize(
    ("other", "shown"),
    [
        (["a", "--x=2"], ["a", "--x=…"]),
        (["a", "2"], ["a", "--x=…"]),
        (["a"], ["a", "[--x=1]"]),
        (["a", "--x=1", "--amp"], ["a", "--x=1", "…"]),
        (["a", "--x=1"], ["a", "--x=1"]),
    ],
)
def test_words_that_differ_are_masked(other: list[str], shown: list[str]) -> None:
    assert mask_differences(["a", "--x=1"], [other]) == shown


def test_every_line_of_the_commands_is_a_comment_or_runs_in_a_shell(toys: Project) -> None:
    piped = toys.run("-n", "--commands").stdout
    done = subprocess.run(["sh"], input=piped, cwd=toys.path, capture_output=True, text=True, check=True)
    assert done.stdout.count("METRIC epoch=1") == 24


def test_json_has_every_run_with_its_command(toys: Project) -> None:
    runs = json.loads(toys.run("-n", "--json").stdout)
    assert len(runs) == 24
    assert list(runs[0]) == ["run_id", "name", "parameters", "seed", "command"]
    assert (runs[3]["parameters"]["x"], runs[3]["seed"]) == (2, 1)
    assert runs[3]["command"].endswith("--x=2 --y=0.5 --opt=sgd --model.width=64 --seed=1")


@pytest.mark.parametrize("option", ["--all", "--commands", "--json"])
def test_what_a_dry_run_prints_is_not_asked_of_a_sweep(toys: Project, option: str) -> None:
    result = toys.run(option)
    assert (result.returncode, f"{option} says what a dry run prints; add -n" in result.stderr) == (2, True)
    assert not (toys.path / "outputs").exists()


@pytest.mark.parametrize("n_columns", [60, 80, 120, 300])
def test_no_line_is_wider_than_the_terminal(toys: Project, n_columns: int) -> None:
    toys.write("sweep.yaml", LONG)
    lines = on_terminal(toys, n_columns)
    long = [line for line in lines if width_of(line) > n_columns and " " in line.strip().removesuffix(" \\")]
    assert long == []
    assert "0.123457" in "".join(lines)


def test_a_pipe_is_told_everything_on_whole_lines(toys: Project) -> None:
    toys.write("sweep.yaml", LONG)
    lines = lines_of(toys)
    assert lines[-1].endswith("--schedule=cosine_with_restarts_and_warmup_over_many_epochs")
    assert next(line for line in lines if line.startswith("run ")).split()[1] == "trainer.optimizer.learning_rate"


def test_what_has_run_tells_how_long_the_rest_takes(toys: Project) -> None:
    assert toys.run("--count", "3").returncode == 0
    (line,) = [line for line in lines_of(toys) if " of run time, done in about " in line]
    assert re.search(r"with \d+ at a time, at .*\d\d:\d\d; by 3 runs that have ended, .* each on average, ", line)
    assert "3 of them have ended already and would not run again" in lines_of(toys)


def test_nothing_is_estimated_before_a_run_has_ended(toys: Project) -> None:
    assert not [line for line in lines_of(toys) if "run time" in line]


def test_a_sweep_that_is_done_says_so(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("[1, 2, 3]", "[1]").replace("[sgd, adam]", "[sgd]"))
    toys.run()
    assert lines_of(toys)[-1] == "nothing is left to run"


def test_an_estimate_says_when_and_on_what_it_rests() -> None:
    known = [recorded(str(i), duration_s=s, in_sweep="yes") for i, s in enumerate([100.0, 140.0])]
    failed = recorded("f", state=State.FAILED, duration_s=1.0)
    found = estimate_time([*known, failed], n_left=96, n_slots=4)
    assert found is not None
    assert describe_estimate(found, now=datetime(2026, 3, 1, 16, 52)) == (
        "about 3.2 h of run time, done in about 48 min with 4 at a time, at 17:40; by 2 runs that have ended, "
        "2 min 00 s each on average, 1 min 40 s to 2 min 20 s"
    )
    assert "at Mon 2 Mar 00:18; " in describe_estimate(found, now=datetime(2026, 3, 1, 23, 30))


def test_runs_that_were_stopped_early_tell_the_time_only_where_more_will_be() -> None:
    records = [recorded("a", duration_s=10.0), recorded("b", state=State.PRUNED, duration_s=2.0)]
    means = [estimate_time(records, n_left=1, n_slots=1, are_stopped_early=early) for early in (False, True)]
    assert [found and found.mean_s for found in means] == [10.0, 6.0]


def test_one_round_is_what_a_few_runs_take_on_many_slots() -> None:
    found = estimate_time([recorded("a", duration_s=10.0)], n_left=3, n_slots=8)
    assert found is not None
    assert (found.total_s, found.wall_s) == (30.0, 10.0)


def test_one_seed_is_shared_and_no_column(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("[0, 1]", "[7]"))
    lines = lines_of(toys)
    assert "  seed  7" in lines
    assert next(line for line in lines if line.startswith("run ")).split() == ["run", "x", "opt", "model.width"]
    assert lines[-1].endswith("--seed=7")
