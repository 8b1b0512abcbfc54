"""Smaller values of a parameter are not tried once larger ones, all else equal, have trained without diverging."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

from sweepline.config.schema import StabilityModel
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, Params, State, canonical_json

DIVERGED = "diverged"
"""A metric by which a run says that it diverged; else its objective does, by being no number."""
SKIPPED = "skipped: "
"""How the reason of a run begins that was not needed."""


class StabilityGuard:
    """Knows, of runs that differ in one parameter and what follows from it, for which values they were stable."""

    def __init__(
        self,
        wanted: StabilityModel,
        objective: Objective | None,
        records: Iterable[RunRecord],
        *,
        following: Collection[str] = (),
    ) -> None:
        self._wanted, self._objective = wanted, objective
        self._aside = {wanted.parameter, *following}
        self._stable: dict[str, set[float]] = {}
        for record in records:
            self.note(record)

    def note(self, record: RunRecord) -> None:
        """Take the end of a run into account."""
        value = record.params.get(self._wanted.parameter)
        if isinstance(value, (int, float)) and self._is_stable(record):
            self._stable.setdefault(self._group(record.params, record.seed), set()).add(value)

    def why_skipped(self, params: Params, seed: int | None) -> str | None:
        """Return why a run is not needed; None where it is."""
        value = params.get(self._wanted.parameter, math.inf)
        n = sum(1 for stable in self._stable.get(self._group(params, seed), ()) if stable > value)
        if n < self._wanted.depth:
            return None
        return f"{SKIPPED}{n} runs with a larger {self._wanted.parameter}, all else equal, were stable"

    def _group(self, params: Params, seed: int | None) -> str:
        rest: dict[str, Any] = {name: value for name, value in params.items() if name not in self._aside}
        return canonical_json([rest, seed])

    def _is_stable(self, record: RunRecord) -> bool:
        outcome = record.outcome
        if outcome is None or outcome.state != State.FINISHED or outcome.metrics.get(DIVERGED):
            return False
        value = outcome.metrics.get(self._objective.name) if self._objective is not None else 0.0
        return value is not None and math.isfinite(value)


def is_skipped(record: RunRecord) -> bool:
    """Whether a run was not needed when its turn came."""
    return record.state == State.PRUNED and record.outcome is not None and record.outcome.reason.startswith(SKIPPED)
