"""Step sizes over time, in closed form: where a run stands decides its rate, so that a resumed one needs no state."""

from __future__ import annotations

import math

from sweepline.training.config.schema import ScheduleConfig


def step_size_at(schedule: ScheduleConfig, base: float, *, epoch: int, step: int, n_epochs: int, n_steps: int) -> float:
    """Return the step size of an optimizer step.

    They are those of torch.optim.lr_scheduler, but that ``cosine`` stays at its lowest, where torch's rises again.

    Args:
        schedule: which schedule.
        base: the step size that it begins with.
        epoch: from 0.
        step: optimizer steps that have been done, skipped ones not counted.
        n_epochs: in the whole run.
        n_steps: in an epoch.
    """
    at = epoch if schedule.unit == "epoch" else step
    length = n_epochs if schedule.unit == "epoch" else n_epochs * n_steps
    rate = _shape(schedule, base, at, length)
    if step < schedule.warmup_steps:
        rate *= (step + 1) / schedule.warmup_steps
    return rate


def _shape(schedule: ScheduleConfig, base: float, at: int, length: int) -> float:
    if schedule.name == "step":
        assert schedule.every is not None
        return base * float(schedule.gamma ** (at // schedule.every))
    if schedule.name == "cosine":
        period = schedule.T_max or length
        return _cosine(base, schedule.eta_min, min(at, period) / period)
    if schedule.name == "cosine_warm_restarts":
        assert schedule.T_0 is not None
        return _cosine(base, schedule.eta_min, _share_of_period(at, schedule.T_0, schedule.T_mult))
    return base


def _share_of_period(at: int, first: int, factor: int) -> float:
    """Return how much of its period a unit has behind it, periods being ``factor`` times as long each time."""
    begin, period = 0, first
    if factor == 1:
        begin = at // period * period
    while at >= begin + period:
        begin, period = begin + period, period * factor
    return (at - begin) / period


def _cosine(base: float, lowest: float, share: float) -> float:
    return lowest + (base - lowest) * (1 + math.cos(math.pi * share)) / 2
