"""The plan: the runs of a sweep in order, made one at a time, equal from one call to the next."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweepline.errors import ConfigError
from sweepline.runs import Run, run_id_of, run_name_of
from sweepline.space.constraints import Rule
from sweepline.space.parameters import Constant, Parameter
from sweepline.space.samplers.grid import Grid, Tally
from sweepline.space.samplers.random import Draws

MAX_COUNTED_AT_ONCE = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """What is searched and how.

    ``parameters`` are in the order of the file; ``limit`` bounds the combinations, ``seeds`` repeats each of them.
    ``identity`` stands for the program and its config in every run's id; ``named_by`` are the parameters that stand in
    its name, by default those that vary.
    """

    parameters: Mapping[str, Parameter]
    rules: Sequence[Rule] = ()
    method: str = "grid"
    sampler_seed: int = 0
    limit: int | None = None
    seeds: Sequence[int | None] = (None,)
    identity: str = ""
    grid_order: Sequence[str] = field(default=())
    named_by: Sequence[str] | None = None

    @property
    def swept(self) -> tuple[str, ...]:
        """Names of the parameters that vary."""
        return tuple(name for name, p in self.parameters.items() if not isinstance(p, Constant))


class Plan:
    """The runs of a search space."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.grid: Grid | None = None
        if space.method == "grid":
            order = space.grid_order or sorted(space.parameters)
            self.grid = Grid({name: space.parameters[name] for name in order}, space.rules)

    @property
    def n_combinations(self) -> int | None:
        """The size of the product before constraints; None for random draws."""
        return self.grid.n_combinations if self.grid is not None else None

    def combinations(self, tally: Tally) -> Iterator[Mapping[str, Any]]:
        """Yield the parameter values of each kept combination, in the file's order of names."""
        to_params = self.grid.params if self.grid is not None else dict
        for kept in self._walk(tally):
            params = to_params(kept)
            yield {name: params[name] for name in self.space.parameters}

    def _walk(self, tally: Tally) -> Iterator[Any]:
        """Yield what the sampler keeps, within the limit: indexes of a grid, values of a draw."""
        space = self.space
        sampler: Grid | Draws | None = self.grid
        if sampler is None:
            sampler = Draws(space.parameters, space.rules, space.sampler_seed)
        return itertools.islice(sampler.walk(tally), space.limit)

    def runs(self) -> Iterator[Run]:
        """Yield the runs: every combination with every seed."""
        space = self.space
        identity = hashlib.sha256(space.identity.encode()).hexdigest()[:8]
        index = 0
        named_by = [name for name in (space.swept if space.named_by is None else space.named_by) if name != "seed"]
        for params in self.combinations(Tally()):
            own_seed = params.get("seed")
            has_own = "seed" in space.parameters
            for seed in (own_seed,) if has_own else space.seeds:
                run_seed = seed if isinstance(seed, int) and not isinstance(seed, bool) else None
                shown = None if has_own and "seed" not in space.swept else run_seed
                yield Run(
                    run_id=run_id_of(params, run_seed, space.identity),
                    name=run_name_of(params, named_by, shown),
                    params=params,
                    seed=run_seed,
                    index=index,
                    identity=identity,
                )
                index += 1

    def count(self) -> Iterator[Tally]:
        """Walk the combinations without making runs, yielding the tally as it grows; its last value is final."""
        tally = Tally()
        for _ in self._walk(tally):
            yield tally
        yield tally

    @property
    def is_small(self) -> bool:
        """Whether walking all of it takes no time worth speaking of."""
        return (self.n_combinations or self.space.limit or MAX_COUNTED_AT_ONCE + 1) <= MAX_COUNTED_AT_ONCE

    @property
    def n_seeds(self) -> int:
        """How many runs each combination makes."""
        return 1 if "seed" in self.space.parameters else len(self.space.seeds)


def count_all(plan: Plan) -> Tally:
    """Walk the whole plan.

    Raises:
        ConfigError: nothing remains after the constraints; names them.
    """
    tally = Tally()
    for tally in plan.count():  # noqa: B007
        pass
    if tally.n_kept == 0:
        texts = ", ".join(f"'{rule.text}'" for rule in plan.space.rules)
        raise ConfigError(f"0 of {tally.n_walked:,} combinations pass the constraints ({texts})")
    return tally
