"""A table of runs as charts take it: columns with short keys, so that no user's name is part of a chart's language."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweepline.contract.text import printable
from sweepline.contract.values import is_number
from sweepline.runs import State

_LOG_FROM = 50.0  # positive values that span this factor are shown on a logarithmic axis,
_GEOMETRIC_FROM, _SAME_FACTOR = 4.0, 2.6  # or this one where they grow by about the same factor (1, 2, 5, 10)
_MAX_LEVELS = 24

STEP_SIZE = re.compile(r"(?:^|[._/])(?:lr|step_size|learning_rate)$")
BATCH_SIZE = re.compile(r"(?:^|[._/])(?:batch_size|bs)$")
"""What step sizes and batch sizes are called, with the names of the groups that they are in before them."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: ``key`` is its name in charts, ``title`` what people call it.

    ``kind`` is ``number`` or ``category``; a number ``is_log`` where it spans orders of magnitude. ``levels`` are its
    values in their order where they are few enough to be a step of an axis each, else none.
    """

    key: str
    title: str
    kind: str
    is_log: bool = False
    levels: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartData:
    """Rows by the keys of their columns; ``run`` names each row's run.

    ``parameters`` and ``metrics`` are columns by their names, ``objective`` is one of the metrics, with its ``goal``.
    """

    rows: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Column] = field(default_factory=dict)
    metrics: Mapping[str, Column] = field(default_factory=dict)
    objective: Column | None = None
    goal: str = "minimize"

    def column(self, name: str) -> Column:
        """Return the column of a parameter or a metric.

        Raises:
            KeyError: there is none of that name.
        """
        return self.parameters[name] if name in self.parameters else self.metrics[name]

    def metric(self, name: str | None) -> Column:
        """Return the column of a metric, by default of the objective.

        Raises:
            KeyError: there is none.
        """
        found = self.metrics[name] if name is not None else self.objective
        if found is None:
            raise KeyError("there is no objective; name a metric")
        return found


def result_of(row: Mapping[str, Any], metric: Column) -> Any:
    """Return what a row's run has of a metric as its result; None where it was stopped before, or has none."""
    return row.get(metric.key) if row.get("state", State.FINISHED) == State.FINISHED else None


def averaged(row: Mapping[str, Any], metric: Column) -> Any:
    """Return what a row's run adds to a mean: nothing where a seed of its configuration failed or diverged.

    The mean of those that are left would be that of the lucky ones.
    """
    return None if row.get("lost") else result_of(row, metric)


def make_column(key: str, title: str, values: Sequence[Any]) -> Column:
    """Return a column for values: one of numbers where all that are there are numbers."""
    there = [value for value in values if value is not None]
    if not there or not all(map(is_number, there)):
        texts = sorted({_text(value) for value in there})
        return Column(key, title, "category", levels=tuple(texts) if len(texts) <= _MAX_LEVELS else ())
    finite = sorted({value for value in there if _is_finite(value)})
    levels = tuple(finite) if len(finite) <= _MAX_LEVELS else ()
    return Column(key, title, "number", is_log=bool(finite) and _is_log(finite, has_levels=bool(levels)), levels=levels)


def _is_log(values: Sequence[float], *, has_levels: bool) -> bool:
    """Whether sorted values are better on a logarithmic axis: they span much, or a few of them grow by factors."""
    if values[0] <= 0 or values[-1] < _GEOMETRIC_FROM * values[0]:
        return False
    steps = [after / before for before, after in itertools.pairwise(values)]
    return values[-1] >= _LOG_FROM * values[0] or (
        has_levels and len(values) > 2 and max(steps) <= _SAME_FACTOR * min(steps)
    )


def _text(value: Any) -> str:
    return shown(value if isinstance(value, str) else str(value))


shown = functools.lru_cache(maxsize=4096)(printable)
"""Text as a page shows it. Many runs have few texts, again and again."""


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def chart_values(values: Sequence[Any], column: Column) -> list[Any]:
    """Return values as JSON holds them: a category's text; None for a number that has no place on its axis."""
    if column.kind == "category":
        return [None if value is None else _text(value) for value in values]
    return [value if _has_place(value, is_log=column.is_log) else None for value in values]


def _has_place(value: Any, *, is_log: bool) -> bool:
    return is_number(value) and _is_finite(value) and (value > 0 or not is_log)


def axis_positions(rows: Sequence[Mapping[str, Any]], column: Column) -> list[float | None]:
    """Return where each row lies on an axis of length 1; None where it has no value."""
    values = [row.get(column.key) for row in rows]
    if column.kind == "category":
        levels = sorted({value for value in values if value is not None})
        places = {level: (i + 0.5) / len(levels) for i, level in enumerate(levels)}
        return [None if value is None else places[value] for value in values]
    scaled = [None if value is None else math.log(value) if column.is_log else value for value in values]
    there = [value for value in scaled if value is not None]
    low, high = min(there, default=0.0), max(there, default=1.0)
    return [None if value is None else (value - low) / (high - low or 1.0) for value in scaled]
