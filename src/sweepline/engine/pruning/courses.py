"""What runs have measured of the objective so far, by how far they had come."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

POINTS = "points"
_PLACES = {"epochs": "epoch", "steps": "step", "samples": "samples"}


@dataclass
class Course:
    """The values of one run in their order, smaller being better, with where each was told.

    A value that is no finite number is infinitely bad.
    """

    values: list[float] = field(default_factory=list)
    places: dict[str, list[float]] = field(default_factory=dict)

    def add(self, value: float, place: Mapping[str, int]) -> None:
        """Take the next value."""
        self.values.append(value if math.isfinite(value) else math.inf)
        for by, name in _PLACES.items():
            own = self.places.setdefault(by, [])
            own.append(max(float(place.get(name, 0)), own[-1] if own else 0.0))

    def reached(self, by: str) -> float:
        """Return how far the run has come."""
        if by == POINTS:
            return float(len(self.values))
        return self.places[by][-1] if self.values else 0.0

    def n_until(self, budget: float, by: str) -> int:
        """Return how many values were told up to a budget."""
        if by == POINTS:
            return min(int(budget), len(self.values))
        return bisect_right(self.places.get(by, []), budget)

    def value_at(self, budget: float, by: str) -> float | None:
        """Return the value where the run first had come so far; None where it has not."""
        if by == POINTS:
            index = math.ceil(budget) - 1
            return self.values[max(index, 0)] if 0 < budget <= len(self.values) else None
        places = self.places.get(by, [])
        first = next((i for i, place in enumerate(places) if place >= budget), None)
        return None if first is None else self.values[first]

    def best_until(self, n: int) -> float:
        """Return the best of the first values."""
        return min(itertools.islice(self.values, n), default=math.inf)

    def mean_until(self, n: int) -> float:
        """Return the mean of the first values."""
        return sum(itertools.islice(self.values, n)) / n if n else math.inf
