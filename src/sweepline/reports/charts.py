"""The pictures of a report as Vega-Lite specifications: plain mappings, drawn by the page, a notebook, or into files.

Each takes a :class:`ChartData` and returns a specification that reads the data set ``runs`` (or what its text says);
:func:`with_data` puts the rows in. ``shown`` are the rows that a page's filter lets through; without a page all are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweepline.reports.chartdata import ChartData, Column, result_of
from sweepline.runs import UNSUCCESSFUL, State

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
CATEGORIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d1f", "#6a51a3"]
"""Okabe and Ito's colours, told apart with any kind of colour vision; the yellow, too light on white, is left out."""
SEQUENTIAL = "viridis"
_FAINT, _MARK = "#9aa4ae", CATEGORIES[0]
ALL, SHOWN, MEANS, CELLS = "runs", "shown", "means", "cells"
_MAX_TICKS = 12
_WIDTH_IN_LETTERS = 48  # of the x axis of a picture, on a screen that shows three beside each other
_STEP, _AROUND_STEPS = 26, 58  # pixels: a row of a chart of rows, and what its axis takes


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


def scatter(data: ChartData, x: str, y: str, *, color: str | None = None) -> Spec:
    """Draw a point for each run; what is filtered out stays as a shadow."""
    of_x, of_y = data.column(x), data.column(y)
    encoding = {"x": channel(of_x), "y": channel(of_y, is_y=True)}
    own = {"color": _color(data.column(color)) if color else {"value": _MARK}}
    return _chart(
        layer=[
            {
                "data": {"name": ALL},
                "mark": {"type": "point", "filled": True, "size": 14, "opacity": 0.25, "color": _FAINT},
                "encoding": encoding,
                "params": [_BRUSH, _ZOOM],
            },
            {
                "data": {"name": SHOWN},
                "mark": {"type": "point", "filled": True, "size": 36, "opacity": 0.8},
                "encoding": {**encoding, **own, "tooltip": tooltip(data, of_x, of_y)},
            },
        ]
    )


def metric_by_parameter(data: ChartData, parameter: str, *, metric: str | None = None) -> Spec:
    """Draw a metric against one parameter: runs as points, and for each value the mean with its 95 % interval.

    Reads the data set ``means`` too, of :func:`sweepline.reports.summaries.means_by_parameter`. Shown are results: the
    rows of runs that finished.
    """
    column, of_metric = data.column(parameter), _metric(data, metric)
    is_line = column.kind == "number"
    x, y = channel(column) if is_line else step_channel(column), channel(of_metric, is_y=True)
    finished: Spec = {"transform": [{"filter": f"datum.state === '{State.FINISHED}'"}]}
    mean = {"field": "mean", "type": "quantitative", "title": of_metric.title}
    line: Spec = {
        "data": {"name": MEANS},
        "mark": {"type": "line", "color": _MARK, "strokeWidth": 1.5},
        "encoding": {"x": x, "y": mean},
    }
    layers: list[Spec] = [
        {  # as in a scatter plot: axes that followed the selection would move under the pointer that drags it
            "data": {"name": ALL},
            **finished,
            "mark": {"type": "point", "filled": True, "size": 14, "opacity": 0.25, "color": _FAINT},
            "encoding": {"x": x, "y": y},
            "params": [_BRUSH, _ZOOM] if is_line else [_BRUSH],
        },
        {
            "data": {"name": SHOWN},
            **finished,
            "mark": {"type": "point", "filled": True, "size": 30, "opacity": 0.6, "color": _FAINT},
            "encoding": {"x": x, "y": y, "tooltip": tooltip(data, column, of_metric)},
        },
        {
            "data": {"name": MEANS},
            "mark": {"type": "rule", "strokeWidth": 2, "color": _MARK},
            "encoding": {"x": x, "y": {**mean, "field": "bottom"}, "y2": {"field": "top"}},
        },
        *([line] if is_line else []),
        {
            "data": {"name": MEANS},
            "mark": {"type": "point", "size": 40, "filled": True, "color": _MARK, "opacity": 1},
            "encoding": {
                "x": x,
                "y": mean,
                "tooltip": [
                    {"field": column.key, "title": column.title},
                    {"field": "mean", "title": f"mean {of_metric.title}", "format": ".4~g"},
                    {"field": "low", "title": "95 % from", "format": ".4~g"},
                    {"field": "high", "title": "to", "format": ".4~g"},
                    {"field": "n", "title": "runs"},
                ],
            },
        },
    ]
    return _chart(layer=layers)


def heat_map(data: ChartData, x: str, y: str, *, metric: str | None = None) -> Spec:
    """Draw the mean of a metric for each pair of two parameters' values.

    A pair that was not tried stays blank; one whose runs have all ended without a result has a cross.

    Reads the data set ``cells``, of :func:`sweepline.reports.summaries.means_by_pair`.
    """
    of_x, of_y, of_metric = data.column(x), data.column(y), _metric(data, metric)
    means = {"field": "mean", "type": "quantitative", "title": of_metric.title}
    encoding = {"x": step_channel(of_x), "y": step_channel(of_y, is_y=True)}
    hover = [
        {"field": of_x.key, "title": of_x.title},
        {"field": of_y.key, "title": of_y.title},
        {**means, "title": f"mean {of_metric.title}", "format": ".4~g"},
        {"field": "n", "title": "runs"},
    ]
    scheme = {"scheme": SEQUENTIAL, "reverse": data.goal == "minimize" and of_metric == data.objective}
    scale = {"type": "log", **scheme} if of_metric.is_log else {"zero": False, **scheme}
    return _chart(
        layer=[
            {
                "data": {"name": CELLS},
                "transform": [{"filter": "datum.mean !== null"}],
                "mark": {"type": "rect", "stroke": "transparent"},
                "encoding": {**encoding, "color": {**means, "scale": scale}, "tooltip": hover},
                "params": [_CELL],
            },
            {
                "data": {"name": CELLS},
                "transform": [{"filter": "datum.mean === null"}],
                "mark": {"type": "text", "text": "×", "fontSize": 16},
                "encoding": encoding,
            },
        ]
    )


def importance_bars(shares: Mapping[str, float], data: ChartData) -> Spec:
    """Draw the importance of each parameter, the greatest first."""
    rows = [{"parameter": data.column(name).title, "share": share} for name, share in shares.items()]
    return _rows(
        len(rows),
        step=max(_STEP, min(2 * _STEP, 222 // max(1, len(rows)))),  # few bars fill the place beside another picture
        data={"values": rows},
        mark={"type": "bar", "color": _MARK, "height": {"band": 0.6}},
        encoding={
            "y": {"field": "parameter", "type": "nominal", "sort": None, "title": None},
            "x": {
                "field": "share",
                "type": "quantitative",
                "title": "share of what sets the best runs apart",
                "axis": {"format": "%"},
                "scale": {"domain": [0, 1]},
            },
            "tooltip": [{"field": "parameter"}, {"field": "share", "type": "quantitative", "format": ".1%"}],
        },
    )


def parallel_coordinates(data: ChartData, names: Sequence[str]) -> Spec:
    """Draw each run as a line over scaled axes, coloured by the objective. For files: a page draws its own."""
    axes = [data.column(name) for name in names]
    rows: list[Spec] = []
    for axis in axes:
        position = _positions(data.rows, axis)
        rows += [
            {
                "i": i,
                "axis": axis.title,
                "at": position[i],
                "o": result_of(row, data.objective) if data.objective else None,
            }
            for i, row in enumerate(data.rows)
            if position[i] is not None
        ]
    color = {
        "field": "o",
        "type": "quantitative",
        "title": data.objective.title if data.objective else "",
        "scale": {"scheme": SEQUENTIAL, "reverse": data.goal == "minimize"},
    }
    return _chart(
        data={"values": rows},
        mark={"type": "line", "opacity": 0.5, "strokeWidth": 1},
        encoding={
            "x": {"field": "axis", "type": "nominal", "sort": [axis.title for axis in axes], "title": None},
            "y": {"field": "at", "type": "quantitative", "axis": None, "scale": {"domain": [0, 1]}},
            "detail": {"field": "i", "type": "nominal"},
            "color": color if data.objective else {"value": _MARK},
        },
    )


def curves(metric: str, place: str, *, is_log: bool = False, is_log_place: bool = False) -> Spec:
    """Draw a metric over the course of runs: a line for each group, and a band over its seeds.

    Reads the data sets ``lines`` (``g`` group, ``x``, ``y``, ``low``, ``high``) and ``raw`` (a run each, ``r``). The
    groups have their colours in the order of the rows.
    """
    x = {
        "field": "x",
        "type": "quantitative",
        "title": place,
        "scale": {"type": "log"} if is_log_place else {"zero": False},
    }
    y_scale = {"type": "log"} if is_log else {"zero": False}
    group = {
        "field": "g",
        "type": "nominal",
        "title": None,
        "sort": None,
        "scale": {"range": CATEGORIES},
        "legend": {
            "orient": "bottom",
            "columns": 1,
            "labelLimit": 600,
            "symbolType": "stroke",
            "symbolOpacity": 1,
            "symbolStrokeWidth": 3,
        },
    }
    y = {"field": "y", "type": "quantitative", "title": metric, "scale": y_scale}
    hover = [
        {"field": "g", "title": "configuration"},
        {"field": "x", "title": place},
        {"field": "y", "title": metric, "format": ".4~g"},
        {"field": "low", "title": "from", "format": ".4~g"},
        {"field": "high", "title": "to", "format": ".4~g"},
    ]
    return _chart(
        layer=[
            {
                "data": {"name": "raw"},
                "mark": {"type": "line", "strokeWidth": 1, "opacity": 0.25},
                "encoding": {"x": x, "y": y, "color": group, "detail": {"field": "r"}},
                "params": [_ZOOM_ALL],
            },
            {
                "data": {"name": "lines"},
                "mark": {"type": "area", "opacity": 0.18, "strokeWidth": 0},
                "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": group},
            },
            {
                "data": {"name": "lines"},
                "mark": {"type": "line", "strokeWidth": 2},
                "encoding": {"x": x, "y": y, "color": group},
            },
            {  # a line has one hover text for all of it, its points have one each
                "data": {"name": "lines"},
                "mark": {"type": "point", "size": 80, "filled": True, "opacity": 0},
                "encoding": {"x": x, "y": y, "color": group, "tooltip": hover},
            },
        ]
    )


def timeline(data: ChartData) -> Spec:
    """Draw which run held which slot, and when. Reads ``bars``, of :func:`sweepline.reports.summaries.stretches`."""
    slots = {row["slot"] for row in data.rows if row.get("slot")}
    met = {row["state"] for row in data.rows}
    states = [state for state in _STATES if state in met]
    colors = {"domain": states, "range": [_STATES[state] for state in states]}
    return _rows(
        len(slots),
        n_named=len(states),
        data={"name": "bars"},
        mark={"type": "bar", "height": {"band": 0.75}},
        encoding={
            "y": {"field": "slot", "type": "nominal", "title": None},
            "x": {"field": "start", "type": "quantitative", "title": "seconds since the first start"},
            "x2": {"field": "end"},
            "color": {
                "field": "state",
                "type": "nominal",
                "title": None,
                "scale": colors,
                "legend": {"orient": "top", "symbolLimit": 0},
            },
            "tooltip": [
                {"field": "run", "title": "run"},
                {"field": "state", "title": "state"},
                {"field": "start", "title": "from, s", "format": ".1f"},
                {"field": "end", "title": "to, s", "format": ".1f"},
            ],
        },
        params=[_ZOOM_X],
    )


def best_so_far(data: ChartData) -> Spec:
    """Draw the best objective so far over the runs as they ended. Reads ``history``: ``n``, ``y``, ``best``."""
    title = data.objective.title if data.objective else ""
    scale = {"type": "log", "nice": False} if data.objective and data.objective.is_log else {"zero": False}
    x = {"field": "n", "type": "quantitative", "title": "runs that have ended"}
    return _chart(
        layer=[
            {
                "data": {"name": "history"},
                "mark": {"type": "point", "size": 20, "filled": True, "opacity": 0.6, "color": _FAINT},
                "encoding": {
                    "x": x,
                    "y": {"field": "y", "type": "quantitative", "title": title, "scale": scale},
                    "tooltip": [
                        {"field": "run", "title": "run"},
                        {"field": "n", "title": "run number"},
                        {"field": "y", "title": title, "format": ".4~g"},
                        {"field": "best", "title": "best so far", "format": ".4~g"},
                    ],
                },
                "params": [_ZOOM_ALL],
            },
            {
                "data": {"name": "history"},
                "mark": {"type": "line", "interpolate": "step-after", "color": _MARK, "strokeWidth": 2},
                "encoding": {"x": x, "y": {"field": "best", "type": "quantitative", "title": title, "scale": scale}},
            },
        ]
    )


def distribution(data: ChartData) -> Spec:
    """Draw the share of runs whose objective is no worse than each value (EDF). Reads ``edf``: ``y``, ``share``."""
    title = data.objective.title if data.objective else ""
    scale = {"type": "log", "nice": False} if data.objective and data.objective.is_log else {"zero": False}
    encoding: Spec = {
        "x": {"field": "y", "type": "quantitative", "title": title, "scale": scale},
        "y": {
            "field": "share",
            "type": "quantitative",
            "title": "share of runs at least as good",
            "axis": {"format": "%"},
            "scale": {"domain": [0, 1]},
        },
    }
    hover = [
        {"field": "y", "title": title, "format": ".4~g"},
        {"field": "share", "title": "runs at least as good", "format": ".1%"},
    ]
    return _chart(
        data={"name": "edf"},
        layer=[
            {
                "mark": {"type": "line", "interpolate": "step-after", "color": _MARK, "strokeWidth": 2},
                "encoding": encoding,
                "params": [_ZOOM_ALL],
            },
            {
                "mark": {"type": "point", "size": 80, "filled": True, "opacity": 0},
                "encoding": {**encoding, "tooltip": hover},
            },
        ],
    )


def tradeoff(quality: Column, cost: str, middle: str) -> Spec:
    """Draw the settings by quality and cost, the Pareto front, and the golden middle, named above. Reads ``cells``."""
    x = {"field": "cost", "type": "quantitative", "title": cost, "scale": {"zero": False, "padding": 14}}
    y = {**channel(quality, is_y=True), "field": "quality"}
    hover = [
        {"field": "setting"},
        {"field": "quality", "title": quality.title, "format": ".4~g"},
        {"field": "cost", "title": cost, "format": ".4~g"},
        {"field": "n", "title": "runs"},
    ]
    return _chart(
        # The name stands above and not beside its point, where it would lie over others, or be cut.
        title={"text": f"orange: {middle}", "fontSize": 12, "fontWeight": "normal", "anchor": "start"},
        data={"name": "cells"},
        layer=[
            {
                "mark": {"type": "rule", "color": _FAINT},
                "encoding": {"x": x, "y": {**y, "field": "bottom"}, "y2": {"field": "top"}},
            },
            {
                "transform": [{"filter": "datum.front"}],
                "mark": {"type": "line", "color": _FAINT, "strokeDash": [4, 3]},
                "encoding": {"x": x, "y": y, "order": {"field": "cost"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": {"condition": {"test": "datum.middle", "value": CATEGORIES[1]}, "value": _MARK},
                    "tooltip": hover,
                },
                "params": [_ZOOM_ALL],
            },
        ],
    )


_BRUSH = {"name": "brush", "select": {"type": "interval", "clear": "dblclick"}}
_CELL = {
    "name": "cell",
    "select": {"type": "point", "encodings": ["x", "y"], "toggle": False, "clear": "dblclick"},
}
_ZOOM = {
    "name": "zoom",
    "select": {"type": "interval", "translate": False, "zoom": "wheel![event.shiftKey]", "clear": False},
    "bind": "scales",
}
_ZOOM_ALL = {
    "name": "zoom",
    "select": {"type": "interval", "zoom": "wheel![event.shiftKey]", "clear": "dblclick"},
    "bind": "scales",
}
_ZOOM_X = {
    "name": "zoom",
    "select": {"type": "interval", "encodings": ["x"], "zoom": "wheel![event.shiftKey]", "clear": "dblclick"},
    "bind": "scales",
}
_STATES: dict[str, str] = {
    State.FINISHED: CATEGORIES[0],
    State.PRUNED: CATEGORIES[5],
    State.RUNNING: CATEGORIES[2],
    State.INTERRUPTED: _FAINT,
    State.FAILED: CATEGORIES[1],
    State.OUT_OF_MEMORY: CATEGORIES[3],
    State.TIMEOUT: CATEGORIES[4],
    **dict.fromkeys(sorted(UNSUCCESSFUL - {State.FAILED, State.OUT_OF_MEMORY, State.TIMEOUT}), CATEGORIES[6]),
}
"""Colours by state, those that are met most often first."""


def _metric(data: ChartData, name: str | None) -> Column:
    found = data.metrics[name] if name is not None else data.objective
    if found is None:
        raise KeyError("there is no objective; name a metric")
    return found


def _color(column: Column) -> Spec:
    if column.kind == "category":
        return {**channel(column), "scale": {"range": CATEGORIES}}
    scale = {"type": "log"} if column.is_log else {}
    return {
        "field": column.key,
        "type": "quantitative",
        "title": column.title,
        "scale": {"scheme": SEQUENTIAL, **scale},
    }


def _positions(rows: Sequence[Mapping[str, Any]], column: Column) -> list[float | None]:
    """Return where each row lies on an axis of length 1; None where it has no value."""
    import math

    values = [row.get(column.key) for row in rows]
    if column.kind == "category":
        levels = sorted({value for value in values if value is not None})
        places = {level: (i + 0.5) / len(levels) for i, level in enumerate(levels)}
        return [None if value is None else places[value] for value in values]
    scaled = [None if value is None else math.log(value) if column.is_log else value for value in values]
    there = [value for value in scaled if value is not None]
    low, high = min(there, default=0.0), max(there, default=1.0)
    return [None if value is None else (value - low) / (high - low or 1.0) for value in scaled]


def _rows(n: int, *, step: int = _STEP, n_named: int = 0, **parts: Any) -> Spec:
    """Return a chart of rows that is as high as their number asks for.

    What draws it elsewhere is told how many these are, and how many names a legend above them has.
    """
    return _chart(height=n * step + _AROUND_STEPS, usermeta={"rows": n, "named": n_named}, **parts)


def _chart(**parts: Any) -> Spec:
    sizes = {"width": "container", "height": 280, "autosize": {"type": "fit", "contains": "padding"}}
    return {"$schema": SCHEMA, **sizes, **parts}
