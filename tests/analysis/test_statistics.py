"""Student's t and its tests agree with SciPy; intervals cover what they should."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from scipy import stats

from sweepline.analysis.statistics import (
    bootstrap_interval,
    holm,
    mean_interval,
    paired_p_value,
    student_cdf,
    student_quantile,
    welch_p_value,
)


@pytest.mark.parametrize("df", [1, 2, 3.7, 10, 100, 1000])
@pytest.mark.parametrize("t", [-50, -3, -1, -0.01, 0.0, 0.5, 2, 7])
def test_the_distribution_is_students(t: float, df: float) -> None:
    assert student_cdf(t, df) == pytest.approx(stats.t.cdf(t, df), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("df", [1, 2, 3.7, 10, 100, 1000])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.975, 0.999])
def test_a_quantile_is_where_the_distribution_has_its_share(share: float, df: float) -> None:
    assert student_quantile(share, df) == pytest.approx(stats.t.ppf(share, df), rel=1e-9, abs=1e-9)


def test_tests_of_a_difference_are_those_of_scipy() -> None:
    rng = random.Random(1)
    for _ in range(50):
        first = [rng.gauss(0, 1) for _ in range(rng.randint(2, 9))]
        second = [rng.gauss(0.5, 2) for _ in first]
        other = [rng.gauss(0.5, 2) for _ in range(4)]
        paired = paired_p_value([a - b for a, b in zip(first, second, strict=True)])
        assert paired == pytest.approx(stats.ttest_rel(first, second).pvalue)
        assert welch_p_value(first, other) == pytest.approx(stats.ttest_ind(first, other, equal_var=False).pvalue)


def test_one_value_says_nothing_of_a_difference() -> None:
    assert paired_p_value([0.3]) == welch_p_value([1.0], [2.0, 3.0]) == 1.0


def test_equal_values_differ_surely_or_not_at_all() -> None:
    assert (paired_p_value([0.5, 0.5]), paired_p_value([0.0, 0.0])) == (0.0, 1.0)
    assert (welch_p_value([1, 1], [2, 2]), welch_p_value([1, 1], [1, 1])) == (0.0, 1.0)


def test_an_interval_covers_the_mean_in_95_of_100_cases() -> None:
    rng = random.Random(2)
    intervals = [mean_interval([rng.gauss(7, 3) for _ in range(4)]) for _ in range(2000)]
    assert 0.935 < statistics.fmean(i.low <= 7 <= i.high for i in intervals) < 0.965


def test_a_bootstrap_of_many_values_is_near_students_interval() -> None:
    rng = random.Random(3)
    values = [rng.gauss(0, 1) for _ in range(200)]
    assert bootstrap_interval(values).half_width == pytest.approx(mean_interval(values).half_width, rel=0.1)


def test_of_one_value_or_an_infinite_one_no_interval_is_told() -> None:
    for values in ([3.0], [1.0, math.inf]):
        assert math.isnan(mean_interval(values).half_width)
        assert math.isnan(bootstrap_interval(values).half_width)


def test_p_values_are_corrected_step_by_step() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})


def test_equal_values_have_no_spread_whatever_rounding_makes_of_their_mean() -> None:
    found = mean_interval([0.1081666667] * 3)
    assert (found.low, found.mean, found.high) == (0.1081666667,) * 3
