"""The pictures of a report as Vega-Lite specifications: plain mappings, drawn by the page, a notebook, or into files.

Each takes a :class:`ChartData` and returns a specification that reads the data set ``runs`` (or what its text says);
:func:`with_data` puts the rows in. ``shown`` are the rows that a page's filter lets through; without a page all are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweepline.reports.chartdata import ChartData, Column
from sweepline.runs import UNSUCCESSFUL

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
CATEGORIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d1f", "#6a51a3"]
"""Okabe and Ito's colours, told apart with any kind of colour vision; the yellow, too light on white, is left out."""
SEQUENTIAL = "viridis"
_FAINT, _MARK = "#9aa4ae", CATEGORIES[0]
ALL, SHOWN = "runs", "shown"
_MAX_TICKS = 12


def with_data(spec: Spec, **rows: Sequence[Mapping[str, Any]]) -> Spec:
    """Return a specification with the rows of each data set by name; ``shown`` are ``runs`` by default."""
    sets = {SHOWN: rows.get(ALL, ()), **rows}
    return {**spec, "datasets": {name: list(values) for name, values in sets.items()}}


def channel(column: Column, **more: Any) -> Spec:
    """Return how a column is put on an axis or a colour."""
    if column.kind == "category":
        return {"field": column.key, "type": "nominal", "title": column.title, **more}
    scale = {"type": "log", "nice": False, "padding": 14} if column.is_log else {"zero": False, "padding": 14}
    axis: Spec = {"grid": True, "tickCount": 6, "format": "~g", "labelOverlap": True}
    if 1 < len(column.levels) <= _MAX_TICKS:
        axis["values"] = list(column.levels)  # what was tried, not what lies between
    return {"field": column.key, "type": "quantitative", "title": column.title, "scale": scale, "axis": axis, **more}


def step_channel(column: Column, *, is_reversed: bool = False) -> Spec:
    """Return how a column's values are put on an axis, each a step of its own, with or without a result."""
    axis = {"axis": {"format": "~g", "labelAngle": 0, "labelOverlap": True}} if column.kind == "number" else {}
    levels = list(reversed(column.levels)) if is_reversed else list(column.levels)
    scale = {"scale": {"domain": levels}, "sort": None} if levels else {"sort": "ascending"}
    return {"field": column.key, "type": "ordinal", "title": column.title, **scale, **axis}


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
    encoding = {"x": channel(of_x), "y": channel(of_y)}
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

    Reads the data set ``means`` too, of :func:`sweepline.reports.summaries.means_by_parameter`.
    """
    column, of_metric = data.column(parameter), _metric(data, metric)
    is_line = column.kind == "number"
    x = channel(column) if is_line else step_channel(column)
    mean = {"field": "mean", "type": "quantitative", "title": of_metric.title}
    layers: list[Spec] = [
        {
            "data": {"name": SHOWN},
            "mark": {"type": "point", "filled": True, "size": 30, "opacity": 0.55, "color": _FAINT},
            "encoding": {"x": x, "y": channel(of_metric), "tooltip": tooltip(data, column, of_metric)},
            "params": [_BRUSH, _ZOOM] if is_line else [],
        },
        {
            "data": {"name": "means"},
            "mark": {"type": "rule", "strokeWidth": 2, "color": _MARK},
            "encoding": {"x": x, "y": {**mean, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "data": {"name": "means"},
            "mark": {"type": "line", "color": _MARK, "point": {"size": 50, "filled": True}}
            if is_line
            else {"type": "point", "size": 60, "filled": True, "color": _MARK},
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
    """Draw the mean of a metric for each pair of two parameters' values; a pair without a result stays blank."""
    of_x, of_y, of_metric = data.column(x), data.column(y), _metric(data, metric)
    means = {"aggregate": "mean", "field": of_metric.key, "type": "quantitative", "title": of_metric.title}
    encoding = {"x": step_channel(of_x), "y": step_channel(of_y, is_reversed=of_y.kind == "number")}
    cell = {"transform": [{"filter": f"isValid(datum.{of_metric.key})"}], "data": {"name": SHOWN}}
    hover = [
        {"field": of_x.key, "title": of_x.title},
        {"field": of_y.key, "title": of_y.title},
        {**means, "title": f"mean {of_metric.title}", "format": ".4~g"},
        {"aggregate": "count", "title": "runs"},
    ]
    scheme = {"scheme": SEQUENTIAL, "reverse": data.goal == "minimize" and of_metric == data.objective}
    scale = {"type": "log", **scheme} if of_metric.is_log else {"zero": False, **scheme}
    return _chart(
        layer=[
            {
                **cell,
                "mark": {"type": "rect", "stroke": "transparent"},
                "encoding": {**encoding, "color": {**means, "scale": scale}, "tooltip": hover},
                "params": [{"name": "cell", "select": {"type": "point", "encodings": ["x", "y"], "clear": "dblclick"}}],
            },
        ]
    )


def importance_bars(shares: Mapping[str, float], data: ChartData) -> Spec:
    """Draw the importance of each parameter, the greatest first."""
    rows = [{"parameter": data.column(name).title, "share": share} for name, share in shares.items()]
    return _chart(
        data={"values": rows},
        height={"step": 24},
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
                "o": row.get(data.objective.key) if data.objective else None,
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

    Reads the data sets ``lines`` (``g`` group, ``x``, ``y``, ``low``, ``high``) and ``raw`` (a run each, ``r``).
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
                "encoding": {"x": x, "y": y, "color": group, "tooltip": hover},
            },
        ]
    )


def timeline(data: ChartData) -> Spec:
    """Draw which run held which slot, and when. Reads ``slot``, ``start`` and ``end`` (seconds), ``state``."""
    return _chart(
        data={"name": ALL},
        height={"step": 26},
        mark={"type": "bar", "height": {"band": 0.75}, "stroke": "white", "strokeWidth": 0.5},
        encoding={
            "y": {"field": "slot", "type": "nominal", "title": None},
            "x": {"field": "start", "type": "quantitative", "title": "seconds since the first start"},
            "x2": {"field": "end"},
            "color": {"field": "state", "type": "nominal", "title": None, "scale": _STATES},
            "tooltip": [
                *tooltip(data),
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
                "mark": {"type": "point", "size": 14, "filled": True, "opacity": 0.4, "color": _FAINT},
                "encoding": {
                    "x": x,
                    "y": {"field": "y", "type": "quantitative", "title": title, "scale": scale},
                    "tooltip": [{"field": "run"}, {"field": "y", "title": title, "format": ".4~g"}],
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
    return _chart(
        data={"name": "edf"},
        mark={"type": "line", "interpolate": "step-after", "color": _MARK, "strokeWidth": 2},
        encoding={
            "x": {"field": "y", "type": "quantitative", "title": title, "scale": scale},
            "y": {
                "field": "share",
                "type": "quantitative",
                "title": "share of runs at least as good",
                "axis": {"format": "%"},
            },
        },
        params=[_ZOOM_ALL],
    )


def tradeoff(quality: str, cost: str) -> Spec:
    """Draw the settings by quality and cost, the Pareto front, and the golden middle. Reads ``cells``."""
    x = {"field": "cost", "type": "quantitative", "title": cost, "scale": {"zero": False}}
    y = {"field": "quality", "type": "quantitative", "title": quality, "scale": {"zero": False}}
    hover = [
        {"field": "setting"},
        {"field": "quality", "title": quality, "format": ".4~g"},
        {"field": "cost", "title": cost, "format": ".4~g"},
        {"field": "n", "title": "runs"},
    ]
    return _chart(
        data={"name": "cells"},
        layer=[
            {
                "mark": {"type": "rule", "color": _FAINT},
                "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
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
            {
                "mark": {"type": "text", "dy": -12, "fontSize": 11, "limit": 160},
                "encoding": {"x": x, "y": y, "text": {"field": "setting"}},
            },
        ],
    )


_BRUSH = {"name": "brush", "select": {"type": "interval", "clear": "dblclick"}}
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
_STATES = {
    "domain": ["finished", "pruned", "running", "interrupted", *sorted(UNSUCCESSFUL)],
    "range": [CATEGORIES[0], CATEGORIES[5], CATEGORIES[2], _FAINT, *[CATEGORIES[1]] * len(UNSUCCESSFUL)],
}


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


def _chart(**parts: Any) -> Spec:
    fit = "fit-x" if isinstance(parts.get("height"), dict) else "fit"  # rows of a fixed height make the chart as high
    sizes = {"width": "container", "height": 280, "autosize": {"type": fit, "contains": "padding"}}
    return {"$schema": SCHEMA, **sizes, **parts}
