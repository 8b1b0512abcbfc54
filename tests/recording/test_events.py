"""The fold of a journal: which attempt counts, what a retry forgets, and what an interruption costs."""

from __future__ import annotations

from typing import Any

import pytest

from sweepline.recording.events import RUN_END, RUN_START
from sweepline.runs import State
from tests.fakes import fold, recorded


def started(run: str = "a", attempt: int = 1, **fields: Any) -> dict[str, Any]:
    """Return the event of an attempt's start."""
    defaults = {"name": f"name-{run}", "params": {"x": 1}, "seed": 0, "device": "cpu", "started_at": "2026-01-01T10:00"}
    return {"ev": RUN_START, "run": run, "attempt": attempt} | defaults | fields


def ended(run: str = "a", attempt: int = 1, state: State = State.FINISHED, **fields: Any) -> dict[str, Any]:
    """Return the event of an attempt's end."""
    defaults = {"duration_s": 1.5, "exit_code": 0, "reason": "", "metrics": {"loss": 0.25}}
    return {"ev": RUN_END, "run": run, "attempt": attempt, "state": state.value} | defaults | fields


def test_a_run_that_was_started_and_not_ended_is_running() -> None:
    record = fold([started()])["a"]
    assert record == recorded(
        "a",
        name="name-a",
        params={"x": 1},
        seed=0,
        state=State.RUNNING,
        attempt=1,
        device="cpu",
        started_at="2026-01-01T10:00",
    )


def test_an_end_gives_the_run_its_state_metrics_and_reason() -> None:
    end = ended(state=State.FAILED, exit_code=3, reason="broke", duration_s=2.5, metrics={"loss": 9.0})
    record = fold([started(), end])["a"]
    assert record.outcome is not None
    told = (record.state, record.outcome.exit_code, record.reason, record.duration_s, record.metrics)
    assert told == (State.FAILED, 3, "broke", 2.5, {"loss": 9.0})


def test_runs_come_in_the_order_of_their_latest_ends() -> None:
    events = [started("b"), started("a"), ended("a"), ended("b"), started("b", 2)]
    assert list(fold(events)) == ["a", "b"]


def test_an_end_belongs_to_its_own_run() -> None:
    records = fold([started("a"), started("b"), ended("b")])
    assert (records["a"].state, records["b"].state) == (State.RUNNING, State.FINISHED)


@pytest.mark.parametrize(
    ("states", "n_tries"),
    [
        ([State.FINISHED], 1),
        ([State.FAILED, State.FINISHED], 2),
        ([State.SPAWN_ERROR], 1),
        ([State.INTERRUPTED], 0),
        ([State.INTERRUPTED, State.FINISHED], 1),
        ([State.FAILED, State.INTERRUPTED, State.INTERRUPTED, State.TIMEOUT], 2),
    ],
)
def test_every_end_but_an_interruption_counts_as_a_try(states: list[State], n_tries: int) -> None:
    events = [
        event for n, state in enumerate(states, 1) for event in (started(attempt=n), ended(attempt=n, state=state))
    ]
    record = fold(events)["a"]
    assert (record.n_tries, record.attempt) == (n_tries, len(states))


def test_a_start_that_has_not_ended_is_no_try_yet() -> None:
    assert fold([started(), ended(state=State.FAILED), started(attempt=2)])["a"].n_tries == 1


def test_a_retry_under_way_shows_nothing_of_the_attempt_before() -> None:
    first = [started(), ended(state=State.FAILED, exit_code=1, reason="broke")]
    record = fold([*first, started(attempt=2, device="3")])["a"]
    told = (record.state, record.outcome, record.metrics, record.device)
    assert told == (State.RUNNING, None, {}, "3")


def test_a_retry_that_ends_well_replaces_the_failure() -> None:
    first = [started(), ended(state=State.FAILED, exit_code=1, reason="broke", metrics={"old": 1.0})]
    record = fold([*first, started(attempt=2), ended(attempt=2, metrics={"loss": 0.5})])["a"]
    assert (record.state, record.reason, record.metrics) == (State.FINISHED, "", {"loss": 0.5})


@pytest.mark.parametrize("kind", ["sweep_start", "sweep_stop", "note", "of a later version"])
def test_events_that_concern_no_run_change_nothing(kind: str) -> None:
    assert fold([started(), {"ev": kind, "run": "b"}, ended()]).keys() == {"a"}


@pytest.mark.parametrize("state", sorted(set(State) - {State.PENDING, State.RUNNING, State.INTERRUPTED}))
def test_an_end_stands(state: State) -> None:
    assert recorded("a", state=state).is_ended


@pytest.mark.parametrize("state", [State.PENDING, State.RUNNING, State.INTERRUPTED])
def test_an_unended_run_goes_on_at_the_next_start(state: State) -> None:
    assert not recorded("a", state=state).is_ended
