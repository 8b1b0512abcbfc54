"""How a running sweep stands, and who watches it. Counts and values only; drawing is in ``display``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sweepline.engine.logtail import LogTail
from sweepline.engine.wandbtail import WandbTail
from sweepline.executors.base import RunHandle
from sweepline.executors.local.slots import Slot
from sweepline.recording.events import ADDED, RunRecord
from sweepline.runs import UNSUCCESSFUL, Objective, Run, RunOutcome, State
from sweepline.space.plan import Plan

COUNT_SLICE_S = 0.02


@dataclass(kw_only=True, eq=False, slots=True)
class ActiveRun:
    """A run that is under way. ``asked`` are the overrides to be proved; None where none can be."""

    run: Run
    attempt: int
    slot: Slot
    handle: RunHandle
    run_dir: Path
    tail: LogTail
    asked: Mapping[str, Any] | None
    started: float = field(default_factory=time.monotonic)
    has_ended: bool = False
    is_proof_settled: bool = False
    is_judged: bool = False
    wandb: WandbTail | None = None
    """What follows the objective where the run logs it to W&B, until it prints it."""
    n_rungs_told: int = 0
    """At how many rungs of early stopping the sampler knows what it had."""


class Observer(Protocol):
    """Who watches a sweep: a terminal, a log. Called from the loop; must be quick, and must not raise."""

    refresh_s: float

    def begin(self) -> None:
        """The sweep holds its folder and begins; what was said before concerns whether it can.

        Raises:
            RecordError: there is no place to write to.
        """

    def note(self, text: str) -> None:
        """Something worth a line."""

    def run_started(self, active: ActiveRun) -> None:
        """A run has been started."""

    def run_ended(self, record: RunRecord, outcome: RunOutcome) -> None:
        """A run's end has been recorded; ``outcome.log_tail`` holds its last lines where it failed."""

    def refresh(self, progress: Progress) -> None:
        """Called every ``refresh_s`` seconds with how the sweep stands."""


class Progress:
    """Counts over all starts of a sweep; ``n_session`` counts this start alone.

    ``n_total`` is None until the plan has been walked, which a large plan does in slices between events.
    """

    def __init__(self, plan: Plan, objective: Objective | None) -> None:
        self.objective = objective
        self._n_planned: int | None = None
        self._n_added = 0
        self.n_session = 0
        self.active: Sequence[ActiveRun] = ()
        self.best: RunRecord | None = None
        self.started = time.monotonic()
        self.n_finished = 0  # a run that has finished never goes again
        self.n_warm = 0
        self._import_s = self._prepare_s = 0.0
        self._failed: set[str] = set()
        self._pruned: dict[str, int] = {}  # after how many points; some may go on
        self._n_points_finished = 0
        self._plan = plan
        self._counter = plan.count()
        self._n_kept = 0

    @property
    def n_total(self) -> int | None:
        """How many runs there are: of the plan, and what was added to it."""
        return None if self._n_planned is None else self._n_planned + self._n_added

    def note_added(self, are_new: Iterable[bool]) -> None:
        """Count runs beside the plan, but for those that are counted already."""
        self._n_added += sum(are_new)

    @property
    def n_failed(self) -> int:
        """Runs whose latest attempt ended otherwise."""
        return len(self._failed)

    @property
    def n_pruned(self) -> int:
        """Runs that were stopped early."""
        return len(self._pruned)

    @property
    def n_points_saved(self) -> int:
        """How many values of the objective more those would have told that were stopped, by those that were not."""
        if not self.n_finished:
            return 0
        whole = self._n_points_finished / self.n_finished
        return round(sum(max(0.0, whole - n_points) for n_points in self._pruned.values()))

    @property
    def n_ended(self) -> int:
        """Runs that need nothing more in this start."""
        return self.n_finished + self.n_pruned + self.n_failed

    def load(self, records: Iterable[RunRecord], *, retry_failed: bool = False) -> None:
        """Count what earlier starts recorded; with ``retry_failed`` what has failed is still to come."""
        for record in records:
            self._n_added += record.in_sweep in ADDED
            if not (retry_failed and record.state in UNSUCCESSFUL) and not record.goes_on:
                self._count(record)

    def add(self, record: RunRecord, *, goes_again: bool = False) -> None:
        """Count an end of this start, unless the run goes again: counts never run back."""
        if not goes_again:
            self.n_session += record.is_ended
            self._count(record)

    def note_warm(self, import_s: float, *, prepare_s: float) -> None:
        """Count an end of a run that was spared ``import_s`` seconds of imports; all runs waited ``prepare_s`` once."""
        self.n_warm += 1
        self._import_s, self._prepare_s = import_s, prepare_s

    @property
    def saved_s(self) -> float:
        """Seconds of imports that warm starts have spared, what preparing them took is taken off."""
        return max(0.0, self.n_warm * self._import_s - self._prepare_s)

    def walk_plan(self) -> bool:
        """Walk a slice of the plan for the total; return whether there is more to walk."""
        if self._n_planned is not None:
            return False
        if not self._plan.is_enumerable and self._plan.sampler.n_total is None:
            return False  # only its end tells
        until = time.monotonic() + COUNT_SLICE_S
        for tally in self._counter:
            self._n_kept = self._plan.n_runs(tally)
            if time.monotonic() >= until:
                return True
        self._n_planned = self._n_kept
        return False

    def _count(self, record: RunRecord) -> None:
        self._failed.discard(record.run_id)
        self._pruned.pop(record.run_id, None)
        n_points = (record.outcome.n_points if record.outcome else None) or 0
        if record.state == State.FINISHED:
            self.n_finished += 1
            self._n_points_finished += n_points
            self._consider_best(record)
        elif record.state == State.PRUNED:
            self._pruned[record.run_id] = n_points
        elif record.is_ended:
            self._failed.add(record.run_id)

    def _consider_best(self, record: RunRecord) -> None:
        objective = self.objective
        if objective is None or objective.name not in record.metrics:
            return
        best = self.best.metrics[objective.name] if self.best else None
        if objective.is_better(record.metrics[objective.name], best):
            self.best = record
