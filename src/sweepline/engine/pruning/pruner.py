"""Decides which runs under way are stopped, by the rules of a sweep file, and writes down why."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sweepline.config.earlystopping import Rule, Threshold
from sweepline.contract.files import open_plain, write_whole
from sweepline.contract.metrics import MetricPoint, read_history
from sweepline.contract.runfolder import EARLY_STOP, METRICS
from sweepline.engine.pruning.courses import POINTS, Course
from sweepline.engine.pruning.rules import Verdict, judge
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, Params

MAX_OTHERS_KEPT = 1000  # values of others that a decision is kept with


class Study(Protocol):
    """Something that proposed runs and judges them too, by a rule of its own that is called ``pruner``."""

    @property
    def pruner(self) -> str:
        """What it is called."""

    def is_pruned(self, params: Params, step: int, value: float) -> bool:
        """Take the value that a run has told at a step; return whether it is to be stopped."""


class Pruner:
    """Knows the courses of all runs of a sweep, and judges one each time that it tells a value.

    So what is decided follows from what runs have told, not from when they were looked at. A run is judged once it has
    told its value: who comes to a place first has nobody to be compared with there.
    """

    def __init__(self, rules: Sequence[Rule], objective: Objective, *, study: Study | None = None) -> None:
        """``study`` judges too, once no rule has stopped a run."""
        self.objective, self._study = objective, study
        self._params: dict[str, Params] = {}
        self.metric = objective.summaries.get(objective.name, (objective.name, ""))[0]
        self._sign = -1.0 if objective.goal == "maximize" else 1.0
        # Courses have smaller values for better ones, whatever the goal, and so has what they are compared with.
        self._rules = [self._turned(rule) for rule in rules]
        self._courses: dict[str, Course] = {}
        self._stopped: set[str] = set()

    def load(self, records: Iterable[RunRecord], run_dir: Callable[[str], Path]) -> None:
        """Take the courses of runs that have ended into account, from what is kept of them."""
        for record in records:
            if record.is_ended and record.attempt > 0:
                self.add(record.run_id, _read_points(run_dir(record.run_id)))

    def begin(self, run_id: str, params: Params) -> None:
        """Forget what an earlier attempt has told: this one tells it again."""
        self._courses[run_id] = Course()
        if self._study is not None:
            self._params[run_id] = params
        self._stopped.discard(run_id)

    def add(self, run_id: str, points: Iterable[MetricPoint]) -> None:
        """Take what a run has told, without judging it: it has ended."""
        course = self._courses.setdefault(run_id, Course())
        for point in points:
            if self.metric in point.values:
                course.add(self._sign * point.values[self.metric], point.place)

    def n_points(self, run_id: str) -> int:
        """Return how many values a run has told."""
        return len(self._courses[run_id].values) if run_id in self._courses else 0

    def note(self, run_id: str, points: Iterable[MetricPoint]) -> Verdict | None:
        """Take what a run has told; return why it is to be stopped, once."""
        found: Verdict | None = None
        for point in points:
            self.add(run_id, [point])
            if found is None and run_id not in self._stopped and self.metric in point.values:
                found = next((verdict for rule in self._rules if (verdict := judge(rule, run_id, self._courses))), None)
                found = found or self._ask_study(run_id, point.values[self.metric])
        if found is not None:
            self._stopped.add(run_id)
        return found

    def _ask_study(self, run_id: str, value: float) -> Verdict | None:
        study, params, n = self._study, self._params.get(run_id), self.n_points(run_id)
        if study is None or params is None or not study.is_pruned(params, n, value):
            return None
        return Verdict(study.pruner, self._sign * value, math.nan, n, POINTS)

    def _turned(self, rule: Rule) -> Rule:
        if not isinstance(rule, Threshold):
            return rule
        return rule.model_copy(update={"worse_than": self._sign * rule.worse_than})

    def describe(self, verdict: Verdict) -> dict[str, Any]:
        """Return a verdict as it is written down: values as the run told them, others best first."""
        return {
            "rule": verdict.rule,
            "metric": self.metric,
            "goal": self.objective.goal,
            "value": self._sign * verdict.value,
            "threshold": None if math.isnan(verdict.threshold) else self._sign * verdict.threshold,
            "at": verdict.at,
            "by": verdict.by,
            "n": len(verdict.others),
            "rank": 1 + sum(value < verdict.value for value in verdict.others) if verdict.others else None,
            "others": [self._sign * value for value in verdict.others[:MAX_OTHERS_KEPT]],
        }

    def write(self, verdict: Verdict, run_dir: Path) -> None:
        """Keep a verdict in the run's folder, before the run is stopped."""
        text = json.dumps(self.describe(verdict), indent=1)
        write_whole(run_dir / EARLY_STOP, f"{text}\n".encode(), is_durable=False)


def read_verdict(run_dir: Path) -> dict[str, Any] | None:
    """Return what :meth:`Pruner.write` kept; None where nothing was."""
    try:
        with open_plain(run_dir / EARLY_STOP) as file:
            found = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def describe_verdict(told: Mapping[str, Any]) -> str:
    """Return in one sentence why a run was stopped."""
    place = f"after {told['at']:g} {told['by']}"
    value = f"{told['metric']} {told['value']:.6g}"
    if told["threshold"] is None:
        return f"{told['rule']} of the study: {value} {place}"
    threshold = f"{told['threshold']:.6g}"
    if told["rule"] == "patience":
        return f"patience: {value} at best of the last ones {place}, not better than {threshold}"
    if told["rule"] == "diverged":
        return f"diverged: {value} {place}"
    among = f", {told['rank']} of {told['n']}" if told.get("rank") else ""
    return f"{told['rule']}: {value} {place} is worse than {threshold}{among}"


def _read_points(run_dir: Path) -> list[MetricPoint]:
    try:
        with open_plain(run_dir / METRICS) as file:
            return read_history(line.decode("utf-8", "replace") for line in file)
    except (OSError, ValueError):  # it told nothing, or its file is gone: it is compared with nobody
        return []
