"""The pictures of how runs and a sweep went, as :mod:`sweepline.reports.charts` has those of their results."""

from __future__ import annotations

from sweepline.reports.channels import (
    CATEGORIES,
    FAINT,
    STATE_COLORS,
    ZOOM_ALL,
    ZOOM_X,
    Spec,
    chart,
    group_channel,
    rows_chart,
)
from sweepline.reports.chartdata import ChartData, Column

_MARK = CATEGORIES[0]


def curves(
    metric: str, place: str, *, is_log: bool = False, is_log_place: bool = False, bounds: Spec | None = None
) -> Spec:
    """Draw a metric over the course of runs: a line for each group, and a band over its seeds.

    ``bounds`` are those of a logarithmic axis, of :func:`sweepline.reports.channels.sensible_bounds`.

    Reads the data sets ``lines`` (``g`` group, ``x``, ``y``, ``low``, ``high``) and ``raw`` (a run each, ``r``). The
    groups have their colours in the order of the rows.
    """
    x = {
        "field": "x",
        "type": "quantitative",
        "title": place,
        "scale": {"type": "log"} if is_log_place else {"zero": False},
    }
    y_scale = {"type": "log", **(bounds or {})} if is_log else {"zero": False}
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
    return chart(
        layer=[
            {
                "data": {"name": "raw"},
                "mark": {"type": "line", "strokeWidth": 1, "strokeOpacity": 0.25, "clip": True},
                "encoding": {"x": x, "y": y, "color": group, "detail": {"field": "r"}},
                "params": [ZOOM_ALL],
            },
            {
                "data": {"name": "lines"},
                "mark": {"type": "area", "opacity": 0.18, "strokeWidth": 0, "clip": True},
                "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": group},
            },
            {
                "data": {"name": "lines"},
                "mark": {"type": "line", "strokeWidth": 2, "clip": True},
                "encoding": {"x": x, "y": y, "color": group},
            },
            {  # a line has one hover text for all of it, its points have one each
                "data": {"name": "lines"},
                "mark": {"type": "point", "size": 80, "filled": True, "opacity": 0},
                "encoding": {"x": x, "y": y, "color": group, "tooltip": hover},
            },
        ]
    )


def colored_by(spec: Spec, column: Column) -> Spec:
    """Return :func:`curves` for groups that are the values of a parameter, in its order of colours."""
    color = {**group_channel(column), "field": "g", "legend": {"symbolType": "stroke", "symbolOpacity": 1}}
    layers = [{**unit, "encoding": {**unit["encoding"], "color": color}} for unit in spec["layer"]]
    return {**spec, "layer": layers}


def timeline(data: ChartData) -> Spec:
    """Draw which run held which slot, and when. Reads ``bars``, of :func:`sweepline.reports.summaries.stretches`."""
    slots = {row["slot"] for row in data.rows if row.get("slot")}
    met = {row["state"] for row in data.rows}
    states = [state for state in STATE_COLORS if state in met]
    colors = {"domain": states, "range": [STATE_COLORS[state] for state in states]}
    return rows_chart(
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
        params=[ZOOM_X],
    )


def best_so_far(data: ChartData) -> Spec:
    """Draw the best objective so far over the runs as they ended. Reads ``history``: ``n``, ``y``, ``best``."""
    title = data.objective.title if data.objective else ""
    scale = {"type": "log", "nice": False} if data.objective and data.objective.is_log else {"zero": False}
    x = {"field": "n", "type": "quantitative", "title": "runs that have ended"}
    return chart(
        layer=[
            {
                "data": {"name": "history"},
                "mark": {"type": "point", "size": 20, "filled": True, "opacity": 0.6, "color": FAINT},
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
                "params": [ZOOM_ALL],
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
    return chart(
        data={"name": "edf"},
        layer=[
            {
                "mark": {"type": "line", "interpolate": "step-after", "color": _MARK, "strokeWidth": 2},
                "encoding": encoding,
                "params": [ZOOM_ALL],
            },
            {
                "mark": {"type": "point", "size": 80, "filled": True, "opacity": 0},
                "encoding": {**encoding, "tooltip": hover},
            },
        ],
    )
