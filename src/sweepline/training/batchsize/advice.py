"""Which batch size is efficient: step time against size, the noise scale, and what follows from both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweepline.training.batchsize.noise import Estimate
from sweepline.training.batchsize.probe import OK, Probe


@dataclass(frozen=True, slots=True)
class StepTime:
    """A step of B examples takes ``fixed_s`` + ``per_example_s`` * B seconds."""

    fixed_s: float
    per_example_s: float


def fit_step_time(probes: Sequence[Probe]) -> StepTime | None:
    """Return the line through what probes of different sizes took; None where there is none.

    Least squares of the relative differences, so that small sizes count as much as large ones. There is no line with
    fewer than two sizes, nor where larger steps did not take longer, nor where they took longer than in proportion.
    """
    best: dict[int, float] = {}
    for probe in probes:
        if probe.status == OK and probe.step_s:
            best[probe.batch_size] = min(probe.step_s, best.get(probe.batch_size, math.inf))
    if len(best) < 2:
        return None
    weights = {size: 1 / seconds**2 for size, seconds in best.items()}
    total = sum(weights.values())
    mean_size = sum(weights[size] * size for size in best) / total
    mean_s = sum(weights[size] * seconds for size, seconds in best.items()) / total
    spread = sum(weights[size] * (size - mean_size) ** 2 for size in best)
    slope = sum(weights[size] * (size - mean_size) * (seconds - mean_s) for size, seconds in best.items()) / spread
    fixed = mean_s - slope * mean_size
    return StepTime(fixed, slope) if slope > 0 and fixed > 0 else None


def fastest_size(noise_scale: float, step_time: StepTime) -> int:
    """Return the size at which the time to a target is least: it goes as (1 + noise/B) (fixed + per_example * B)."""
    return max(1, round(math.sqrt(noise_scale * step_time.fixed_s / step_time.per_example_s)))


@dataclass(frozen=True, slots=True)
class Advice:
    """The size to use, and why. ``critical`` and ``fastest`` are None where they are not identifiable.

    ``fastest_low`` and ``fastest_high`` are the fastest sizes for the ends of the critical size's interval.
    """

    critical: Estimate | None
    step_time: StepTime | None
    fastest: int | None
    fastest_low: int | None
    fastest_high: int | None
    chosen: int
    reason: str


def advise(*, usable: int, default: int, critical: Estimate | None, step_time: StepTime | None) -> Advice:
    """Choose a size: the fastest as a power of two, within ``usable``, which is what fits times the safety factor.

    Around the fastest the time to a target hardly changes, so that a nearer size would only follow how
    measurements scatter. Where the fastest is not known nothing above the critical size is chosen, and where that is
    not known either, nothing above ``default``.
    """
    low = high = fastest = None
    if critical is not None and step_time is not None:
        fastest = fastest_size(critical.value, step_time)
        low = fastest_size(critical.low, step_time)
        high = fastest_size(critical.high, step_time) if math.isfinite(critical.high) else None
    if fastest is not None and round_size(fastest) <= usable:
        chosen, reason = round_size(fastest), f"the fastest, as a power of two; {usable} could be used"
    elif fastest is not None:
        chosen, reason = (
            usable,
            f"what fits times the safety factor; {fastest} would be faster, but does not fit safely",
        )
    elif critical is not None:
        chosen = min(usable, lower_size(critical.value))
        reason = "no more than the critical size; no step time, so nothing tells what is fastest"
    else:
        chosen = min(usable, default)
        reason = "the default size; no noise scale, so nothing tells what is fastest"
    return Advice(critical, step_time, fastest, low, high, max(1, chosen), reason)


def round_size(size: float) -> int:
    """Return the power of two that is nearest in ratio."""
    return 1 << max(0, round(math.log2(max(1.0, size))))


def lower_size(size: float) -> int:
    """Return the largest power of two that is no larger."""
    return 1 << int(math.log2(max(1.0, size)))
