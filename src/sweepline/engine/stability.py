"""Smaller values of a parameter are not tried once larger ones, all else equal, have trained without diverging."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from sweepline.config.schema import StabilityModel
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, Params, State, canonical_json

DIVERGED = "diverged"
"""A metric by which a run says that it diverged; else its objective does, by being no number."""


class StabilityGuard:
    """Counts, among runs that differ in one parameter alone, those that were stable."""

    def __init__(self, wanted: StabilityModel, objective: Objective | None, records: Iterable[RunRecord]) -> None:
        self._wanted, self._objective = wanted, objective
        self._n_stable: Counter[str] = Counter()
        for record in records:
            self.note(record)

    def note(self, record: RunRecord) -> None:
        """Take the end of a run into account."""
        if self._is_stable(record):
            self._n_stable[self._group(record.params, record.seed)] += 1

    def why_skipped(self, params: Params, seed: int | None) -> str | None:
        """Return why a run is not needed; None where it is."""
        n = self._n_stable[self._group(params, seed)]
        if n < self._wanted.depth:
            return None
        return f"skipped: {n} runs with a larger {self._wanted.parameter}, all else equal, were stable"

    def _group(self, params: Params, seed: int | None) -> str:
        rest: dict[str, Any] = {name: value for name, value in params.items() if name != self._wanted.parameter}
        return canonical_json([rest, seed])

    def _is_stable(self, record: RunRecord) -> bool:
        outcome = record.outcome
        if outcome is None or outcome.state != State.FINISHED or outcome.metrics.get(DIVERGED):
            return False
        value = outcome.metrics.get(self._objective.name) if self._objective is not None else 0.0
        return value is not None and math.isfinite(value)
