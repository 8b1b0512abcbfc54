"""What pictures show beside single runs: means with intervals, the best so far, shares, who ran where and when."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sweepline.analysis.statistics import mean_interval
from sweepline.reports.chartdata import ChartData, Column

Rows = list[dict[str, Any]]


def means_by_parameter(rows: Sequence[Mapping[str, Any]], parameter: Column, metric: Column) -> Rows:
    """Return the mean of a metric and its 95 % interval for each value of a parameter, over all runs that have it."""
    values: dict[Any, list[float]] = {}
    for row in rows:
        value, result = row.get(parameter.key), row.get(metric.key)
        if value is not None and result is not None:
            values.setdefault(value, []).append(result)
    found = []
    for value in sorted(values, key=lambda v: (str(type(v)), v)):
        interval = mean_interval(values[value])
        low, high = (None if math.isnan(end) else end for end in (interval.low, interval.high))
        if metric.is_log and low is not None and low <= 0:
            low = min(values[value])
        found.append({parameter.key: value, "mean": interval.mean, "low": low, "high": high, "n": interval.n})
    return found


def best_so_far(rows: Sequence[Mapping[str, Any]], objective: Column, goal: str) -> Rows:
    """Return the objective of each run in the order of their ends, and the best up to there."""
    ended = [row for row in rows if row.get(objective.key) is not None]
    if all(row.get("end") is not None for row in ended):
        ended.sort(key=lambda row: row["end"])
    pick = max if goal == "maximize" else min
    best = itertools.accumulate((row[objective.key] for row in ended), pick)
    return [
        {"n": n, "y": row[objective.key], "best": so_far, "run": row["run"]}
        for n, (row, so_far) in enumerate(zip(ended, best, strict=True), 1)
    ]


def shares(rows: Sequence[Mapping[str, Any]], objective: Column, goal: str, *, n_max: int = 500) -> Rows:
    """Return for values of the objective the share of runs that are at least as good; those without one never are."""
    values = sorted(
        (row[objective.key] for row in rows if row.get(objective.key) is not None), reverse=goal == "maximize"
    )
    found = [{"y": value, "share": n / len(rows)} for n, value in enumerate(values, 1)]
    step = max(1, len(found) // n_max)
    return found[::step] if step == 1 else [*found[::step], found[-1]]


def assign_slots(rows: Sequence[dict[str, Any]]) -> None:
    """Give each row with ``start`` and ``end`` a ``slot``: its host and device, numbered where runs overlap there."""
    free_at: dict[tuple[str, str], list[float]] = {}
    several = len({row.get("host") for row in rows}) > 1
    timed = [row for row in rows if row.get("start") is not None]
    for row in sorted(timed, key=lambda row: (row["start"], row["end"])):
        lanes = free_at.setdefault((row.get("host") or "", row.get("device") or ""), [])
        # Starts are told to the second: a lane is free again a second before its last run is known to have ended.
        lane = next((i for i, until in enumerate(lanes) if until <= row["start"] + 1), len(lanes))
        if lane == len(lanes):
            lanes.append(0.0)
        lanes[lane] = row["end"]
        place = row.get("device") or "slot"
        row["slot"] = f"{row['host']} {place} {lane}" if several else f"{place} {lane}"


def chart_rows(data: ChartData) -> list[dict[str, Any]]:
    """Return the rows of a table of runs, as new mappings."""
    return [dict(row) for row in data.rows]
