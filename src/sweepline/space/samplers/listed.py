"""Combinations that were written down one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweepline.runs import canonical_json
from sweepline.space.samplers.base import EnumeratedSampler, Tally


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
