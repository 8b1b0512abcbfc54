"""The pictures of results as Vega-Lite specifications: plain mappings, drawn by the page, a notebook, or into files.

Each takes a :class:`ChartData` and returns a specification that reads the data set ``runs`` (or what its text says);
:func:`~sweepline.reports.channels.with_data` puts the rows in. ``shown`` are the rows that a page's filter lets
through; without a page all are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweepline.reports.channels import (
    ALL,
    BRUSH,
    CATEGORIES,
    CELL,
    CELLS,
    FAINT,
    MEANS,
    SCHEMA,
    SEQUENTIAL,
    SHOWN,
    STEP,
    ZOOM,
    ZOOM_ALL,
    Spec,
    channel,
    chart,
    color_channel,
    group_channel,
    mean_tooltip,
    rows_chart,
    sensible_bounds,
    step_channel,
    tooltip,
)
from sweepline.reports.chartdata import ChartData, Column, axis_positions, result_of
from sweepline.runs import State

_MARK = CATEGORIES[0]


def scatter(data: ChartData, x: str, y: str, *, color: str | None = None) -> Spec:
    """Draw a point for each run; what is filtered out stays as a shadow."""
    of_x, of_y = data.column(x), data.column(y)
    encoding = {"x": channel(of_x), "y": channel(of_y, is_y=True)}
    own = {"color": color_channel(data.column(color)) if color else {"value": _MARK}}
    return chart(
        layer=[
            {
                "data": {"name": ALL},
                "mark": {"type": "point", "filled": True, "size": 14, "opacity": 0.25, "color": FAINT},
                "encoding": encoding,
                "params": [BRUSH, ZOOM],
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
    rows of runs that finished; a logarithmic axis ends at 100 times the best of them.
    """
    column, of_metric = data.column(parameter), data.metric(metric)
    is_line = column.kind == "number"
    x, y = channel(column) if is_line else step_channel(column), channel(of_metric, is_y=True)
    if of_metric == data.objective:
        y["scale"] = {**y["scale"], **sensible_bounds(data)}
    finished: Spec = {"transform": [{"filter": f"datum.state === '{State.FINISHED}'"}]}
    mean = {"field": "mean", "type": "quantitative", "title": of_metric.title, "scale": y["scale"]}
    line: Spec = {
        "data": {"name": MEANS},
        "mark": {"type": "line", "color": _MARK, "strokeWidth": 1.5, "clip": True},
        "encoding": {"x": x, "y": mean},
    }
    layers: list[Spec] = [
        {  # as in a scatter plot: axes that followed the selection would move under the pointer that drags it
            "data": {"name": ALL},
            **finished,
            "mark": {"type": "point", "filled": True, "size": 14, "opacity": 0.25, "color": FAINT, "clip": True},
            "encoding": {"x": x, "y": y},
            "params": [BRUSH, ZOOM] if is_line else [BRUSH],
        },
        {
            "data": {"name": SHOWN},
            **finished,
            "mark": {"type": "point", "filled": True, "size": 30, "opacity": 0.6, "color": FAINT, "clip": True},
            "encoding": {"x": x, "y": y, "tooltip": tooltip(data, column, of_metric)},
        },
        {
            "data": {"name": MEANS},
            "mark": {"type": "rule", "strokeWidth": 2, "color": _MARK, "clip": True},
            "encoding": {"x": x, "y": {**mean, "field": "bottom"}, "y2": {"field": "top"}},
        },
        *([line] if is_line else []),
        {
            "data": {"name": MEANS},
            "mark": {"type": "point", "size": 40, "filled": True, "color": _MARK, "opacity": 1, "clip": True},
            "encoding": {
                "x": x,
                "y": mean,
                "tooltip": mean_tooltip(of_metric, column),
            },
        },
    ]
    return chart(layer=layers)


def metric_lines(data: ChartData, x: str, group: str, *, panel: str | None = None) -> Spec:
    """Draw the objective against one parameter, a line for each value of another; a ring is where a line is best.

    So one sees whether the best step size stays where it is over widths or batch sizes. Reads the data set ``means``,
    of :func:`sweepline.reports.summaries.means_by_group`. A logarithmic axis ends at 100 times the best result: beyond
    lie runs that hardly trained.

    Args:
        data: the runs.
        x: the parameter on the axis.
        group: the parameter with a line for each of its values.
        panel: a parameter with a picture of its own for each value, beside each other.
    """
    column, of_group, of_metric = data.column(x), data.column(group), data.metric(None)
    is_line = column.kind == "number"
    along = channel(column) if is_line else step_channel(column)
    mean = {**channel(of_metric, is_y=True), "field": "mean"}
    mean["scale"] = {**mean["scale"], **sensible_bounds(data)}
    color = group_channel(of_group)
    hover = mean_tooltip(of_metric, column, of_group)
    encoding = {"x": along, "y": mean, "color": color}
    interval = {**encoding, "y": {**mean, "field": "bottom"}, "y2": {"field": "top"}}
    layers: list[Spec] = [
        {"mark": {"type": "rule", "opacity": 0.5, "clip": True}, "encoding": interval},
        *([{"mark": {"type": "line", "strokeWidth": 1.5, "clip": True}, "encoding": encoding}] if is_line else []),
        {
            "mark": {"type": "point", "size": 30, "filled": True, "opacity": 1, "clip": True},
            "encoding": {**encoding, "tooltip": hover},
            "params": [ZOOM_ALL] if is_line else [],
        },
        {
            # Not filtered: where no line has a best, scales of no data at all would be warned of.
            "mark": {"type": "point", "size": 150, "filled": False, "strokeWidth": 2, "clip": True},
            "encoding": {**encoding, "opacity": {"condition": {"test": "datum.best", "value": 1}, "value": 0}},
        },
    ]
    if panel is None:
        return chart(data={"name": MEANS}, layer=layers)
    beside = {"field": data.column(panel).key, "type": "nominal", "title": data.column(panel).title}
    return {"$schema": SCHEMA, "data": {"name": MEANS}, "facet": {"column": beside}, "spec": {"layer": layers}}


def heat_map(data: ChartData, x: str, y: str, *, metric: str | None = None) -> Spec:
    """Draw the mean of a metric for each pair of two parameters' values.

    A pair that was not tried stays blank; one whose runs have all ended without a result has a cross.

    Reads the data set ``cells``, of :func:`sweepline.reports.summaries.means_by_pair`.
    """
    of_x, of_y, of_metric = data.column(x), data.column(y), data.metric(metric)
    means = {"field": "mean", "type": "quantitative", "title": of_metric.title}
    encoding = {"x": step_channel(of_x), "y": step_channel(of_y, is_y=True)}
    hover = [
        {"field": of_x.key, "title": of_x.title},
        {"field": of_y.key, "title": of_y.title},
        {**means, "title": f"mean {of_metric.title}", "format": ".4~g"},
        {"field": "n", "title": "runs"},
    ]
    scheme = {"scheme": SEQUENTIAL, "reverse": data.goal == "minimize" and of_metric == data.objective}
    bounds = {**(sensible_bounds(data) if of_metric == data.objective else {}), "clamp": True}
    scale = {"type": "log", **scheme, **bounds} if of_metric.is_log else {"zero": False, **scheme}
    return chart(
        layer=[
            {
                "data": {"name": CELLS},
                "transform": [{"filter": "datum.mean !== null"}],
                "mark": {"type": "rect", "stroke": "transparent"},
                "encoding": {**encoding, "color": {**means, "scale": scale}, "tooltip": hover},
                "params": [CELL],
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
    return rows_chart(
        len(rows),
        step=max(STEP, min(2 * STEP, 222 // max(1, len(rows)))),  # few bars fill the place beside another picture
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
        position = axis_positions(data.rows, axis)
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
    return chart(
        data={"values": rows},
        # Not opacity: with it each line is a layer of its own to what draws a PNG file, which takes 50 ms for each.
        mark={"type": "line", "strokeOpacity": 0.5, "strokeWidth": 1},
        encoding={
            "x": {"field": "axis", "type": "nominal", "sort": [axis.title for axis in axes], "title": None},
            "y": {"field": "at", "type": "quantitative", "axis": None, "scale": {"domain": [0, 1]}},
            "detail": {"field": "i", "type": "nominal"},
            "color": color if data.objective else {"value": _MARK},
        },
    )


def tradeoff(quality: Column, cost: str | Column, middle: str = "") -> Spec:
    """Draw the settings by quality and cost, the Pareto front, and the golden middle, named above. Reads ``cells``."""
    x = {"type": "quantitative", "title": cost, "scale": {"zero": False, "padding": 14}}
    if isinstance(cost, Column):
        x, cost = channel(cost), cost.title
    x["field"] = "cost"
    y = {**channel(quality, is_y=True), "field": "quality"}
    hover = [
        {"field": "setting"},
        {"field": "quality", "title": quality.title, "format": ".4~g"},
        {"field": "cost", "title": cost, "format": ".4~g"},
        {"field": "n", "title": "runs"},
    ]
    return chart(
        # The name stands above and not beside its point, where it would lie over others, or be cut.
        title={
            "text": f"orange: {middle}" if middle else "",
            "fontSize": 12,
            "fontWeight": "normal",
            "anchor": "start",
        },
        data={"name": "cells"},
        layer=[
            {
                "mark": {"type": "rule", "color": FAINT},
                "encoding": {"x": x, "y": {**y, "field": "bottom"}, "y2": {"field": "top"}},
            },
            {
                "transform": [{"filter": "datum.front"}],
                "mark": {"type": "line", "color": FAINT, "strokeDash": [4, 3]},
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
                "params": [ZOOM_ALL],
            },
        ],
    )
