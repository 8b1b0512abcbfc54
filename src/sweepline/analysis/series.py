"""What runs measured over time, as plain arrays: all points of a metric, where each is, and what is asked of them.

No files here: ``engine/histories.py`` reads them.
"""

from __future__ import annotations

import math
import operator
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, compress, islice
from typing import Any

TIME, STEP, SAMPLES, EPOCH, POINT = "time", "step", "samples", "epoch", "point"
AXES = (TIME, STEP, SAMPLES, EPOCH)
"""How the place of a point is told: seconds since the run began, steps, samples and epochs seen until then."""


@dataclass(frozen=True, slots=True)
class Series:
    """All points of one metric, in the order of the run.

    ``places`` has the places of the points by axis, as far as the run tells them; along no axis do they fall.
    """

    values: array[float]
    places: Mapping[str, array[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def place(self, index: int) -> dict[str, float]:
        """Return where a point is, by axis."""
        return {axis: column[index] for axis, column in self.places.items()}

    def finite(self) -> Series:
        """Return the series without the points that are nan or infinite."""
        mask = [*map(math.isfinite, self.values)]
        if all(mask):
            return self
        places = {axis: array("d", compress(column, mask)) for axis, column in self.places.items()}
        return Series(array("d", compress(self.values, mask)), places)

    def first_not_finite(self) -> int | None:
        """Return the index of the first point that is nan or infinite."""
        return next((i for i, value in enumerate(self.values) if not math.isfinite(value)), None)

    def best_index(self, goal: str, n: int | None = None) -> int:
        """Return the index of the least (``min``) or greatest (``max``) of the first ``n`` values, where it is first.

        The values are finite, and ``n`` is at least 1.
        """
        values = self.values if n is None or n >= len(self.values) else self.values[:n]
        return values.index(min(values) if goal == "min" else max(values))

    def n_until(self, axis: str, limit: float) -> int:
        """Return how many points lie at or before a place."""
        return bisect_right(self.places[axis], limit)

    def first_reached(self, target: float, goal: str, hold: int = 1) -> int | None:
        """Return the index of the first of ``hold`` points in a row that are as good as a target; None: never."""
        is_good = bytes(map(target.__ge__ if goal == "min" else target.__le__, self.values))
        index = is_good.find(b"\1" * hold)
        return None if index < 0 else index


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHistory:
    """What one run measured, and what is known of the run itself.

    ``origin`` is where it lies, the same for two readings of one run; ``source`` says in words from what it was read,
    ``notes`` what its reader should know. ``duration_s`` and ``objective`` (name and ``min`` or ``max``) are known of a
    sweep's runs.
    """

    name: str
    origin: str = ""
    source: str = ""
    series: Mapping[str, Series] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    duration_s: float | None = None
    objective: tuple[str, str] | None = None
    notes: Sequence[str] = ()

    def bounds(self, axis: str) -> tuple[float, float] | None:
        """Return the least and the greatest place of all its points; None where it tells none."""
        columns = [series.places[axis] for series in self.series.values() if series.places.get(axis)]
        return (min(column[0] for column in columns), max(column[-1] for column in columns)) if columns else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison: the runs of one setting, a run for each seed."""

    label: str
    runs: Sequence[RunHistory]


def build_series(values: Iterable[float], places: Mapping[str, Iterable[float]]) -> Series:
    """Return a series from columns of equal length.

    Points are put in the order of their steps, where those fall. Along another axis a point that lies before an earlier
    one counts as being where that one is: by then it was there.
    """
    columns = {axis: _as_array(column) for axis, column in places.items()}
    kept = _as_array(values)
    steps = columns.get(STEP)
    if steps is not None and not _is_rising(steps):
        order = sorted(range(len(steps)), key=steps.__getitem__)
        kept = array("d", map(kept.__getitem__, order))
        columns = {axis: array("d", map(column.__getitem__, order)) for axis, column in columns.items()}
    for axis, column in columns.items():
        if not _is_rising(column):
            columns[axis] = array("d", accumulate(column, max))
    return Series(kept, columns)


def join_series(earlier: Series, later: Series) -> Series:
    """Return one series of two: from the later one's first step on, what the earlier one has is left out."""
    if not later.values or not earlier.values:
        return later if later.values else earlier
    n_kept = len(earlier)
    if STEP in earlier.places and STEP in later.places:
        n_kept = bisect_left(earlier.places[STEP], later.places[STEP][0])
    places = {
        axis: column[:n_kept] + later.places[axis] for axis, column in earlier.places.items() if axis in later.places
    }
    return build_series(earlier.values[:n_kept] + later.values, places)


def counts_anew(earlier: RunHistory, later: RunHistory) -> bool:
    """Whether a continuation counts its steps from the beginning again, or tells none."""
    first, second = earlier.bounds(STEP), later.bounds(STEP)
    return first is None or second is None or second[0] <= first[0]


def join_runs(earlier: RunHistory, later: RunHistory) -> RunHistory:
    """Return a run and its continuation as one run.

    The continuation's time follows that of the run, without the pause between them. So does each count that begins
    anew with it; of counts that go on, the continuation has the word from where it begins.
    """
    shifts = {}
    for axis in AXES:
        first, second = earlier.bounds(axis), later.bounds(axis)
        if first is not None and second is not None and (axis == TIME or second[0] <= first[0]):
            shifts[axis] = first[1]
    series = dict(earlier.series)
    for name, found in later.series.items():
        moved = _shift(found, shifts)
        series[name] = join_series(series[name], moved) if name in series else moved
    known = (earlier.duration_s, later.duration_s)
    duration_s = None if None in known else sum(s for s in known if s is not None)
    return replace(
        earlier,
        origin=f"{earlier.origin}+{later.origin}",
        source=f"{earlier.source} + {later.source}",
        series=series,
        params={**earlier.params, **later.params},
        duration_s=duration_s,
        notes=(*earlier.notes, *later.notes),
    )


def find_identical(series: Mapping[str, Series]) -> list[list[str]]:
    """Return the groups of metrics of one run whose values are the same, one by one.

    Metrics of a single point, and those that never change, are not among them: they agree by chance.
    """
    groups: dict[bytes, list[str]] = {}
    for name, found in series.items():
        if len(found) > 1 and found.values.count(found.values[0]) < len(found):
            groups.setdefault(found.values.tobytes(), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _shift(series: Series, by: Mapping[str, float]) -> Series:
    places = {
        axis: array("d", map(by[axis].__add__, column)) if by.get(axis) else column
        for axis, column in series.places.items()
    }
    return Series(series.values, places)


def _as_array(column: Iterable[float]) -> array[float]:
    return column if isinstance(column, array) and column.typecode == "d" else array("d", column)


def _is_rising(column: Sequence[float]) -> bool:
    return all(map(operator.le, column, islice(column, 1, None)))
