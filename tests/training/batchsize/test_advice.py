"""The efficient size: the step-time line, B*, and the choice with its reason."""

from __future__ import annotations

import math

import pytest

from sweepline.training.batchsize.advice import StepTime, advise, fastest_size, fit_step_time
from sweepline.training.batchsize.noise import Estimate
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


CRITICAL, LINE = Estimate(500.0, 300.0, 900.0), StepTime(0.004, 0.00002)


def test_what_is_fastest_is_chosen_as_a_power_of_two_with_its_interval() -> None:
    advice = advise(usable=500, default=64, critical=CRITICAL, step_time=LINE)
    assert (advice.fastest, advice.fastest_low, advice.fastest_high) == (316, 245, 424)
    assert (advice.chosen, advice.reason) == (256, "the fastest, as a power of two; 500 could be used")


@pytest.mark.parametrize("fixed_s", [0.00090, 0.00091, 0.00099, 0.00167])
def test_times_that_scatter_change_no_choice(fixed_s: float) -> None:
    line = StepTime(fixed_s, 0.00036)
    assert advise(usable=384, default=64, critical=Estimate(75, 50, 110), step_time=line).chosen == 16


def test_what_fits_is_chosen_where_the_fastest_does_not() -> None:
    advice = advise(usable=100, default=64, critical=CRITICAL, step_time=LINE)
    assert advice.chosen == 100
    assert "316 would be faster, but does not fit safely" in advice.reason


@pytest.mark.parametrize(
    ("critical", "line", "chosen", "why"),
    [
        (None, LINE, 64, "no noise scale"),
        (None, None, 64, "no noise scale"),
        (Estimate(75, 50, 110), None, 64, "no more than the critical size; no step time"),
        (Estimate(5, 1, math.inf), None, 4, "no step time"),
        (Estimate(0.2, 0.1, 1), None, 1, "no step time"),
        (Estimate(9000, 1, math.inf), None, 384, "no step time"),
    ],
)
def test_nothing_above_the_critical_size_is_chosen_where_the_fastest_is_not_known(
    critical: Estimate | None, line: StepTime | None, chosen: int, why: str
) -> None:
    advice = advise(usable=384, default=64, critical=critical, step_time=line)
    assert (advice.chosen, advice.fastest) == (chosen, None)
    assert why in advice.reason
