"""The course of runs as a report keeps it: few enough points for a page, with every extreme of what was left out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from sweepline.analysis.differences import differing
from sweepline.contract.metrics import PLACES, MetricPoint
from sweepline.contract.text import printable
from sweepline.recording.events import RunRecord
from sweepline.reports.collect import MAX_METRICS, ReportedSweep
from sweepline.reports.words import format_parameter_value

MAX_POINTS = 200_000
MIN_POINTS_OF_A_RUN = 24


def collect_curves(sweeps: Iterable[ReportedSweep]) -> dict[str, Any]:
    """Return the points of all runs by metric: ``{"places", "metrics": {name: [[run, place: [...], values: [...]]]}}``.

    Runs are numbered over all sweeps in order. ``n_left_out`` counts the points that were thinned out.
    """
    runs = [(sweep, record) for sweep in sweeps for record in sweep.records]
    curves: dict[str, list[dict[str, Any]]] = {}
    places: dict[str, None] = {}
    n_left_out = n_total = 0
    budget = max(MIN_POINTS_OF_A_RUN, MAX_POINTS // max(1, len(runs)))
    for number, (sweep, record) in enumerate(runs):
        points = _points_of(sweep, record)
        if len(points) < 2:
            continue
        for name in dict.fromkeys(name for point in points for name in point.values):
            if name not in curves and len(curves) >= MAX_METRICS:
                continue
            own = [point for point in points if name in point.values]
            kept = thin([point.values[name] for point in own], max(MIN_POINTS_OF_A_RUN, budget // 2))
            n_total, n_left_out = n_total + len(own), n_left_out + len(own) - len(kept)
            curve: dict[str, Any] = {"r": number, "y": [_short(own[i].values[name]) for i in kept]}
            for place in PLACES:
                if all(place in point.place for point in own):
                    places[place] = None
                    curve[place] = [own[i].place[place] for i in kept]
            if len(kept) < len(own):
                curve["i"] = list(kept)
            curves.setdefault(name, []).append(curve)
    lengths = {name: sum(len(curve["y"]) > 1 for curve in found) for name, found in curves.items()}
    metrics = {printable(name): found for name, found in curves.items() if lengths[name]}
    return {"places": list(places), "metrics": metrics, "n_points": n_total, "n_left_out": n_left_out}


def _points_of(sweep: ReportedSweep, record: RunRecord) -> list[MetricPoint]:
    return [] if record.attempt == 0 else sweep.read_history(record)


def thin(values: Sequence[float], n_max: int) -> list[int]:
    """Return which values to keep: all, or the first, the last, and the least and greatest of each stretch."""
    if len(values) <= n_max:
        return list(range(len(values)))
    n_stretches = max(1, (n_max - 2) // 2)
    kept = {0, len(values) - 1}
    for i in range(n_stretches):
        stretch = range(len(values) * i // n_stretches, len(values) * (i + 1) // n_stretches)
        finite = [j for j in stretch if math.isfinite(values[j])] or list(stretch[:1])
        kept |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
    return sorted(kept)


def _short(value: float) -> float | str:
    """Return a value with the digits that a picture can show."""
    return float(f"{value:.7g}") if math.isfinite(value) else repr(value)


def curve_lines(sweeps: Sequence[ReportedSweep], metric: str, *, n_best: int = 6) -> list[dict[str, Any]]:
    """Return the mean course of a metric for the best configurations, with the range between their seeds.

    Rows have ``g`` (the configuration), ``x``, ``y``, ``low``, ``high``, and ``place``: what ``x`` counts.
    """
    found: list[dict[str, Any]] = []
    ranked = [(sweep, config) for sweep in sweeps for config in sweep.ranked[:n_best]]
    names = differing(config.params for _, config in ranked[:n_best])
    for rank, (sweep, config) in enumerate(ranked[:n_best], 1):
        setting = ", ".join(f"{name}={format_parameter_value(config.params.get(name))}" for name in names)
        values: dict[float, list[float]] = {}
        place = "point"
        for record in config.runs:
            points = [p for p in _points_of(sweep, record) if math.isfinite(p.values.get(metric, math.nan))]
            place = next((name for name in PLACES if points and all(name in p.place for p in points)), "point")
            for i, point in enumerate(points, 1):
                values.setdefault(point.place.get(place, i), []).append(point.values[metric])
        if len(values) > 1:
            found += [
                {
                    "g": f"{rank}: {setting}",
                    "x": x,
                    "y": statistics.fmean(ys),
                    "low": min(ys),
                    "high": max(ys),
                    "place": place,
                }
                for x, ys in sorted(values.items())
            ]
    return found
