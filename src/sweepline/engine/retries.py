"""Which run goes again in the same start, where, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from sweepline.engine.outcome import (
    LACKED_MEMORY,
    LACKED_TIME,
    OUT_OF_MEMORY_IN_DOUBT,
    OVERRIDE_NOT_APPLIED,
    TAKEN_BACK,
)
from sweepline.executors.base import Lack
from sweepline.recording.events import RunRecord
from sweepline.runs import UNSUCCESSFUL, Run, RunOutcome, State

MAX_FREE = 5
MAX_TAKEN_BACK = 100  # preemptions and limits of time: the run was good, and has its checkpoint
MAX_SMALLER = 5  # at 0.8 of the size each time a third is left
RECOMMENDED_SIZE = "recommended_batch_size"  # a metric that our trainer prints when memory runs out
SIZE_LIMIT = "batch_size_config.max_batch_size"


@dataclass(frozen=True, slots=True)
class Retry:
    """A run that goes again: not on the devices in ``avoid`` while there are others, or ``is_alone`` on its device."""

    run: Run
    avoid: frozenset[str] = frozenset()
    is_alone: bool = False


class RetryPolicy:
    """Counts the attempts of one start. Runs that are not to blame go again five times for nothing.

    With ``goes_smaller`` a run that ran out of memory goes again with the batch size that it recommends. ``give_more``
    is who may give a run more of what it lacked, by its id.
    """

    def __init__(
        self,
        n_retries: int,
        *,
        goes_smaller: bool = False,
        give_more: Callable[[str, Lack], str] = lambda _run_id, _lack: "",
    ) -> None:
        self.n_retries, self.goes_smaller, self.give_more = n_retries, goes_smaller, give_more
        self._n_smaller: Counter[str] = Counter()
        self._bounds: dict[str, int] = {}
        self._n_free: Counter[str] = Counter()
        self._n_failed: Counter[str] = Counter()
        self._went_alone: set[str] = set()

    def decide(self, run: Run, outcome: RunOutcome, *, device: str, was_shared: bool) -> Retry | None:
        """Return how a run that ended so goes again; None when it does not."""
        if outcome.is_blameless:
            self._n_free[run.run_id] += 1
            avoid = frozenset({device}) if outcome.state == State.GPU_LOST else frozenset()
            has_run = outcome.reason.startswith((TAKEN_BACK, LACKED_TIME)) and outcome.duration_s > 0
            limit = MAX_TAKEN_BACK if has_run else MAX_FREE
            return Retry(run, avoid) if self._n_free[run.run_id] <= limit else None
        if outcome.state not in UNSUCCESSFUL or outcome.reason.startswith(OVERRIDE_NOT_APPLIED):
            return None
        may_lack_memory = outcome.state == State.OUT_OF_MEMORY or OUT_OF_MEMORY_IN_DOUBT in outcome.reason
        if may_lack_memory and was_shared and run.run_id not in self._went_alone:
            self._went_alone.add(run.run_id)
            return Retry(run, is_alone=True)
        lack = _lack_of(outcome)
        if lack is not None and self.give_more(run.run_id, lack):
            return Retry(run)
        size = outcome.metrics.get(RECOMMENDED_SIZE, 0)
        if outcome.state == State.OUT_OF_MEMORY and self.goes_smaller and size >= 1:
            self._n_smaller[run.run_id] += 1
            if self._n_smaller[run.run_id] <= MAX_SMALLER:
                self._bounds[run.run_id] = int(size)
                return Retry(run)
        self._n_failed[run.run_id] += 1
        return Retry(run) if self._n_failed[run.run_id] <= self.n_retries else None

    def with_recommended_size(self, run: Run, record: RunRecord | None) -> Run:
        """Return the run as the program shall do it: with the smaller batches that it has recommended.

        A run that ran out of memory in an earlier start is told so too; one that goes again alone is not.
        """
        size = self._bounds.get(run.run_id, 0)
        is_from_before = (
            record is not None and record.state == State.OUT_OF_MEMORY and run.run_id not in self._went_alone
        )
        if size == 0 and self.goes_smaller and record is not None and is_from_before:
            size = int(record.metrics.get(RECOMMENDED_SIZE, 0))
        return replace(run, params={**run.params, SIZE_LIMIT: size}) if size >= 1 else run


def _lack_of(outcome: RunOutcome) -> Lack | None:
    """Return what more of the same would have helped a run that ended so."""
    if outcome.state == State.OUT_OF_MEMORY and outcome.reason.startswith(LACKED_MEMORY):
        return Lack.MEMORY
    return Lack.TIME if outcome.state == State.TIMEOUT and outcome.reason.startswith(LACKED_TIME) else None
