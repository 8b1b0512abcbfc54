"""Which epoch is the best so far, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class BestSoFar:
    """The best value of a monitored metric, from which epoch it is, and how many measurements since were no better."""

    value: float | None = None
    epoch: int = 0
    n_worse: int = 0
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Monitor:
    """A metric, which way it is better, and how much patience there is; None: training is never stopped for it."""

    metric: str
    is_low_better: bool
    min_delta: float = 0.0
    patience: int | None = None

    def look(self, best: BestSoFar, metrics: Mapping[str, float], epoch: int) -> str | None:
        """Take an epoch's metrics into account; return why training ends with it, where it does.

        Only measurements count: where a metric is measured every fifth epoch, patience is five times as long.
        """
        value = metrics.get(self.metric)
        if value is None:
            return None
        if math.isfinite(value) and (best.value is None or self._gain(value, best.value) > self.min_delta):
            best.value, best.epoch, best.n_worse = value, epoch, 0
            return None
        best.n_worse += 1
        if self.patience is None:
            return None
        if not math.isfinite(value):
            best.is_over = True
            return f"{self.metric} is {value} after epoch {epoch}: training ends here"
        best.is_over = best.n_worse >= self.patience
        if not best.is_over:
            return None
        since = f"{best.value:.6g} of epoch {best.epoch}" if best.value is not None else "any before"
        return (
            f"{self.metric} is no better than {since} in {best.n_worse} measurements: training ends after epoch {epoch}"
        )

    def _gain(self, value: float, than: float) -> float:
        return than - value if self.is_low_better else value - than
