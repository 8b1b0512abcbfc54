"""When a sweep has found enough."""

from __future__ import annotations

import pytest

from sweepline.config.schema import StopSweepModel
from sweepline.engine.sweepstop import SweepStop
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, RunOutcome, State
from tests.conftest import Project

LOSS, ACCURACY = Objective(name="m"), Objective(name="m", goal="maximize")


def stop(objective: Objective = LOSS, *, n_epochs: float = 0.0, **wanted: float) -> SweepStop:
    return SweepStop(StopSweepModel(**wanted), objective, lambda: n_epochs)  # type: ignore[arg-type]


def told(stopping: SweepStop, *values: float | None, state: State = State.FINISHED) -> int | None:
    """Return after how many ends there is enough."""
    for i, value in enumerate(values, 1):
        outcome = RunOutcome(state=state if value is not None else State.PRUNED, metrics={"m": value or 0.0})
        stopping.note(RunRecord(f"run {i}", name=f"run {i}", attempt=1, outcome=outcome))
        if stopping.reason is not None:
            return i
    return None


@pytest.mark.parametrize(
    ("objective", "values", "expected"),
    [(LOSS, (3, 2, 1), 2), (LOSS, (3, 2.1), None), (ACCURACY, (1, 2), 2), (ACCURACY, (1, 1.9), None)],
)
def test_a_target_is_reached_by_a_result_that_is_as_good(
    objective: Objective, values: tuple[float, ...], expected: int | None
) -> None:
    assert told(stop(objective, target=2.0), *values) == expected


def test_what_was_stopped_early_reaches_no_target_but_counts_for_patience() -> None:
    assert told(stop(target=2.0), None, None) is None
    assert told(stop(patience=3), 5, None, 6, 7) == 4
    assert told(stop(patience=3), 5, 6, 4, 5, 5, 3.9, None, 4, 4) == 9


def test_failed_runs_count_for_nothing() -> None:
    assert told(stop(patience=2), 5, 6, 7, state=State.FAILED) is None


def test_epochs_of_all_runs() -> None:
    assert told(stop(max_epochs=10, n_epochs=9), 1) is None
    stopping = stop(max_epochs=10, n_epochs=12)
    assert told(stopping, 1) == 1
    assert stopping.reason == "12 epochs are trained, of 10"


PROGRAM = """
    import sys
    x = float(dict(word.lstrip("-").split("=") for word in sys.argv[1:])["x"])
    for epoch in range(1, 4):
        print(f"METRIC epoch={epoch} m={x}")
    """
SWEEP = """
    program: train.py
    name: enough
    metric: {name: m}
    parameters: {x: [5, 4, 3, 2, 1]}
    devices: cpu
    max_concurrent: 1
    report: never
    stop_sweep: STOP
"""


@pytest.mark.parametrize(
    ("wanted", "n", "said"),
    [
        ("{target: 3}", 3, "m 3 of x3 reaches the target 3"),
        ("{max_epochs: 6}", 2, "6 epochs are trained, of 6"),
        ("{patience: 9, target: 0}", 5, None),
    ],
)
def test_nothing_more_is_started_now_or_later(project: Project, wanted: str, n: int, said: str | None) -> None:
    project.write("train.py", PROGRAM)
    project.write("sweep.yaml", SWEEP.replace("STOP", wanted))
    assert "the sweep ends when it has found enough: " in project.run("-n").stdout
    done = project.run()
    assert done.returncode == 0
    assert len(project.rows()) == n
    if said is not None:
        sentence = f"stop_sweep: {said}: nothing more is started"
        assert sentence in done.stdout
        again = project.run()
        assert (again.returncode, len(project.rows())) == (0, n)
        assert sentence in again.stdout
        project.write("sweep.yaml", SWEEP.replace("stop_sweep: STOP", ""))
        project.run()
        assert len(project.rows()) == 5


def test_a_wish_that_says_nothing_is_refused(project: Project) -> None:
    project.write("train.py", PROGRAM)
    project.write("sweep.yaml", SWEEP.replace("STOP", "{}"))
    assert "stop_sweep: names at least one of patience, target and max_epochs" in project.run().stderr
