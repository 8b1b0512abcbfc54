"""What pictures show beside single runs: means with intervals, the best so far, shares, who ran where and when."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sweepline.analysis.statistics import Interval, mean_interval
from sweepline.reports.chartdata import Column, averaged, result_of
from sweepline.runs import UNSUCCESSFUL, State

Rows = list[dict[str, Any]]
N_BINS = 12
MAX_POINTS = 2000
MAX_BARS = 1500
_STRETCHES = 300  # of the time of a sweep whose runs are too many for a bar each,
_MAX_SHARE = 0.02  # of which no bar of several runs takes more, so that pointing at it tells something
_ENDED = frozenset({State.FINISHED, *UNSUCCESSFUL})


def means_by_parameter(rows: Iterable[Mapping[str, Any]], parameter: Column, metric: Column) -> Rows:
    """Return the mean of a metric and its 95 % interval for each value of a parameter, over all runs that have both.

    Configurations of which a seed failed or diverged are left out.

    A number with many values is sorted into twelve bins of equal counts, each named by the middle of its values.
    """
    pairs = [(row[parameter.key], averaged(row, metric)) for row in rows if row.get(parameter.key) is not None]
    found = [(value, result) for value, result in pairs if result is not None]
    found.sort(key=lambda pair: pair[0])
    is_each = parameter.kind == "category" or bool(parameter.levels)
    return [{parameter.key: value, **_mean(values, metric)} for value, values in _group(found, is_each=is_each)]


def _group(pairs: Sequence[tuple[Any, float]], *, is_each: bool) -> Iterator[tuple[Any, list[float]]]:
    """Yield the results for each value of sorted pairs, or for the middle value of each of twelve parts of them."""
    if is_each or len(pairs) <= N_BINS:
        for value, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
            yield value, [result for _, result in group]
        return
    for i in range(N_BINS):
        part = pairs[len(pairs) * i // N_BINS : len(pairs) * (i + 1) // N_BINS]
        yield statistics.median(value for value, _ in part), [result for _, result in part]


def _mean(values: Sequence[float], metric: Column) -> dict[str, Any]:
    found = describe_interval(mean_interval(values))
    if metric.is_log and found["bottom"] <= 0:
        found |= {"low": min(values), "bottom": min(values)}
    return found


def describe_interval(interval: Interval) -> dict[str, Any]:
    """Return a mean as charts take it: ``low`` and ``high`` are told, ``bottom`` and ``top`` are drawn.

    Of one value there is no interval: nothing is told, and what is drawn has no length.
    """
    has_none = math.isnan(interval.low)
    bottom, top = (interval.mean, interval.mean) if has_none else (interval.low, interval.high)
    told = {"low": None, "high": None} if has_none else {"low": bottom, "high": top}
    return {"mean": interval.mean, **told, "bottom": bottom, "top": top, "n": interval.n}


def means_by_group(
    rows: Iterable[Mapping[str, Any]], x: Column, groups: Sequence[Column], metric: Column, goal: str
) -> Rows:
    """Return the mean of a metric for each value of a parameter within each group; ``best`` marks a group's best.

    Args:
        rows: of runs.
        x: the parameter whose values are compared.
        groups: columns whose values, taken together, are a group.
        metric: what is compared.
        goal: ``minimize`` or ``maximize``.
    """
    by_group: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        by_group.setdefault(tuple(row.get(column.key) for column in groups), []).append(row)
    found: Rows = []
    for group, members in by_group.items():
        if None in group:
            continue
        named = dict(zip((column.key for column in groups), group, strict=True))
        means = [{**named, **mean, "best": False} for mean in means_by_parameter(members, x, metric)]
        if len(means) > 1:
            pick = max if goal == "maximize" else min
            pick(means, key=lambda mean: mean["mean"])["best"] = True
        found += means
    return found


def means_by_pair(rows: Iterable[Mapping[str, Any]], x: Column, y: Column, metric: Column) -> Rows:
    """Return the mean of a metric for each pair of values of two parameters that some run has ended with.

    Where none of a pair has a result its mean is None; configurations of which a seed failed or diverged add nothing.
    """
    values: dict[tuple[Any, Any], list[float]] = {}
    for row in rows:
        pair, result = (row.get(x.key), row.get(y.key)), averaged(row, metric)
        if None not in pair and row.get("state", State.FINISHED) in _ENDED:
            values.setdefault(pair, []).extend([] if result is None else [result])
    return [
        {x.key: pair[0], y.key: pair[1], "mean": statistics.fmean(found) if found else None, "n": len(found)}
        for pair, found in values.items()
    ]


def best_so_far(rows: Sequence[Mapping[str, Any]], objective: Column, goal: str) -> Rows:
    """Return the objective of each run in the order of their ends, and the best up to there.

    Of very many runs 2,000 stay, among them each that was the best so far.
    """
    ended = [row for row in rows if result_of(row, objective) is not None]
    if all(row.get("end") is not None for row in ended):
        ended.sort(key=lambda row: row["end"])
    pick = max if goal == "maximize" else min
    best = list(itertools.accumulate((row[objective.key] for row in ended), pick))
    every = max(1, -(-len(ended) // MAX_POINTS))
    return [
        {"n": i + 1, "y": row[objective.key], "best": best[i], "run": row["run"]}
        for i, row in enumerate(ended)
        if i % every == 0 or best[i] != best[i - 1] or i == len(ended) - 1
    ]


def shares(rows: Sequence[Mapping[str, Any]], objective: Column, goal: str, *, n_max: int = 500) -> Rows:
    """Return for values of the objective the share of runs that are at least as good; those without one never are."""
    found = [result_of(row, objective) for row in rows]
    values = sorted((value for value in found if value is not None), reverse=goal == "maximize")
    steps = [{"y": value, "share": n / len(rows)} for n, value in enumerate(values, 1)]
    every = max(1, len(steps) // n_max)
    return steps[::every] if every == 1 else [*steps[::every], steps[-1]]


def assign_slots(rows: Sequence[dict[str, Any]]) -> None:
    """Give each row with ``start`` and ``end`` a ``slot``: its host and device, numbered where runs overlap there."""
    lane_of: list[tuple[dict[str, Any], int]] = []
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
        lane_of.append((row, lane))
    for row, lane in lane_of:
        host, device = row.get("host") or "", row.get("device") or ""
        place = f"{host} {device or 'slot'}" if several else device or "slot"
        row["slot"] = f"{place} ({lane + 1})" if len(free_at[host, device]) > 1 else place


def stretches(rows: Iterable[Mapping[str, Any]]) -> Rows:
    """Return the bars of a timeline: one for each run; where that were too many, one for runs that follow each other.

    Runs of a slot are put together where they ended alike and less than a 300th of the whole time lies between them.
    """
    timed = sorted((row for row in rows if row.get("slot")), key=lambda row: (row["start"], row["end"]))
    timed.sort(key=lambda row: row["state"] != State.FINISHED)  # what needs a look lies on top
    bars = [{name: row[name] for name in ("slot", "start", "end", "state", "run")} for row in timed]
    if len(bars) <= MAX_BARS:
        return bars
    span = max(bar["end"] for bar in bars) - min(bar["start"] for bar in bars)
    found: dict[int, list[dict[str, Any]]] = {}  # the members of each bar by the number of its first
    last: dict[tuple[str, str], int] = {}
    for i, bar in enumerate(bars):
        lane = (bar["slot"], bar["state"])
        first = last.get(lane)
        if first is None or not _is_near(found[first], bar, span):
            first = last[lane] = i
        found.setdefault(first, []).append(bar)
    return [members[0] if len(members) == 1 else _put_together(members) for members in found.values()]


def _is_near(members: Sequence[Mapping[str, Any]], bar: Mapping[str, Any], span: float) -> bool:
    is_next = bar["start"] - members[-1]["end"] < span / _STRETCHES
    return bool(is_next and bar["end"] - members[0]["start"] < span * _MAX_SHARE)


def _put_together(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = f"{len(members):,} runs, {members[0]['run']} to {members[-1]['run']}"
    return {**members[0], "end": max(bar["end"] for bar in members), "run": names}
