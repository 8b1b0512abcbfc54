"""What runs had at the rungs where they are compared, in order, brought up to date as they tell it.

A run is judged at every value that it tells, beside all others: to look through thousands of courses each time takes
longer than the values take to come.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sweepline.engine.pruning.courses import Course


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs of a rule, from the lowest; how far a run has come by its count, and what it had at a rung.

    With ``heeds_stops`` what a run told after the rung at which it was stopped counts nowhere.
    """

    rungs: Callable[[], Iterator[float]]
    reached: Callable[[Course], float]
    value_at: Callable[[Course, float], float]
    heeds_stops: bool = False


class Standings:
    """The values at each rung. Every change of a course has to be told: :meth:`note`, :meth:`forget`."""

    def __init__(self, ladder: Ladder) -> None:
        self._ladder = ladder
        self._left = ladder.rungs()
        self._rungs: list[float] = []
        self._values: dict[float, list[float]] = {}
        self._n_counted: dict[str, int] = {}  # at how many rungs a run stands
        self._stopped_at: dict[str, float] = {}
        self._n_stopped: Counter[float] = Counter()

    def note(self, run_id: str, course: Course) -> None:
        """Take what a run has told since the last call, or that it was stopped."""
        reached, n = self._ladder.reached(course), self._n_counted.get(run_id, 0)
        limit = course.stopped_at if self._ladder.heeds_stops and course.stopped_at is not None else math.inf
        while (rung := self._rung(n)) <= min(reached, limit):
            insort(self._values[rung], self._ladder.value_at(course, rung))
            n += 1
        self._n_counted[run_id] = n
        if limit in self._rungs[:n] and run_id not in self._stopped_at:
            self._stopped_at[run_id] = limit
            self._n_stopped[limit] += 1

    def forget(self, run_id: str, course: Course) -> None:
        """Leave a run out, whose course is still what was noted."""
        for rung in self._rungs[: self._n_counted.pop(run_id, 0)]:
            values = self._values[rung]
            del values[bisect_left(values, self._ladder.value_at(course, rung))]
        if run_id in self._stopped_at:
            self._n_stopped[self._stopped_at.pop(run_id)] -= 1

    def values(self, rung: float) -> list[float]:
        """Return the values of the runs that came to a rung, best first. Not to be changed."""
        return self._values.get(rung, [])

    def n_on(self, rung: float) -> int:
        """Return how many of them were not stopped there."""
        return len(self.values(rung)) - self._n_stopped[rung]

    def highest(self, reached: float) -> float:
        """Return the highest rung that somebody has come to who has come so far; 0 where there is none."""
        return max(itertools.takewhile(lambda rung: rung <= reached, self._rungs), default=0.0)

    def _rung(self, index: int) -> float:
        while len(self._rungs) <= index:
            rung = next(self._left, math.inf)
            if rung in self._values:
                continue  # rounded to one that is there
            self._rungs.append(rung)
            self._values[rung] = []
        return self._rungs[index]
