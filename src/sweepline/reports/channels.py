"""How columns are put on axes, colours and hover texts, and what all pictures have in common: sizes, selections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweepline.reports.chartdata import ChartData, Column, result_of
from sweepline.runs import UNSUCCESSFUL, State

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
CATEGORIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d1f", "#6a51a3"]
"""Okabe and Ito's colours, told apart with any kind of colour vision; the yellow, too light on white, is left out."""
SEQUENTIAL, FAINT = "viridis", "#9aa4ae"
STEP = 26
"""The height of a row of a chart of rows, in pixels."""

ALL, SHOWN, MEANS, CELLS = "runs", "shown", "means", "cells"
"""Names of data sets."""

_AROUND_STEPS = 58  # pixels that the axis of such a chart takes
_MAX_TICKS = 12
_MOST_TIMES = 100.0
_WIDTH_IN_LETTERS = 48  # of the x axis of a picture, on a screen that shows three beside each other

BRUSH = {"name": "brush", "select": {"type": "interval", "clear": "dblclick"}}
CELL = {
    "name": "cell",
    "select": {"type": "point", "encodings": ["x", "y"], "toggle": False, "clear": "dblclick"},
}
ZOOM = {
    "name": "zoom",
    "select": {"type": "interval", "translate": False, "zoom": "wheel![event.shiftKey]", "clear": False},
    "bind": "scales",
}
ZOOM_ALL = {
    "name": "zoom",
    "select": {"type": "interval", "zoom": "wheel![event.shiftKey]", "clear": "dblclick"},
    "bind": "scales",
}
ZOOM_X = {
    "name": "zoom",
    "select": {"type": "interval", "encodings": ["x"], "zoom": "wheel![event.shiftKey]", "clear": "dblclick"},
    "bind": "scales",
}
STATE_COLORS: dict[str, str] = {
    State.FINISHED: CATEGORIES[0],
    State.PRUNED: CATEGORIES[5],
    State.RUNNING: CATEGORIES[2],
    State.INTERRUPTED: FAINT,
    State.FAILED: CATEGORIES[1],
    State.OUT_OF_MEMORY: CATEGORIES[3],
    State.TIMEOUT: CATEGORIES[4],
    **dict.fromkeys(sorted(UNSUCCESSFUL - {State.FAILED, State.OUT_OF_MEMORY, State.TIMEOUT}), CATEGORIES[6]),
}
"""Colours by state, those that are met most often first."""


def with_data(spec: Spec, **rows: Sequence[Mapping[str, Any]]) -> Spec:
    """Return a specification with the rows of each data set by name; ``shown`` are ``runs`` by default."""
    sets = {SHOWN: rows.get(ALL, ()), **rows}
    return {**spec, "datasets": {name: list(values) for name, values in sets.items()}}


def channel(column: Column, *, is_y: bool = False) -> Spec:
    """Return how a column is put on an axis or a colour."""
    if column.kind == "category":
        labels = _category_axis(column, is_y=is_y)
        return {"field": column.key, "type": "nominal", "title": column.title, "axis": labels}
    scale = {"type": "log", "nice": False, "padding": 14} if column.is_log else {"zero": False, "padding": 14}
    axis: Spec = {"grid": True, "tickCount": 6, "format": "~g", "labelOverlap": True}
    if 1 < len(column.levels) <= _MAX_TICKS:
        axis["values"] = list(column.levels)  # what was tried, not what lies between
    return {"field": column.key, "type": "quantitative", "title": column.title, "scale": scale, "axis": axis}


def step_channel(column: Column, *, is_y: bool = False) -> Spec:
    """Return how a column's values are put on an axis, each a step of its own, with or without a result."""
    is_number = column.kind == "number"
    levels = list(reversed(column.levels)) if is_number and is_y else list(column.levels)  # numbers grow upwards
    axis = {"format": "~g", "labelAngle": 0, "labelOverlap": True} if is_number else _category_axis(column, is_y=is_y)
    scale = {"scale": {"domain": levels}, "sort": None} if levels else {"sort": "ascending"}
    return {"field": column.key, "type": "ordinal", "title": column.title, **scale, "axis": axis}


def _category_axis(column: Column, *, is_y: bool) -> Spec:
    """Return an axis whose labels lie flat where they have room, and never over each other."""
    room = _WIDTH_IN_LETTERS / max(1, len(column.levels))
    is_flat = is_y or (bool(column.levels) and max(map(len, column.levels)) <= room)
    return {"labelAngle": 0 if is_flat else -40, "labelOverlap": True}


def tooltip(data: ChartData, *columns: Column) -> list[Spec]:
    """Return what is shown of a run when it is pointed at: its name, what differs, the objective."""
    objective = [data.objective] if data.objective else []
    listed = dict.fromkeys([*columns, *data.parameters.values(), *objective])
    return [
        {"field": "run", "type": "nominal", "title": "run"},
        *(
            {"field": c.key, "type": "nominal" if c.kind == "category" else "quantitative", "title": c.title}
            for c in listed
        ),
    ]


def color_channel(column: Column) -> Spec:
    """Return how a column is put on colours."""
    if column.kind == "category":
        return {**channel(column), "scale": {"range": CATEGORIES}}
    scale = {"type": "log"} if column.is_log else {}
    return {
        "field": column.key,
        "type": "quantitative",
        "title": column.title,
        "scale": {"scheme": SEQUENTIAL, **scale},
    }


def group_channel(column: Column) -> Spec:
    """Return how the values of a column have a colour each: numbers in an order, the few of a category told apart."""
    is_ordered = column.kind == "number" or len(column.levels) > len(CATEGORIES)
    colors = {"scheme": SEQUENTIAL} if is_ordered else {"range": CATEGORIES}
    domain = {"domain": list(column.levels)} if column.levels else {}
    kind = "ordinal" if is_ordered else "nominal"
    legend = {"symbolOpacity": 1}  # that of the marks may be less
    scale = {**colors, **domain}
    return {"field": column.key, "type": kind, "title": column.title, "sort": None, "scale": scale, "legend": legend}


def sensible_bounds(data: ChartData) -> Spec:
    """Return where a logarithmic scale of the objective ends: at 100 times the best result, if there are any beyond.

    Runs that hardly trained would leave no room for those that are compared.
    """
    objective = data.objective
    results = [r for row in data.rows if objective is not None and (r := result_of(row, objective)) is not None]
    if objective is None or not objective.is_log or not results or max(results) <= _MOST_TIMES * min(results):
        return {}
    if data.goal == "maximize":
        return {"domainMin": max(results) / _MOST_TIMES}
    return {"domainMax": min(results) * _MOST_TIMES}


def describe_bounds(bounds: Spec) -> str:
    """Return what a reader is told of :func:`sensible_bounds`; nothing where there are none."""
    if "domainMin" in bounds:
        return "Axes and colours begin at a hundredth of the best result."
    return "Axes and colours end at 100 times the best result." if bounds else ""


def mean_tooltip(of_metric: Column, *columns: Column) -> list[Spec]:
    """Return what is shown of a mean over runs when it is pointed at."""
    return [
        *({"field": column.key, "title": column.title} for column in columns),
        {"field": "mean", "title": f"mean {of_metric.title}", "format": ".4~g"},
        {"field": "low", "title": "95 % from", "format": ".4~g"},
        {"field": "high", "title": "to", "format": ".4~g"},
        {"field": "n", "title": "runs"},
    ]


def rows_chart(n: int, *, step: int = STEP, n_named: int = 0, **parts: Any) -> Spec:
    """Return a chart of rows that is as high as their number asks for.

    What draws it elsewhere is told how many these are, and how many names a legend above them has.
    """
    return chart(height=n * step + _AROUND_STEPS, usermeta={"rows": n, "named": n_named}, **parts)


def chart(**parts: Any) -> Spec:
    """Return a specification of the usual size, as wide as its place."""
    sizes = {"width": "container", "height": 280, "autosize": {"type": "fit", "contains": "padding"}}
    return {"$schema": SCHEMA, **sizes, **parts}
