"""Smaller values of a parameter are not tried once larger ones, all else equal, have trained without diverging.

A value counts once all seeds have ended, so that which runs there are follows from what runs measure alone, and not
from how many go at a time.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from sweepline.config.schema import StabilityModel
from sweepline.recording.events import RunRecord
from sweepline.runs import DIVERGED, UNENDED, Objective, Params, Run, State, canonical_json

SKIPPED = "skipped: "
"""How the reason of a run begins that was not needed."""


@dataclass(slots=True)
class _Value:
    """A value of the parameter among configurations that are alike but for it: seeds by how their runs went."""

    stable: set[Any] = field(default_factory=set)
    others: set[Any] = field(default_factory=set)  # diverged, failed, or skipped
    to_come: set[Any] = field(default_factory=set)


class StabilityGuard:
    """Knows, of runs that differ in one parameter and what follows from it, for which values they were stable.

    ``seeds`` are those of each configuration; runs with others, as a race has them, are left alone.
    """

    def __init__(
        self,
        wanted: StabilityModel,
        objective: Objective | None,
        records: Iterable[RunRecord],
        *,
        seeds: Collection[Any],
        following: Collection[str] = (),
    ) -> None:
        self._wanted, self._objective = wanted, objective
        self._aside = {wanted.parameter, "seed", *following}
        self._seeds = frozenset(seeds)
        self._values: dict[str, dict[float, _Value]] = {}
        for record in records:
            if record.state not in UNENDED:
                self.note(record)

    def note(self, record: RunRecord) -> None:
        """Take the end of a run into account."""
        value = self._value_of(record.params, record.any_seed)
        if value is None:
            return
        for seeds in (value.stable, value.others, value.to_come):
            seeds.discard(record.any_seed)
        (value.stable if self._is_stable(record) else value.others).add(record.any_seed)

    def note_start(self, run: Run) -> None:
        """Take into account that a run is under way, or will be."""
        value = self._value_of(run.params, run.any_seed)
        if value is not None:
            value.others.discard(run.any_seed)  # it goes again
            value.to_come.add(run.any_seed)

    def must_wait(self, run: Run) -> bool:
        """Whether runs under way, or to come, decide if this one is needed. It is taken to come from now on."""
        self.note_start(run)
        if run.any_seed not in self._seeds:
            return False
        larger = list(self._larger(run.params))
        n_stable = sum(map(self._has_been_stable, larger))
        n_possible = n_stable + sum(bool(value.to_come) and not value.others for value in larger)
        return n_stable < self._wanted.depth <= n_possible

    def why_skipped(self, run: Run | RunRecord) -> str | None:
        """Return why a run is not needed; None where it is, or that is not known yet, or it is of a race."""
        n = sum(map(self._has_been_stable, self._larger(run.params)))
        if n < self._wanted.depth or run.any_seed not in self._seeds:
            return None
        return f"{SKIPPED}{n} larger values of {self._wanted.parameter}, all else equal, were stable"

    def _larger(self, params: Params) -> Iterable[_Value]:
        own = params.get(self._wanted.parameter, math.inf)
        return (value for at, value in self._values.get(self._group(params), {}).items() if at > own)

    def _has_been_stable(self, value: _Value) -> bool:
        return not value.others and not value.to_come and value.stable >= self._seeds

    def _value_of(self, params: Params, seed: Any) -> _Value | None:
        at = params.get(self._wanted.parameter)
        if not isinstance(at, (int, float)) or seed not in self._seeds:
            return None
        return self._values.setdefault(self._group(params), {}).setdefault(at, _Value())

    def _group(self, params: Params) -> str:
        return canonical_json({name: value for name, value in params.items() if name not in self._aside})

    def _is_stable(self, record: RunRecord) -> bool:
        outcome = record.outcome
        if outcome is None or outcome.state != State.FINISHED or outcome.metrics.get(DIVERGED):
            return False
        value = outcome.metrics.get(self._objective.name) if self._objective is not None else 0.0
        return value is not None and math.isfinite(value)


def is_skipped(record: RunRecord) -> bool:
    """Whether a run was not needed when its turn came."""
    return record.state == State.PRUNED and record.outcome is not None and record.outcome.reason.startswith(SKIPPED)
