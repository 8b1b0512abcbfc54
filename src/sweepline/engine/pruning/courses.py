"""What runs have measured of the objective so far, by how far they had come."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

POINTS, SHARE = "points", "share"
_PLACES = {"epochs": "epoch", "steps": "step", "samples": "samples"}


def _numbers() -> array[float]:
    return array("d")


@dataclass
class Course:
    """The values of one run in their order, smaller being better, with where each was told.

    A value that is no finite number is infinitely bad. Every new value of a run is judged beside all other courses:
    what is asked of these then, the best and the sum of the first values, is kept as they come.
    """

    values: array[float] = field(default_factory=_numbers)
    bests: array[float] = field(default_factory=_numbers)
    sums: array[float] = field(default_factory=_numbers)
    total: float | None = None
    """How far the whole of it goes, in epochs, else steps, else points; None where that is not known."""
    promoted_from: float = 0.0
    """The rung from which it went on later: it is not judged there again, nor before."""
    stopped_at: float | None = None
    """The rung of successive halving at which it was stopped: what it told after that decides nothing."""
    places: dict[str, array[float]] = field(default_factory=lambda: {by: _numbers() for by in _PLACES})

    def add(self, value: float, place: Mapping[str, int]) -> None:
        """Take the next value."""
        value = value if math.isfinite(value) else math.inf
        self.bests.append(min(value, self.bests[-1]) if self.bests else value)
        self.sums.append(value + (self.sums[-1] if self.sums else 0.0))
        self.values.append(value)
        for by, own in self.places.items():
            own.append(max(float(place.get(_PLACES[by], 0)), own[-1] if own else 0.0))

    @property
    def unit(self) -> str:
        """By what its progress is told: epochs, else steps, else points."""
        return next((by for by in ("epochs", "steps") if self.values and self.places[by][-1]), POINTS)

    def reached(self, by: str) -> float:
        """Return how far the run has come; nowhere, as a share of a total that is not known."""
        if by == SHARE:
            return self.reached(self.unit) / self.total if self.total else 0.0
        if by == POINTS:
            return float(len(self.values))
        return self.places[by][-1] if self.values else 0.0

    def reached_before(self, by: str) -> float:
        """Return how far the run had come with the value before its last one."""
        if by == SHARE:
            return self.reached_before(self.unit) / self.total if self.total else 0.0
        n = len(self.values) - 1
        return float(max(n, 0)) if by == POINTS else (self.places[by][n - 1] if n > 0 else 0.0)

    def n_until(self, budget: float, by: str) -> int:
        """Return how many values were told up to a budget."""
        if by == SHARE:
            return self.n_until(round(budget * self.total, 9), self.unit) if self.total else 0
        return min(int(budget), len(self.values)) if by == POINTS else bisect_right(self.places[by], budget)

    def value_at(self, budget: float, by: str) -> float | None:
        """Return the value where the run first had come so far; None where it has not."""
        if by == SHARE:
            return self.value_at(round(budget * self.total, 9), self.unit) if self.total else None
        index = max(math.ceil(budget) - 1, 0) if by == POINTS else bisect_left(self.places[by], budget)
        return self.values[index] if index < len(self.values) else None

    def best_until(self, n: int) -> float:
        """Return the best of the first values."""
        return self.bests[min(n, len(self.bests)) - 1] if n > 0 and self.bests else math.inf

    def mean_until(self, n: int) -> float:
        """Return the mean of the first values."""
        return self.sums[n - 1] / n if n else math.inf
