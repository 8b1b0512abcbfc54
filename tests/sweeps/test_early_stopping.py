"""``early_terminate`` on real processes that print their loss: who is stopped, and what is kept of them."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.conftest import Project, wait_until

PROGRAM = """
    import os, pathlib, signal, sys, time
    x = float(dict(word.lstrip("-").split("=") for word in sys.argv[1:])["x"])
    own = pathlib.Path(os.environ["SWEEPLINE_RUN_DIR"])

    def save(number, frame):
        (own / "saved.txt").write_text("what it had")
        sys.exit(0)

    signal.signal(signal.SIGTERM, save)
    for epoch in range(1, 10):
        print(f"epoch {epoch}: loss {x + 1 / epoch:.4f}", flush=True)
        while epoch >= 3 and x > 2 and not (own / "go_on").exists():
            time.sleep(0.01)  # a run that is to be stopped waits for that
    """
SWEEP = """
    program: train.py
    name: small
    method: grid
    metric: {name: loss}
    metrics: {loss: 'loss ([0-9.]+)'}
    parameters: {x: [2, 1, 3, 4]}
    devices: cpu
    max_concurrent: 1
    report: never
    early_terminate: {type: threshold, worse_than: 3.0, after: 3}
"""
THRESHOLD = "{type: threshold, worse_than: 3.0, after: 3}"


@pytest.fixture
def sweep(project: Project) -> Project:
    project.write("train.py", PROGRAM)
    project.write("sweep.yaml", SWEEP)
    return project


def states(project: Project) -> dict[int, str]:
    rows = project.rows()
    return dict(zip(rows.x, rows.state, strict=True))


def folder(project: Project, x: int) -> Any:
    rows = project.rows()
    return project.sweep_dir / "runs" / rows[rows.x == x].run_id.iloc[0]


def test_a_run_that_is_stopped_is_no_failure_and_no_result_and_keeps_what_it_has(sweep: Project) -> None:
    ended = sweep.run()
    assert ended.returncode == 0
    assert states(sweep) == {1: "finished", 2: "finished", 3: "pruned", 4: "pruned"}
    assert "early stopping: 2 of 4 runs stopped" in ended.stdout
    assert (folder(sweep, 3) / "saved.txt").read_text() == "what it had"
    assert (folder(sweep, 3) / "metrics.csv").read_text().split() == ["loss", "4.0", "3.5", "3.3333"]
    rows = sweep.rows()
    assert rows[rows.x == 3].reason.iloc[0] == "threshold: loss 3.3333 after 3 points is worse than 3"
    best = json.loads(sweep.command("best", "--json").stdout)
    assert [config["parameters"]["x"] for config in best["configurations"]] == [1, 2]
    again = sweep.run()
    assert "2 finished, 2 pruned" in again.stdout
    assert states(sweep) == {1: "finished", 2: "finished", 3: "pruned", 4: "pruned"}


def test_why_it_was_stopped_can_be_asked(sweep: Project) -> None:
    sweep.write("sweep.yaml", SWEEP.replace(THRESHOLD, "{type: asha, min: 3}"))
    dry = sweep.run("--dry-run").stdout
    assert "early stopping: asha at 3, 9, 27, 81, 243 ... points: the best 1/3 go on" in dry
    sweep.run()
    told = sweep.command("explain", "x3").stdout
    assert "pruned, asha: loss 3.3333 after 3 points is worse than 1.3333, 3 of 3" in told
    assert "rank         3 of the 3 runs that had come there" in told
    assert "values there 1.3333  2.3333  3.3333" in told
    assert json.loads(sweep.command("explain", "x4", "--json").stdout)["early_stop"]["n"] == 4
    assert sweep.command("explain", "x1").stdout.startswith("x1 (")
    assert "finished" in sweep.command("explain", "x1").stdout


def test_nothing_is_judged_otherwise_after_a_kill(sweep: Project) -> None:
    """The second half of the sweep is compared with what the first half told before the kill."""
    sweep.write("sweep.yaml", SWEEP.replace(THRESHOLD, "{type: asha, min: 3}"))
    process = sweep.start("run")
    csv = sweep.path / "outputs" / "small" / "runs.csv"
    wait_until(lambda: csv.exists() and csv.read_bytes().count(b"finished") == 2, "two runs have ended")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not sweep.survivors(), "nothing of it lives")
    sweep.run()
    assert states(sweep) == {1: "finished", 2: "finished", 3: "pruned", 4: "pruned"}
    assert "3 of 3" in sweep.command("explain", "x3").stdout


def test_a_file_of_wandb_with_hyperband_runs_as_it_is(sweep: Project) -> None:
    sweep.write("sweep.yaml", SWEEP.replace(THRESHOLD, "{type: hyperband, min_iter: 3}"))
    ended = sweep.run()
    assert ended.returncode == 0
    assert states(sweep) == {1: "finished", 2: "finished", 3: "pruned", 4: "pruned"}
    assert "warning" not in ended.stderr


GOES_ON = """
    import os, pathlib, sys, time
    x = float(dict(word.lstrip("-").split("=") for word in sys.argv[1:])["x"])
    run_dir = pathlib.Path(os.environ["SWEEPLINE_RUN_DIR"])
    checkpoint = run_dir / "files" / "epoch.txt"
    checkpoint.parent.mkdir(exist_ok=True)
    first = int(checkpoint.read_text()) + 1 if checkpoint.exists() else 1
    for epoch in range(first, 28):
        with open("trained.txt", "a") as trained:
            trained.write(f"{x:g} {epoch}\\n")
        checkpoint.write_text(str(epoch))
        print(f"METRIC epoch={epoch} loss={x + 1 / epoch:.4f}", flush=True)
        until = time.monotonic() + 2.0 * (epoch in (1, 3, 9))
        while time.monotonic() < until or (run_dir / "early_stop.json").exists():
            time.sleep(0.01)  # a run that is to be stopped waits for that
    """
"""A program that goes on from a checkpoint."""


@pytest.mark.parametrize("is_killed", [False, True], ids=["at once", "killed in between"])
def test_runs_that_were_stopped_go_on_from_their_checkpoints_when_they_are_the_best(
    project: Project, is_killed: bool
) -> None:
    project.write("train.py", GOES_ON)
    project.write(
        "sweep.yaml",
        """
        program: train.py
        name: promoting
        metric: {name: loss}
        parameters: {x: [5, 3, 8, 1, 9, 2, 7, 4, 6]}
        devices: cpu
        max_concurrent: 3
        report: never
        resumable: true
        early_terminate: {type: asha, min: 1, factor: 3, by: epochs, max: 27}
        """,
    )
    if is_killed:
        process = project.start("run")
        csv = project.path / "outputs" / "promoting" / "runs.csv"
        wait_until(lambda: csv.exists() and csv.read_bytes().count(b"pruned") >= 4, "some runs wait at a rung")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_until(lambda: not project.survivors(), "nothing of it lives")
    ended = project.run()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    trained = (project.path / "trained.txt").read_text().split("\n")[:-1]
    assert len(trained) == len(set(trained))  # nothing twice
    rows = project.rows()
    assert rows.run_id.is_unique
    assert dict(rows.state.value_counts()) == {"pruned": 8, "finished": 1}
    finished = rows[rows.state == "finished"].iloc[0]
    assert finished.attempt > 1
    assert finished.x == 1 or is_killed  # who comes to a rung first is not the same then
    assert {f"{finished.x} {epoch}" for epoch in range(1, 28)} <= set(trained)
    assert "of which" in project.command("explain", "x9").stdout


LOGS = """
    import pathlib, time, wandb
    wandb.init()
    run_dir = pathlib.Path(__import__("os").environ["SWEEPLINE_RUN_DIR"])
    for epoch in range(1, 7):
        wandb.log({"epoch": epoch, "val": {"loss": wandb.config.lr + 1 / epoch}})
        until = time.monotonic() + 30 * (epoch == 4 and wandb.config.lr > 1)
        while time.monotonic() < until and not (run_dir / "early_stop.json").exists():
            time.sleep(0.05)  # a run that is to be stopped waits for that
    """
"""A program that prints nothing of its objective."""


def test_a_script_that_only_logs_to_wandb_is_stopped_by_what_it_logs(project: Project) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    project.write("train.py", LOGS)
    project.write(
        "sweep.yaml",
        """
        program: train.py
        name: logs
        command: ["${env}", "${interpreter}", "${program}"]
        metric: {name: val.loss}
        parameters: {lr: {values: [1, 2, 3]}}
        early_terminate: {type: hyperband, min_iter: 3}
        devices: cpu
        max_concurrent: 1
        report: never
        """,
    )
    ended = project.run()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = project.rows()
    assert dict(zip(rows.lr, rows.state, strict=True)) == {1: "finished", 2: "pruned", 3: "pruned"}
    assert "hyperband: val.loss 2.33333 after 3 points is worse than 1.33333" in rows[rows.lr == 2].reason.iloc[0]
