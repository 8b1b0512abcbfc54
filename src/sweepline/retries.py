"""Which run goes again in the same start, where, and how often."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sweepline.recording.outcome import OVERRIDE_NOT_APPLIED
from sweepline.runs import UNSUCCESSFUL, Run, RunOutcome, State

MAX_FREE = 5


@dataclass(frozen=True, slots=True)
class Again:
    """A run that goes again: not on the devices in ``avoid`` while there are others, or ``is_alone`` on its device."""

    run: Run
    avoid: frozenset[str] = frozenset()
    is_alone: bool = False


class RetryPolicy:
    """Counts the attempts of one start. Runs that are not to blame go again five times for nothing."""

    def __init__(self, n_retries: int) -> None:
        self.n_retries = n_retries
        self._n_free: Counter[str] = Counter()
        self._n_failed: Counter[str] = Counter()
        self._went_alone: set[str] = set()

    def decide(self, run: Run, outcome: RunOutcome, *, device: str, was_shared: bool) -> Again | None:
        """Return how a run that ended so goes again; None when it does not."""
        if outcome.is_blameless:
            self._n_free[run.run_id] += 1
            avoid = frozenset({device}) if outcome.state == State.GPU_LOST else frozenset()
            return Again(run, avoid) if self._n_free[run.run_id] <= MAX_FREE else None
        if outcome.state not in UNSUCCESSFUL or outcome.reason.startswith(OVERRIDE_NOT_APPLIED):
            return None
        if outcome.state == State.OUT_OF_MEMORY and was_shared and run.run_id not in self._went_alone:
            self._went_alone.add(run.run_id)
            return Again(run, is_alone=True)
        self._n_failed[run.run_id] += 1
        return Again(run) if self._n_failed[run.run_id] <= self.n_retries else None
