"""The loop: take a slot, submit, wait, record, give the slot back. Knows no terminal and no sweep file syntax."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

from sweepline.config.sweepfile import SweepSettings
from sweepline.engine.backlog import Backlog
from sweepline.engine.diskpause import DiskPause, excuse, has_room
from sweepline.engine.failureguard import FailureGuard
from sweepline.engine.outcome import OutcomeReader, find_difference, has_effective_config
from sweepline.engine.progress import ActiveRun, Observer, Progress
from sweepline.engine.recovery import format_start, read_again, recover, start_fields
from sweepline.engine.retries import Again, RetryPolicy
from sweepline.engine.signals import StopSignals
from sweepline.engine.tasks import Launcher
from sweepline.errors import DiskFullError, RecordError, record_error
from sweepline.executors.base import Executor, Exit, RunHandle, StopReason
from sweepline.executors.local.admission import GpuAdmission
from sweepline.executors.local.slots import Slot, Slots
from sweepline.programs.sourcecode import SourceCode, changed_files
from sweepline.programs.usage import find_hint
from sweepline.recording.book import RecordBook
from sweepline.recording.events import EXTRA, IN_SWEEP, REMOVED, RunRecord
from sweepline.recording.folders import SweepFolder
from sweepline.runs import SUCCESSFUL, UNSUCCESSFUL, Run, State
from sweepline.space.plan import Plan

ADMISSION_S = 1.0  # how long to wait before a GPU that was refused is asked for again


def reader_of(settings: SweepSettings) -> OutcomeReader:
    """Return what reads the results of a sweep's runs."""
    return OutcomeReader(
        patterns=settings.patterns,
        objective=settings.objective,
        logged=settings.logged_metrics,
        is_own=settings.command.is_native,
        working_dir=settings.command.working_dir,
    )


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What the command line asks of one start."""

    count: int | None = None
    retry_failed: bool = False
    max_failures: int | None = None
    keep_going: bool = False


@dataclass(frozen=True, slots=True)
class _End:
    """A run that has ended and is not in the books yet."""

    active: ActiveRun
    exit: Exit
    was_shared: bool


class Sweep:
    """One start of a sweep, from a locked folder to its last recorded run.

    ``plan`` holds the runs of this start, ``planned`` their ids and ``whole`` those of all runs that the sweep file
    describes; None where there are too many to tell. Recorded runs beside these stay in the books, uncounted.
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
        make_executor: Callable[[Callable[[], Sequence[int]]], Executor],
        admission: GpuAdmission | None = None,
        source: SourceCode,
        planned: Set[str] | None = None,
        whole: Set[str] | None = None,
    ) -> None:
        self.settings, self.plan, self.folder, self.slots = settings, plan, folder, slots
        self.launcher, self.observer, self.options = launcher, observer, options
        self.book = RecordBook(
            folder,
            csv=settings.csv_path,
            sweep=settings.table_label,
            params=list(dict.fromkeys([*settings.whole.parameters, *settings.space.parameters])),
            metrics=settings.logged_metrics,
            reserved=settings.reserved_metrics,
        )
        self._reader = reader_of(settings)
        self.progress = Progress(plan, settings.objective)
        self.signals = StopSignals(is_final=True)
        self._admission = admission
        self._guard = FailureGuard(max_failures=options.max_failures, keep_going=options.keep_going)
        self._retries = RetryPolicy(settings.retry, goes_smaller=settings.on_oom == "retry_smaller")
        self._pause = DiskPause(folder.path)
        self.source, self.planned, self.whole = source, planned, whole
        self._make_executor = make_executor
        self._n_stops_handled = 0
        self._is_drain_told = self._is_usage_told = False
        self._is_open = False
        self._active: list[ActiveRun] = []
        self._held: list[_End] = []
        self._is_reading = False
        self._first_log_tail: Sequence[str] = ()
        self._uncommitted: list[RunHandle] = []
        self._to_go_again: dict[str, Again] = {}  # each waits until the attempt before it is in the books
        self._backlog = Backlog(self._runs_to_do(), count=options.count)

    def open(self, *, reads_again: bool = False) -> None:
        """Take stock of what earlier starts left. With ``reads_again`` kept output is read by patterns that changed."""
        if self._is_open:
            return
        self._is_open = True
        book, plan = self.book, self.plan
        reader = self._reader
        notes = recover(book, reader, planned=lambda: {run.run_id: run for run in plan.runs()} if plan.is_small else {})
        if reads_again:
            notes.append(read_again(book, reader))
        if self.whole is not None:
            book.mark_membership(self.whole)
        for note in [*notes, *book.open_table()]:
            self.observer.note(note)

    def has_to_do(self, n: int) -> bool:
        """Whether at least ``n`` runs are left for this start."""
        wanted = n if self.options.count is None else min(n, self.options.count)
        return wanted == n and sum(1 for _ in itertools.islice(self._runs_to_do(), n)) == n

    def run(self) -> None:
        """Run everything that is missing; returns when all of it has ended or the sweep was stopped.

        Raises:
            RecordError: what happens can no longer be written down; nothing runs any more.
        """
        self.open()
        self.progress.load(self.started_records, retry_failed=self.options.retry_failed)
        self.progress.walk_plan()
        self.book.note_event(
            "sweep_start",
            sweep=self.settings.name,
            sweep_file=os.path.relpath(self.settings.path, self.folder.path),
            pid=os.getpid(),
            sweep_token=self.launcher.sweep_token,
        )
        self.book.note_code(self.source.digest(), self.source.files)
        with self.signals:
            self.executor = self._make_executor(self._watched)
            is_sound = False
            try:
                self._loop()
                self._note_stop()
                is_sound = True
            except RecordError as error:
                self.observer.note(f"{error}: the {len(self._active)} runs under way are stopped")
                self._end_everything(now=False)
                self.folder.check_is_there()  # says it better, if that is why
                raise
            finally:
                self._end_everything(now=True)
                self.executor.close()
                self.book.close(is_sound=is_sound)

    def _watched(self) -> list[int]:
        """Return the descriptors whose readability ends a wait."""
        return [self.signals.wakeup_fd, *(self._admission.watched if self._admission else ())]

    def _note_stop(self) -> None:
        try:
            self.book.note_event("sweep_stop", signal=self.signals.first, halted=self._guard.halted)
        except DiskFullError as error:  # no run's end is in it
            self.observer.note(f"{error}: the journal ends without the sweep's own end")

    def _loop(self) -> None:
        next_refresh = time.monotonic()
        while True:
            self._heed_signals()
            self._heed_pause()
            if self._to_go_again and not self._active:
                self._commit()  # they go before the others
            self._launch()
            due = self.book.commit_due
            if (self.book.has_uncommitted and not self._active) or (due is not None and time.monotonic() >= due):
                self._commit()
                self._launch()  # what goes again
            if self._is_done():
                break
            now = time.monotonic()
            if now >= next_refresh:
                self._refresh()
                next_refresh = now + self.observer.refresh_s
            is_walking = self.progress.walk_plan()
            times = [next_refresh, self.book.commit_due, self._pause.due]
            if self.slots.has_free and not self._backlog.is_empty:
                times.append(now + ADMISSION_S)
            until = min(at for at in times if at is not None)
            is_busy = is_walking or self._is_reading
            self.executor.wait(0.0 if is_busy else max(0.0, until - time.monotonic()))
            self._collect()
            for note in self.executor.take_notes():
                self.observer.note(note)
        self._settle()
        self._refresh()

    def _is_done(self) -> bool:
        """Whether nothing runs and nothing more will; what could be written down is in the books then."""
        if self._active or self.book.has_uncommitted:
            return False
        return self._is_stopping or (self._backlog.is_empty and not self._held)

    def _settle(self) -> None:
        """Try a last time to write down what the disk did not take."""
        self._record_held()
        while self._is_reading and not self._pause.is_on:
            self._record_held()
        self._commit()
        if self._held:
            self.observer.note(
                f"{len(self._held)} results do not fit on the disk: they are kept in the runs' folders, and the next "
                "start takes them from there"
            )

    @property
    def records(self) -> list[RunRecord]:
        """The recorded runs that belong to the sweep as it is now, and those that were asked for beside it."""
        return [record for record in self.book.records.values() if record.in_sweep != REMOVED]

    @property
    def started_records(self) -> list[RunRecord]:
        """The recorded runs of this start's plan."""
        known = self.book.records.values()
        return [record for record in known if self.planned is None or record.run_id in self.planned]

    @property
    def _is_stopping(self) -> bool:
        return self.signals.first is not None or self.signals.is_draining or self._guard.halted is not None

    # starting

    def _runs_to_do(self) -> Iterator[Run]:
        for run in self.plan.runs():
            record = self.book.records.get(run.run_id)
            is_under_way = record is not None and record.state == State.RUNNING  # the same combination, drawn twice
            if is_under_way or self._backlog.holds(run.run_id):
                continue
            if record is None or record.goes_on or self._is_retried(record):
                yield run

    def _is_retried(self, record: RunRecord) -> bool:
        return self.options.retry_failed and record.state not in SUCCESSFUL

    def _launch(self) -> None:
        """Fill the free slots."""
        if self._admission is not None:
            self._admission.poll()
        while not self._is_stopping and not self._pause.is_on:
            found = self._backlog.take(self.slots)
            if found is None:
                break
            again, slot = found
            try:
                self._start(again.run, slot)
            except (OSError, RecordError) as error:
                self.slots.give_back(slot)
                self._backlog.put_back(again)
                if isinstance(error, OSError):
                    error = record_error(self.folder.run_dir(again.run.run_id), "cannot be written", error)
                self._bear(error)
        if self._admission is not None:
            for note in self._admission.take_notes():
                self.observer.note(note)

    def _start(self, run: Run, slot: Slot) -> None:
        record = self.book.records.get(run.run_id)
        attempt = record.attempt + 1 if record else 1
        goes_on = record is not None and record.goes_on
        run_dir = self.folder.make_run_dir(run.run_id, attempt, keeps_output=goes_on)
        n_tries = record.n_tries if record else 0
        told = self._retries.as_told(run, record)
        in_sweep = IN_SWEEP if self.whole is None or run.run_id in self.whole else EXTRA
        code = self._code_now()
        start = start_fields(run, attempt=attempt, device=slot.device, code=code, in_sweep=in_sweep)
        start_line = format_start(start)
        task = self.launcher.prepare(told, slot, run_dir, attempt=attempt, n_tries=n_tries, start_line=start_line)
        self.book.start(start)
        active = ActiveRun(
            run=run,
            attempt=attempt,
            slot=slot,
            handle=self.executor.submit(task),
            run_dir=run_dir,
            tail=self._reader.follow(run_dir),
            asked=self.launcher.overrides(self.launcher.expand(told), slot),
        )
        self._active.append(active)
        self.observer.run_started(active)

    def _code_now(self) -> str:
        """Return which code a run that starts now executes; say so when the program was edited since the last start."""
        before = self.source.files
        code = self.source.digest()
        if self.source.files != before:
            self.book.note_code(code, self.source.files)
            changed = ", ".join(changed_files(before, self.source.files))
            self.observer.note(f"{changed}: edited while the sweep runs; runs from here on execute what it is now")
        return code

    # ending

    def _collect(self) -> None:
        """Take the ends that have come and free their slots; the loop refills them before anything is written out."""
        ended = [(active, done) for active in self._active if (done := active.handle.poll()) is not None]
        for active, done in ended:
            self._active.remove(active)
            self._held.append(_End(active, done, self.slots.was_shared(active.slot)))
            if done.is_slot_lost and active.slot.is_gpu:
                self.slots.write_off(active.slot)
                self._leave_out(active.slot.device, f"GPU {active.slot.device}: a run on it cannot be killed")
            else:
                self.slots.give_back(active.slot)
        self._record_held()

    def _record_held(self) -> None:
        """Write down what has ended, as far as its output is read and the disk takes it."""
        self._is_reading = False
        if self._held:
            self.folder.check_is_there()  # else their output would seem to be empty
        for end in list(self._held):
            if not end.active.tail.read_new():
                self._is_reading = True  # very much of it: the others go first
                continue
            try:
                self._take_end(end)
            except DiskFullError as error:
                self._bear(error)
                return
            self._held.remove(end)

    def _take_end(self, end: _End) -> None:
        active, run = end.active, end.active.run
        if end.exit.is_disk_full and end.exit.not_started is not None:
            self._bear(DiskFullError(end.exit.not_started))
        outcome = self._reader.read(active.run_dir, end.exit, asked=active.asked, measured=active.tail.finish())
        if end.exit.is_disk_full and outcome.is_blameless:
            self._bear(DiskFullError(outcome.reason))
        excused = excuse(outcome, self.settings.objective)
        if excused is not outcome and (self._pause.was_on_since(active.started) or not has_room(self.folder.path)):
            self._bear(DiskFullError(excused.reason))
            outcome = excused
        log_tail = outcome.log_tail if outcome.state in UNSUCCESSFUL else ()
        self.book.end(run.run_id, active.attempt, outcome, log_tail=log_tail)
        self._uncommitted.append(active.handle)
        if end.exit.is_warm:
            self.progress.note_warm(self.executor.saved_s, prepare_s=self.executor.prepare_s)
        again = self._retries.decide(run, outcome, device=active.slot.device, was_shared=end.was_shared)
        if again is not None:
            self._to_go_again[run.run_id] = again
        else:
            self._note_for_guard(outcome.state, log_tail)
        self._note_usage(run, log_tail)
        why = self._admission.note_end(active.slot, outcome.state) if self._admission else None
        if why is not None:
            self._leave_out(active.slot.device, why)

    def _note_usage(self, run: Run, log_tail: Sequence[str]) -> None:
        hint = None if self._is_usage_told else find_hint(log_tail, run.params, self.settings.command)
        if hint is not None:
            self._is_usage_told = True
            self.observer.note(hint)

    def _note_for_guard(self, state: State, log_tail: Sequence[str]) -> None:
        if log_tail and not self._first_log_tail:
            self._first_log_tail = log_tail
        if self._guard.note_end(state):
            for line in [self._guard.halted or "", *(f"    | {line}" for line in self._first_log_tail)]:
                self.observer.note(line)

    def _leave_out(self, device: str, why: str) -> None:
        if device not in self.slots.usable:
            return
        self.slots.take_out_of_service(device)
        self.observer.note(why)
        if not self.slots.usable:
            self._guard.halt("no device is left: nothing more is launched")
            self.observer.note(self._guard.halted or "")

    def _commit(self) -> None:
        ended = self.book.commit()
        for handle in self._uncommitted:
            handle.release()
        self._uncommitted.clear()
        for end in ended:
            again = self._to_go_again.pop(end.record.run_id, None)
            goes_again = again is not None and self.signals.first is None
            self.progress.add(end.record, goes_again=goes_again)
            self.observer.run_ended(end.record, end.outcome, end.log_tail)
            if again is not None and goes_again:
                self._backlog.put(again)
        for note in self.book.take_notes():
            self.observer.note(note)
        if self.book.table.fault is not None:
            self._bear(self.book.table.fault)

    # the disk

    def _bear(self, error: RecordError) -> None:
        """Pause when there is no room; any other fault of the disk is for the caller's caller."""
        if not isinstance(error, DiskFullError):
            self.folder.check_is_there()
            raise error
        if self._pause.begin():
            self.observer.note(self._pause.describe(len(self._held)))

    def _heed_pause(self) -> None:
        if self._pause.try_end():
            self.observer.note("there is room on the disk again: going on")
            self._record_held()
            self._commit()

    # stopping

    def _heed_signals(self) -> None:
        self.signals.clear()
        if self.executor.ended_by is not None:
            self.signals.note_elsewhere(self.executor.ended_by)
        if self.signals.is_draining and not self._is_drain_told:
            self._is_drain_told = True
            self.observer.note(f"SIGUSR1: nothing more is launched; waiting for {len(self._active)} runs")
        n_received = self.signals.n_received
        if n_received == self._n_stops_handled:
            return
        is_first = self._n_stops_handled == 0
        is_forced = n_received > 1
        self._n_stops_handled = n_received
        self._backlog.clear_retries()
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

    def _end_everything(self, *, now: bool) -> None:
        """Leave no process behind when the loop ends by an error; a stop signal meanwhile ends the grace."""
        n_stops = self.signals.n_received
        for active in self._active:
            active.handle.cancel(StopReason.INTERRUPTED, now=now)
        while self._active and (now or self.signals.n_received == n_stops):
            self.executor.wait(1.0)
            self.signals.clear()
            self._active = [active for active in self._active if active.handle.poll() is None]

    # watching

    def _refresh(self) -> None:
        note = self.folder.check_is_there()
        if note is not None:
            self.observer.note(note)
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
        if find_difference(active.run_dir, active.asked, is_own=self.settings.command.is_native):
            active.handle.cancel(StopReason.OVERRIDE_NOT_APPLIED)
