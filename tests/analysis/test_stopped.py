"""What stopping runs early saved, and how many of them chance may have stopped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from sweepline.analysis.stopped import count_early_stopping
from sweepline.recording.events import RunRecord
from sweepline.runs import RunOutcome, State


def run(name: str, state: State, n_points: int | None, duration_s: float = 1.0, *, attempt: int = 1) -> RunRecord:
    outcome = RunOutcome(state=state, n_points=n_points, duration_s=duration_s)
    return RunRecord(name, attempt=attempt, outcome=outcome)


RUNS = [
    run("a", State.FINISHED, 27, 27.0),
    run("b", State.FINISHED, 27, 29.0),
    run("c", State.PRUNED, 1, 2.0),
    run("d", State.PRUNED, 3, 4.0),
    run("e", State.FAILED, 2),
]
VERDICTS: Mapping[str, Mapping[str, Any]] = {
    "c": {"value": 0.5, "threshold": 0.45},
    "d": {"value": 0.9, "threshold": 0.3},
    "by its study": {"value": 1.0, "threshold": None},
}


def test_what_was_saved_is_what_the_others_went_on_for() -> None:
    found = count_early_stopping(RUNS, lambda _: None, noise=None)
    assert found is not None
    assert (found.n_stopped, found.n_runs, found.n_points, found.n_saved) == (2, 4, 58, 26 + 24)
    assert found.share == pytest.approx(50 / 108)
    assert found.saved_s == pytest.approx(50 * 62 / 58)


def test_what_a_run_took_that_went_on_later_is_not_its_whole_time() -> None:
    found = count_early_stopping([*RUNS[1:4], run("a", State.FINISHED, 27, 9.0, attempt=3)], lambda _: None, noise=None)
    assert found is not None
    assert found.saved_s == pytest.approx(50 * 35 / 31)


@pytest.mark.parametrize(("noise", "n_close"), [(0.01, 0), (0.1, 1), (1.0, 2)])
def test_who_missed_it_by_less_than_noise_is_counted(noise: float, n_close: int) -> None:
    more = [*RUNS, run("by its study", State.PRUNED, 2)]
    found = count_early_stopping(more, lambda record: VERDICTS.get(record.run_id), noise=noise)
    assert found is not None
    assert (found.n_judged, found.n_close) == (2, n_close)


def test_nothing_is_said_where_nothing_was_stopped_or_nothing_went_on() -> None:
    assert count_early_stopping(RUNS[:2], lambda _: None, noise=None) is None
    assert count_early_stopping(RUNS[2:], lambda _: None, noise=None) is None


def test_runs_whose_points_nobody_counted_save_nothing_that_is_known() -> None:
    found = count_early_stopping(
        [run("a", State.FINISHED, None), run("b", State.PRUNED, None)], lambda _: None, noise=None
    )
    assert found is not None
    assert (found.n_saved, found.share, math.isnan(found.saved_s)) == (0, 0.0, True)
