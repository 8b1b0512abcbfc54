"""Which configurations are best: runs of one program and config that differ only in their seed count as one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepline.analysis.differences import comparable
from sweepline.analysis.statistics import mean
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective


@dataclass(frozen=True, slots=True)
class RankedConfig:
    """One configuration and its runs. ``spread`` holds sample standard deviations, 0.0 for a single run."""

    params: Mapping[str, Any]
    runs: Sequence[RunRecord]
    means: Mapping[str, float]
    spread: Mapping[str, float]


def rank_configs(records: Iterable[RunRecord], objective: Objective | None) -> list[RankedConfig]:
    """Return the configurations that finished, best first; in the order they ran where there is no objective.

    Configurations whose objective is missing or nan come last.
    """
    groups: dict[Hashable, list[RunRecord]] = {}
    for record in records:
        if record.has_result:
            groups.setdefault(config_key(record), []).append(record)
    ranked = [_summarize(runs) for runs in groups.values()]
    if objective is not None:
        ranked.sort(key=lambda config: objective.sort_key(config.means.get(objective.name)))
    return ranked


def config_key(record: RunRecord) -> Hashable:
    """Return what is equal for runs that differ only in their seed."""
    setting = frozenset((name, comparable(value)) for name, value in without_seed(record.params).items())
    return (record.identity, setting)


def without_seed(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that tell configurations apart."""
    return {name: value for name, value in params.items() if name != "seed" or not isinstance(value, int)}


def _summarize(runs: Sequence[RunRecord]) -> RankedConfig:
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    means, spread = {}, {}
    for name in names:
        values = [run.metrics[name] for run in runs if name in run.metrics]
        means[name] = mean(values)
        spread[name] = statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else 0.0
    return RankedConfig(without_seed(runs[0].params), runs, means, spread)
