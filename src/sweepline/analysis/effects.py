"""Swept parameters that changed nothing: the sign that an override never reached the training."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sweepline.analysis.differences import comparable
from sweepline.recording.events import RunRecord

MAX_RUNS_COMPARED = 20_000
MAX_RUNS_WATCHED = 2_000
_MEASURES_SPEED = re.compile(
    r"(?:^|[^a-z])(?:time|runtime|wall|s|sec|seconds?|minutes|ms|duration|elapsed|latency|clock|speed|throughput|fps|memory"
    r"|mem|rss|mib|gib)(?:$|[^a-z])",
    re.IGNORECASE,
)
_DIVERGED = "diverged"
_ABSENT = comparable(None)  # a parameter that a run lacks counts as one that is null


def measures_speed(metric: str) -> bool:
    """Whether a metric tells, by its name, of times, speeds or memory, which are never twice the same."""
    return bool(_MEASURES_SPEED.search(metric))


@dataclass(frozen=True, slots=True)
class NoEffect:
    """A parameter whose values all gave the same metric, whatever the rest of the configuration."""

    parameter: str
    metric: str
    n_values: int
    n_groups: int

    def __str__(self) -> str:
        groups = "the only group" if self.n_groups == 1 else f"all {self.n_groups} groups"
        return f"{self.parameter} had no effect: {self.n_values} values, identical {self.metric} in {groups}"


def find_no_effects(records: Iterable[RunRecord], metric: str) -> list[NoEffect]:
    """Return the parameters without effect on ``metric``.

    Runs that agree in everything else form a group; a parameter is without effect when every group in which it takes
    two or more values holds one single value of the metric, to the last digit. ``seed`` counts as a parameter. To
    diverge is an effect; where all of a group did, nothing can be said. Of a very large sweep the first 20,000 runs are
    compared.
    """
    found_runs = (record for record in records if record.has_result and metric in record.metrics)
    runs = list(itertools.islice(found_runs, MAX_RUNS_COMPARED))
    settings = [{name: comparable(value) for name, value in [*run.params.items(), ("seed", run.seed)]} for run in runs]
    names = dict.fromkeys(name for setting in settings for name in setting)
    varying = [name for name in names if len({setting.get(name, _ABSENT) for setting in settings}) > 1]
    # One tuple for each run: what the rest of it is, is a slice of that, which is what many runs need to be quick.
    lines = [tuple(setting.get(name, _ABSENT) for name in varying) for setting in settings]
    values = [run.metrics[metric] for run in runs]
    results = [repr(value) if math.isfinite(value) else _DIVERGED for value in values]
    found = []
    for i, name in enumerate(varying):
        compared = _groups_without_effect(lines, results, i)
        if compared:
            n_values = len(set().union(*compared))
            found.append(NoEffect(name, metric, n_values, len(compared)))
    return found


def _groups_without_effect(lines: Sequence[tuple[Any, ...]], results: Sequence[str], i: int) -> list[set[Any]]:
    """Return the values of parameter ``i`` in each group in which it takes several; none where it had an effect."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, line in enumerate(lines):
        groups.setdefault(line[:i] + line[i + 1 :], []).append(number)
    compared = []
    for members in groups.values():
        if len(members) < 2:
            continue
        values = {lines[number][i] for number in members}
        found = {results[number] for number in members}
        if len(values) > 1 and found != {_DIVERGED}:
            if len(found) > 1:
                return []
            compared.append(values)
    return compared


def primary_metric(records: Sequence[RunRecord], wanted: Sequence[str]) -> str | None:
    """Return the first of ``wanted`` that some run recorded, else the first metric that any run recorded."""
    found = (name for name in wanted if any(name in record.metrics for record in records))
    return next(found, next((name for record in records for name in record.metrics), None))


class EffectWatch:
    """Looks, as runs end, for the first pair that differs in one parameter alone and in no METRIC value.

    What ignores an argument shows so after minutes, not at the end of the night. A parameter that has had an effect is
    not looked at again; times and speeds, which always differ, are not compared.
    """

    def __init__(self, parameters: Sequence[str]) -> None:
        self._unknown = list(parameters)
        self._told: set[str] = set()
        self._seen: dict[str, dict[tuple[Any, ...], tuple[Any, str, tuple[tuple[str, str], ...]]]] = {}
        self._n_runs = 0

    def note_end(self, record: RunRecord) -> list[str]:
        """Take a run that has ended into account; return a sentence for each parameter that seems to do nothing."""
        if not self._unknown or not record.has_result or self._n_runs >= MAX_RUNS_WATCHED:
            return []
        results = {k: v for k, v in record.metrics.items() if not measures_speed(k)}
        if not results or not all(map(math.isfinite, results.values())):
            return []
        self._n_runs += 1
        values = tuple((name, repr(value)) for name, value in sorted(results.items()))
        setting = {name: comparable(value) for name, value in [*record.params.items(), ("seed", record.seed)]}
        found = [self._look_at(name, setting, record, values) for name in list(self._unknown)]
        return [sentence for sentence in found if sentence]

    def _look_at(
        self, name: str, setting: dict[str, Any], record: RunRecord, values: tuple[tuple[str, str], ...]
    ) -> str:
        """Compare a run with one that differs in this parameter alone, where there is one."""
        others = sorted((key, repr(value)) for key, value in setting.items() if key != name)
        rest = (record.code, *others)
        own = setting.get(name, _ABSENT)
        other, other_name, other_values = self._seen.setdefault(name, {}).setdefault(rest, (own, record.name, values))
        if other == own:
            return ""
        if other_values != values:
            self._unknown.remove(name)
            del self._seen[name]
            return f"{name} has an effect after all ({other_name}, {record.name})" if name in self._told else ""
        if name in self._told:
            return ""
        self._told.add(name)
        n = len(values)
        same = f"all {n} metrics" if n > 1 else values[0][0]
        return (
            f"{name} may have no effect: {other_name} and {record.name} differ in it alone, and {same} of both are the "
            "same to the last digit; does the program take it?"
        )
