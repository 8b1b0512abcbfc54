"""What a report's page holds of its sweeps: columns, runs, curves, pictures and sentences, as JSON can say it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline import __version__
from sweepline.analysis.differences import differing
from sweepline.analysis.ranking import config_key, without_seed
from sweepline.analysis.statistics import mean_interval
from sweepline.analysis.tradeoff import GoldenMiddle, describe_setting
from sweepline.contract.files import open_plain
from sweepline.contract.runfolder import COMMAND, START_MARK, STDERR, STDOUT
from sweepline.contract.text import display_path, printable
from sweepline.recording.events import RunRecord, names_in
from sweepline.reports import charts, coursecharts
from sweepline.reports.channels import channel, describe_bounds, group_channel, sensible_bounds, step_channel
from sweepline.reports.chartdata import (
    BATCH_SIZE,
    STEP_SIZE,
    ChartData,
    Column,
    chart_values,
    make_column,
    result_of,
    shown,
)
from sweepline.reports.collect import ReportedSweep, started_s
from sweepline.reports.histories import collect_curves
from sweepline.reports.numbers import format_with_spread
from sweepline.reports.summaries import assign_slots, best_so_far, describe_interval, shares, stretches
from sweepline.reports.words import (
    describe_sweep,
    format_parameter_value,
)
from sweepline.runs import UNSUCCESSFUL, State, canonical_json

_MAX_COMMANDS, _MAX_TAILS, _TAIL_BYTES = 2000, 40, 3000
_MAX_PARAMETERS, _MAX_METRICS = 40, 40
TEMPERATURE = "temperature (step size / batch size)"


def chart_data(sweeps: Sequence[ReportedSweep]) -> ChartData:
    """Return the runs of sweeps as a table for charts; parameters are those that differ."""
    records = [(sweep, record) for sweep in sweeps for record in sweep.records]
    names = list(dict.fromkeys(name for sweep in sweeps for name in sweep.differing))
    names += [name for name in _differing_between(sweeps) if name not in names]
    metrics = names_in(record.metrics for _, record in records)
    objective = next((sweep.objective for sweep in sweeps if sweep.objective is not None), None)
    if objective is not None and objective.name in metrics:
        metrics.sort(key=lambda name: name != objective.name)
    names, metrics = names[:_MAX_PARAMETERS], metrics[:_MAX_METRICS]
    runs = [record for _, record in records]
    # What a run has that was stopped early is shown too: it tells how far that came.
    of_result = [r.metrics if r.has_result or r.state == State.PRUNED else {} for r in runs]
    swept = {name: [run.params.get(name) for run in runs] for name in names}
    measured = {name: [metrics.get(name) for metrics in of_result] for name in metrics}
    parameters = {name: make_column(f"p{i}", printable(name), swept[name]) for i, name in enumerate(names)}
    results = {  # an axis shows the values that were tried, but not the results that happened to come of them
        name: replace(make_column(f"m{i}", printable(name), measured[name]), levels=())
        for i, name in enumerate(metrics)
    }
    step_size = next((name for name, c in parameters.items() if STEP_SIZE.search(name) and c.kind == "number"), None)
    batch_size = next((name for name, c in parameters.items() if BATCH_SIZE.search(name) and c.kind == "number"), None)
    columns = _fixed_columns(records)
    columns |= {column.key: chart_values(swept[name], column) for name, column in parameters.items()}
    columns |= {column.key: chart_values(measured[name], column) for name, column in results.items()}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if step_size and batch_size:
        _add_temperature(rows, parameters, parameters[step_size], parameters[batch_size])
    if len(sweeps) > 1:
        levels = tuple(dict.fromkeys(printable(sweep.name) for sweep in sweeps))
        parameters["sweep"] = Column("sweep", "sweep", "category", levels=levels)
    _number_configs(rows, records)
    if objective is not None and objective.name in results:
        _mark_lost(rows, results[objective.name])
    _place_in_time(rows)
    return ChartData(
        rows=rows,
        parameters=parameters,
        metrics=results,
        objective=results.get(objective.name) if objective is not None else None,
        goal=objective.goal if objective is not None else "minimize",
    )


def page_data(sweeps: Sequence[ReportedSweep], *, is_live: bool = False, at: Path | None = None) -> dict[str, Any]:
    """Return all that a page shows; ``at`` is the folder of the page, to which paths are relative."""
    data = chart_data(sweeps)
    records = [(sweep, record) for sweep in sweeps for record in sweep.records]
    return {
        "title": ", ".join(printable(sweep.name) for sweep in sweeps),
        "written": datetime.now().astimezone().isoformat(timespec="seconds"),
        "version": __version__,
        "isLive": is_live and any(sweep.is_running for sweep in sweeps),
        "sweeps": [_sweep(sweep) for sweep in sweeps],
        "goal": data.goal,
        "objective": data.objective.key if data.objective else None,
        "columns": _columns(data),
        "runs": _columnar(data.rows),
        "same": _same_for_all(sweeps, data),
        "curves": collect_curves(sweeps),
        "pictures": _pictures(sweeps, data),
        "details": _details(records, at),
        "unsuccessful": sorted(state.value for state in UNSUCCESSFUL),
    }


def _fixed_columns(records: Sequence[tuple[ReportedSweep, RunRecord]]) -> dict[str, list[Any]]:
    """Return what every run has, by column."""
    runs = [record for _, record in records]
    starts = [started_s(run) for run in runs]
    return {
        "run": [shown(run.name or run.run_id) for run in runs],
        "id": [shown(run.run_id) for run in runs],
        "state": [run.state.value for run in runs],
        "reason": [shown(run.reason) for run in runs],
        "seed": [_seed(run.params.get("seed") if run.seed is None else run.seed) for run in runs],
        "attempt": [run.attempt for run in runs],
        "device": [shown(run.device) for run in runs],
        "host": [shown(run.outcome.host) if run.outcome else "" for run in runs],
        "start": [start if math.isfinite(start) else None for start in starts],
        "duration": [round(run.duration_s, 3) if math.isfinite(run.duration_s) else 0.0 for run in runs],
        "sweep": [shown(sweep.name) for sweep, _ in records],
        "code": [shown(run.code) for run in runs],
    }


def _seed(value: Any) -> Any:
    """Return a seed as a page can hold it: a number where JavaScript keeps all of its digits, else text."""
    is_safe = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    return value if value is None or is_safe else printable(str(value))


def _differing_between(sweeps: Sequence[ReportedSweep]) -> list[str]:
    if len(sweeps) < 2:
        return []
    return differing(without_seed(record.params) for sweep in sweeps for record in sweep.records)


def _add_temperature(
    rows: Iterable[dict[str, Any]], parameters: dict[str, Column], step_size: Column, batch_size: Column
) -> None:
    for row in rows:
        eta, size = row[step_size.key], row[batch_size.key]
        row["t"] = float(f"{eta / size:.6g}") if eta is not None and size else None
    parameters[TEMPERATURE] = make_column("t", TEMPERATURE, [row["t"] for row in rows])


def _number_configs(rows: Sequence[dict[str, Any]], records: Sequence[tuple[ReportedSweep, RunRecord]]) -> None:
    """Give runs that differ only in their seed the same ``config``."""
    numbers: dict[Hashable, int] = {}
    for row, (sweep, record) in zip(rows, records, strict=True):
        row["config"] = numbers.setdefault((sweep.name, config_key(record)), len(numbers))


def _mark_lost(rows: Sequence[dict[str, Any]], objective: Column) -> None:
    """Tell of each run whether one of its configuration failed, or diverged: has ended without a finite result."""
    ended = (row for row in rows if row["state"] in UNSUCCESSFUL or row["state"] == State.FINISHED)
    lost = {row["config"] for row in ended if result_of(row, objective) is None}
    for row in rows:
        row["lost"] = row["config"] in lost


def _place_in_time(rows: Sequence[dict[str, Any]]) -> None:
    first = min((row["start"] for row in rows if row["start"] is not None), default=0.0)
    for row in rows:
        if row["start"] is not None:
            row["start"] = round(row["start"] - first, 3)
            row["end"] = round(row["start"] + row["duration"], 3)
    assign_slots(list(rows))


def _sweep(sweep: ReportedSweep) -> dict[str, Any]:
    plan = sweep.plan
    told = (
        "sweepline",
        "python",
        "platform",
        "host",
        "git_commit",
        "align",
        "method",
        "seeds",
        "code",
        "constraints",
        "starts",
    )
    return {
        "name": printable(sweep.name),
        "path": display_path(sweep.path),
        "sentences": [{"kind": s.kind, "text": printable(s.text)} for s in describe_sweep(sweep)],
        "provenance": {name: _plain(plan[name]) for name in told if plan.get(name) not in (None, [], {})},
    }


def _plain(value: Any) -> str:
    return printable(value if isinstance(value, str) else canonical_json(value))


def _columns(data: ChartData) -> list[dict[str, Any]]:
    found = []
    for role, columns in (("parameter", data.parameters), ("metric", data.metrics)):
        for column in columns.values():
            entry: dict[str, Any] = {
                "key": column.key,
                "title": column.title,
                "role": role,
                "kind": column.kind,
            }
            entry |= {"isLog": column.is_log, "isFew": bool(column.levels)}
            entry["x"], entry["y"] = channel(column), channel(column, is_y=True)
            if role == "parameter":
                entry["stepX"], entry["stepY"] = step_channel(column), step_channel(column, is_y=True)
                entry["group"] = group_channel(column)
            found.append(entry)
    return found


def _columnar(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows as columns; texts that repeat stand once, and are numbered."""
    found: dict[str, Any] = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        levels = dict.fromkeys(value for value in values if isinstance(value, str))
        if levels and 2 * len(levels) <= len(values):
            numbers = {level: i for i, level in enumerate(levels)}
            found[key] = {
                "levels": list(levels),
                "codes": [numbers.get(v, -1) if v is not None else -1 for v in values],
            }
        else:
            found[key] = values
    return found


def _same_for_all(sweeps: Sequence[ReportedSweep], data: ChartData) -> dict[str, str]:
    found: dict[str, str] = {}
    for sweep in sweeps:
        for record in sweep.records[:1]:
            for name, value in record.params.items():
                if name not in data.parameters and name != "seed":
                    found[printable(name)] = printable(format_parameter_value(value))
    return found


def _pictures(sweeps: Sequence[ReportedSweep], data: ChartData) -> dict[str, Any]:
    """Return the pictures that do not follow the reader's choice, and what those that do begin with."""
    found = {"curves": {"spec": coursecharts.curves(data.objective.title if data.objective else "", "epoch")}}
    found |= _timeline(data)
    if data.objective is None or all(result_of(row, data.objective) is None for row in data.rows):
        return found
    return found | _result_pictures(sweeps[0], data, data.objective)


def _result_pictures(first: ReportedSweep, data: ChartData, objective: Column) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names = [name for name in data.parameters if name not in (TEMPERATURE, "sweep")]
    found["bounds"] = describe_bounds(sensible_bounds(data))
    importance = first.importance
    ordered = [name for name in importance.shares if name in data.parameters] if importance else []
    ordered += [name for name in names if name not in ordered]
    found["order"] = [data.parameters[name].key for name in ordered]
    if importance is not None and len(importance.shares) > 1:
        spec = charts.importance_bars({n: s for n, s in importance.shares.items() if n in data.parameters}, data)
        found["importance"] = {"spec": spec, "note": str(importance)}
    if ordered:
        found["scatter"] = {"spec": charts.scatter(data, ordered[0], ordered[0])}
        kinds = {data.parameters[name].kind: name for name in (*data.parameters, *reversed(ordered))}
        found["slice"] = {kind: {"spec": charts.metric_by_parameter(data, name)} for kind, name in kinds.items()}
    if len(ordered) > 1:
        found["heat"] = {"spec": charts.heat_map(data, ordered[0], ordered[1])}
    along = next((name for name in ordered if data.parameters[name].kind == "number"), None)
    if along is not None and len(ordered) > 1:
        found["lines"] = {"spec": charts.metric_lines(data, along, next(name for name in ordered if name != along))}
    middle = first.middle_by_duration
    if middle is not None and len(middle.cells) > 2 and middle.middle.cost is not None:
        spec = charts.tradeoff(objective, "mean duration, s", printable(middle.name))
        found["tradeoff"] = {"spec": spec, "data": {"cells": tradeoff_cells(middle, objective)}, "note": str(middle)}
    if first.front:
        spec, cells = draw_front(first, data)
        found["pareto"] = {"spec": spec, "data": {"cells": cells}, "note": "orange: the Pareto front"}
    history = best_so_far(data.rows, objective, data.goal)
    found["best"] = {"spec": coursecharts.best_so_far(data), "data": {"history": history}}
    edf = shares(data.rows, objective, data.goal)
    found["edf"] = {"spec": coursecharts.distribution(data), "data": {"edf": edf}}
    return found


def _timeline(data: ChartData) -> dict[str, Any]:
    timed = [row for row in data.rows if row.get("slot")]
    return {"timeline": {"spec": coursecharts.timeline(data), "data": {"bars": stretches(timed)}}} if timed else {}


def draw_front(sweep: ReportedSweep, data: ChartData) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the picture of the first two of several objectives, and what it reads: a cell for each configuration."""
    first, second = (data.metrics[objective.name] for objective in sweep.objectives[:2])
    front = {id(config) for config in sweep.front}
    cells = []
    for config in sweep.ranked:
        quality, cost = (config.means.get(objective.name, math.nan) for objective in sweep.objectives[:2])
        if math.isfinite(quality) and math.isfinite(cost):
            setting = {name: config.params[name] for name in sweep.differing if name in config.params}
            cells.append(
                {
                    "setting": ", ".join(f"{k}={format_parameter_value(v)}" for k, v in setting.items()),
                    **describe_interval(mean_interval(config.values_of(sweep.objectives[0].name))),
                    "quality": quality,
                    "cost": cost,
                    "n": len(config.runs),
                    "front": id(config) in front,
                    "middle": id(config) in front,
                }
            )
    return charts.tradeoff(first, second), _above_zero(cells, first)


def tradeoff_cells(middle: GoldenMiddle, quality: Column) -> list[dict[str, Any]]:
    """Return the settings of a golden middle for :func:`sweepline.reports.charts.tradeoff`."""
    front = {cell.setting for cell in middle.front}
    found: list[dict[str, Any]] = [
        {
            "setting": describe_setting(middle.parameters, cell.setting),
            **describe_interval(cell.quality),
            "quality": cell.quality.mean,
            "cost": cell.cost.mean if cell.cost else None,
            "n": cell.n_runs,
            "front": cell.setting in front,
            "middle": cell.setting == middle.middle.setting,
        }
        for cell in middle.cells
    ]
    return _above_zero(found, quality)


def _above_zero(cells: list[dict[str, Any]], quality: Column) -> list[dict[str, Any]]:
    """Return cells whose intervals end, on a logarithmic scale, where the picture does."""
    if not quality.is_log:
        return cells
    least = min(end for cell in cells for end in (cell["bottom"], cell["quality"]) if end > 0)
    return [cell | {"bottom": max(cell["bottom"], least)} for cell in cells]


def _details(records: Sequence[tuple[ReportedSweep, RunRecord]], at: Path | None) -> dict[str, Any]:
    """Return by run number what a click on it shows: its folder, its command, the end of a failed one's output."""
    found: dict[str, Any] = {}
    n_tails = 0
    for number, (sweep, record) in enumerate(records):
        has_tail = record.state in UNSUCCESSFUL and n_tails < _MAX_TAILS
        folder = sweep.run_dir(record) if has_tail or number < _MAX_COMMANDS else None
        if folder is None:
            continue
        detail: dict[str, Any] = {}
        if number < _MAX_COMMANDS:
            with suppress(OSError, ValueError):
                text = (folder / COMMAND).read_text(encoding="utf-8", errors="replace")
                lines = [line for line in text.splitlines() if not line.startswith(START_MARK)]
                detail["command"] = printable("\n".join(lines))
            with suppress(ValueError):
                detail["folder"] = str(folder.relative_to(at)) if at is not None else display_path(folder)
        if has_tail:
            n_tails += 1
            detail["tail"] = printable_lines(_read_end(folder / STDERR) or _read_end(folder / STDOUT))
        if detail:
            found[str(number)] = detail
    return found


def _read_end(path: Path) -> str:
    """Return the last lines of a log; nothing where there is none, or something else in its place."""
    try:
        with open_plain(path) as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def printable_lines(text: str) -> str:
    """Return text of several lines without what a terminal or a browser would act on."""
    return "\n".join(printable(line) for line in text.splitlines()[-30:])


def rounded(values: Sequence[float]) -> list[str]:
    """Return numbers with the digits that their own spread deserves."""
    finite = [value for value in values if math.isfinite(value)]
    spread = (max(finite) - min(finite)) / 100 if finite else 0.0
    return [format_with_spread(value, spread) for value in values]
