"""A sweep under way that is looked at, changed, paused and stopped from elsewhere."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project, wait_until

TRAIN = """
    import argparse, pathlib, time
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    args = parser.parse_args()
    print(f"METRIC epoch=1 loss={args.lr}", flush=True)
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    print(f"METRIC epoch=2 loss={args.lr / 2}", flush=True)
"""
SWEEP = """
    program: train.py
    name: own
    metric: {name: loss}
    parameters: {lr: [0.1, 0.2, 0.3, 0.4, 0.5]}
    max_concurrent: 1
    devices: cpu
    report: never
"""


@pytest.fixture
def running(project: Project) -> Iterator[Project]:
    """A project whose sweep has one run under way, which waits for a file."""
    project.write("train.py", TRAIN)
    project.write("sweep.yaml", SWEEP)
    process = project.start("run")
    wait_until(lambda: n_started(project) == 1, "a run is under way")
    yield project
    process.kill()
    process.communicate()


def n_started(project: Project) -> int:
    return len(list(project.path.glob("outputs/own/runs/*/stdout.log")))


def told(project: Project, *args: str) -> str:
    done = project.command(*args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def states(project: Project) -> list[str]:
    return [row["state"] for row in json.loads(told(project, "ls", "--json"))]


def test_more_runs_at_a_time_are_started_at_once(running: Project) -> None:
    assert told(running, "set", "max_concurrent=3").startswith("max_concurrent is 3 now")
    wait_until(lambda: n_started(running) == 3, "three are under way")
    assert "did you mean 'max_concurrent'" in running.command("set", "max_concurent=3").stderr
    assert "needs a time above zero" in running.command("set", "timeout=soon").stderr
    (running.path / "go").touch()
    assert running.command("wait").returncode == 0
    assert states(running) == ["finished"] * 5


def test_a_paused_sweep_launches_nothing_until_it_is_resumed(running: Project) -> None:
    assert "1 run under way" in told(running, "pause")
    (running.path / "go").touch()
    wait_until(lambda: states(running) == ["finished"], "the run has ended")
    assert "running" in told(running, "status")
    assert n_started(running) == 1
    told(running, "resume")
    assert running.command("wait").returncode == 0
    assert states(running) == ["finished"] * 5
    assert "neither paused nor drained" not in told(running, "ls")


def test_a_drained_sweep_ends_with_what_is_under_way(running: Project) -> None:
    told(running, "drain")
    (running.path / "go").touch()
    ended = running.command("wait")
    assert (ended.returncode, ended.stdout) == (1, "ended: 1 of 5 runs have ended well, 4 were not started\n")
    assert states(running) == ["finished"]
    assert "does not run" in running.command("resume").stderr


def test_a_run_that_is_stopped_counts_as_stopped_early_and_can_go_again(running: Project) -> None:
    assert "SIGTERM sent" in told(running, "stop", "lr0.1")
    (running.path / "go").touch()
    assert running.command("wait").returncode == 0
    rows = running.rows().set_index("run_name")
    assert (rows.state["lr0.1"], rows.reason["lr0.1"]) == ("pruned", "stopped by hand")
    assert rows.state.value_counts()["finished"] == 4
    assert "nothing to stop (lr0.1: pruned)" in running.command("stop", "lr0.1").stderr
    assert running.command("retry", "lr0.1").returncode == 0
    assert running.rows().set_index("run_name").state["lr0.1"] == "finished"
    assert running.command("verify").returncode == 0


def test_a_sweep_is_stopped_from_elsewhere_and_goes_on(running: Project) -> None:
    told(running, "stop")
    wait_until(lambda: "not running" in told(running, "status"), "it has stopped")
    assert states(running) == ["interrupted"]
    (running.path / "go").touch()
    assert running.command("run").returncode == 0
    assert states(running) == ["finished"] * 5


def test_a_running_sweep_tags_for_others_and_forgets_nothing(running: Project) -> None:
    assert told(running, "tag", "lr0.1", "mine") == "1 run tagged\n"
    assert "has no end yet" in running.command("forget", "lr0.1").stderr
    (running.path / "go").touch()
    assert running.command("wait").returncode == 0
    assert [r["name"] for r in json.loads(told(running, "ls", "--json", "--filter", "'mine' in tags"))] == ["lr0.1"]


def test_waiting_ends_with_what_happens(running: Project) -> None:
    assert running.command("wait", "--timeout", "1").returncode == 124
    quiet = running.command("wait", "--until", "stalled", "--quiet", "1s")
    assert (quiet.returncode, "no run has printed anything" in quiet.stdout) == (3, True)
    running.write("train.py", "raise SystemExit('broken')")  # runs execute what was there at the start
    (running.path / "go").touch()
    assert running.command("wait", "--until", "failure").returncode == 0


def test_a_failure_ends_the_waiting(project: Project) -> None:
    project.write("train.py", "raise SystemExit('broken')")
    project.write("sweep.yaml", SWEEP)
    project.command("run", "--keep-going")
    found = project.command("wait", "--until", "failure")
    assert found.returncode == 3
    assert "broken" in found.stdout
    assert project.command("wait").returncode == 1


def test_a_detached_sweep_outlives_its_terminal_and_is_attached_to(project: Project) -> None:
    project.write("train.py", TRAIN)
    project.write("sweep.yaml", SWEEP)
    done = project.command("run", "--detach")
    assert (done.returncode, "runs in the background" in done.stdout) == (0, True), done.stderr
    refused = project.command("run", "--detach")
    assert refused.returncode == 75
    assert "is being run by" in refused.stdout
    looking = project.start("attach", "--all")
    wait_until(lambda: n_started(project) == 1, "a run is under way")
    (project.path / "go").touch()
    out, err = looking.communicate(timeout=60)
    assert looking.returncode == 0, err
    assert "[5/5] finished" in out
    assert "ended: 5 of 5 runs have ended well" in out
    later = project.command("attach")
    assert (later.returncode, later.stdout.splitlines()[-1]) == (0, "ended: 5 of 5 runs have ended well")


def test_ctrl_c_leaves_an_attached_sweep_alone(running: Project) -> None:
    looking = subprocess.Popen(
        [*running.sweepline, "attach", "--all"], cwd=running.path, env=running.environment(), stdout=subprocess.PIPE
    )
    assert looking.stdout is not None
    looking.stdout.readline()
    looking.send_signal(signal.SIGINT)
    assert looking.wait(30) == 0
    looking.stdout.close()
    assert states(running) == ["running"]


def test_the_log_of_a_run_is_followed_to_its_end(running: Project) -> None:
    following = running.start("log", "lr0.1", "-f")
    (running.path / "go").touch()
    out, _ = following.communicate(timeout=60)
    assert out.splitlines() == ["METRIC epoch=1 loss=0.1", "METRIC epoch=2 loss=0.05"]


def test_queued_sweeps_run_one_after_the_other(project: Project) -> None:
    project.write("train.py", TRAIN)
    project.environ["XDG_STATE_HOME"] = str(project.path / "state")
    for name in ("first", "second", "third"):
        project.write(f"{name}.yaml", SWEEP.replace("own", name))
    assert told(project, "queue", "first.yaml", "second.yaml", "third.yaml").splitlines()[1:] == [
        "second.yaml: waits",
        "third.yaml: waits",
    ]
    wait_until(lambda: list(project.path.glob("outputs/first/runs/*/stdout.log")), "the first runs")
    assert "first.yaml: running" in told(project, "queue")
    assert told(project, "queue", "--remove", "third.yaml").splitlines() == [
        "first.yaml: running",
        "second.yaml: waits",
    ]
    (project.path / "go").touch()
    wait_until(lambda: told(project, "queue").count("ended, exit code 0") == 2, "both have ended")
    assert not (project.path / "outputs/third").exists()
    assert told(project, "queue", "--clear").splitlines() == ["2 taken out", "nothing is queued"]
    wrong = project.command("queue", "nothere.yaml")
    assert wrong.returncode == 2


def test_a_queued_sweep_has_the_environment_of_its_own_terminal(project: Project) -> None:
    project.write("train.py", "import os; print('METRIC loss=' + os.environ['WHO'])")
    for i, name in enumerate(("first", "second"), 1):
        project.write(f"{name}.yaml", SWEEP.replace("own", name).replace("[0.1, 0.2, 0.3, 0.4, 0.5]", "{value: 0.1}"))
        state = {"XDG_STATE_HOME": str(project.path / "state"), "WHO": str(i)}
        assert project.command("queue", f"{name}.yaml", **state).returncode == 0
    project.environ["XDG_STATE_HOME"] = str(project.path / "state")
    wait_until(lambda: told(project, "queue").count("ended, exit code") == 2, "both have ended")
    logs = [next(project.path.glob(f"outputs/{name}/runs/*/stdout.log")).read_text() for name in ("first", "second")]
    assert logs == ["METRIC loss=1\n", "METRIC loss=2\n"]


def test_a_request_that_nobody_understands_is_refused_and_costs_no_run(running: Project) -> None:
    place = running.sweep_dir / "control"
    place.mkdir(exist_ok=True)
    for name, text in (
        ("a", '{"op": "tag", "at": "noon"}'),
        ("b", '{"op": "dance"}'),
        ("c", '{"op": "set", "key": 1}'),
    ):
        (place / f"{name}.request.json").write_text(text)
    wait_until(lambda: len(list(place.glob("*.answer.json"))) == 3, "all are answered")
    answers = {path.name[0]: json.loads(path.read_text()) for path in place.glob("*.answer.json")}
    assert all("refused" in answer for answer in answers.values())
    (running.path / "go").touch()
    assert running.command("wait").returncode == 0


def test_a_sweep_is_stopped_while_it_prepares_and_leaves_nothing_behind(project: Project) -> None:
    project.write("train.py", TRAIN)
    project.write("prepare.sh", "#!/bin/sh\nsleep 300 &\nwait\n").chmod(0o755)
    project.write("sweep.yaml", SWEEP + "    prepare: ./prepare.sh\n    grace: 1s\n")
    process = project.start("run")
    wait_until((project.path / "outputs" / "own" / "hooks.log").exists, "it prepares")
    assert "stops" in told(project, "stop")
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert not [pid for pid in project.survivors() if b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()]
