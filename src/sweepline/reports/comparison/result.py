"""A comparison, for whoever shows it or reads it in a program."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweepline.analysis.compare import CompareOptions, MetricTable, RunMeasure, Tables, tabulate_sides
from sweepline.analysis.series import Side
from sweepline.analysis.verdicts import Conclusion, conclude
from sweepline.engine.sides import read_sides, tell_apart
from sweepline.errors import ConfigError
from sweepline.reports.comparison.tables import (
    describe_parameters,
    describe_sides,
    describe_spikes,
    describe_throughput,
    render_metrics,
)
from sweepline.reports.comparison.words import describe_conclusions


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Runs compared with a baseline: ``tables`` of numbers, a conclusion on each run; printed, it gives the words."""

    tables: Tables
    conclusions: Sequence[Conclusion]
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        return "\n".join(describe_conclusions(self.tables, self.conclusions))

    @property
    def words(self) -> dict[str, str]:
        """``better``, ``worse`` or ``not conclusive`` for each run, by its label."""
        return {conclusion.label: conclusion.word for conclusion in self.conclusions}

    def lines(self) -> list[str]:
        """Return all that ``sweepline compare`` prints."""
        return [
            *describe_sides(self.tables, self.notes),
            *describe_parameters(self.tables),
            *render_metrics(self.tables),
            *describe_throughput(self.tables),
            *describe_spikes(self.tables),
            "",
            *describe_conclusions(self.tables, self.conclusions),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, what ``sweepline compare --json`` prints: nan and infinities are texts."""
        tables = self.tables
        found = {
            "baseline": tables.sides[0].label,
            "runs": [_describe_side(side) for side in tables.sides],
            "options": asdict(tables.options),
            "objective": tables.objective,
            "parameters": tables.parameters,
            "metrics": {table.name: _describe_metric(table, tables) for table in tables.metrics},
            "metrics_not_compared": tables.left_out,
            "throughput": tables.throughput,
            "gradient_spikes": [asdict(spikes) for spikes in tables.spikes],
            "identical_metrics": [asdict(found) for found in tables.identical],
            "notes": [*self.notes, *tables.notes],
            "conclusions": {conclusion.label: _describe_conclusion(conclusion) for conclusion in self.conclusions},
            "words": str(self).splitlines(),
        }
        plain: dict[str, Any] = _plain(found)
        return plain


MAX_SIDES = 30


def compare_runs(
    baseline: str, runs: Sequence[str], *, logdir: Path | None = None, merges: bool = True, options: CompareOptions
) -> Comparison:
    """Return how runs compare with a baseline, each named as :func:`sweepline.engine.sides.read_sides` says.

    Raises:
        SweeplineError: a name names nothing or more than can be compared, or what it names cannot be read.
    """
    if not runs:
        raise ConfigError("nothing to compare the baseline with: name one run or more behind it")
    asked = [*options.metrics, *options.goals, *([options.objective] if options.objective else [])]
    found, notes = read_sides([baseline, *runs], logdir=logdir, merges=merges, metrics=asked)
    if len(found[0]) > 1:
        raise ConfigError(
            f"the baseline {baseline} has {len(found[0])} configurations ({found[0][0].label}, {found[0][1].label}"
            f" ...); choose one of them: {baseline}@NAME=VALUE"
        )
    sides = [(baseline, found[0][0])]
    seen = {_origins(found[0][0])}
    for word, own in zip(runs, found[1:], strict=True):
        fresh = [side for side in own if _origins(side) not in seen]
        if len(fresh) < len(own) == 1 or not fresh:
            raise ConfigError(f"{word}: is named twice; name other runs than the baseline, and each once")
        seen.update(map(_origins, fresh))
        sides += ((word, side) for side in fresh)
    if len(sides) > MAX_SIDES:
        raise ConfigError(
            f"{len(sides)} configurations are more than the {MAX_SIDES} that can be compared at once; choose some: "
            "SWEEP@NAME=VALUE"
        )
    return compare_sides(tell_apart(sides), options, notes=notes)


def _origins(side: Side) -> frozenset[str]:
    return frozenset(run.origin for run in side.runs)


def compare_sides(sides: Sequence[Side], options: CompareOptions, *, notes: Sequence[str] = ()) -> Comparison:
    """Return how sides compare with the first.

    Raises:
        ConfigError: they have nothing in common that could be compared, or not what is asked for.
    """
    tables = tabulate_sides(sides, options)
    return Comparison(tables=tables, conclusions=conclude(tables), notes=notes)


def _describe_side(side: Side) -> dict[str, Any]:
    return {
        "label": side.label,
        "runs": [{"name": run.name, "seed": run.seed, "source": run.source, "params": run.params} for run in side.runs],
    }


def _describe_metric(table: MetricTable, tables: Tables) -> dict[str, Any]:
    return {
        "goal": table.goal,
        "goal_from": table.goal_from,
        "common_window": table.limits,
        "target": table.target,
        "runs": {
            side.label: [None if measure is None else _describe_measure(measure) for measure in measures]
            for side, measures in zip(tables.sides, table.measures, strict=True)
        },
    }


def _describe_measure(measure: RunMeasure) -> dict[str, Any]:
    found = asdict(measure)
    del found["last_quarter"]
    return found


def _describe_conclusion(conclusion: Conclusion) -> dict[str, Any]:
    found = asdict(conclusion)
    del found["label"]
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
