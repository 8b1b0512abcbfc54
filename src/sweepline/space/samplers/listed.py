"""Combinations that were written down one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweepline.runs import canonical_json
from sweepline.space.constraints import Constraint
from sweepline.space.dependent import Dependencies
from sweepline.space.samplers.base import EnumeratedSampler, Tally, apply_constraints


class ListedSampler(EnumeratedSampler):
    """Proposes combinations in the order of a list; one that stands there twice, once."""

    def __init__(self, combinations: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self._combinations = combinations

    def walk(self, tally: Tally) -> Iterator[Mapping[str, Any]]:
        """See :meth:`EnumeratedSampler.walk`."""
        met: set[str] = set()
        for params in self._combinations:
            tally.n_walked += 1
            text = canonical_json(params)
            if text in met:
                tally.n_merged += 1
            else:
                met.add(text)
                yield params

    @property
    def n_total(self) -> int | None:
        """How many there are, equal ones not merged."""
        return len(self._combinations)


class ListedFirst(EnumeratedSampler):
    """Proposes combinations that are written down, and then those of another sampler that are not among them.

    ``listed`` leaves out what is constant or computed; constraints hold for all.
    """

    def __init__(
        self,
        listed: Sequence[Mapping[str, Any]],
        constraints: Sequence[Constraint],
        dependencies: Dependencies,
        others: EnumeratedSampler | None,
    ) -> None:
        super().__init__()
        self._listed, self._constraints, self._dependencies, self.others = listed, constraints, dependencies, others

    def walk(self, tally: Tally) -> Iterator[Mapping[str, Any]]:
        """See :meth:`EnumeratedSampler.walk`."""
        met: set[str] = set()
        for listed in self._listed:
            params = self._dependencies.complete_listed(listed)
            tally.n_walked += 1
            if apply_constraints(self._constraints, params, self._dependencies) is not None:
                tally.n_skipped += 1
            elif canonical_json(params) in met:
                tally.n_merged += 1
            else:
                met.add(canonical_json(params))
                yield params
        for other in self.others.walk(tally) if self.others is not None else ():
            if canonical_json(other) in met:
                tally.n_merged += 1
            else:
                yield other
