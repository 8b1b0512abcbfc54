"""The plan: the runs of a sweep in order, made one at a time, equal from one call to the next."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweepline.errors import ConfigError
from sweepline.runs import Objective, Params, Run, RunOutcome, canonical_json, run_id_of, run_name_of
from sweepline.space.constraints import Constraint
from sweepline.space.dependent import ONLY_LISTED, Computed, Dependencies
from sweepline.space.parameters import Constant, Parameter
from sweepline.space.samplers.base import EnumeratedSampler, Sampler, Tally
from sweepline.space.samplers.bayes import MFGP, BayesSampler, n_startup
from sweepline.space.samplers.grid import Grid, GridSampler
from sweepline.space.samplers.listed import ListedFirst, ListedSampler
from sweepline.space.samplers.random import QmcSampler, RandomSampler

MAX_COUNTED_AT_ONCE = 200_000
QMC = "qmc"
_MISSING = {"absent": "in a combination that is listed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """What is searched and how.

    ``parameters`` are in the order of the file; ``limit`` bounds the combinations, ``seeds`` repeats each of them.
    ``identity`` stands for the program and its config in every run's id; ``named_by`` are the parameters that stand in
    its name, by default those that vary. Parameters of a group of ``zipped`` go through their values together.
    ``listed`` are combinations that are written down: they come first, beside the product where there is one. The
    method ``bayes`` proposes by a model of the ``objectives``, which a ``sampler`` makes: ``tpe``, ``gp``, ``cma``, or
    ``qmc``, which spreads evenly instead.
    """

    parameters: Mapping[str, Parameter]
    constraints: Sequence[Constraint] = ()
    method: str = "grid"
    sampler_seed: int = 0
    limit: int | None = None
    seeds: Sequence[int | None] = (None,)
    identity: str = ""
    grid_order: Sequence[str] = field(default=())
    named_by: Sequence[str] | None = None
    zipped: Sequence[Sequence[str]] = ()
    listed: Sequence[Mapping[str, Any]] = ()
    sampler: str = "tpe"
    objectives: Sequence[Objective] = ()

    @property
    def swept(self) -> tuple[str, ...]:
        """Names of the parameters that vary, but for those that are computed of others."""
        return tuple(name for name, parameter in self.parameters.items() if self._varies(name, parameter))

    @property
    def has_product(self) -> bool:
        """Whether there is more than what is listed: something varies, or nothing is listed."""
        fixed = (Constant, Computed)
        return not self.listed or any(
            not isinstance(p, fixed) and p != ONLY_LISTED and (p.grid is None or len(p.grid) > 1)
            for p in self.parameters.values()
        )

    def _varies(self, name: str, parameter: Parameter) -> bool:
        if isinstance(parameter, Computed):
            return False
        here = {canonical_json(listed.get(name, _MISSING)) for listed in self.listed}
        if isinstance(parameter, Constant):
            return not here <= {canonical_json(parameter.value), canonical_json(_MISSING)}
        return parameter != ONLY_LISTED or len(here) > 1 or self.has_product


def build_sampler(space: SearchSpace) -> Sampler:
    """Return the sampler that a space's method names."""
    product: EnumeratedSampler | None = None
    if space.has_product and space.method != "grid":
        is_even = space.sampler == QMC or (space.method == "bayes" and space.sampler == MFGP)
        kind = QmcSampler if is_even else RandomSampler  # a process learns most from draws that are spread evenly
        product = kind(space.parameters, space.constraints, space.sampler_seed, space.zipped)
    elif space.has_product:
        order = space.grid_order or sorted(space.parameters)
        product = GridSampler(Grid({name: space.parameters[name] for name in order}, space.constraints, space.zipped))
    found = product
    if product is None or space.listed:
        found = ListedFirst(space.listed, space.constraints, Dependencies(space.parameters), product)
    assert found is not None
    if space.method != "bayes" or space.sampler == QMC or product is None or not space.objectives:
        return found
    return BayesSampler(
        space.parameters,
        space.constraints,
        found,
        space.zipped,
        seed=space.sampler_seed,
        objectives=space.objectives,
        kind=space.sampler,
        n_first=max(n_startup(space.sampler), len(space.listed)),
        n_total=space.limit,
    )


Picks = Callable[[Params, int | None], bool]


class Plan:
    """The runs of a search space: what a sampler proposes, with every seed.

    A ``sampler`` of one's own may learn; without one the space's method enumerates, and every walk begins anew.
    """

    def __init__(self, space: SearchSpace, *, sampler: Sampler | None = None, only: Picks | None = None) -> None:
        """``only`` is asked of every combination and seed that can be told beforehand whether that run is wanted."""
        self.space, self._only = space, only
        self.sampler = build_sampler(space) if sampler is None else sampler
        self._n_proposed = 0
        self._ids: list[str] | None = None
        self._left: deque[Run] = deque()  # of the combination that a sampler that learns proposed last

    def pick(self, wanted: Picks) -> Plan:
        """Return the plan of those of its runs alone that are wanted."""
        only = self._only
        both = wanted if only is None else lambda params, seed: only(params, seed) and wanted(params, seed)
        return Plan(self.space, sampler=self.sampler, only=both)

    @property
    def is_enumerable(self) -> bool:
        """Whether the runs can be told before any has ended."""
        return self.sampler.is_enumerable

    @property
    def grid(self) -> Grid | None:
        """The product that is walked; None for any other sampler."""
        sampler = self.sampler.others if isinstance(self.sampler, ListedFirst) else self.sampler
        return sampler.grid if isinstance(sampler, GridSampler) else None

    @property
    def n_combinations(self) -> int | None:
        """How many combinations there are before constraints, in a product or listed; None for anything else."""
        if self.grid is None and self.space.has_product:
            return None
        return len(self.space.listed) + (self.grid.n_combinations if self.grid is not None else 0)

    def tell(self, params: Params, outcome: RunOutcome) -> None:
        """Let the sampler learn how a run ended."""
        self.sampler.tell(params, outcome)

    def take_up(self, known: Iterable[Params], is_open: Callable[[str], bool]) -> None:
        """Go on, with a sampler that learns, where earlier starts were: what they proposed counts, and goes first.

        Args:
            known: the combinations, in the order in which they were proposed.
            is_open: asked for the id of each of their runs whether that is still to be run.
        """
        combinations = {canonical_json(params): params for params in known}
        self._n_proposed = len(combinations)
        for i, params in enumerate(combinations.values()):
            self._left.extend(self._runs_of(params, itertools.count(i), None, is_open))

    def runs_with(self, params: Params, seeds: Sequence[int | None]) -> list[Run]:
        """Return the runs of a combination with these seeds."""
        return list(self._runs_of(params, itertools.count(), None, None, seeds=seeds))

    def runs_of_configuration(self, params: Params) -> list[Run]:
        """Return the runs of a combination with all seeds of the space, also where these are a parameter."""
        seed = self.space.parameters.get("seed")
        if seed is None:
            return self.runs_with(params, self.space.seeds)
        rows = ({**params, "seed": value} for value in seed.grid or ())
        return [run for row in rows for run in self._runs_of(row, itertools.count(), None, None)]

    def belongs(self, params: Params, seed: int | None, run_id: str) -> bool:
        """Whether a run, recorded under an id, is one of the program and the config of this space."""
        return run_id == run_id_of(params, seed, self.space.identity)

    def combinations(self, tally: Tally) -> Iterator[Mapping[str, Any]]:
        """Yield the parameter values of each kept combination, in the file's order of names.

        A sampler that learns goes on where it was: what it has proposed is not proposed again.
        """
        sampler = self.sampler
        if isinstance(sampler, EnumeratedSampler):
            proposed: Iterator[Params] = itertools.islice(sampler.walk(tally), self.space.limit)
        else:
            proposed = iter(self._ask, None)
        for params in proposed:
            if not self.space.parameters:  # the sampler has a space of its own
                yield params
                continue
            yield {name: params[name] for name in self.space.parameters if name in params}

    def _ask(self) -> Params | None:
        """Ask a sampler that learns, as often as the space's limit allows."""
        if self.space.limit is not None and self._n_proposed >= self.space.limit:
            return None
        params = self.sampler.ask()
        self._n_proposed += params is not None
        return params

    def runs(self, is_wanted: Callable[[str], bool] | None = None) -> Iterator[Run]:
        """Yield the runs: every combination with every seed. A sampler that learns goes on where it was.

        Args:
            is_wanted: asked for each id when its turn comes, where the runs can be told before any has ended.
        """
        if self.is_enumerable:
            index = itertools.count()
            ids = None if self._ids is None else iter(self._ids)
            for params in self.combinations(Tally()):
                yield from self._runs_of(params, index, ids, is_wanted)
            return
        while True:
            if not self._left:
                proposed = next(self.combinations(Tally()), None)
                if proposed is None:
                    return
                self._left.extend(self._runs_of(proposed, itertools.count(self._n_proposed - 1), None, None))
            yield self._left.popleft()

    def ids(self) -> Sequence[str]:
        """Return the ids of all runs that can be told before any has ended; kept, so that later walks are quicker."""
        if self._ids is None:
            walked = self.combinations(Tally()) if self.is_enumerable else ()
            self._ids = [
                run_id_of(params, seed, self.space.identity)
                for params in walked
                for seed in self._seeds(params)
                if self._is_picked(params, seed)
            ]
        return self._ids

    def _is_picked(self, params: Params, seed: int | None) -> bool:
        return self._only is None or self._only(params, seed)

    def _seeds(self, params: Params) -> list[int | None]:
        seeds = (params.get("seed"),) if "seed" in self.space.parameters else self.space.seeds
        return [seed if isinstance(seed, int) and not isinstance(seed, bool) else None for seed in seeds]

    def _runs_of(
        self,
        params: Params,
        index: Iterator[int],
        ids: Iterator[str] | None,
        is_wanted: Callable[[str], bool] | None,
        *,
        seeds: Sequence[int | None] | None = None,
    ) -> Iterator[Run]:
        space = self.space
        is_hidden = "seed" in space.parameters and "seed" not in self._swept
        for seed in self._seeds(params) if seeds is None else seeds:
            if seeds is None and not self._is_picked(params, seed):
                continue
            run_id = run_id_of(params, seed, space.identity) if ids is None else next(ids)
            number = next(index)
            if is_wanted is None or is_wanted(run_id):
                yield Run(
                    run_id=run_id,
                    name=run_name_of(params, self._named_by or list(params), None if is_hidden else seed),
                    params=params,
                    seed=seed,
                    index=number,
                    identity=self.identity,
                )

    @functools.cached_property
    def _swept(self) -> tuple[str, ...]:
        return self.space.swept

    @functools.cached_property
    def _named_by(self) -> Sequence[str]:
        named_by = self._swept if self.space.named_by is None else self.space.named_by
        return [name for name in named_by if name != "seed"]

    @functools.cached_property
    def identity(self) -> str:
        """How its runs tell of the program and its config."""
        return self.identity_of(self.space)

    @staticmethod
    def identity_of(space: SearchSpace) -> str:
        """Return how runs of a space tell of the program and its config."""
        return hashlib.sha256(space.identity.encode()).hexdigest()[:8]

    def count(self) -> Iterator[Tally]:
        """Walk the combinations without making runs, yielding the tally as it grows; its last value is final.

        Of a sampler that learns only what it tells beforehand is counted.
        """
        tally, sampler = Tally(), self.sampler
        if isinstance(sampler, EnumeratedSampler) and self._only is not None:
            for params in self.combinations(tally):
                tally.n_left_out += sum(not self._only(params, seed) for seed in self._seeds(params))
                yield tally
        elif isinstance(sampler, EnumeratedSampler):
            for _ in itertools.islice(sampler.count(tally), self.space.limit):
                yield tally
        else:
            tally.n_walked = sampler.n_total or 0
        yield tally

    @property
    def is_small(self) -> bool:
        """Whether walking all of it takes no time worth speaking of."""
        if not self.is_enumerable:
            return False
        return (self.n_combinations or self.space.limit or MAX_COUNTED_AT_ONCE + 1) <= MAX_COUNTED_AT_ONCE

    def n_runs(self, tally: Tally) -> int:
        """Return how many runs the combinations that were counted make."""
        return tally.n_kept * self.n_seeds - tally.n_left_out

    @property
    def n_seeds(self) -> int:
        """How many runs each combination makes."""
        return 1 if "seed" in self.space.parameters else len(self.space.seeds)


class ListedPlan(Plan):
    """Runs that are known one by one, under the ids and names that they have; ``space`` is that of their sweep."""

    def __init__(self, space: SearchSpace, runs: Sequence[Run]) -> None:
        super().__init__(space, sampler=ListedSampler(()))
        self._runs = list(runs)

    def runs(self, is_wanted: Callable[[str], bool] | None = None) -> Iterator[Run]:
        """See :meth:`Plan.runs`."""
        return (run for run in self._runs if is_wanted is None or is_wanted(run.run_id))

    def ids(self) -> Sequence[str]:
        """See :meth:`Plan.ids`."""
        return [run.run_id for run in self._runs]

    def count(self) -> Iterator[Tally]:
        """See :meth:`Plan.count`."""
        yield Tally(n_walked=len(self._runs))

    def n_runs(self, tally: Tally) -> int:
        """See :meth:`Plan.n_runs`."""
        return tally.n_kept

    @property
    def is_small(self) -> bool:
        """See :attr:`Plan.is_small`."""
        return True


class SingleRunPlan(Plan):
    """One run that was made before, under the id and the name that it had."""

    def __init__(self, run: Run) -> None:
        super().__init__(SearchSpace(parameters={k: Constant(v) for k, v in run.params.items()}, seeds=(run.seed,)))
        self._run = run

    def ids(self) -> Sequence[str]:
        """See :meth:`Plan.ids`."""
        return [self._run.run_id]

    def _runs_of(
        self,
        params: Params,
        index: Iterator[int],
        ids: Iterator[str] | None,
        is_wanted: Callable[[str], bool] | None,
        *,
        seeds: Sequence[int | None] | None = None,
    ) -> Iterator[Run]:
        if is_wanted is None or is_wanted(self._run.run_id):
            yield self._run


def count_all(plan: Plan) -> Tally:
    """Walk the whole plan.

    Raises:
        ConfigError: nothing remains after the constraints; names them.
    """
    tally = Tally()
    for tally in plan.count():  # noqa: B007
        pass
    if tally.n_kept == 0:
        texts = ", ".join(f"'{constraint.text}'" for constraint in plan.space.constraints)
        raise ConfigError(f"0 of {tally.n_walked:,} combinations pass the constraints ({texts})")
    return tally
