"""Decides which runs under way are stopped, by the rules of a sweep file, and writes down why."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sweepline.config.earlystopping import Asha, Hyperband, Rule, Threshold
from sweepline.contract.files import open_plain, write_whole
from sweepline.contract.metrics import MetricPoint, read_history
from sweepline.contract.runfolder import ATTEMPTS, EARLY_STOP, METRICS
from sweepline.contract.values import is_number
from sweepline.engine.pruning.courses import POINTS, SHARE, Course
from sweepline.engine.pruning.rules import Verdict, bands_of, judge, ladder_of, rungs_of, standing_at
from sweepline.engine.pruning.standings import Standings
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, Params, State
from sweepline.space.plan import Plan

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

    def __init__(
        self, rules: Sequence[Rule], objective: Objective, *, study: Study | None = None, n_first: int | None = None
    ) -> None:
        """``study`` judges too, once no rule has; ``n_first`` is as :func:`judge` takes it."""
        self.objective, self._study, self._n_first = objective, study, n_first
        self._params: dict[str, Params] = {}
        self.metric = objective.summaries.get(objective.name, (objective.name, ""))[0]
        self._sign = -1.0 if objective.goal == "maximize" else 1.0
        # Courses have smaller values for better ones, whatever the goal, and so has what they are compared with.
        self._rules = [self._turned(rule) for rule in rules]
        ladders = map(ladder_of, self._rules)
        self._standings = [None if ladder is None else Standings(ladder) for ladder in ladders]
        self._courses: dict[str, Course] = {}
        self._stopped: set[str] = set()
        self._earlier: dict[str, list[MetricPoint]] = {}
        self._whole = 0.0  # the most that a run has come to that went to its end

    def load(self, records: Iterable[RunRecord], run_dir: Callable[[str], Path]) -> None:
        """Take the courses of runs that have ended into account, from what is kept of them."""
        for record in records:
            if record.is_ended and record.attempt > 0:
                folder = run_dir(record.run_id)
                self.add(record.run_id, _join([*read_attempts(folder), _read_points(folder)]))
                self._courses[record.run_id].total = self._total_of(record.params)
                if record.has_result:
                    self.end(record.run_id)
                verdict = read_verdict(folder) if record.state == State.PRUNED else None
                if verdict is not None and verdict.get("rule") == "asha":
                    self._forget(record.run_id)
                    self._courses[record.run_id].stopped_at = verdict.get("at")
                    self._stand(record.run_id)

    def begin(self, run_id: str, params: Params, earlier: Sequence[Sequence[MetricPoint]] = ()) -> None:
        """Expect what an attempt tells; ``earlier`` attempts have told their points, which it may go on from."""
        told = _join(earlier)
        self._earlier[run_id] = told
        if not told or run_id not in self._courses:  # else it stands for what it had until it tells more
            self._forget(run_id)
            self._courses[run_id] = Course(total=self._total_of(params))
        if self._study is not None:
            self._params[run_id] = params
        self._stopped.discard(run_id)

    def add(self, run_id: str, points: Iterable[MetricPoint]) -> None:
        """Take what a run has told, without judging it: it has ended."""
        points = list(points)
        if points and (earlier := self._earlier.pop(run_id, None)):
            before = self._courses[run_id]
            self._forget(run_id)
            self._courses[run_id] = Course(total=before.total, promoted_from=before.promoted_from)
            points = _join([earlier, points])
        course = self._courses.setdefault(run_id, Course())
        for point in points:
            if self.metric in point.values:
                course.add(self._sign * point.values[self.metric], point.place)
        self._stand(run_id)

    def _stand(self, run_id: str) -> None:
        """Let a run be compared with as what it has told and how it was stopped."""
        for standings in filter(None, self._standings):
            standings.note(run_id, self._courses[run_id])

    def _forget(self, run_id: str) -> None:
        """Let a run not be compared with; its course is about to change."""
        for standings in filter(None, self._standings):
            if run_id in self._courses:
                standings.forget(run_id, self._courses[run_id])

    def end(self, run_id: str) -> None:
        """Take note that a run has gone to its end: so far others go too, where they do not say otherwise."""
        course = self._courses.get(run_id)
        if course is not None:
            course.total = course.reached(course.unit) or None
            self._whole = max(self._whole, course.total or 0.0)

    @property
    def n_epochs(self) -> float:
        """How many epochs all runs have gone through, of runs that tell none how many values they have told."""
        return sum(course.reached("epochs") or len(course.values) for course in self._courses.values())

    def n_points(self, run_id: str) -> int:
        """Return how many values a run has told."""
        return len(self._courses[run_id].values) if run_id in self._courses else 0

    def note(self, run_id: str, points: Iterable[MetricPoint]) -> Verdict | None:
        """Take what a run has told; return why it is to be stopped, once."""
        found: Verdict | None = None
        for point in points:
            self.add(run_id, [point])
            if found is None and run_id not in self._stopped and self.metric in point.values:
                found = self._judge(run_id) or self._ask_study(run_id, point.values[self.metric])
                if found is not None:
                    self._stopped.add(run_id)
                if found is not None and found.rule == "asha":
                    self._courses[run_id].stopped_at = found.at  # now: what it has told beyond counts nowhere
                    self._stand(run_id)
        return found

    def promote(self, may_go_on: Callable[[str], bool], *, n_first: int = 0) -> str | None:
        """Return a run that was stopped at a rung and goes on now, as it is the best of those that wait there.

        Args:
            may_go_on: asked for the id of each that waits whether it has ended, and could go on.
            n_first: how many may go on from each rung in any case.
        """
        for rule, standings in zip(self._rules, self._standings, strict=True):
            if not isinstance(rule, Asha):
                continue
            rungs = sorted({c.stopped_at for c in self._courses.values() if c.stopped_at is not None}, reverse=True)
            for rung in rungs:
                _, n_on, room = standing_at(rule, rung, self._courses, standings)
                waiting = [
                    (value, run_id)
                    for run_id, course in self._courses.items()
                    if course.stopped_at == rung and (value := course.value_at(rung, rule.by)) is not None
                ]
                able = [(value, run_id) for value, run_id in sorted(waiting) if may_go_on(run_id)]
                if n_on < max(room, n_first) and able:
                    run_id = able[0][1]
                    self._forget(run_id)
                    self._courses[run_id].stopped_at = None
                    self._courses[run_id].promoted_from = rung
                    self._stand(run_id)
                    return run_id
        return None

    def course_of(self, run_id: str, *, has_ended: bool = True) -> dict[str, float]:
        """Return what a run had at the rungs where runs are compared, and at its end, by how far it had come there."""
        course = self._courses.get(run_id)
        rule = next((rule for rule in self._rules if isinstance(rule, (Asha, Hyperband))), None)
        if course is None or not course.values:
            return {}
        by, rungs = (rule.by, rungs_of(rule)) if isinstance(rule, Asha) else (POINTS, _places_of(rule))
        reached = course.reached(by) if course.stopped_at is None else course.stopped_at
        places = [*itertools.takewhile(lambda rung: rung <= reached, rungs), *([reached] if has_ended else [])]
        found = {place: course.value_at(place, by) for place in places if place > 0}
        return {f"{at:g}": self._sign * value for at, value in found.items() if value is not None}

    def _total_of(self, params: Params) -> float | None:
        """Return how far a run with these parameters goes, as far as they or a rule say it."""
        rule = next((rule for rule in self._rules if getattr(rule, "by", None) == SHARE), None)
        told = getattr(rule, "total", None)
        found: Any = told if is_number(told) else params.get(told or "epochs")
        return float(found) if is_number(found) and found > 0 else None

    def _judge(self, run_id: str) -> Verdict | None:
        course = self._courses[run_id]
        if course.total is None and self._whole:
            course.total = self._whole
        rules = zip(self._rules, self._standings, strict=True)
        verdicts = (judge(rule, run_id, self._courses, known, n_first=self._n_first) for rule, known in rules)
        return next((verdict for verdict in verdicts if verdict is not None), None)

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
            "n_on": verdict.n_on,
            "rank": 1 + sum(value < verdict.value for value in verdict.others) if verdict.others else None,
            "others": [self._sign * value for value in verdict.others[:MAX_OTHERS_KEPT]],
        }

    def write(self, verdict: Verdict, run_dir: Path) -> None:
        """Keep a verdict in the run's folder, before the run is stopped."""
        text = json.dumps(self.describe(verdict), indent=1)
        write_whole(run_dir / EARLY_STOP, f"{text}\n".encode(), is_durable=False)


def choose_n_first(*, may_resume: bool, plan: Plan) -> int | None:
    """Return how many runs go on from a rung in any case, as :func:`judge` takes it.

    A model would find what is better each time, all of which would go on by its rank: so in all only a share does. Runs
    that may go on later can wait until it is known who is the best; of others the first one goes on. Of what is drawn
    beforehand the best so far is not to be stopped for who came first.
    """
    return 0 if may_resume else None if plan.is_enumerable else 1


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
    if told.get("n_on") is not None:
        return f"{told['rule']}: {value} {place}{among}, of which {told['n_on']} went on"
    return f"{told['rule']}: {value} {place} is worse than {threshold}{among}"


def read_attempts(run_dir: Path) -> list[list[MetricPoint]]:
    """Return what the earlier attempts of a run have told, in their order."""
    places = (run_dir / ATTEMPTS).glob("*/")
    return [_read_points(place) for place in sorted(places, key=lambda place: (len(place.name), place.name))]


def _join(attempts: Iterable[Iterable[MetricPoint]]) -> list[MetricPoint]:
    """Return the points of attempts as those of one run: a later one goes on from where its first point is.

    One that says of no point where it is, or whose first point is no further than that of the one before, began anew.
    """
    found: list[MetricPoint] = []
    for points in attempts:
        told = list(points)
        if told:
            found = [point for point in found if _is_before(point, told[0])] + told
    return found


def _is_before(first: MetricPoint, second: MetricPoint) -> bool:
    shared = [name for name in first.place if name in second.place]
    return bool(shared) and all(first.place[name] < second.place[name] for name in shared)


def _places_of(rule: Hyperband | None) -> Iterator[float]:
    yield from () if rule is None else map(float, bands_of(rule))


def _read_points(run_dir: Path) -> list[MetricPoint]:
    try:
        with open_plain(run_dir / METRICS) as file:
            return read_history(line.decode("utf-8", "replace") for line in file)
    except (OSError, ValueError):  # it told nothing, or its file is gone: it is compared with nobody
        return []
