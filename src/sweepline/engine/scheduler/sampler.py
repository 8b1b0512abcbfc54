"""Proposes what the study of a scheduler's source file suggests, and tells it what became of that."""

from __future__ import annotations

import functools
import importlib.util
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sweepline.config.scheduler import Scheduler
from sweepline.config.settings import SweepSettings
from sweepline.engine.scheduler.client import SchedulerError, StudyProcess
from sweepline.errors import ConfigError
from sweepline.runs import Objective, Params, RunOutcome, State, canonical_json
from sweepline.space.constraints import Constraint
from sweepline.space.dependent import Computed, Conditional, Dependencies
from sweepline.space.distributions import LogUniform, LogUniformValues, Quantized, Uniform
from sweepline.space.expressions import ABSENT
from sweepline.space.parameters import BELOW_ONE, Categorical, Constant, IntUniform, Parameter
from sweepline.space.plan import SearchSpace
from sweepline.space.samplers.base import apply_constraints
from sweepline.space.samplers.bayes import check_installed

MAX_TRIES = 100  # proposals that constraints drop, after which nothing is left to propose
MAX_KNOWN = 10  # that were proposed before, likewise
PATIENCE_S = 0.05  # for a proposal, after which the sweep goes on meanwhile
_UNDONE = frozenset({State.PENDING, State.RUNNING, State.INTERRUPTED})


class StudySampler:
    """A sampler whose proposals are those of a study in another process.

    The study knows each proposal as a trial, which is told once all seeds of it have ended: the mean of finished ones,
    of a diverged one the worst that was measured, and a failure where none finished. ``fault`` says why nothing more is
    proposed, where the study cannot any more.

    A study answers one request after another. While it thinks about a proposal a sweep may go on, see
    :meth:`think_in_background`; what it is told meanwhile it learns afterwards.

    Args:
        process: the study.
        parameters: what is searched; nothing where the source file has a search space of its own.
        constraints: what they drop is told as failed, and not run.
        objectives: what is optimized.
        n_seeds: runs of a combination.
        n_total: how many combinations there will be, where that is known.
    """

    is_enumerable = False

    def __init__(
        self,
        process: StudyProcess,
        parameters: Mapping[str, Parameter],
        constraints: Sequence[Constraint],
        objectives: Sequence[Objective],
        *,
        n_seeds: int = 1,
        n_total: int | None = None,
    ) -> None:
        self.n_total, self.fault = n_total, ""
        self._process, self._n_seeds = process, n_seeds
        self._constraints, self._objectives = tuple(constraints), tuple(objectives)
        self._dependencies = Dependencies(parameters)
        self._is_started = False
        self._numbers: dict[str, list[int]] = {}  # the trials of a combination that have not ended
        self._waiting: dict[str, Params] = {}  # those of which no run was ever begun
        self._told: dict[str, tuple[str, list[float] | None]] = {}  # what became of those that have
        self._outcomes: dict[str, list[RunOutcome]] = {}
        self._worst: list[float | None] = [None] * len(self._objectives)
        self._thread: ThreadPoolExecutor | None = None
        self._thought: Future[Params | None] | None = None
        self._late: list[Callable[[], None]] = []  # what is told while it thinks
        self._pruned_late: set[str] = set()

    @property
    def pruner(self) -> str:
        """The name of what in the study stops runs early; nothing where nothing does."""
        return self._process.pruner if self._n_seeds == 1 else ""

    @property
    def note(self) -> str:
        """What is worth saying of the study before runs start."""
        pruner = self._process.pruner
        return f"scheduler: {pruner} is not asked: several seeds are one trial of a study" * bool(
            pruner and self._n_seeds > 1
        )

    def start(self) -> None:
        """Bring the study to where it was.

        Raises:
            SchedulerError: the source file cannot be used.
        """
        if self._is_started:
            return
        self._is_started = True
        proposed: dict[int, dict[str, Any]] = {}
        ended: dict[int, tuple[str, list[float] | None]] = {}
        for request, answer in self._process.start():
            if request["op"] == "ask" and "number" in answer:
                proposed[answer["number"]] = dict(answer.get("params") or answer.get("raw") or {})
            elif request["op"] == "suggest":
                proposed[request["number"]][request["name"]] = answer["value"]
            elif request["op"] == "tell":
                ended[request["number"]] = request["state"], request["values"]
                self._note_worst(request["values"])
        for number, raw in proposed.items():
            params = raw if not self._dependencies.parameters else self._params_of(raw)
            key = canonical_json(params)
            if number in ended:
                self._told[key] = ended[number]
            else:
                self._numbers.setdefault(key, []).append(number)
                self._waiting[key] = params

    def ask(self) -> Params | None:
        """Return the next combination; None where the study proposes none."""
        if self.fault:
            return None
        try:
            self.start()
            if self._waiting:
                key = next(iter(self._waiting))
                return self._waiting.pop(key)
            return self._propose() if self._thread is None else self._think(self._thread)
        except SchedulerError as error:
            self.fault = str(error)
            return None

    def think_in_background(self, is_stopping: Callable[[], bool]) -> None:
        """From now on return None, and be thinking, where a proposal takes long; nobody waits once ``is_stopping``."""
        self._process.is_stopping = is_stopping
        self._thread = ThreadPoolExecutor(1, "study")

    @property
    def is_thinking(self) -> bool:
        """Whether a proposal has been asked for that was not taken yet."""
        return self._thought is not None

    @property
    def has_thought(self) -> bool:
        """Whether a proposal that took long can be taken now, by asking again."""
        return self._thought is not None and self._thought.done()

    def _think(self, thread: ThreadPoolExecutor) -> Params | None:
        if self._thought is None:
            self._thought = thread.submit(self._propose)
        try:
            proposed = self._thought.result(PATIENCE_S)
        except TimeoutError:
            return None
        except SchedulerError:
            self._thought = None
            raise
        self._thought = None
        self._tell_late()
        return proposed

    def _is_busy(self) -> bool:
        """Whether the study still thinks; if not it has learned all that it was told meanwhile."""
        if self._thought is not None and not self._thought.done():
            return True
        self._tell_late()
        return False

    def _tell_late(self) -> None:
        late, self._late = self._late, []
        for tell in late:
            tell()

    def _propose(self) -> Params | None:
        n_known = 0
        for _ in range(MAX_TRIES):
            if n_known == MAX_KNOWN:
                break
            answer = self._process.ask("ask")
            if answer.get("is_over"):
                return None
            params = answer.get("params")
            if "raw" in answer:
                params = self._params_of(answer["raw"])
            elif params is None:
                params = self._dependencies.complete(functools.partial(self._suggest, answer["number"]))
            dropped_by = apply_constraints(self._constraints, params, self._dependencies)
            key = canonical_json(params)
            if dropped_by is None and key not in self._told and key not in self._numbers:
                self._numbers[key] = [answer["number"]]
                return dict(params)
            n_known += dropped_by is None
            if dropped_by is None and key in self._numbers:  # it is under way, and will be told for both
                self._numbers[key].append(answer["number"])
            else:
                state, values = self._told.get(key, ("FAIL", None))
                self._process.ask("tell", number=answer["number"], state=state, values=values)
        return None

    def tell(self, params: Params, outcome: RunOutcome) -> None:
        """Learn how a run ended."""
        if self.fault:
            return
        if self._is_busy():
            self._late.append(functools.partial(self.tell, params, outcome))
            return
        try:
            self.start()
            self._tell(params, outcome)
        except SchedulerError as error:
            self.fault = str(error)

    def _tell(self, params: Params, outcome: RunOutcome) -> None:
        key = canonical_json(params)
        self._waiting.pop(key, None)
        if outcome.state in _UNDONE:
            return
        if not self._numbers.get(key):
            return  # it was told before, or is no proposal of this study
        outcomes = self._outcomes.setdefault(key, [])
        outcomes.append(outcome)
        if len(outcomes) < self._n_seeds:
            return
        state, values = self._end_of(self._outcomes.pop(key))
        self._told[key] = state, values
        for number in self._numbers.pop(key):
            self._process.ask("tell", number=number, state=state, values=values)
        self._note_worst(values)

    def is_pruned(self, params: Params, step: int, value: float) -> bool:
        """Tell what a run has measured so far; return whether the study's pruner stops it."""
        key = canonical_json(params)
        numbers = self._numbers.get(key, [])
        if not numbers or not math.isfinite(value):
            return False
        if self._is_busy():
            self._late.append(functools.partial(self._report_late, key, params, step, value))
            return False
        try:
            is_pruned = bool(self._process.ask("report", number=numbers[0], step=step, value=value)["is_pruned"])
        except SchedulerError as error:
            self.fault = str(error)
            return False
        is_late = key in self._pruned_late
        self._pruned_late.discard(key)
        return is_pruned or is_late

    def _report_late(self, key: str, params: Params, step: int, value: float) -> None:
        """Tell what a run measured while the study thought; where that stops the run, its next value does."""
        if self.is_pruned(params, step, value):
            self._pruned_late.add(key)

    def close(self) -> None:
        """End the study's process, and what it thinks about."""
        if self._thread is not None:
            self._process.is_stopping = lambda: True
            self._thread.shutdown()
            self._thread = None
        self._process.close()

    def _note_worst(self, values: Sequence[float] | None) -> None:
        for i, (value, objective) in enumerate(zip(values or (), self._objectives, strict=False)):
            known = self._worst[i]
            worse = max if objective.goal == "minimize" else min
            self._worst[i] = value if known is None else worse(known, value)

    def _end_of(self, outcomes: Sequence[RunOutcome]) -> tuple[str, list[float] | None]:
        names = [objective.name for objective in self._objectives]
        finished = [o.metrics for o in outcomes if o.state == State.FINISHED and all(n in o.metrics for n in names)]
        if not finished:
            return ("PRUNED" if any(o.state == State.PRUNED for o in outcomes) else "FAIL"), None
        values: list[float] = []
        for name, worst in zip(names, self._worst, strict=True):
            found = [metrics[name] if math.isfinite(metrics[name]) else worst for metrics in finished]
            told = [value for value in found if value is not None]
            if len(told) < len(found):
                return "FAIL", None
            values.append(statistics.fmean(told))
        return "COMPLETE", values

    def _suggest(self, number: int, name: str, parameter: Parameter) -> Any:
        spec = spec_of(parameter)
        if spec is None:
            return parameter.at(0.0)
        value = self._process.ask("suggest", number=number, name=name, spec=spec)["value"]
        return value_of(parameter, spec, value)

    def _params_of(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the combination that a log's raw suggestions stand for."""

        def choose(name: str, parameter: Parameter) -> Any:
            spec = spec_of(parameter)
            if spec is None:
                return parameter.at(0.0)
            return value_of(parameter, spec, raw[name]) if name in raw else ABSENT

        params = dict(self._dependencies.complete(choose))
        apply_constraints(self._constraints, params, self._dependencies)
        return params


def spec_of(parameter: Parameter) -> dict[str, Any] | None:
    """Return how a parameter is suggested, in its own values where Optuna has its like, else by quantile."""
    if isinstance(parameter, Constant):
        return None
    if isinstance(parameter, IntUniform):
        return {"kind": "int", "low": parameter.min, "high": parameter.max}
    if isinstance(parameter, Uniform):
        return {"kind": "float", "low": float(parameter.min), "high": float(parameter.max)}
    if isinstance(parameter, LogUniformValues) and parameter.name == "log_uniform_values":
        return {"kind": "float", "low": float(parameter.min), "high": float(parameter.max), "log": True}
    if isinstance(parameter, LogUniform):
        return {"kind": "float", "low": math.exp(parameter.min), "high": math.exp(parameter.max), "log": True}
    if isinstance(parameter, Categorical):
        values = parameter.grid
        if len(values) < 2:
            return None
        is_plain = all(value is None or isinstance(value, (bool, int, float, str)) for value in values)
        return {"kind": "categorical", "choices": list(values) if is_plain else list(range(len(values)))}
    if isinstance(parameter, Quantized) and isinstance(parameter.inner, Uniform):
        low, high, q = parameter.inner.min, parameter.inner.max, parameter.q
        if low % q == 0 and high % q == 0:
            is_whole = all(float(number).is_integer() for number in (low, high, q)) and isinstance(q, int)
            kind, number = ("int", int) if is_whole else ("float", float)
            return {"kind": kind, "low": number(low), "high": number(high), "step": number(q)}
    return {"kind": "float", "low": 0.0, "high": 1.0, "is_quantile": True}


def value_of(parameter: Parameter, spec: Mapping[str, Any], suggested: Any) -> Any:
    """Return the value of a parameter that a suggestion stands for."""
    if spec.get("is_quantile"):
        return parameter.at(min(suggested, BELOW_ONE))
    if spec["kind"] == "categorical" and isinstance(parameter, Categorical):
        values = parameter.grid
        is_plain = spec["choices"] == list(values)
        return suggested if is_plain else values[suggested]
    return suggested


def check_engine(engine: str, parameters: Mapping[str, Parameter]) -> None:
    """Make sure that what an engine needs is there. Does not import it.

    Raises:
        ConfigError: it is not, or does not take such parameters.
    """
    if engine == "optuna":
        check_installed()
    elif importlib.util.find_spec("ax") is None:
        raise ConfigError("scheduler: engine ax needs Ax: pip install ax-platform; or take engine: optuna")
    elif any(map(_follows, parameters.values())):
        raise ConfigError("scheduler: Ax takes no parameters that follow from others; take engine: optuna")


def _follows(parameter: Parameter) -> bool:
    return isinstance(parameter, (Computed, Conditional))


def build_study_sampler(
    settings: SweepSettings, scheduler: Scheduler, space: SearchSpace, folder: Path, *, is_dry: bool
) -> StudySampler:
    """Return what proposes the runs of a sweep whose scheduler has a source file; nothing is started yet."""
    specs = {name: spec for name, p in space.parameters.items() if not _follows(p) and (spec := spec_of(p))}
    return StudySampler(
        StudyProcess(scheduler, folder, specs=specs, is_dry=is_dry),
        space.parameters,
        space.constraints,
        settings.objectives,
        n_seeds=1 if "seed" in space.parameters else len(space.seeds),
        n_total=space.limit,
    )
