"""Random draws: one independent stream per parameter, without replacement where the space is finite."""

from __future__ import annotations

import functools
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweepline.errors import ConfigError
from sweepline.runs import canonical_json
from sweepline.space.constraints import Constraint
from sweepline.space.dependent import Conditional, Dependencies
from sweepline.space.distributions import Quantized
from sweepline.space.parameters import Parameter
from sweepline.space.samplers.base import EnumeratedSampler, Tally, apply_constraints
from sweepline.space.samplers.grid import Grid

MAX_REJECTED_IN_A_ROW = 10_000
MAX_REPEATED_IN_A_ROW = 1_000
MAX_ENUMERATED = 1_000_000
_BLOCK = 256  # points of a Sobol sequence that are made at once


class RandomSampler(EnumeratedSampler):
    """An endless (or, in a finite space, complete) series of distinct combinations.

    The value of a parameter at draw *i* depends on (seed, parameter name, i) alone, so that adding a parameter or
    going on after a stop changes no other draw.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        constraints: Sequence[Constraint],
        seed: int,
        zipped: Sequence[Sequence[str]] = (),
    ) -> None:
        super().__init__()
        self.parameters = parameters
        self.constraints = tuple(constraints)
        self.seed = seed
        self.zipped = zipped
        self._dependencies = Dependencies(parameters)
        self._stream_of = {name: group[0] for group in zipped for name in group}
        self.is_finite = all(parameter.is_finite for parameter in parameters.values())

    def draw(self, index: int) -> dict[str, Any]:
        """Return draw ``index`` before constraints."""

        def draw_one(name: str, parameter: Parameter) -> Any:
            return parameter.at(self.quantile(name, index))

        if not self._dependencies:
            return {name: draw_one(name, parameter) for name, parameter in self.parameters.items()}
        return self._dependencies.complete(draw_one)

    def quantile(self, name: str, index: int) -> float:
        """Return where a parameter's value lies in a draw; those that are zipped draw the same place of their lists."""
        return random.Random(f"{self.seed}/{self._stream_of.get(name, name)}/{index}").random()

    def walk(self, tally: Tally) -> Iterator[dict[str, Any]]:
        """Yield accepted draws, counting into ``tally``; a small finite space is used up to its last combination.

        Raises:
            ConfigError: constraints reject 10,000 draws in a row; names the one that rejects most.
        """
        grid = self._enumerable()
        budget = MAX_REPEATED_IN_A_ROW if grid is not None else MAX_REJECTED_IN_A_ROW
        met: set[str] = set()
        rejected_by: Counter[str] = Counter()
        n_in_a_row = index = 0
        while n_in_a_row < budget:
            params = self.draw(index)
            index += 1
            n_in_a_row += 1
            tally.n_walked += 1
            rejecting = apply_constraints(self.constraints, params, self._dependencies)
            if rejecting is not None:
                tally.n_skipped += 1
                rejected_by[rejecting] += 1
                continue
            key = canonical_json(params)
            if key in met:
                tally.n_merged += 1
                continue
            met.add(key)
            n_in_a_row = 0
            yield params
        if grid is not None:
            yield from self._rest(grid, met, tally)
        elif rejected_by and (not met or not self.is_finite):
            worst, n_rejected = rejected_by.most_common(1)[0]
            raise ConfigError(f"constraint '{worst}' rejects {n_rejected:,} of {tally.n_walked:,} draws; relax it")

    def _enumerable(self) -> Grid | None:
        """Return the space as a grid when it is finite and small enough to walk."""
        if not all(map(_is_listed, self.parameters.values())):
            return None
        grid = Grid(self.parameters, self.constraints, self.zipped)
        return grid if grid.n_combinations <= MAX_ENUMERATED else None

    def _rest(self, grid: Grid, met: set[str], tally: Tally) -> Iterator[dict[str, Any]]:
        """Yield what a finite space still holds, in an order drawn from the seed."""
        rest = [p for p in map(grid.params, grid.walk(Tally())) if canonical_json(p) not in met]
        random.Random(f"{self.seed}//rest").shuffle(rest)
        for params in rest:
            tally.n_walked += 1
            yield params


class QmcSampler(RandomSampler):
    """Draws that are spread evenly: a scrambled Sobol sequence, of SciPy, with a dimension for each parameter."""

    def quantile(self, name: str, index: int) -> float:
        """See :meth:`RandomSampler.quantile`."""
        names = dict.fromkeys(self._stream_of.get(own, own) for own in self.parameters)
        block, at = divmod(index, _BLOCK)
        place = list(names).index(self._stream_of.get(name, name))
        return float(_sobol(len(names), self.seed, block)[at][place])


@functools.lru_cache(maxsize=4)
def _sobol(n_dimensions: int, seed: int, block: int) -> Any:
    """Return the points of a block of a sequence, (256, dimensions).

    Raises:
        ConfigError: SciPy is not installed, or there are too many dimensions for it.
    """
    try:
        from scipy.stats import qmc
    except ImportError:
        raise ConfigError("sampler: qmc needs SciPy: pip install 'sweepline[bayes]'") from None
    if n_dimensions > qmc.Sobol.MAXDIM:
        raise ConfigError(f"sampler: qmc takes at most {qmc.Sobol.MAXDIM:,} parameters, got {n_dimensions:,}")
    points = qmc.Sobol(n_dimensions, scramble=True, rng=seed)
    if block:
        points.fast_forward(block * _BLOCK)
    return points.random(_BLOCK)


def _is_listed(parameter: Parameter) -> bool:
    """Whether draws come from the values that a grid walks."""
    if isinstance(parameter, Conditional):
        return all(_is_listed(alternative.parameter) for alternative in parameter.alternatives)
    return parameter.is_finite and not isinstance(parameter, Quantized) and parameter.grid is not None


def draw_seeds(seed: int, n: int) -> tuple[int, ...]:
    """Return ``n`` distinct seeds for runs, drawn from the sampler's seed; the first ones stay when ``n`` grows."""
    seeds: dict[int, None] = {}
    for index in range(10 * n + 100):
        if len(seeds) == n:
            break
        seeds[math.floor(random.Random(f"{seed}//seeds/{index}").random() * 1_000_000)] = None
    return tuple(seeds)
