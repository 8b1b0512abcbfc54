"""The search for the largest size that fits: its order, its bounds, and sizes that change their mind."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepline.fits.search import NothingFitsError, SearchResult, search, search_by_memory


class Machine:
    """Runs sizes up to ``limit``; remembers what it was asked, confirmations marked with a star."""

    def __init__(self, limit: int, *, fails: Callable[[int, bool], bool] = lambda *_: False) -> None:
        self.limit, self.fails = limit, fails
        self.asked: list[str] = []
        self.passed: set[int] = set()
        self.failed: set[int] = set()

    def __call__(self, size: int, is_confirmation: bool) -> bool:
        self.asked.append(f"{size}{'*' * is_confirmation}")
        is_ok = size <= self.limit and not self.fails(size, is_confirmation)
        (self.passed if is_ok else self.failed).add(size)
        return is_ok


def test_the_design_notes_trace() -> None:
    machine = Machine(200)
    found = search(machine, first=64, cap=60_000)
    assert machine.asked == ["64", "128", "256", "192", "192*"]
    assert found == SearchResult(192, 4, 60_000)


def test_power_mode_stops_at_the_last_power_that_ran() -> None:
    machine = Machine(200)
    assert search(machine, first=64, cap=60_000, is_bisecting=False).batch_size == 128
    assert machine.asked == ["64", "128", "256", "128*"]


def test_a_finer_granularity_comes_nearer() -> None:
    machine = Machine(200)
    found = search(machine, first=64, cap=60_000, granularity=8, max_trials=20)
    assert found.batch_size == 200
    assert all(int(asked.rstrip("*")) % 8 == 0 for asked in machine.asked)


@pytest.mark.parametrize("first", [64, 105, 190, 232, 500])
def test_the_answer_hardly_depends_on_where_the_search_begins(first: int) -> None:
    found = search(Machine(232), first=first, cap=60_000, granularity=64, coarsest=Fraction(1, 8))
    assert 232 * 7 / 8 <= found.batch_size <= 232


def test_sizes_grow_no_further_than_is_enough() -> None:
    machine = Machine(10**9)
    found = search(machine, first=64, cap=60_000, is_enough=lambda is_growing: is_growing and len(machine.asked) == 3)
    assert machine.asked == ["64", "128", "256", "256*"]
    assert found.batch_size == 256


def test_a_first_size_above_the_data_begins_with_the_data() -> None:
    machine = Machine(1000)
    assert search(machine, first=512, cap=100).batch_size == 100
    assert machine.asked == ["100", "100*"]


def test_where_all_sizes_fit_the_data_are_the_bound() -> None:
    machine = Machine(10**9)
    assert search(machine, first=64, cap=777).batch_size == 777
    assert machine.asked == ["64", "128", "256", "512", "777", "777*"]


def test_where_nothing_fits_even_one_was_tried() -> None:
    machine = Machine(0)
    with pytest.raises(NothingFitsError, match="no batch size fits: 7 sizes were tried, down to 1"):
        search(machine, first=64, cap=1000)


def test_where_only_one_fits_it_is_found() -> None:
    assert search(Machine(1), first=64, cap=1000).batch_size == 1


@pytest.mark.parametrize(("limit", "expected"), [(1000, 64), (64, 64)])
def test_with_one_trial_what_ran_is_used(limit: int, expected: int) -> None:
    machine = Machine(limit)
    assert search(machine, first=64, cap=1000, max_trials=1) == SearchResult(expected, 1, 1000)


def test_trials_do_not_end_the_way_down_to_a_size_that_runs() -> None:
    assert search(Machine(10), first=64, cap=1000, max_trials=1).batch_size == 8
    assert search(Machine(4), first=8192, cap=10_000, max_trials=3) == SearchResult(4, 12, 10_000)


def test_a_size_that_fails_its_confirmation_makes_way_for_the_next_smaller_that_ran() -> None:
    machine = Machine(200, fails=lambda size, confirms: confirms and size > 100)
    assert search(machine, first=64, cap=60_000).batch_size == 64
    assert machine.asked[-3:] == ["192*", "128*", "64*"]


def test_where_no_confirmation_succeeds_smaller_sizes_are_tried() -> None:
    machine = Machine(200, fails=lambda size, confirms: confirms and size > 20)
    assert search(machine, first=64, cap=60_000).batch_size == 16


def test_where_no_confirmation_ever_succeeds_it_is_said() -> None:
    machine = Machine(200, fails=lambda _, confirms: confirms)
    with pytest.raises(NothingFitsError, match="even 1 example fails when it runs for longer"):
        search(machine, first=64, cap=60_000)


@pytest.mark.parametrize("more", [1.05, 1.25, 2.0, 3.0])
def test_where_sizes_take_more_for_longer_what_one_took_so_tells_how_far_to_go_up_again(more: float) -> None:
    peaks: dict[int, int] = {}
    ran: list[int] = []
    n_failed = 0

    def try_size(size: int, is_confirmation: bool) -> bool:
        nonlocal n_failed
        need = 100 + int(size * (more if is_confirmation else 1))
        n_failed += need > 500
        if need <= 500:
            peaks[size] = need
            ran.extend([size] * is_confirmation)
        return need <= 500

    found = search_by_memory(try_size, peaks, first=64, cap=10_000, limit=500, granularity=8)
    assert found.batch_size in ran
    assert 0.8 * 400 / more <= found.batch_size <= 400 / more
    assert n_failed <= 4


@pytest.mark.parametrize("limit", [30, 100, 333, 1000])
@pytest.mark.parametrize("confirms", [0.3, 0.8, 1.0])
def test_a_granularity_that_was_asked_for_has_multiples_of_it_alone(limit: int, confirms: float) -> None:
    peaks: dict[int, int] = {}
    tried: list[int] = []

    def try_size(size: int, is_confirmation: bool) -> bool:
        tried.append(size)
        peaks[size] = size
        return size <= limit * (confirms if is_confirmation else 1)

    found = search_by_memory(
        try_size, peaks, first=64, cap=4096, limit=limit, granularity=8, coarsest=Fraction(1), max_trials=30
    )
    assert found.batch_size % 8 == 0
    assert not [size for size in tried if size % 8]


def test_a_search_that_its_trials_ended_is_cut_short() -> None:
    for max_trials, is_cut_short in ((2, True), (3, True), (4, False), (20, False)):
        assert search(Machine(200), first=64, cap=60_000, max_trials=max_trials).is_cut_short == is_cut_short
        found = search_by_memory(
            Machine(200), {}, first=64, cap=60_000, limit=None, coarsest=Fraction(1), max_trials=max_trials
        )
        assert found.is_cut_short == is_cut_short
    assert not search(Machine(100), first=64, cap=64, max_trials=1).is_cut_short


def test_a_size_above_one_that_failed_is_never_returned() -> None:
    machine = Machine(10_000, fails=lambda size, _: size == 128)
    assert search(machine, first=64, cap=60_000).batch_size < 128


@given(
    limit=st.integers(0, 3000),
    first=st.integers(1, 4000),
    cap=st.integers(1, 2500),
    granularity=st.one_of(st.none(), st.integers(1, 300)),
    max_trials=st.integers(1, 14),
    is_bisecting=st.booleans(),
)
def test_what_is_returned_has_run_and_lies_below_all_that_failed(
    *, limit: int, first: int, cap: int, granularity: int | None, max_trials: int, is_bisecting: bool
) -> None:
    machine = Machine(limit)
    try:
        found = search(
            machine, first=first, cap=cap, granularity=granularity, max_trials=max_trials, is_bisecting=is_bisecting
        )
    except NothingFitsError:
        assert not machine.passed
        return
    assert found.batch_size in machine.passed
    assert machine.asked[-1] == f"{found.batch_size}*"
    assert 1 <= found.batch_size <= min(limit, cap)
    assert all(found.batch_size < failed for failed in machine.failed)
    tried = [int(asked) for asked in machine.asked if "*" not in asked]
    n_halvings = next(i for i, size in enumerate(tried) if size in machine.passed)
    assert found.n_trials == len(tried) <= max(max_trials, n_halvings + 1)
    assert len(set(machine.asked)) == len(machine.asked)


@given(flaky=st.lists(st.booleans(), min_size=60, max_size=60), first=st.integers(1, 500), cap=st.integers(1, 500))
def test_sizes_that_change_their_mind_never_make_a_failed_size_the_answer(
    flaky: list[bool], first: int, cap: int
) -> None:
    last: dict[int, bool] = {}
    answers = iter(flaky)

    def try_size(size: int, _: bool) -> bool:
        last[size] = next(answers)
        return last[size]

    try:
        found = search(try_size, first=first, cap=cap, granularity=1)
    except NothingFitsError:
        return
    assert last[found.batch_size]
    assert 1 <= found.batch_size <= cap


@given(limit=st.integers(1, 5000), first=st.integers(1, 300))
def test_with_trials_enough_and_a_granularity_of_one_the_answer_is_exact(limit: int, first: int) -> None:
    assert search(Machine(limit), first=first, cap=10_000, granularity=1, max_trials=60).batch_size == limit
