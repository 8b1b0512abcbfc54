"""Proposals by a model of what was measured: Optuna's samplers and one of ours, over every distribution.

A value is known to Optuna by its quantile, so that each distribution is exactly what it is for random draws, also those
that Optuna does not have; values of a list are known by their place in it, and whole numbers as they are.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import itertools
import math
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweepline.errors import ConfigError
from sweepline.runs import Objective, Params, RunOutcome, State, canonical_json
from sweepline.space.constraints import Constraint
from sweepline.space.dependent import Dependencies
from sweepline.space.parameters import Parameter
from sweepline.space.samplers.base import EnumeratedSampler, Tally, apply_constraints
from sweepline.space.samplers.dimensions import ChosenTrial, Dimensions, axis_of, point_of, split_point

MFGP = "mfgp"
"""The sampler that learns from parts of runs, which none of Optuna's does."""
KINDS = ("tpe", "gp", "cma", MFGP)
N_STARTUP, N_STARTUP_MFGP = 10, 5  # combinations that are drawn before a model says anything
MIN_AT_RUNG = 8  # runs that came to a rung, from which on they are compared there
MAX_TRIES = 20  # proposals that are dropped or known, after which the next random draw is taken
MAX_OBSERVATIONS = 2000  # the latest, which a model is made of: that takes longer the more there are
_OLDEST = 5  # Optuna's major version
_UNDONE = frozenset({State.PENDING, State.RUNNING, State.INTERRUPTED})


@dataclass
class _Observation:
    """A combination that was proposed or recorded, with the outcomes of its runs."""

    params: Params
    outcomes: list[RunOutcome] = field(default_factory=list)
    under_way: Mapping[str, float] = field(default_factory=dict)
    """The course of its run so far, where that is under way."""
    made: tuple[Any, Any] = (None, None)
    """What its trial was last made of, and that trial: to make it takes longer than all else."""

    def values(self, metrics: Sequence[str]) -> list[list[float]]:
        """Return what its finished runs have measured, each all of the metrics; a diverged one has no finite number."""
        done = [o.metrics for o in self.outcomes if o.state == State.FINISHED and all(m in o.metrics for m in metrics)]
        return [[found[metric] for metric in metrics] for found in done]


class BayesSampler:
    """Proposes what a model of the objective expects to be good, or to tell much.

    The first ten combinations are random draws. What is proposed follows from the seed and from what is known, in the
    order in which it was proposed, so that a sweep that was killed goes on as it would have gone. What constraints
    drop, or was proposed before, is not proposed.

    Args:
        parameters: in the order of the file.
        constraints: as of a random search.
        draws: what is proposed at first, and where the model has nothing new.
        zipped: groups of parameters that go through their values together.
        seed: of the models.
        objectives: what is optimized: one, or several at once, for which the best trade-offs are looked for.
        kind: ``tpe``, ``gp``, or ``cma``, as Optuna calls its samplers, or ``mfgp``: a Gaussian process that learns
            from what runs had at the rungs of early stopping, whether they came further or not.
        n_first: how many of the draws come before any model is asked.
        n_total: how many combinations there will be, where that is known.
    """

    is_enumerable = False

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        constraints: Sequence[Constraint],
        draws: EnumeratedSampler,
        zipped: Sequence[Sequence[str]] = (),
        *,
        seed: int,
        objectives: Sequence[Objective],
        kind: str = "tpe",
        n_first: int = N_STARTUP,
        n_total: int | None = None,
    ) -> None:
        self.objectives, self.kind, self.seed, self.n_total = tuple(objectives), kind, seed, n_total
        self._n_first = n_first
        self._constraints = tuple(constraints)
        self._dependencies = Dependencies(parameters)
        self._dimensions = Dimensions(parameters, zipped, assigned={n for c in constraints for n in c.assign})
        self._draws = draws.walk(Tally())
        self._known: dict[str, _Observation] = {}

    def ask(self) -> Params | None:
        """Return the next combination; None where a finite space holds no other.

        Raises:
            ConfigError: Optuna is not installed, or is too old; constraints drop everything.
        """
        n_measured = sum(bool(known.outcomes) for known in self._known.values())
        is_told = len(self._known) >= self._n_first and n_measured >= n_startup(self.kind)
        found = self._propose() if is_told else None
        if found is None:
            found = next((dict(params) for params in self._draws if canonical_json(params) not in self._known), None)
        if found is not None:
            self._known[canonical_json(found)] = _Observation(found)
        return found

    def tell(self, params: Params, outcome: RunOutcome) -> None:
        """Learn how a run ended. Runs of a combination with other seeds are one observation: their mean."""
        known = self._known.setdefault(canonical_json(params), _Observation(params))
        known.under_way = outcome.course if outcome.state == State.RUNNING else {}
        if outcome.state in _UNDONE or outcome in known.outcomes:  # what is known already is told again
            return
        known.outcomes = [before for before in known.outcomes if not _goes_on(outcome, before)] + [outcome]

    def _propose(self) -> dict[str, Any] | None:
        """Return what the model proposes, unless that is nothing new, or dropped, time and again."""
        if self.kind == MFGP:
            return self._propose_by_progress()
        optuna = _import_optuna()
        trials = self.trials()
        for n_try in range(1, MAX_TRIES + 1):
            goals = [objective.goal for objective in self.objectives]
            study = optuna.create_study(directions=goals, sampler=self._sampler(optuna, trials, n_try))
            study.add_trials(trials)
            params = self._dependencies.complete(functools.partial(self._dimensions.suggest, study.ask()))
            if apply_constraints(self._constraints, params, self._dependencies) is not None:
                continue
            if canonical_json(params) not in self._known:
                return params
        return None

    def _propose_by_progress(self) -> dict[str, Any] | None:
        """Return what is expected to be best as a whole run."""
        from sweepline.space.samplers import gaussian

        _import_optuna()  # in whose distributions parameters stand
        seen, pending, distributions = self._seen()
        axes = [axis_of(distribution) for distribution in distributions.values()]
        if not seen or not axes:
            return None
        points = [gaussian.Seen(point_of(raw, distributions), at, value, run) for raw, at, value, run in seen]
        under_way = [point_of(raw, distributions) for raw in pending]
        seed = _seed_of(f"{self.seed}/{len(self._known)}")
        for point in itertools.islice(gaussian.propose(points, under_way, axes, seed), MAX_TRIES):
            chosen = ChosenTrial(dict(zip(distributions, split_point(point, axes), strict=True)))
            params = self._dependencies.complete(functools.partial(self._dimensions.suggest, chosen))
            is_dropped = apply_constraints(self._constraints, params, self._dependencies) is not None
            if not is_dropped and canonical_json(params) not in self._known:
                return params
        return None

    def _seen(self) -> tuple[list[tuple[dict[str, Any], float, float, int]], list[dict[str, Any]], dict[str, Any]]:
        """Return what was measured (smaller being better), how far on, of which run; what is under way; in what."""
        objective = self.objectives[0]
        sign = -1.0 if objective.goal == "maximize" else 1.0
        whole = max((float(at) for one in self._known.values() for o in one.outcomes for at in o.course), default=1.0)
        seen: list[tuple[dict[str, Any], float, float, int]] = []
        pending, every = [], dict[str, Any]()
        for run, one in enumerate(self._known.values()):
            raw, distributions = self._dimensions.raw_of(one.params, self._dependencies)
            if raw is None:
                continue
            every.update(distributions)
            values: dict[float, list[float]] = {}
            for course in (*(_course_of(outcome, objective.name, whole) for outcome in one.outcomes), one.under_way):
                for at, value in course.items():
                    values.setdefault(float(at), []).append(sign * value if math.isfinite(value) else math.inf)
            seen += [(raw, at, statistics.fmean(own), run) for at, own in sorted(values.items())]
            if not one.outcomes:
                pending.append(raw)
        return seen, pending, every

    def _sampler(self, optuna: Any, trials: Sequence[Any], n_try: int) -> Any:
        """Return a sampler whose random numbers are of this proposal alone."""
        seed = _seed_of(f"{self.seed}/{len(self._known)}/{n_try}")
        samplers = optuna.samplers
        with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
            if self.kind == "gp":
                return samplers.GPSampler(seed=seed, n_startup_trials=0, deterministic_objective=False)
            if self.kind == "cma":
                # Its distribution begins with the best of what is known: nothing else tells of earlier proposals.
                return samplers.CmaEsSampler(seed=seed, n_startup_trials=0, source_trials=_numbers_of(optuna, trials))
            return samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True, group=True, constant_liar=True)

    def trials(self) -> list[Any]:
        """Return what is known as Optuna's trials: measured, stopped early, or under way; failed runs tell nothing."""
        return list(self._trials(_import_optuna()))

    def _worst(self, rows: Sequence[Sequence[float]]) -> list[float | None]:
        """Return the worst finite value of each objective."""
        columns = [[v for v in values if math.isfinite(v)] for values in zip(*rows, strict=True)]
        worst = [min if objective.goal == "maximize" else max for objective in self.objectives]
        return [pick(values, default=None) for pick, values in zip(worst, columns, strict=False)]

    def _trials(self, optuna: Any) -> Iterator[Any]:
        states, metrics = optuna.trial.TrialState, [objective.name for objective in self.objectives]
        known = list(self._known.values())[-MAX_OBSERVATIONS:]
        worst = self._worst([row for one in known for row in one.values(metrics)])
        at_rung = _values_at_rung(known, metrics[0]) if len(metrics) == 1 else None
        for one in known:
            rows = one.values(metrics)
            results = [_mean(values, bad) for values, bad in zip(zip(*rows, strict=True), worst, strict=False)]
            if at_rung is not None and (value := at_rung.get(id(one))) is not None:
                told: dict[str, Any] = {"state": states.COMPLETE, "values": [value]}
            elif at_rung is not None and one.outcomes:
                continue  # it did not come there: of the others nothing is alike
            elif results and None not in results:
                told = {"state": states.COMPLETE, "values": results}
            elif results:
                continue  # of diverged runs alone nothing is known
            elif len(metrics) == 1 and (pruned := _last_of_pruned(one.outcomes, metrics[0])):
                told = {"state": states.PRUNED, "intermediate_values": pruned}
            elif not one.outcomes:
                told = {"state": states.RUNNING}
            else:
                continue
            if one.made[0] != told:
                raw, distributions = self._dimensions.raw_of(one.params, self._dependencies)
                trial = None if raw is None else optuna.create_trial(**told, params=raw, distributions=distributions)
                one.made = (told, trial)
            if one.made[1] is not None:
                yield one.made[1]


def _mean(values: Sequence[float], worst: float | None) -> float | None:
    """Return the mean, in which a value that is no finite number stands as the worst one."""
    found = [value if math.isfinite(value) else worst for value in values]
    bounded = [value for value in found if value is not None]
    return statistics.fmean(bounded) if len(bounded) == len(found) else None


def _values_at_rung(known: Sequence[_Observation], metric: str) -> dict[int, float] | None:
    """Return by observation what was measured at the furthest rung to which enough runs came, or at the end.

    Optuna ranks every whole run before every one that was stopped: the few that happened to go to their end first would
    be the model's idea of a good one. So runs are compared where they came equally far, as BOHB does (Falkner et al.
    2018). None where no rung has enough runs, or no run was stopped at one.
    """
    ends = {id(one): one.values([metric]) for one in known}
    by_rung: dict[float, dict[int, list[float]]] = {}
    for one in known:
        for course in (*(outcome.course for outcome in one.outcomes), one.under_way):
            for at, value in course.items():
                by_rung.setdefault(float(at), {}).setdefault(id(one), []).append(value)
    stopped = {float(at) for one in known for o in one.outcomes if o.state == State.PRUNED for at in o.course}
    rungs = [at for at in stopped if len(by_rung[at]) >= MIN_AT_RUNG]
    if not rungs:
        return None
    finished = {key: [row[0] for row in rows] for key, rows in ends.items() if rows}
    found = finished if len(finished) >= MIN_AT_RUNG else by_rung[max(rungs)]
    means = {key: statistics.fmean(values) for key, values in found.items()}
    return {key: value for key, value in means.items() if math.isfinite(value)}


def _last_of_pruned(outcomes: Sequence[RunOutcome], metric: str) -> dict[int, float]:
    """Return what runs that were stopped early have measured, by how far they came: further ones rank better."""
    pruned = [o for o in outcomes if o.state == State.PRUNED and math.isfinite(o.metrics.get(metric, math.nan))]
    if not pruned:
        return {}
    return {max(o.n_points or 1 for o in pruned): statistics.fmean(o.metrics[metric] for o in pruned)}


def _course_of(outcome: RunOutcome, metric: str, whole: float) -> Mapping[str, float]:
    """Return what an ended run had, and how far on; its result at ``whole`` where nobody counted."""
    result = outcome.metrics.get(metric)
    if outcome.state == State.FINISHED and result is not None:
        return {**outcome.course, max(outcome.course, key=float, default=str(whole)): result}
    return outcome.course if outcome.state == State.PRUNED else {}


def _goes_on(outcome: RunOutcome, before: RunOutcome) -> bool:
    """Whether an outcome is that of a run which was stopped early before, and has gone on since."""
    told = outcome.course.items()
    return before.state == State.PRUNED and bool(before.course) and before.course.items() <= told


def _seed_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _numbers_of(optuna: Any, trials: Sequence[Any]) -> list[Any]:
    """Return measured trials without what is no number, as CMA-ES takes them."""
    found = []
    for trial in trials:
        own = {key: d for key, d in trial.distributions.items() if not hasattr(d, "choices")}
        if trial.state == optuna.trial.TrialState.COMPLETE and own:
            raw = {key: trial.params[key] for key in own}
            found.append(optuna.create_trial(value=trial.value, params=raw, distributions=own))
    return found


def n_startup(kind: str) -> int:
    """Return how many combinations are drawn before a model says anything."""
    return N_STARTUP_MFGP if kind == MFGP else N_STARTUP


def check_installed(kind: str = "tpe") -> None:
    """Make sure that there is an Optuna that can be used, and what a sampler needs beside it. Does not import it.

    Raises:
        ConfigError: there is none, or it is too old.
    """
    how = "pip install 'sweepline[bayes]'"
    try:
        version = importlib.metadata.version("optuna")
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(f"method: bayes needs Optuna: {how}; or take method: random") from None
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) < _OLDEST:
        raise ConfigError(f"method: bayes needs Optuna {_OLDEST} or later, this is {version}: {how}")
    if kind == MFGP and importlib.util.find_spec("scipy") is None:
        raise ConfigError(f"sampler: mfgp needs SciPy: {how}; or take sampler: tpe")
    if kind == "gp" and importlib.util.find_spec("torch") is None:
        raise ConfigError("sampler: gp needs torch; or take sampler: tpe or mfgp")


def _import_optuna() -> Any:
    check_installed()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
