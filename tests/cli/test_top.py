"""``sweepline top`` and ``status``: what runs on this machine, for people and for programs."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
from typing import Any

import pytest

from tests.conftest import DEADLINE_S, Project, wait_until

SWEEP = """
program: t.py
name: held
metric: {name: loss}
parameters: {x: [1, 2, 3]}
max_concurrent: 2
start: START
report: never
"""
HOLD = "import signal\nprint('METRIC loss=1', flush=True)\nsignal.pause()\n"


@pytest.fixture(params=["cold", "warm"])
def held(project: Project, request: pytest.FixtureRequest) -> Any:
    """A sweep of which two runs are under way."""
    project.write("t.py", HOLD)
    project.write("sweep.yaml", SWEEP.replace("START", request.param))
    sweep = project.start("run", "--plain")
    runs = project.path / "outputs" / "held" / "runs"
    wait_until(lambda: len(list(runs.glob("*/stdout.log"))) == 2, "two runs have started")
    wait_until(lambda: all(p.read_text() for p in runs.glob("*/stdout.log")), "both have printed")
    yield project
    sweep.send_signal(signal.SIGINT)
    sweep.communicate(timeout=DEADLINE_S)


def ours(project: Project) -> dict[str, Any]:
    """Return what ``top`` tells of the project's sweep: other tests may have sweeps of their own."""
    told = json.loads(project.command("top", "--json").stdout)
    found: dict[str, Any] = next(s for s in told["sweeps"] if s["path"] == str(project.path / "outputs" / "held"))
    return found


def test_who_holds_which_slot_is_told_whoever_started_it(held: Project) -> None:
    found = ours(held)
    assert (found["sweep"], found["n_ended"], found["n_total"], len(found["runs"])) == ("held", 0, 3, 2)
    assert {run["name"] for run in found["runs"]} == {"x1", "x2"}
    assert all(run["device"] == "cpu" and run["rss_kib"] > 0 and run["user"] == os.getuid() for run in found["runs"])
    lines = held.command("top").stdout.splitlines()
    assert any(line.endswith("2 runs under way, 0 of 3 ended") for line in lines)


def test_status_tells_programs_what_it_tells_people(held: Project) -> None:
    told = json.loads(held.command("status", "--json").stdout)
    assert (told["is_running"], told["states"], told["n_ended"], told["n_total"]) == (True, {"running": 2}, 0, 3)
    assert [run["parameters"] for run in told["running"]] == [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize("width", [60, 300])
def test_a_status_that_is_watched_is_drawn_in_place_and_no_line_wraps(project: Project, width: int) -> None:
    project.write("t.py", "print('METRIC loss=1')\n")
    project.write("sweep.yaml", SWEEP.replace("START", "cold").replace("name: held", "name: " + "long_name_" * 9))
    project.run()
    lead, follow = pty.openpty()
    os.set_blocking(lead, False)
    environ = project.environment({"COLUMNS": str(width), "LINES": "20", "TERM": "xterm"})
    watched = subprocess.Popen(
        [*project.sweepline, "status", "--watch"],
        cwd=project.path,
        env=environ,
        stdin=follow,
        stdout=follow,
        stderr=follow,
    )
    os.close(follow)
    assert watched.wait(timeout=DEADLINE_S) == 0  # of a sweep that does not run there will be no news
    text = b""
    while select.select([lead], [], [], 0)[0]:
        try:
            text += os.read(lead, 65536)
        except OSError:
            break
    os.close(lead)
    shown = re.split(r"\n|\x1b\[[0-9;?]*[A-Za-z]", text.decode().replace("\r", ""))
    assert any("3 of 3 runs have ended" in line for line in shown)
    assert max(map(len, shown)) <= width


def test_json_of_best_has_intervals_and_says_how_the_first_stands(project: Project) -> None:
    project.write(
        "t.py",
        "import sys\nx, s = [float(w.split('=')[1]) for w in sys.argv[1:]]\nprint(f'METRIC loss={x + s / 100}')\n",
    )
    project.write("sweep.yaml", SWEEP.replace("START", "cold") + "seeds: [0, 1, 2]\n")
    project.run()
    told = json.loads(project.command("best", "--json").stdout)
    first = told["configurations"][0]
    assert (first["parameters"], first["metrics"]["loss"]["mean"], first["metrics"]["loss"]["n"]) == ({"x": 1}, 1.01, 3)
    assert told["standing"]["text"] == "the first is better than the next 2 (95 %, t-tests by seed, Holm)"
    assert told["differing"] == ["x"]
