"""What a report is about: the runs of one sweep or several, read from their folders or from tables alone."""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.analysis.differences import differing
from sweepline.analysis.effects import NoEffect, find_no_effects
from sweepline.analysis.importance import Importance, find_importance
from sweepline.analysis.pareto import find_front, read_objectives
from sweepline.analysis.racing import rank_raced, read_race
from sweepline.analysis.ranking import RankedConfig, without_seed
from sweepline.analysis.tradeoff import DURATION, GoldenMiddle, find_golden_middle
from sweepline.contract.metrics import MetricPoint
from sweepline.contract.text import display_path
from sweepline.contract.values import is_number
from sweepline.engine.recorded import RecordedSweep, open_recorded, read_points
from sweepline.engine.session import SweepResult
from sweepline.errors import ConfigError, RecordError, did_you_mean
from sweepline.recording.cells import read_cell, read_rows
from sweepline.recording.columns import FIXED_COLUMNS
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, RunOutcome, State

_MAX_VALUES_OF_A_MIDDLE = 64
_METRIC_NAME = re.compile(
    r"loss|acc|err|score|reward|return|auc|f1|perplexity|ppl|bleu|mse|rmse|mae|nll|metric|(?:^|[._/])(?:val|valid|test|train|eval)"
    r"(?:[._/]|$)",
    re.IGNORECASE,
)
_HIGHER_IS_BETTER = re.compile(r"acc|score|reward|return|auc|f1|bleu|iou|map|precision|recall|r2", re.IGNORECASE)


MAX_METRICS = 12
"""How many metrics a report has curves of."""

MAX_LOG_BYTES = 8 << 20
"""Of how much output the curves are read again where a run has no ``metrics.csv``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportedSweep:
    """A sweep as a report sees it. What is found out about it is found out once: of 10,000 runs it takes a while.

    ``swept`` are parameters, ``plan`` what ``plan.json`` says of it (nothing where only a table is there). ``remarks``
    are sentences on how it was read. ``read_history`` returns the points of a run.
    """

    name: str
    path: Path
    records: Sequence[RunRecord]
    objective: Objective | None
    swept: Sequence[str] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)
    is_running: bool = False
    remarks: Sequence[str] = ()
    read_history: Callable[[RunRecord], list[MetricPoint]] = lambda _: []
    run_dir: Callable[[RunRecord], Path | None] = lambda _: None

    @functools.cached_property
    def ranked(self) -> list[RankedConfig]:
        """The configurations that have a result, best first."""
        return rank_raced(self.records, self.objective, read_race(self.plan))

    @property
    def objectives(self) -> list[Objective]:
        """What the sweep optimized, where it is ranked by that."""
        found = read_objectives(self.plan)
        return found if self.objective in found[:1] else []

    @functools.cached_property
    def front(self) -> list[RankedConfig]:
        """Of several objectives: the configurations that no other one beats."""
        return find_front(self.ranked, self.objectives) if len(self.objectives) > 1 else []

    @functools.cached_property
    def differing(self) -> list[str]:
        """The parameters that are not the same in all runs, the swept ones first."""
        names = differing(without_seed(record.params) for record in self.records)
        return sorted(names, key=lambda name: (name not in self.swept, names.index(name)))

    @functools.cached_property
    def no_effects(self) -> list[NoEffect]:
        """The parameters that changed nothing in the objective."""
        return [] if self.objective is None else find_no_effects(self.records, self.objective.name)

    @functools.cached_property
    def importance(self) -> Importance | None:
        """How much each parameter that differs matters."""
        if self.objective is None:
            return None
        idle = {effect.parameter for effect in self.no_effects}
        return find_importance(self.records, self.objective, self.differing, idle=idle)

    @functools.cached_property
    def middle(self) -> GoldenMiddle | None:
        """The golden middle by quality alone; None where other parameters differ than one or two numeric ones."""
        return self._find_middle(None)

    @functools.cached_property
    def middle_by_duration(self) -> GoldenMiddle | None:
        """The golden middle of quality and duration; None where there is no :attr:`middle`."""
        return self._find_middle(DURATION)

    def _find_middle(self, cost: str | None) -> GoldenMiddle | None:
        names = self.differing
        if self.objective is None or not 1 <= len(names) <= 2:
            return None
        if not all(is_number(record.params.get(name)) for name in names for record in self.records):
            return None
        if any(len({r.params[name] for r in self.records}) > _MAX_VALUES_OF_A_MIDDLE for name in names):
            return None
        return find_golden_middle(self.records, self.objective, names, cost=cost)


def collect(
    sources: Iterable[Path], *, objective: str | None = None, goal: str | None = None, has_running: bool = True
) -> list[ReportedSweep]:
    """Read the sweeps of a report.

    Args:
        sources: sweep files, folders of sweeps, or tables such as a ``runs.csv``.
        objective: the metric to rank by, instead of each sweep's own.
        goal: ``minimize`` or ``maximize``, with ``objective``.
        has_running: whether to look if a sweep is under way.

    Raises:
        SweeplineError: nothing was run there, it cannot be read, or no run has the metric.
    """
    found = []
    for source in sources:
        if source.suffix == ".csv":
            sweep = read_table(source)
        else:
            recorded = open_recorded(source)
            sweep = of_recorded(recorded, is_running=has_running and bool(recorded.folder.is_locked()))
        if objective is not None:
            sweep = replace(sweep, objective=_asked_objective(sweep, objective, goal))
        found.append(sweep)
    return found


def of_recorded(found: RecordedSweep, *, is_running: bool = False) -> ReportedSweep:
    """Return a sweep that has its folder."""
    told = found.plan.get("objective") or {}
    records = [_spread_out(record) for record in found.records.values() if record.belongs]
    if not is_running:
        records = [record for record in records if record.outcome is not None or record.attempt > 0]
    folders = _list_folders(found.folder.runs)
    return ReportedSweep(
        name=str(found.plan.get("sweep") or found.folder.path.name),
        path=found.folder.path,
        records=records,
        objective=Objective(**told) if told.get("name") else None,
        swept=list(found.plan.get("parameters", {})),
        plan=found.plan,
        is_running=is_running,
        read_history=lambda record: (
            read_points(found, record, n_metrics=MAX_METRICS, max_log_bytes=MAX_LOG_BYTES)
            if record.run_id in folders
            else []
        ),
        run_dir=lambda record: found.folder.run_dir(record.run_id) if record.run_id in folders else None,
    )


def _spread_out(record: RunRecord) -> RunRecord:
    """Return a record with plain dicts, which take more room than what the journal's reader makes and are quicker."""
    outcome = record.outcome and replace(record.outcome, metrics=dict(record.outcome.metrics.items()))
    return replace(record, params=dict(record.params.items()), outcome=outcome)


def _list_folders(runs: Path) -> set[str]:
    """Return which runs have a folder: asked once, not for each of ten thousand."""
    try:
        return {entry.name for entry in os.scandir(runs)}
    except OSError:
        return set()


def of_result(result: SweepResult) -> ReportedSweep:
    """Return a sweep that has just ended."""
    plan = result.folder.read_plan() or {}
    records = {record.run_id: record for record in result.records}
    return of_recorded(RecordedSweep(folder=result.folder, plan=plan, settings=result.settings, records=records))


def read_table(path: Path) -> ReportedSweep:
    """Return the sweep that a table tells of, ours or any with a row for each run.

    Which columns are parameters is told by ``plan.json`` beside it; else those are metrics that runs without a result
    lack, or that are called like one.

    Raises:
        RecordError: the file cannot be read, or is no table.
    """
    try:
        header, rows = read_rows(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: cannot be read: {error}") from None
    plan = _plan_beside(path)
    fixed = set(FIXED_COLUMNS) if "run_id" in header else set()
    others = [name for name in header if name not in fixed]
    values = {name: [read_cell(row[name]) for row in rows] for name in others}
    is_result = [row.get("state", "finished") == State.FINISHED for row in rows]
    metrics = _metric_columns(others, values, is_result, plan)
    records = [_record_of(i, row, values, metrics, fixed) for i, row in enumerate(rows)]
    objective = _objective_of(plan, metrics)
    remarks = []
    if not plan and metrics:
        remarks.append(f"read as metrics: {', '.join(metrics)}; ranked by {objective.name if objective else 'nothing'}")
    label = rows[0].get("sweep") if rows and fixed else None
    swept = [name for name in others if name not in metrics]
    return ReportedSweep(
        name=label or path.stem,
        path=path,
        records=records,
        objective=objective,
        swept=swept,
        plan=plan,
        remarks=remarks,
    )


def _plan_beside(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path.parent / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _metric_columns(
    names: Sequence[str], values: Mapping[str, Sequence[Any]], is_result: Sequence[bool], plan: Mapping[str, Any]
) -> list[str]:
    if plan.get("parameters"):
        return [name for name in names if name not in plan["parameters"] and name != "seed"]
    numeric = [name for name in names if all(v is None or is_number(v) for v in values[name]) and name != "seed"]
    missing = [
        name for name in numeric
        if any(v is None and not ok for v, ok in zip(values[name], is_result, strict=True))
        and all(v is not None for v, ok in zip(values[name], is_result, strict=True) if ok)
    ]  # fmt: skip
    named = [name for name in numeric if _METRIC_NAME.search(name)]
    return [name for name in names if name in {*missing, *named}] or numeric[-1:]


def _record_of(
    i: int, row: Mapping[str, str], values: Mapping[str, Sequence[Any]], metrics: Sequence[str], fixed: set[str]
) -> RunRecord:
    told = {name: row.get(name, "") for name in fixed}
    is_metric = set(metrics)
    state = told.get("state", "finished")
    outcome = RunOutcome(
        state=State(state) if state in set(State) else State.FINISHED,
        reason=told.get("reason", ""),
        duration_s=_float(told.get("duration_s", "")) or 0.0,
        metrics={name: float(values[name][i]) for name in metrics if is_number(values[name][i])},
        host=told.get("host", ""),
    )
    seed = read_cell(told["seed"]) if told.get("seed") else None
    return RunRecord(
        run_id=told.get("run_id") or f"row {i + 1}",
        name=told.get("run_name") or f"row {i + 1}",
        params={name: column[i] for name, column in values.items() if name not in is_metric},
        seed=seed if isinstance(seed, int) else None,
        attempt=_attempt(told.get("attempt", "")),
        device=told.get("device", ""),
        started_at=told.get("started_at", ""),
        code=told.get("code", ""),
        outcome=outcome,
    )


def _attempt(text: str) -> int:
    told = _float(text)
    return int(told) if told is not None and math.isfinite(told) else 1


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _objective_of(plan: Mapping[str, Any], metrics: Sequence[str]) -> Objective | None:
    told = plan.get("objective") or {}
    if told.get("name"):
        return Objective(**told)
    if not metrics:
        return None
    name = metrics[-1] if not _METRIC_NAME.search(metrics[0]) else metrics[0]
    return Objective(name=name, goal="maximize" if _HIGHER_IS_BETTER.search(name) else "minimize")


def _asked_objective(sweep: ReportedSweep, name: str, goal: str | None) -> Objective:
    known = dict.fromkeys(metric for record in sweep.records for metric in record.metrics)
    if name not in known:
        there = f"; there are {', '.join(known)}" if known else ""
        raise ConfigError(
            f"{display_path(sweep.path)}: no run has the metric {name}{did_you_mean(name, known) or there}"
        )
    if goal is None and sweep.objective is not None and sweep.objective.name == name:
        goal = sweep.objective.goal
    if goal is None:
        raise ConfigError(f"--metric {name}: add --goal minimize or --goal maximize")
    return Objective(name=name, goal=goal)


def started_s(record: RunRecord) -> float:
    """Return when the latest attempt of a run started, in seconds since 1970; nan where that is not told."""
    try:
        return datetime.fromisoformat(record.started_at).timestamp()
    except ValueError:
        return math.nan
