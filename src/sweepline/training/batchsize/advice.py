"""Which batch size is efficient: step time against size, the noise scale, and what follows from both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
    """The size to use, and why. ``critical`` and ``fastest`` are None where they are not identifiable."""

    fits: int
    usable: int
    critical: float | None
    step_time: StepTime | None
    fastest: int | None
    chosen: int
    reason: str


def advise(*, fits: int, usable: int, smallest: int, critical: float | None, step_time: StepTime | None) -> Advice:
    """Choose a size: the fastest, within ``usable``, which is what fits times the safety factor.

    Below ``smallest``, the smallest size that was tried, the line of step times is not known to hold.
    """
    fastest = fastest_size(critical, step_time) if critical is not None and step_time is not None else None
    if fastest is None:
        why = "no noise scale" if critical is None else "no step time"
        chosen, reason = usable, f"what fits times the safety factor; {why}, so nothing tells what is fastest"
    elif fastest < smallest <= usable:
        chosen, reason = smallest, f"the smallest that was tried; the fastest may be as low as {fastest}"
    elif fastest <= usable:
        chosen, reason = fastest, f"the fastest; {usable} could be used"
    else:
        chosen, reason = (
            usable,
            f"what fits times the safety factor; {fastest} would be faster, but does not fit safely",
        )
    return Advice(fits, usable, critical, step_time, fastest, chosen, reason)
