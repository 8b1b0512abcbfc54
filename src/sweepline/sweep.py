"""The loop: take a slot, submit, wait, record, give the slot back. Knows no terminal and no sweep file syntax."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from sweepline.config.sweepfile import SweepSettings
from sweepline.devices import Slot, Slots
from sweepline.executors.base import Executor, RunHandle, SpawnError, StopReason
from sweepline.executors.local import LocalExecutor, read_exit
from sweepline.launch import Launcher
from sweepline.metrics import MetricReader
from sweepline.recording.folders import SweepFolder
from sweepline.recording.history import RUN_END, RUN_START, RunRecord, apply_event
from sweepline.recording.journal import Journal
from sweepline.recording.outcome import find_difference, read_metrics, read_outcome, read_tail
from sweepline.recording.table import RunTable
from sweepline.recording.tail import LogTail
from sweepline.runs import SUCCESSFUL, Run, RunOutcome, State
from sweepline.space.grid import Tally
from sweepline.space.plan import Plan

FLAPPING_RUNS, FLAPPING_S = 3, 60.0
COUNT_SLICE_S = 0.02
COMMIT_INTERVAL_S = 0.02  # ends that come within this time share one fdatasync
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What the command line asks of one start."""

    count: int | None = None
    retry_failed: bool = False
    max_failures: int | None = None
    keep_going: bool = False


@dataclass(kw_only=True)
class ActiveRun:
    """A run that is under way."""

    run: Run
    attempt: int
    slot: Slot
    handle: RunHandle
    run_dir: Path
    tail: LogTail
    asked: Mapping[str, Any] | None
    started: float = field(default_factory=time.monotonic)
    is_proved: bool = False


class Observer(Protocol):
    """Who watches a sweep: a terminal, a log. Called from the loop; must be quick and must not raise."""

    refresh_s: float

    def note(self, text: str) -> None:
        """Something worth a line."""

    def run_started(self, active: ActiveRun) -> None:
        """A run has been started."""

    def run_ended(self, record: RunRecord, outcome: RunOutcome, log_tail: Sequence[str]) -> None:
        """A run's end has been recorded."""

    def refresh(self, progress: Progress) -> None:
        """Called every ``refresh_s`` seconds with how the sweep stands."""


@dataclass
class Progress:
    """How a sweep stands. ``n_total`` is None until the plan has been walked."""

    n_total: int | None = None
    n_finished: int = 0
    n_failed: int = 0
    n_session: int = 0
    n_session_planned: int | None = None
    active: Sequence[ActiveRun] = ()
    best: RunRecord | None = None
    started: float = field(default_factory=time.monotonic)


class Sweep:
    """One start of a sweep, from a locked folder to its last recorded run."""

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
        make_executor: Callable[[int], Executor] = lambda wakeup_fd: LocalExecutor(wakeup_fd=wakeup_fd),
    ) -> None:
        self.settings, self.plan, self.folder, self.slots = settings, plan, folder, slots
        self.launcher, self.observer, self.options = launcher, observer, options
        self.journal = Journal(folder.journal)
        self.records: dict[str, RunRecord] = {}
        for event in self.journal.events:
            apply_event(self.records, event)
        self.table = RunTable(
            settings.csv_path or folder.csv,
            sweep=settings.name,
            params=list(settings.space.parameters),
            metrics=settings.logged_metrics,
        )
        self.progress = Progress()
        self.stop_signal: int | None = None
        self._make_executor = make_executor
        self._n_stop_signals = 0
        self._n_stops_handled = 0
        self._active: list[ActiveRun] = []
        self._retries: deque[Run] = deque()
        self._n_launched = 0
        self._n_failures = 0
        self._ends: list[tuple[float, State]] = []
        self._uncommitted: list[tuple[RunRecord, RunOutcome]] = []
        self._commit_due = 0.0
        self._halted: str | None = None
        self._counter: Iterator[Tally] | None = plan.count()
        self._tally = Tally()
        self._pending = self._runs_to_do()
        self._has_pending = True

    def run(self) -> None:
        """Run everything that is missing; returns when all of it has ended or the sweep was stopped."""
        self._recover()
        note = self.table.open(self.records.values())
        for text in (self.journal.cut_note, note):
            if text:
                self.observer.note(text)
        self._count_known()
        self._count_ahead()
        self.journal.append("sweep_start", sweep=self.settings.name, pid=os.getpid())
        reading, writing = socket.socketpair()
        for end in (reading, writing):
            end.setblocking(False)
        previous = {number: signal.signal(number, self._on_signal) for number in _STOP_SIGNALS}
        previous_fd = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        self.executor = self._make_executor(reading.fileno())
        try:
            self._loop()
        finally:
            self._end_everything()
            signal.set_wakeup_fd(previous_fd)
            for number, handler in previous.items():
                signal.signal(number, handler)
            self.executor.close()
            reading.close()
            writing.close()
            self.journal.append("sweep_stop", signal=self.stop_signal, halted=self._halted)
            self.journal.sync()
            self.journal.close()
            self.table.close()

    def _on_signal(self, number: int, frame: object) -> None:
        self.stop_signal = self.stop_signal or number
        self._n_stop_signals += 1

    def _loop(self) -> None:
        next_refresh = time.monotonic()
        while True:
            self._handle_stop_signals()
            self._launch()
            if not self._active and (self._is_stopping or not (self._has_pending or self._retries)):
                break
            now = time.monotonic()
            if now >= next_refresh:
                self._refresh()
                next_refresh = now + self.observer.refresh_s
            if self._uncommitted and now >= self._commit_due:
                self._commit()
            is_counting = self._count_ahead()
            due = min(next_refresh, self._commit_due) if self._uncommitted else next_refresh
            self.executor.wait(0.0 if is_counting else max(0.0, due - time.monotonic()))
            self._collect()
        self._commit()
        self._refresh()

    @property
    def _is_stopping(self) -> bool:
        return self.stop_signal is not None or self._halted is not None

    # starting

    def _runs_to_do(self) -> Iterator[Run]:
        for run in self.plan.runs():
            record = self.records.get(run.run_id)
            if record is None or not record.is_ended or self._is_retried(record):
                yield run

    def _is_retried(self, record: RunRecord) -> bool:
        return self.options.retry_failed and record.state not in SUCCESSFUL

    def _next_run(self) -> Run | None:
        if self._retries:
            return self._retries.popleft()
        if self.options.count is not None and self._n_launched >= self.options.count:
            self._has_pending = False
            return None
        run = next(self._pending, None)
        if run is None:
            self._has_pending = False
        else:
            self._n_launched += 1
        return run

    def _launch(self) -> None:
        while not self._is_stopping and (self._has_pending or self._retries):
            slot = self.slots.take()
            if slot is None:
                return
            run = self._next_run()
            if run is None:
                self.slots.give_back(slot)
                return
            self._start(run, slot)

    def _start(self, run: Run, slot: Slot) -> None:
        record = self.records.get(run.run_id)
        attempt = record.attempt + 1 if record else 1
        n_tries = record.n_tries if record else 0
        run_dir = self.folder.make_run_dir(run.run_id, attempt)
        task = self.launcher.prepare(run, slot, run_dir, attempt=attempt, n_tries=n_tries)
        self._append(
            RUN_START,
            run=run.run_id,
            attempt=attempt,
            name=run.name,
            params=dict(run.params),
            seed=run.seed,
            device=slot.device,
            started_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        )
        try:
            handle = self.executor.submit(task)
        except SpawnError as error:
            self.slots.give_back(slot)
            self._note_end(State.SPAWN_ERROR)
            self._append_end(run, attempt, RunOutcome(state=State.SPAWN_ERROR, reason=str(error)))
            return
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
        self.observer.run_started(active)

    # ending

    def _collect(self) -> None:
        """Take the ends that have come: free their slots, refill them, then write."""
        ended = [(active, done) for active in self._active if (done := active.handle.poll()) is not None]
        if not ended:
            return
        outcomes = []
        for active, done in ended:
            self._active.remove(active)
            outcome = read_outcome(
                active.run_dir,
                done,
                patterns=self.settings.patterns,
                objective=self.settings.objective,
                asked=active.asked,
                reader=active.tail.finish(),
            )
            self.slots.give_back(active.slot)
            self._note_end(outcome.state)
            outcomes.append(outcome)
        self._launch()
        for (active, _), outcome in zip(ended, outcomes, strict=True):
            self._append_end(active.run, active.attempt, outcome)
            self._plan_retry(active.run, outcome)

    def _commit(self) -> None:
        """Make the ends that were appended durable, then show them: journal first, row second."""
        self.journal.sync()
        for record, outcome in self._uncommitted:
            self._publish_end(record, outcome)
        self._uncommitted.clear()

    def _plan_retry(self, run: Run, outcome: RunOutcome) -> None:
        may_retry = outcome.state not in SUCCESSFUL and outcome.state != State.INTERRUPTED
        is_override_fault = outcome.reason.startswith("override not applied")
        if may_retry and not is_override_fault and self.records[run.run_id].n_tries <= self.settings.retry:
            self._retries.append(run)

    def _note_end(self, state: State) -> None:
        """Count failures, and halt the sweep when they are too many or came at once."""
        if state == State.INTERRUPTED:
            return
        has_failed = state not in SUCCESSFUL
        self._n_failures += has_failed
        if len(self._ends) < FLAPPING_RUNS:
            self._ends.append((time.monotonic(), state))
            self._check_flapping()
        limit = self.options.max_failures
        if has_failed and limit is not None and self._n_failures >= limit and not self._is_stopping:
            self._halt(f"stopped launching after {self._n_failures} failures (--max-failures {limit})")

    def _check_flapping(self) -> None:
        if len(self._ends) < FLAPPING_RUNS or self.options.keep_going:
            return
        took_s = self._ends[-1][0] - self.progress.started
        if took_s <= FLAPPING_S and all(state not in SUCCESSFUL for _, state in self._ends):
            self._halt(
                f"the first {FLAPPING_RUNS} runs all failed within {took_s:.0f} s: nothing more is launched; "
                "mend the cause and start again with --retry-failed, or use --keep-going"
            )

    def _halt(self, why: str) -> None:
        self._halted = why
        self.observer.note(why)

    def _append_end(self, run: Run, attempt: int, outcome: RunOutcome) -> None:
        self._append(
            RUN_END,
            run=run.run_id,
            attempt=attempt,
            state=outcome.state.value,
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            reason=outcome.reason,
            duration_s=round(outcome.duration_s, 6),
            metrics=dict(outcome.metrics),
            n_bad_metric_lines=outcome.n_bad_metric_lines,
            max_rss_kib=outcome.max_rss_kib,
        )
        if not self._uncommitted:
            self._commit_due = time.monotonic() + COMMIT_INTERVAL_S
        self._uncommitted.append((replace(self.records[run.run_id]), outcome))

    def _publish_end(self, record: RunRecord, outcome: RunOutcome) -> None:
        self.table.put(record)
        progress = self.progress
        if outcome.state != State.INTERRUPTED:
            progress.n_session += 1
        self._count_state(record)
        has_failed = outcome.state not in SUCCESSFUL and outcome.state != State.INTERRUPTED
        log_tail = read_tail(self.folder.run_dir(record.run_id)) if has_failed else ()
        self.observer.run_ended(record, outcome, log_tail)

    def _append(self, event: str, **fields: Any) -> None:
        self.journal.append(event, **fields)
        apply_event(self.records, {"ev": event, **fields})

    # stopping

    def _handle_stop_signals(self) -> None:
        n_new, self._n_stops_handled = self._n_stop_signals - self._n_stops_handled, self._n_stop_signals
        if n_new == 0:
            return
        is_first = self._n_stop_signals == n_new
        is_forced = self._n_stop_signals > 1
        self._retries.clear()
        for active in self._active:
            active.handle.cancel(StopReason.INTERRUPTED, now=is_forced)
        if is_first:
            name = signal.Signals(self.stop_signal or signal.SIGINT).name
            self.observer.note(
                f"{name}: stopping: SIGTERM sent to {len(self._active)} runs, {self.settings.grace_s:.0f} s grace; "
                "Ctrl-C again to kill"
            )
        elif is_forced:
            self.observer.note(f"killing {len(self._active)} runs")

    def _end_everything(self) -> None:
        """Leave no process behind when the loop ends by an error of ours."""
        for active in self._active:
            active.handle.cancel(StopReason.INTERRUPTED, now=True)
        while self._active:
            self.executor.wait(1.0)
            self._active = [active for active in self._active if active.handle.poll() is None]

    # resuming and watching

    def _recover(self) -> None:
        """End the runs that a dead orchestrator left open: by their ``exit.json``, else as interrupted."""
        for record in list(self.records.values()):
            if record.state != State.RUNNING:
                continue
            run_dir = self.folder.run_dir(record.run_id)
            found = read_exit(run_dir)
            if found is not None and found[0] == record.attempt:
                outcome = read_outcome(
                    run_dir,
                    found[1],
                    patterns=self.settings.patterns,
                    objective=self.settings.objective,
                    reader=read_metrics(run_dir, self.settings.patterns),
                )
            else:
                outcome = RunOutcome(state=State.INTERRUPTED, reason="the sweep ended before this run did")
            run = Run(run_id=record.run_id, name=record.name, params=record.params, seed=record.seed, index=-1)
            self._append_end(run, record.attempt, outcome)
        self.journal.sync()
        self._uncommitted.clear()

    def _count_known(self) -> None:
        states = Counter(record.state for record in self.records.values())
        self.progress.n_finished = sum(states[state] for state in SUCCESSFUL)
        self.progress.n_failed = sum(
            n for state, n in states.items() if state not in SUCCESSFUL and state != State.INTERRUPTED
        )
        for record in self.records.values():
            self._consider_best(record)

    def _count_state(self, record: RunRecord) -> None:
        """Keep the counts after a run's end; a retry that ends well takes back its failure."""
        states = Counter(r.state for r in self.records.values()) if record.attempt > 1 else None
        progress = self.progress
        if states is not None:
            progress.n_finished = sum(states[state] for state in SUCCESSFUL)
            progress.n_failed = sum(
                n for s, n in states.items() if s not in (*SUCCESSFUL, State.INTERRUPTED, State.RUNNING)
            )
        elif record.state in SUCCESSFUL:
            progress.n_finished += 1
        elif record.state != State.INTERRUPTED:
            progress.n_failed += 1
        self._consider_best(record)

    def _consider_best(self, record: RunRecord) -> None:
        objective = self.settings.objective
        if objective is None or record.state not in SUCCESSFUL or objective.name not in record.metrics:
            return
        best = self.progress.best
        if objective.is_better(record.metrics[objective.name], best.metrics[objective.name] if best else None):
            self.progress.best = record

    def _count_ahead(self) -> bool:
        """Walk a slice of the plan for its total; return whether there is more to walk."""
        if self._counter is None:
            return False
        until = time.monotonic() + COUNT_SLICE_S
        for tally in self._counter:
            if time.monotonic() >= until:
                return True
            self._tally = tally
        self._counter = None
        self.progress.n_total = self._tally.n_kept * self.plan.n_seeds
        return False

    def _refresh(self) -> None:
        for active in self._active:
            active.tail.read_new()
            self._check_proof(active)
        self.progress.active = tuple(self._active)
        self.observer.refresh(self.progress)

    def _check_proof(self, active: ActiveRun) -> None:
        """Stop a run as soon as its effective config shows that an override did not arrive."""
        if active.asked is None or active.is_proved:
            return
        if find_difference(active.run_dir, active.asked):
            active.is_proved = True
            active.handle.cancel(StopReason.OVERRIDE_NOT_APPLIED)
        else:
            active.is_proved = (active.run_dir / "config.sha256").exists()
