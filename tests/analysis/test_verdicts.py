"""Better, worse or not conclusive: what each word takes, with one seed and with several."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from scipy import stats

from sweepline.analysis.compare import CompareOptions, tabulate_sides
from sweepline.analysis.series import STEP, TIME, RunHistory, Side, build_series
from sweepline.analysis.verdicts import Conclusion, conclude
from sweepline.errors import ConfigError

STEPS = [*range(100, 1100, 100)]


def run(
    values: Sequence[float],
    *,
    steps: Sequence[float] = STEPS,
    seconds_a_step: float | None = 1.0,
    seed: int | None = None,
    metric: str = "loss",
    **others: Sequence[float],
) -> RunHistory:
    places: dict[str, Sequence[float]] = {STEP: steps}
    if seconds_a_step is not None:
        places[TIME] = [step * seconds_a_step for step in steps]
    named = {metric: values, **others}
    return RunHistory(name="run", seed=seed, series={name: build_series(own, places) for name, own in named.items()})


def flat(level: float) -> list[float]:
    return [level + 10 / step for step in STEPS]


def judge(baseline: Sequence[RunHistory], *others: Sequence[RunHistory], **options: object) -> list[Conclusion]:
    sides = [Side(label=f"side {i}", runs=runs) for i, runs in enumerate((baseline, *others))]
    return conclude(tabulate_sides(sides, CompareOptions(**options)))  # type: ignore[arg-type]


# one seed


@pytest.mark.parametrize(
    ("level", "word", "direction"),
    [
        (1.0, "not conclusive", "level"),
        (0.996, "not conclusive", "level"),
        (0.992, "not conclusive", "better"),
        (0.95, "better", "better"),
        (1.05, "worse", "worse"),
    ],
)
def test_one_seed_says_better_or_worse_beyond_twice_the_tolerance(level: float, word: str, direction: str) -> None:
    (found,) = judge([run(flat(1.0))], [run(flat(level))])
    assert (found.word, found.direction) == (word, direction)


def test_more_is_better_of_an_accuracy() -> None:
    (found,) = judge([run([0.5] * 10, metric="accuracy")], [run([0.6] * 10, metric="accuracy")])
    assert found.word == "better"


def test_curves_that_cross_at_the_end_are_not_conclusive_however_low_the_lowest_point() -> None:
    (found,) = judge([run([1.0, 2.0] * 5)], [run([1.5, 2.0, 1.5, 2.0, 0.5, 1.5, 2.5, 1.5, 2.5, 1.5])])
    verdict = found.verdicts["loss"]
    assert (found.word, verdict.axes[0].why) == ("not conclusive", "the curves are not apart in the last quarter")


def test_what_is_better_at_equal_steps_and_worse_at_equal_time_is_not_conclusive() -> None:
    falling = [10.0 - step / 200 for step in STEPS]
    slower = [value - 1 for value in falling]
    (found,) = judge([run(falling)], [run(slower, seconds_a_step=4.0)])
    words = {axis.axis: axis.word for axis in found.verdicts["loss"].axes}
    assert (found.word, found.direction, words) == ("not conclusive", "mixed", {"time": "worse", "step": "better"})


def test_only_what_is_asked_for_is_held_equal() -> None:
    falling = [10.0 - step / 200 for step in STEPS]
    slower = [value - 1 for value in falling]
    (found,) = judge([run(falling)], [run(slower, seconds_a_step=4.0)], axes=["step"])
    assert found.word == "better"


def test_a_tolerance_of_the_size_of_the_noise_keeps_a_difference_from_being_conclusive() -> None:
    (found,) = judge([run(flat(1.0))], [run(flat(0.95))], tolerance=0.05)
    assert found.word == "not conclusive"


def test_a_run_that_diverged_is_worse_though_it_was_best_before() -> None:
    (found,) = judge([run(flat(1.0))], [run([0.5, *[math.nan] * 9])])
    assert found.verdicts["loss"].axes[0].word == "not conclusive"
    (found,) = judge([run(flat(1.0))], [run([math.nan] * 10)])
    assert found.word == "worse"


def test_single_values_without_curves_are_not_conclusive() -> None:
    baseline, other = (RunHistory(name="r", series={"loss": build_series([v], {})}) for v in (1.0, 0.1))
    (found,) = judge([baseline], [other])
    assert (found.word, found.direction) == ("not conclusive", "better")


def test_points_that_tell_no_place_are_compared_by_their_number() -> None:
    baseline, other = (RunHistory(name="r", series={"loss": build_series([v, v], {})}) for v in (1.0, 0.1))
    (found,) = judge([baseline], [other])
    assert (found.word, found.verdicts["loss"].axes[0].axis) == ("better", "point")


# seeds


def seeds(levels: Sequence[float], *, first: int = 0) -> list[RunHistory]:
    return [run(flat(level), seed=first + i) for i, level in enumerate(levels)]


def test_shared_seeds_are_paired_and_their_test_agrees_with_scipy() -> None:
    one, other = [1.0, 1.4, 1.9, 2.5], [0.95, 1.33, 1.86, 2.42]
    (found,) = judge(seeds(one), seeds(other))
    verdict = found.verdicts["loss"]
    assert verdict.axes[0].p_value == pytest.approx(stats.ttest_rel(one, other).pvalue, rel=1e-6)
    assert (found.word, verdict.is_paired, verdict.is_tested) == ("better", True, True)


def test_other_seeds_are_compared_by_welchs_test_and_the_same_numbers_are_not_conclusive() -> None:
    one, other = [1.0, 1.4, 1.9, 2.5], [0.95, 1.33, 1.86, 2.42]
    (found,) = judge(seeds(one), seeds(other, first=10))
    verdict = found.verdicts["loss"]
    assert verdict.axes[0].p_value == pytest.approx(stats.ttest_ind(one, other, equal_var=False).pvalue, rel=1e-6)
    assert (found.word, verdict.is_paired) == ("not conclusive", False)


def test_p_values_are_corrected_for_the_number_of_runs_that_are_compared() -> None:
    one, other = [1.0, 1.4, 1.9, 2.5], [0.99, 1.39, 1.91, 2.44]
    alone = judge(seeds(one), seeds(other))[0].verdicts["loss"].axes[0].p_value
    among_two = judge(seeds(one), seeds(other), seeds(other))[0].verdicts["loss"].axes[0].p_value
    assert alone is not None
    assert among_two == pytest.approx(2 * alone)


def test_several_seeds_against_one_are_not_tested() -> None:
    (found,) = judge(seeds([1.0, 1.1, 1.2]), seeds([0.5]))
    assert (found.word, found.verdicts["loss"].is_tested, found.verdicts["loss"].n_seeds) == ("better", False, (3, 1))


def test_one_seed_within_the_range_of_the_baselines_is_not_conclusive() -> None:
    (found,) = judge(seeds([1.0, 1.5, 2.0]), seeds([1.1]))
    assert found.word == "not conclusive"


# which metric counts


def test_metrics_that_lie_in_the_other_direction_than_the_objective_are_named() -> None:
    (found,) = judge([run(flat(1.0), accuracy=[0.9] * 10)], [run(flat(0.3), accuracy=[0.8] * 10)], objective="accuracy")
    assert (found.word, found.disagreeing) == ("worse", ["loss"])


def test_without_an_objective_metrics_that_disagree_leave_it_open() -> None:
    (found,) = judge([run(flat(1.0), accuracy=[0.9] * 10)], [run(flat(0.3), accuracy=[0.8] * 10)])
    assert found.word == "not conclusive"


def test_without_an_objective_metrics_that_agree_decide() -> None:
    (found,) = judge([run(flat(1.0), accuracy=[0.9] * 10)], [run(flat(0.3), accuracy=[0.95] * 10)])
    assert found.word == "better"


def test_the_objective_of_the_runs_sweep_is_the_objective() -> None:
    runs = [
        RunHistory(name="r", objective=("q", "max"), series=run(flat(level), metric="q", loss=flat(1.0)).series)
        for level in (1.0, 2.0)
    ]
    tables = tabulate_sides([Side(label=str(i), runs=[found]) for i, found in enumerate(runs)], CompareOptions())
    assert (tables.objective, tables.objective_from, conclude(tables)[0].word) == ("q", "of the sweep", "better")


# targets and windows


def test_a_target_that_is_not_reached_is_known_to_lie_beyond_what_was_seen() -> None:
    sides = [Side(label="a", runs=[run(flat(1.0))]), Side(label="b", runs=[run(flat(1.2)[:5], steps=STEPS[:5])])]
    (table,) = tabulate_sides(sides, CompareOptions()).metrics
    ((baseline,), (other,)) = table.measures
    assert baseline is not None
    assert other is not None
    assert (baseline.reached[STEP].is_reached, other.reached[STEP].is_reached, other.reached[STEP].place) == (
        True,
        False,
        500,
    )
    assert table.limits[STEP] == 500


@pytest.mark.parametrize(("goal", "target"), [("min", -1.98), ("max", -1.0 - 0.01)])
def test_a_target_below_zero_is_worse_than_the_best_by_the_tolerance(goal: str, target: float) -> None:
    sides = [Side(label=label, runs=[run([-1.0, -2.0], steps=[1, 2], metric="q")]) for label in "ab"]
    (table,) = tabulate_sides(sides, CompareOptions(goals={"q": goal}, tolerance=0.01)).metrics
    assert table.target == pytest.approx(target)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tolerance": -0.1}, "tolerance -0.1: is a share"),
        ({"hold": 0}, "hold 0: is how many points"),
        ({"goals": {"loss": "down"}}, "goal of loss: 'down' is neither min nor max"),
        ({"axes": ["frames"]}, "axis 'frames': there are time, step, samples, epoch"),
        ({"axes": ["samples"]}, "equal samples cannot be compared"),
        ({"metrics": ["los"]}, "no run has a metric 'los'; did you mean 'loss'?"),
        ({"objective": "accuracy"}, "no run has a metric 'accuracy'"),
        ({"goals": {"q": "min"}}, "no run has a metric 'q'"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        judge([run(flat(1.0))], [run(flat(1.0))], **options)
    assert str(error.value).startswith(sentence)
