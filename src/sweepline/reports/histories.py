"""The course of runs as a report keeps it: few enough points for a page, with every extreme of what was left out."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sweepline.analysis.differences import differing
from sweepline.contract.metrics import PLACES, MetricPoint
from sweepline.contract.text import printable
from sweepline.contract.values import is_number
from sweepline.recording.events import RunRecord
from sweepline.reports.chartdata import STEP_SIZE
from sweepline.reports.collect import MAX_METRICS, ReportedSweep
from sweepline.reports.words import format_parameter_value

MAX_POINTS = 200_000
MIN_POINTS_OF_A_RUN = 24
MAX_LINE_POINTS = 500
EFFECTIVE = "effective steps"


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


Member = tuple[ReportedSweep, RunRecord]


def groups_of_best(sweeps: Sequence[ReportedSweep], *, n_best: int = 6) -> dict[str, list[Member]]:
    """Return the runs of the best configurations by a text that says what sets them apart."""
    ranked = [(sweep, config) for sweep in sweeps for config in sweep.ranked[:n_best]][:n_best]
    names = differing(config.params for _, config in ranked)
    found = {}
    for rank, (sweep, config) in enumerate(ranked, 1):
        setting = ", ".join(f"{name}={format_parameter_value(config.params.get(name))}" for name in names)
        found[f"{rank}: {setting}"] = [(sweep, record) for record in config.runs]
    return found


def curve_lines(
    groups: Mapping[Any, Sequence[Member]], metric: str, *, place: str | None = None
) -> list[dict[str, Any]]:
    """Return the mean course of a metric in each group of runs, with the range between them.

    Args:
        groups: runs by what they are called.
        metric: its name.
        place: what the course is told by: ``epoch``, ``step``, ``samples``, or :data:`EFFECTIVE` (step size times
            steps); by default the first of those that all runs have, else the number of the point.

    Returns:
        Rows with ``g`` (the group), ``x``, ``y``, ``low``, ``high``, and ``place``: what ``x`` counts. A run that does
        not have that place has no part in it, and a group with fewer than two points has no rows.
    """
    points_of = {
        group: [(record, _points_with(sweep, record, metric)) for sweep, record in members]
        for group, members in groups.items()
    }
    counted = place or _common_place([points for own in points_of.values() for _, points in own if points])
    found: list[dict[str, Any]] = []
    for group, runs in points_of.items():
        courses = []
        for record, points in runs:
            xs = _positions(points, counted, record)
            if xs:
                courses.append(_course(zip(xs, (point.values[metric] for point in points), strict=True)))
        found += [{"g": group, **point, "place": counted} for point in _mean_course(courses)]
    return found


def _points_with(sweep: ReportedSweep, record: RunRecord, metric: str) -> list[MetricPoint]:
    return [point for point in _points_of(sweep, record) if math.isfinite(point.values.get(metric, math.nan))]


def _common_place(runs: Sequence[Sequence[MetricPoint]]) -> str:
    points = [point for run in runs for point in run]
    return next((name for name in PLACES if points and all(name in point.place for point in points)), "point")


def _positions(points: Sequence[MetricPoint], place: str, record: RunRecord) -> list[float] | None:
    """Return where points lie; None where they do not say."""
    if place == "point":
        return [float(i) for i in range(1, len(points) + 1)]
    if place == EFFECTIVE:
        rate = next((value for name, value in record.params.items() if STEP_SIZE.search(name)), None)
        steps = _positions(points, "step", record)
        return [float(rate) * step for step in steps] if rate is not None and is_number(rate) and steps else None
    return [float(point.place[place]) for point in points] if all(place in point.place for point in points) else None


def _course(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return points in their order; those at one place, as several in an epoch, are one: their mean."""
    values: dict[float, list[float]] = {}
    for x, y in points:
        values.setdefault(x, []).append(y)
    return [(x, statistics.fmean(ys)) for x, ys in sorted(values.items())]


def _mean_course(courses: Sequence[Sequence[tuple[float, float]]]) -> list[dict[str, float]]:
    """Return the mean of several courses and the range between them, at the places of any; each reaches to its end."""
    places = sorted({x for course in courses for x, _ in course})
    if len(places) < 2:
        return []
    places = [places[i] for i in range(0, len(places) - 1, -(-len(places) // MAX_LINE_POINTS))] + places[-1:]
    found = []
    for x in places:
        values = [y for course in courses if (y := _value_at(course, x)) is not None]
        if values:
            found.append({"x": x, "y": statistics.fmean(values), "low": min(values), "high": max(values)})
    return found


def _value_at(course: Sequence[tuple[float, float]], x: float) -> float | None:
    """Return the value of a course between its points; None beyond its ends."""
    i = bisect_left(course, x, key=lambda point: point[0])
    if i == len(course) or (i == 0 and course[0][0] > x):
        return None
    after = course[i]
    if after[0] == x:
        return after[1]
    before = course[i - 1]
    return before[1] + (after[1] - before[1]) * (x - before[0]) / (after[0] - before[0])
