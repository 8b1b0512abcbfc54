"""The efficient size: the step-time line, B*, and the choice with its reason."""

from __future__ import annotations

import math

import pytest

from sweepline.training.batchsize.advice import StepTime, advise, fastest_size, fit_step_time
from sweepline.training.batchsize.probe import Probe


def probes(*measured: tuple[int, float]) -> list[Probe]:
    return [Probe(size, 3, "ok", step_s=seconds) for size, seconds in measured]


def test_the_line_through_exact_times_is_exact() -> None:
    line = fit_step_time(probes(*((size, 0.002 + 0.00005 * size) for size in (16, 64, 256, 1024))))
    assert line is not None
    assert (line.fixed_s, line.per_example_s) == pytest.approx((0.002, 0.00005))


def test_the_quickest_probe_of_a_size_counts_and_failed_ones_do_not() -> None:
    found = [*probes((16, 9.0), (16, 0.0028), (64, 0.0052)), Probe(128, 3, "oom", step_s=1e-9)]
    line = fit_step_time(found)
    assert line is not None
    assert (line.fixed_s, line.per_example_s) == pytest.approx((0.002, 0.00005))


@pytest.mark.parametrize(
    "found", [probes(), probes((16, 1.0)), probes((16, 1.0), (32, 1.0)), probes((16, 2.0), (32, 1.0))]
)
def test_there_is_no_line_without_two_sizes_or_where_larger_steps_take_no_longer(found: list[Probe]) -> None:
    assert fit_step_time(found) is None


def test_there_is_no_line_where_steps_take_longer_than_in_proportion() -> None:
    assert fit_step_time(probes((64, 0.010), (128, 0.0201), (256, 0.0405), (512, 0.083))) is None


def test_the_fastest_size_has_the_least_time_to_a_target() -> None:
    noise, line = 500.0, StepTime(0.004, 0.00002)
    best = fastest_size(noise, line)
    cost = {size: (1 + noise / size) * (line.fixed_s + line.per_example_s * size) for size in range(1, 5000)}
    assert best == min(cost, key=lambda size: cost[size])
    assert best == round(math.sqrt(noise * line.fixed_s / line.per_example_s))


def test_what_is_fastest_is_chosen_where_it_fits() -> None:
    advice = advise(fits=1000, usable=500, smallest=32, critical=500.0, step_time=StepTime(0.004, 0.00002))
    assert (advice.chosen, advice.reason) == (316, "the fastest; 500 could be used")


def test_what_fits_is_chosen_where_the_fastest_does_not() -> None:
    advice = advise(fits=200, usable=100, smallest=32, critical=500.0, step_time=StepTime(0.004, 0.00002))
    assert advice.chosen == 100
    assert "316 would be faster, but does not fit safely" in advice.reason


@pytest.mark.parametrize(
    ("critical", "line", "why"), [(None, StepTime(1, 1), "no noise scale"), (5.0, None, "no step time")]
)
def test_without_knowing_better_what_fits_is_chosen(critical: float | None, line: StepTime | None, why: str) -> None:
    advice = advise(fits=200, usable=100, smallest=32, critical=critical, step_time=line)
    assert (advice.chosen, advice.fastest) == (100, None)
    assert why in advice.reason


def test_below_the_smallest_size_that_was_tried_nothing_is_chosen() -> None:
    advice = advise(fits=200, usable=100, smallest=64, critical=4.0, step_time=StepTime(0.004, 0.00002))
    assert (advice.fastest, advice.chosen) == (28, 64)
    assert "the smallest that was tried; the fastest may be as low as 28" in advice.reason
