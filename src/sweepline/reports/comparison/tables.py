"""The tables of a comparison: what was read, what differs, a table for each metric, throughput, gradient spikes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from sweepline.analysis.compare import FRACTIONS, MetricTable, Reached, RunMeasure, Tables, median_reached
from sweepline.analysis.series import STEP, TIME
from sweepline.contract.text import one_line
from sweepline.contract.values import format_value
from sweepline.display.formats import align_columns, format_number
from sweepline.reports.comparison.formats import (
    AXIS_NAMES,
    format_name,
    format_place,
    format_ratio,
    format_reached,
    format_reached_ratio,
    format_share,
    in_brackets,
)

MAX_METRICS_IN_FULL = 8
MAX_OTHER_METRICS = 24
MAX_NAMES = 8
MAX_PARAMETERS = 25
_MAX_SIDES_ABREAST = 5
_MAX_CELL = 28


def describe_sides(tables: Tables, notes: Sequence[str]) -> Iterator[str]:
    """Yield what was read, what to know of it, and what is alarming about it."""
    for i, side in enumerate(tables.sides):
        n_points = sum(len(series) for run in side.runs for series in run.series.values())
        n_metrics = len({name for run in side.runs for name in run.series})
        seeds = f"{len(side.runs)} runs, " if len(side.runs) > 1 else ""
        source = in_brackets(one_line(side.runs[0].source)) if len(side.runs) == 1 else ""
        role = "baseline" if i == 0 else "run"
        yield f"{role:<10}{format_name(side.label)}: {seeds}{n_points:,} points of {n_metrics} metrics{source}"
    yield from (f"note: {one_line(note)}" for note in (*notes, *tables.notes))
    for label, names in tables.left_out.items():
        shown = ", ".join(map(format_name, names[:MAX_NAMES]))
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        yield f"note: {format_name(label)}: not compared, as the baseline or all others lack it: {shown}{more}"
    for found in tables.identical:
        run = "" if found.run == found.label else f"{format_name(found.run)}: "
        metrics = " and ".join(map(format_name, found.metrics[:MAX_NAMES]))
        more = f" and {len(found.metrics) - MAX_NAMES} more" if len(found.metrics) > MAX_NAMES else ""
        yield (
            f"ALARM: {format_name(found.label)}: {run}{metrics}{more} hold identical values, all {found.n_points:,}: "
            "is one logged under the name of the other?"
        )


def describe_parameters(tables: Tables) -> list[str]:
    """Return the parameters that differ, a column for each side."""
    unknown = [format_name(side.label) for side in tables.sides if not any(run.params for run in side.runs)]
    lines = [""]
    if tables.parameters:
        header = ["what differs", *(format_name(side.label) for side in tables.sides)]
        shown = list(tables.parameters.items())[:MAX_PARAMETERS]
        lines += align_columns([header, *([f"  {format_name(k)}", *map(_format_parameter, v)] for k, v in shown)])
        if len(tables.parameters) > MAX_PARAMETERS:
            lines.append(f"  ({len(tables.parameters) - MAX_PARAMETERS} more with --json)")
    elif len(unknown) < len(tables.sides) - 1:
        lines.append("no parameter differs")
    if unknown:
        lines.append(f"no parameters are known of {', '.join(unknown)}: none is logged or in an hparams.yaml")
    return lines


def _format_parameter(value: Any) -> str:
    return "-" if value is None else one_line(value if isinstance(value, str) else format_value(value), _MAX_CELL)


def render_metrics(tables: Tables) -> list[str]:
    """Return a table for each metric that has a goal or was asked for, and the last values of the others."""
    in_full = [table for table in tables.metrics if table.goal is not None or tables.options.metrics]
    if not tables.options.metrics:
        in_full = (in_full or list(tables.metrics))[:MAX_METRICS_IN_FULL]
    lines = [line for table in in_full for line in ("", *render_metric(table, tables))]
    lines += dict.fromkeys(line for table in in_full for line in _describe_windows(table, tables))
    others = [table for table in tables.metrics if table not in in_full]
    return [*lines, "", *_render_others(others, tables)] if others else lines


def render_metric(table: MetricTable, tables: Tables) -> list[str]:
    """Return the table of a metric, a column for each side; the baseline stands in front again of every few."""
    goal = f"{table.goal}, {table.goal_from}" if table.goal else "no goal is known: --goal NAME=min or =max"
    role = f"; the objective, {tables.objective_from}" if table.name == tables.objective else ""
    lines = [f"{format_name(table.name)} ({goal}{role})"]
    others = range(1, len(tables.sides))
    for first in range(0, len(others), _MAX_SIDES_ABREAST - 1):
        shown = [0, *others[first : first + _MAX_SIDES_ABREAST - 1]]
        rows = [[f"  {name}", *cells] for name, cells in _rows(table, tables, shown)]
        lines += align_columns([["", *(format_name(tables.sides[i].label) for i in shown)], *rows])
    return lines


def _rows(table: MetricTable, tables: Tables, shown: Sequence[int]) -> Iterator[tuple[str, list[str]]]:
    measures = [[measure for measure in table.measures[i] if measure is not None] for i in shown]
    if max(len(own) for own in measures) > 1:
        yield "runs", [str(len(own)) for own in measures]
    if table.goal:
        yield "best", _cells([[m.best for m in own] for own in measures])
        for axis, name in AXIS_NAMES.items():
            places = [[m.best_at[axis] for m in own if axis in m.best_at] for own in measures]
            if any(places):
                yield f"  first at {name}", _place_cells(places, axis)
    yield "last", _cells([[m.last for m in own] for own in measures])
    yield from _common_rows(table, measures)
    yield from _target_rows(table, measures, tables)
    if any(m.n_not_finite for own in measures for m in own):
        counts = [(sum(m.n_not_finite for m in own), sum(m.n_points for m in own)) for own in measures]
        yield "nan or infinite", [f"{n:,} of {n_points:,} points" for n, n_points in counts]


def _common_rows(table: MetricTable, measures: Sequence[Sequence[RunMeasure]]) -> Iterator[tuple[str, list[str]]]:
    """Yield what sides have at the common places, along each axis."""
    for axis, limit in table.limits.items():
        for k, fraction in enumerate(FRACTIONS):
            where = f"at {AXIS_NAMES[axis]} {format_place(fraction * limit, axis)}"
            end = " (end of the common window)" if fraction == 1 else ""
            yield f"{where}{end}", _cells([[m.common[axis][k].value for m in own] for own in measures])
        if table.goal:
            yield "  best until then", _cells([[m.common[axis][-1].best for m in own] for own in measures])


def _target_rows(
    table: MetricTable, measures: Sequence[Sequence[RunMeasure]], tables: Tables
) -> Iterator[tuple[str, list[str]]]:
    """Yield where sides reach the baseline's target."""
    if table.target is None:
        return
    within = f"best within {format_share(tables.options.tolerance)}"
    held = f", held {tables.options.hold} points" if tables.options.hold > 1 else ""
    yield f"target: {format_number(table.target)} (the baseline's {within}{held})", [""] * len(measures)
    for axis, name in AXIS_NAMES.items():
        reached = [[m.reached[axis] for m in own if axis in m.reached] for own in measures]
        if any(reached):
            yield f"  reached at {name}", _reached_cells(reached, axis)


def _cells(found: Sequence[Sequence[float | None]]) -> list[str]:
    """Return for each side the mean of its runs' values, its spread, and its ratio to the first side's."""
    numbers = [[value for value in values if value is not None] for values in found]
    means = [sum(values) / len(values) if values else None for values in numbers]
    cells = []
    for i, (values, mean) in enumerate(zip(numbers, means, strict=True)):
        if mean is None:
            cells.append("-")
            continue
        spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 and all(map(math.isfinite, values)) else ""
        cells.append(f"{format_number(mean)}{spread}{in_brackets(format_ratio(mean, means[0])) if i else ''}")
    return cells


def _place_cells(found: Sequence[Sequence[float]], axis: str) -> list[str]:
    medians = [statistics.median(places) if places else None for places in found]
    return [
        "-"
        if place is None
        else f"{format_place(place, axis)}{in_brackets(format_ratio(place, medians[0])) if i else ''}"
        for i, place in enumerate(medians)
    ]


def _reached_cells(found: Sequence[Sequence[Reached]], axis: str) -> list[str]:
    medians = [median_reached(own) if own else None for own in found]
    cells = []
    for i, (own, median) in enumerate(zip(found, medians, strict=True)):
        if median is None:
            cells.append("-")
            continue
        ratio = format_reached_ratio(median, medians[0]) if i else ""
        counted = f", {sum(reached.is_reached for reached in own)} of {len(own)} runs" if len(own) > 1 else ""
        cells.append(f"{format_reached(median, axis)}{in_brackets(ratio)}{counted}")
    return cells


def _describe_windows(table: MetricTable, tables: Tables) -> Iterator[str]:
    """Yield where one side alone makes the common window much shorter than it could be."""
    for axis, shortest in table.shortest.items():
        others = [
            measure.ends[axis]
            for side, measures in zip(tables.sides, table.measures, strict=True)
            for measure in measures
            if measure is not None and side.label != shortest
        ]
        times = min(others, default=0.0) / table.limits[axis]
        if len(tables.sides) > 2 and times >= 2:
            end = format_place(table.limits[axis], axis)
            yield (
                f"note: the common window ends with {format_name(shortest)} at {AXIS_NAMES[axis]} {end}; without it, "
                f"it would be {times:.3g} times as long"
            )


def _render_others(others: Sequence[MetricTable], tables: Tables) -> list[str]:
    header = ["last values of others (more with --metrics NAME)", *(format_name(side.label) for side in tables.sides)]
    rows = []
    for table in others[:MAX_OTHER_METRICS]:
        values: list[list[float | None]] = [[m.last for m in own if m is not None] for own in table.measures]
        rows.append([f"  {format_name(table.name)}", *_cells(values)])
    lines = align_columns([header, *rows])
    return lines if len(others) == len(rows) else [*lines, f"  ({len(others) - len(rows)} more with --json)"]


def describe_throughput(tables: Tables) -> list[str]:
    """Return steps and samples per second."""
    if not tables.throughput:
        return []
    rows = [["throughput", *(format_name(side.label) for side in tables.sides)]]
    for name, rates in tables.throughput.items():
        cells = [
            "-" if rate is None else f"{rate:,.4g}{in_brackets(format_ratio(rate, rates[0])) if i else ''}"
            for i, rate in enumerate(rates)
        ]
        rows.append([f"  {name}", *cells])
    return ["", *align_columns(rows)]


def describe_spikes(tables: Tables) -> list[str]:
    """Return a line for each gradient norm of each run."""
    lines = []
    for spikes in tables.spikes:
        run = "" if spikes.run == spikes.label else f", {format_name(spikes.run)}"
        where = "".join(
            f", first at {AXIS_NAMES[axis]} {format_place(spikes.first_at[axis], axis)}"
            for axis in (STEP, TIME)
            if axis in spikes.first_at
        )
        lines.append(
            f"gradient spikes: {format_name(spikes.label)}{run}: {spikes.n_spikes:,} of {spikes.n_points:,} values of "
            f"{format_name(spikes.metric)} above {tables.options.spike:g} or not finite, the greatest "
            f"{spikes.greatest:.4g}{where}"
        )
    return ["", *lines] if lines else []
