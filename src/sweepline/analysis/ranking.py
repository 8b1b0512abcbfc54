"""Which configurations are best: runs of one program and config that differ only in their seed count as one."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepline.analysis.differences import comparable
from sweepline.analysis.statistics import mean
from sweepline.recording.events import RunRecord, names_in
from sweepline.runs import Objective


@dataclass(frozen=True)
class RankedConfig:
    """One configuration and its runs. What is told of it is computed when asked for: few of many are looked at.

    Of one that was raced ``runs`` are those of the race. ``chosen_by`` are the runs for which it was chosen to be in
    it, which count no more: the leading ones were lucky there.
    """

    runs: Sequence[RunRecord]
    chosen_by: Sequence[RunRecord] = ()

    @property
    def is_raced(self) -> bool:
        """Whether its runs are those of a race."""
        return bool(self.chosen_by)

    @functools.cached_property
    def params(self) -> Mapping[str, Any]:
        """The parameters, without the seed."""
        return without_seed(self.runs[0].params)

    @functools.cached_property
    def means(self) -> Mapping[str, float]:
        """The mean of each metric over the runs that have it."""
        return {name: mean(values) for name, values in self._values.items()}

    @functools.cached_property
    def spread(self) -> Mapping[str, float]:
        """The sample standard deviation of each metric, 0.0 for a single run."""
        return {
            name: statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else 0.0
            for name, values in self._values.items()
        }

    @functools.cached_property
    def _values(self) -> Mapping[str, Sequence[float]]:
        return {name: self.values_of(name) for name in names_in(run.metrics for run in self.runs)}

    def values_of(self, metric: str) -> list[float]:
        """Return what the runs that have a metric measured."""
        return [run.metrics[metric] for run in self.runs if metric in run.metrics]

    def mean_of(self, metric: str) -> float | None:
        """Return the mean of one metric, without those of all others; None where no run has it."""
        values = self.values_of(metric)
        return mean(values) if values else None


def rank_configs(records: Iterable[RunRecord], objective: Objective | None) -> list[RankedConfig]:
    """Return the configurations that finished, best first; in the order they ran where there is no objective.

    Configurations whose objective is missing or nan come last.
    """
    groups: dict[Hashable, list[RunRecord]] = {}
    for record in records:
        if record.has_result:
            groups.setdefault(config_key(record), []).append(record)
    ranked = list(map(RankedConfig, groups.values()))
    if objective is not None:
        ranked.sort(key=lambda config: objective.sort_key(config.mean_of(objective.name)))
    return ranked


def config_key(record: RunRecord) -> Hashable:
    """Return what is equal for runs that differ only in their seed."""
    setting = [(name, comparable(value)) for name, value in without_seed(record.params).items()]
    return (record.identity, frozenset(setting))


def without_seed(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that tell configurations apart."""
    return {name: value for name, value in params.items() if name != "seed" or not isinstance(value, int)}
