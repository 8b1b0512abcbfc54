"""When a sweep stops by itself: nothing but failures at first, or more failures than allowed."""

from __future__ import annotations

import itertools

import pytest

from sweepline.engine.failureguard import FailureGuard
from sweepline.runs import State

FAILURES = [
    State.FAILED,
    State.OUT_OF_MEMORY,
    State.KILLED,
    State.TIMEOUT,
    State.STALLED,
    State.GPU_LOST,
    State.SPAWN_ERROR,
]


def guard_of(*, max_failures: int | None = None, keep_going: bool = False, step_s: float = 1.0) -> FailureGuard:
    """Return a guard whose clock goes ``step_s`` further each time that it is looked at."""
    return FailureGuard(max_failures=max_failures, keep_going=keep_going, clock=itertools.count(step=step_s).__next__)


def halts(guard: FailureGuard, *states: State) -> list[bool]:
    return [guard.note_end(state) for state in states]


def test_nothing_halts_a_guard_that_saw_nothing() -> None:
    assert guard_of().halted is None


@pytest.mark.parametrize("state", FAILURES)
def test_three_failures_from_the_start_halt_the_sweep(state: State) -> None:
    assert halts(guard_of(), state, state, state) == [False, False, True]


def test_the_sentence_says_what_happened_and_what_to_do() -> None:
    guard = guard_of()
    halts(guard, *[State.FAILED] * 3)
    assert guard.halted == (
        "the first 3 runs all failed within 3 s: nothing more is launched; "
        "mend the cause and start again with --retry-failed, or use --keep-going"
    )


def test_a_halt_is_told_once() -> None:
    assert halts(guard_of(), *[State.FAILED] * 6).count(True) == 1


@pytest.mark.parametrize("good", [State.FINISHED, State.PRUNED])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_run_that_ends_well_makes_later_failures_ordinary(good: State, position: int) -> None:
    states = [State.FAILED] * 9
    states.insert(position, good)
    assert halts(guard_of(), *states) == [False] * 10


def test_interrupted_runs_are_neither_good_nor_bad() -> None:
    states = [State.FAILED, State.INTERRUPTED, State.FAILED, State.INTERRUPTED, State.FAILED]
    assert halts(guard_of(), *states) == [False, False, False, False, True]


@pytest.mark.parametrize(("step_s", "halted"), [(20.0, True), (20.01, False)])
def test_three_failures_halt_only_within_a_minute(step_s: float, halted: bool) -> None:
    assert halts(guard_of(step_s=step_s), *[State.FAILED] * 3)[-1] is halted


def test_keep_going_goes_on_whatever_fails() -> None:
    assert halts(guard_of(keep_going=True), *[State.FAILED] * 50) == [False] * 50


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_allowed_number_of_failures_halts_the_sweep(n: int) -> None:
    guard = guard_of(max_failures=n, keep_going=True)
    assert halts(guard, *[State.FAILED] * (n + 2)) == [False] * (n - 1) + [True, False, False]


def test_the_sentence_about_too_many_failures_names_the_option() -> None:
    guard = guard_of(max_failures=2, keep_going=True)
    halts(guard, State.FAILED, State.FAILED)
    assert guard.halted == "stopped launching after 2 failures (--max-failures 2)"


def test_good_runs_between_do_not_lower_the_count() -> None:
    guard = guard_of(max_failures=2)
    assert halts(guard, State.FAILED, State.FINISHED, State.FINISHED, State.FAILED) == [False, False, False, True]


def test_interruptions_do_not_count_as_failures() -> None:
    assert halts(guard_of(max_failures=1), State.INTERRUPTED, State.INTERRUPTED) == [False, False]


def test_fewer_allowed_failures_than_three_come_first() -> None:
    guard = guard_of(max_failures=1)
    halts(guard, State.FAILED)
    assert "--max-failures 1" in str(guard.halted)
