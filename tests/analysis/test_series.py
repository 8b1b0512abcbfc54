"""Series and runs: points in order, places, what is first reached, parts of a run put together."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import pytest

from sweepline.analysis.series import (
    SAMPLES,
    STEP,
    TIME,
    RunHistory,
    Series,
    build_series,
    counts_anew,
    find_identical,
    join_runs,
)


def series(*points: tuple[float, float]) -> Series:
    return build_series([value for _, value in points], {STEP: [step for step, _ in points]})


def run(*points: tuple[float, float], seconds_a_step: float = 1.0, begin: float = 0.0) -> RunHistory:
    steps = [step for step, _ in points]
    times = [(step - steps[0]) * seconds_a_step + begin for step in steps]
    return RunHistory(name="run", series={"loss": build_series([v for _, v in points], {STEP: steps, TIME: times})})


def test_points_that_were_written_out_of_order_stand_in_the_order_of_steps() -> None:
    found = build_series([3.0, 1.0, 2.0], {STEP: [30, 10, 20], TIME: [3.0, 1.0, 2.0]})
    assert (list(found.values), list(found.places[STEP]), list(found.places[TIME])) == (
        [1.0, 2.0, 3.0],
        [10, 20, 30],
        [1.0, 2.0, 3.0],
    )


def test_time_does_not_run_backwards_where_a_point_of_a_later_step_was_written_sooner() -> None:
    found = build_series([1.0, 2.0, 3.0], {STEP: [1, 2, 3], TIME: [5.0, 4.0, 6.0]})
    assert list(found.places[TIME]) == [5.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("hold", "index"),
    [(1, 1), (2, 3), (3, None)],
)
def test_a_target_is_reached_where_so_many_points_in_a_row_hold_it(hold: int, index: int | None) -> None:
    found = series((1, 9.0), (2, 5.0), (3, 6.0), (4, 4.0), (5, 5.0))
    assert found.first_reached(5.0, "min", hold) == index


def test_nan_reaches_no_target_and_is_never_best() -> None:
    found = series((1, math.nan), (2, 3.0), (3, -math.inf))
    assert (found.first_reached(4.0, "min"), list(found.finite().values)) == (1, [3.0])


def test_the_best_is_where_it_comes_first() -> None:
    assert series((1, 2.0), (2, 1.0), (3, 1.0)).best_index("min") == 1


def test_of_a_continuation_its_points_count_from_its_first_step_on() -> None:
    joined = join_runs(run((10, 5.0), (20, 4.0), (30, 9.0)), run((20, 3.0), (40, 2.0)))
    assert list(joined.series["loss"].values) == [5.0, 3.0, 2.0]


def test_the_pause_before_a_continuation_is_no_time_of_the_run() -> None:
    joined = join_runs(run((10, 5.0), (20, 4.0)), run((21, 3.0), (31, 2.0)))
    assert list(joined.series["loss"].places[TIME]) == [0.0, 10.0, 10.0, 20.0]


def test_a_continuation_that_counts_its_steps_anew_follows_the_run() -> None:
    earlier, later = run((1, 5.0), (20, 4.0)), run((1, 3.0), (5, 2.0))
    assert counts_anew(earlier, later)
    assert list(join_runs(earlier, later).series["loss"].places[STEP]) == [1, 20, 21, 25]


def test_a_metric_that_only_the_continuation_has_is_kept() -> None:
    later = RunHistory(name="b", series={"accuracy": build_series([0.5], {STEP: [30]})})
    assert set(join_runs(run((10, 5.0)), later).series) == {"loss", "accuracy"}


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        ({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [1.0, 3.0]}, [["a", "b"]]),
        ({"a": [1.0, math.nan], "b": [1.0, math.nan]}, [["a", "b"]]),
        ({"a": [0.0, 0.0], "b": [0.0, 0.0]}, []),
        ({"a": [7.0], "b": [7.0]}, []),
    ],
)
def test_metrics_with_the_same_values_are_found_but_not_those_that_never_change(
    values: dict[str, Sequence[float]], groups: list[list[str]]
) -> None:
    assert find_identical({name: Series(array("d", own)) for name, own in values.items()}) == groups


def test_samples_that_go_on_are_not_added_to_those_of_the_run() -> None:
    earlier = RunHistory(name="a", series={"loss": build_series([2.0], {SAMPLES: [100]})})
    later = RunHistory(name="b", series={"loss": build_series([1.0], {SAMPLES: [200]})})
    assert list(join_runs(earlier, later).series["loss"].places[SAMPLES]) == [100, 200]
