"""The loop: take a slot, submit, wait, record, give the slot back. Knows no terminal and no sweep file syntax."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

from sweepline.config.sweepfile import SweepSettings
from sweepline.devices import Slot, Slots
from sweepline.executors.base import Executor, SpawnError, StopReason
from sweepline.executors.local import LocalExecutor
from sweepline.guards import FailureGuard
from sweepline.launch import Launcher
from sweepline.metrics import MetricReader
from sweepline.progress import ActiveRun, Observer, Progress
from sweepline.recording.book import RecordBook
from sweepline.recording.folders import SweepFolder
from sweepline.recording.history import RunRecord
from sweepline.recording.outcome import (
    OVERRIDE_NOT_APPLIED,
    find_difference,
    has_effective_config,
    read_outcome,
    read_tail,
)
from sweepline.recording.tail import LogTail
from sweepline.runs import SUCCESSFUL, UNSUCCESSFUL, Run, RunOutcome, State
from sweepline.space.plan import Plan
from sweepline.stopping import StopSignals


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What the command line asks of one start."""

    count: int | None = None
    retry_failed: bool = False
    max_failures: int | None = None
    keep_going: bool = False


class Sweep:
    """One start of a sweep, from a locked folder to its last recorded run.

    ``planned`` holds the ids of all runs where earlier starts recorded some; others stay in the books, uncounted.
    """

    def __init__(
        self,
        settings: SweepSettings,
        plan: Plan,
        *,
        folder: SweepFolder,
        slots: Slots,
        launcher: Launcher,
        observer: Observer,
        options: SweepOptions,
        planned: Set[str] | None = None,
        make_executor: Callable[[int], Executor] = lambda wakeup_fd: LocalExecutor(wakeup_fd=wakeup_fd),
    ) -> None:
        self.settings, self.plan, self.folder, self.slots = settings, plan, folder, slots
        self.launcher, self.observer, self.options = launcher, observer, options
        self.book = RecordBook(
            folder,
            csv=settings.csv_path or folder.csv,
            sweep=settings.name,
            params=list(settings.space.parameters),
            metrics=settings.logged_metrics,
        )
        self.progress = Progress(plan, settings.objective)
        self.signals = StopSignals()
        self._guard = FailureGuard(max_failures=options.max_failures, keep_going=options.keep_going)
        self._planned = planned
        self._make_executor = make_executor
        self._n_stops_handled = 0
        self._active: list[ActiveRun] = []
        self._retries: deque[Run] = deque()
        self._to_retry: dict[str, Run] = {}  # waits until the failed attempt is in the books
        self._pending = self._runs_to_do()
        self._has_pending = True
        self._n_launched = 0

    def run(self) -> None:
        """Run everything that is missing; returns when all of it has ended or the sweep was stopped."""
        settings = self.settings
        notes = self.book.open(
            patterns=settings.patterns, objective=settings.objective, proves_overrides=settings.command.is_native
        )
        for note in notes:
            self.observer.note(note)
        self.progress.load(self.records)
        self.progress.walk_plan()
        self.book.note_event("sweep_start", sweep=settings.name, pid=os.getpid())
        with self.signals:
            self.executor = self._make_executor(self.signals.wakeup_fd)
            try:
                self._loop()
            finally:
                self._end_everything()
                self.executor.close()
                self.book.note_event("sweep_stop", signal=self.signals.first, halted=self._guard.halted)
                self.book.close()

    def _loop(self) -> None:
        next_refresh = time.monotonic()
        while True:
            self._handle_stop_signals()
            self._launch()
            if not self._active and (self._is_stopping or not (self._has_pending or self._retries)):
                self._commit()
                if self._is_stopping or not self._retries:
                    break
                continue
            now = time.monotonic()
            if now >= next_refresh:
                self._refresh()
                next_refresh = now + self.observer.refresh_s
            commit_due = self.book.commit_due
            if commit_due is not None and now >= commit_due:
                self._commit()
                commit_due = None
            is_walking = self.progress.walk_plan()
            due = next_refresh if commit_due is None else min(next_refresh, commit_due)
            self.executor.wait(0.0 if is_walking else max(0.0, due - time.monotonic()))
            self._collect()
        self._refresh()

    @property
    def records(self) -> list[RunRecord]:
        """The recorded runs that belong to the sweep as it is now."""
        known = self.book.records.values()
        return [record for record in known if self._planned is None or record.run_id in self._planned]

    @property
    def _is_stopping(self) -> bool:
        return self.signals.first is not None or self._guard.halted is not None

    # starting

    def _runs_to_do(self) -> Iterator[Run]:
        for run in self.plan.runs():
            record = self.book.records.get(run.run_id)
            is_under_way = any(active.run.run_id == run.run_id for active in self._active)
            if not is_under_way and (record is None or not record.is_ended or self._is_retried(record)):
                yield run

    def _is_retried(self, record: RunRecord) -> bool:
        return self.options.retry_failed and record.state not in SUCCESSFUL

    def _next_run(self) -> Run | None:
        if self._retries:
            return self._retries.popleft()
        is_enough = self.options.count is not None and self._n_launched >= self.options.count
        run = None if is_enough else next(self._pending, None)
        if run is None:
            self._has_pending = False
        else:
            self._n_launched += 1
        return run

    def _launch(self) -> None:
        """Fill the free slots."""
        while not self._is_stopping and (self._has_pending or self._retries):
            slot = self.slots.take()
            if slot is None:
                return
            run = self._next_run()
            if run is None or not self._start(run, slot):
                self.slots.give_back(slot)

    def _start(self, run: Run, slot: Slot) -> bool:
        """Start a run on a slot; return whether the slot is in use."""
        record = self.book.records.get(run.run_id)
        attempt = record.attempt + 1 if record else 1
        run_dir = self.folder.make_run_dir(run.run_id, attempt)
        n_tries = record.n_tries if record else 0
        task = self.launcher.prepare(run, slot, run_dir, attempt=attempt, n_tries=n_tries)
        self.book.start(run, attempt, slot.device)
        try:
            handle = self.executor.submit(task)
        except SpawnError as error:
            self._take_end(run, attempt, RunOutcome(state=State.SPAWN_ERROR, reason=str(error)))
            return False
        command = self.settings.command
        active = ActiveRun(
            run=run,
            attempt=attempt,
            slot=slot,
            handle=handle,
            run_dir=run_dir,
            tail=LogTail(run_dir, MetricReader(self.settings.patterns)),
            asked=command.overrides(run.params, run.seed, slot.told) if command.is_native else None,
        )
        self._active.append(active)
        self.progress.note_start(run.run_id)
        self.observer.run_started(active)
        return True

    # ending

    def _collect(self) -> None:
        """Take the ends that have come and free their slots; the loop refills them before anything is written out."""
        ended = [(active, done) for active in self._active if (done := active.handle.poll()) is not None]
        for active, done in ended:
            self._active.remove(active)
            self.slots.give_back(active.slot)
            outcome = read_outcome(
                active.run_dir,
                done,
                patterns=self.settings.patterns,
                objective=self.settings.objective,
                asked=active.asked,
                reader=active.tail.finish(),
            )
            self._take_end(active.run, active.attempt, outcome)

    def _take_end(self, run: Run, attempt: int, outcome: RunOutcome) -> None:
        has_failed = outcome.state in UNSUCCESSFUL
        log_tail = read_tail(self.folder.run_dir(run.run_id)) if has_failed else ()
        self.book.end(run, attempt, outcome, log_tail=log_tail)
        is_override_fault = outcome.reason.startswith(OVERRIDE_NOT_APPLIED)
        if has_failed and not is_override_fault and self.book.records[run.run_id].n_tries <= self.settings.retry:
            self._to_retry[run.run_id] = run
        elif self._guard.note_end(outcome.state):
            self.observer.note(self._guard.halted or "")

    def _commit(self) -> None:
        for end in self.book.commit():
            self.progress.add(end.record)
            self.observer.run_ended(end.record, end.outcome, end.log_tail)
            run = self._to_retry.pop(end.record.run_id, None)
            if run is not None and self.signals.first is None:
                self._retries.append(run)

    # stopping

    def _handle_stop_signals(self) -> None:
        n_received = self.signals.n_received
        if n_received == self._n_stops_handled:
            return
        is_first = self._n_stops_handled == 0
        is_forced = n_received > 1
        self._n_stops_handled = n_received
        self._retries.clear()
        for active in self._active:
            active.handle.cancel(StopReason.INTERRUPTED, now=is_forced)
        if is_first:
            name = signal.Signals(self.signals.first or signal.SIGINT).name
            self.observer.note(
                f"{name}: stopping: SIGTERM sent to {len(self._active)} runs, {self.settings.grace_s:.0f} s grace; "
                "Ctrl-C again to kill"
            )
        else:
            self.observer.note(f"killing {len(self._active)} runs")

    def _end_everything(self) -> None:
        """Leave no process behind when the loop ends by an error of ours."""
        for active in self._active:
            active.handle.cancel(StopReason.INTERRUPTED, now=True)
        while self._active:
            self.executor.wait(1.0)
            self._active = [active for active in self._active if active.handle.poll() is None]

    # watching

    def _refresh(self) -> None:
        for active in self._active:
            active.tail.read_new()
            self._check_proof(active)
        self.progress.active = tuple(self._active)
        self.observer.refresh(self.progress)

    def _check_proof(self, active: ActiveRun) -> None:
        """Stop a run as soon as its effective config shows that an override did not arrive."""
        if active.asked is None or active.is_proof_settled or not has_effective_config(active.run_dir):
            return
        active.is_proof_settled = True
        if find_difference(active.run_dir, active.asked):
            active.handle.cancel(StopReason.OVERRIDE_NOT_APPLIED)
