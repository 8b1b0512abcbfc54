"""Ends: slots are freed first, then output is read, then the end is written down, and then it counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from sweepline.engine.diskpause import blame_full_disk, has_room
from sweepline.engine.progress import ActiveRun
from sweepline.engine.retries import Retry
from sweepline.engine.state import SweepState
from sweepline.engine.watching import take_watched
from sweepline.errors import DiskFullError
from sweepline.executors.base import Exit, RunHandle
from sweepline.programs.usage import find_hint
from sweepline.recording.events import RunRecord
from sweepline.runs import Run, RunOutcome, State

RECORD_SLICE_S = 0.2
"""After so long the other ends wait for the next turn."""


@dataclass(frozen=True, slots=True, eq=False)
class _HeldEnd:
    """A run that has ended and is not in the books yet."""

    active: ActiveRun
    exit: Exit
    was_shared: bool


class Ends:
    """Takes ends from the executor to the books. ``is_reading`` while output is left to be read."""

    def __init__(self, sweep: SweepState, runs_to_do: Callable[[], Iterator[Run]]) -> None:
        """``runs_to_do`` is how a sampler that learns is asked once more when it was told something."""
        self._sweep, self._runs_to_do = sweep, runs_to_do
        self._held: list[_HeldEnd] = []
        self._uncommitted: list[RunHandle] = []
        self._to_go_again: dict[str, Retry] = {}  # each waits until the attempt before it is in the books
        self._first_log_tail: Sequence[str] = ()
        self._is_usage_told = False
        self.is_reading = False

    @property
    def are_held(self) -> bool:
        """Whether ends wait for their output to be read, or for room on the disk."""
        return bool(self._held)

    @property
    def go_again(self) -> bool:
        """Whether runs go again as soon as their ends are in the books."""
        return bool(self._to_go_again)

    def collect(self) -> None:
        """Take the ends that have come and free their slots; the loop refills them before anything is written out."""
        sweep = self._sweep
        ended = [(active, done) for active in sweep.active if (done := active.handle.poll()) is not None]
        for active, _ in ended:
            active.has_ended = True
        if ended:
            sweep.active[:] = [active for active in sweep.active if not active.has_ended]
        for active, done in ended:
            self._held.append(_HeldEnd(active, done, sweep.slots.was_shared(active.slot)))
            if done.is_slot_lost and active.slot.is_gpu:
                sweep.slots.write_off(active.slot)
                self._leave_out(active.slot.device, f"GPU {active.slot.device}: a run on it cannot be killed")
            else:
                sweep.slots.give_back(active.slot)
            if done.lost_device:
                self._leave_out(active.slot.device, f"{active.slot.label} is left out: {done.lost_device}")
        self.record()

    def record(self) -> None:
        """Write down what has ended, as far as its output is read and the disk takes it, for a moment at most."""
        self.is_reading = False
        self._sweep.n_held = len(self._held)
        if self._held:
            self._sweep.folder.check_is_there()  # else their output would seem to be empty
        until = time.monotonic() + RECORD_SLICE_S
        for end in list(self._held):
            if not end.active.tail.read_new():
                self.is_reading = True  # very much of it: the others go first
                continue
            try:
                self._take(end)
            except DiskFullError as error:
                self._sweep.pause_or_raise(error)
                break
            self._held.remove(end)
            if time.monotonic() >= until:
                self.is_reading = bool(self._held)  # thousands came at once: their slots are filled meanwhile
                break
        self._sweep.n_held = len(self._held)

    def _take(self, end: _HeldEnd) -> None:
        sweep, active, run = self._sweep, end.active, end.active.run
        outcome = self._read(end)
        if sweep.pruner is not None:  # what it told after the last look: others are compared with it
            sweep.pruner.add(run.run_id, take_watched(active, has_ended=True))
            if outcome.state == State.FINISHED:
                sweep.pruner.end(run.run_id)
            n_points, course = sweep.pruner.n_points(run.run_id), sweep.pruner.course_of(run.run_id)
            outcome = replace(outcome, n_points=n_points, course=course)
        sweep.book.end(run.run_id, active.attempt, outcome)
        self._uncommitted.append(active.handle)
        if end.exit.is_warm:
            sweep.progress.note_warm(sweep.executor.saved_s, prepare_s=sweep.executor.prepare_s)
        retry = sweep.retries.decide(run, outcome, device=active.slot.device, was_shared=end.was_shared)
        if sweep.admission is not None and sweep.admission.packing is not None:
            may_lack_memory = outcome.state == State.OUT_OF_MEMORY or (retry is not None and retry.is_alone)
            sweep.admission.packing.note_end(active, outcome.state, ran_out=may_lack_memory and end.was_shared)
        if retry is not None:
            self._to_go_again[run.run_id] = retry
        else:
            if sweep.stability is not None:  # now, as the slot is free already
                sweep.stability.note(sweep.book.records[run.run_id])
            self._tell_guard(outcome)
            self._look_for_enough(sweep.book.records[run.run_id])
        self._hint_at_usage(run, outcome.log_tail)
        why = sweep.admission.note_end(active.slot, outcome.state) if sweep.admission else None
        if why is not None:
            self._leave_out(active.slot.device, why)

    def _read(self, end: _HeldEnd) -> RunOutcome:
        """Return how a run ended; what a full disk is to blame for is not held against it."""
        sweep, active = self._sweep, end.active
        if end.exit.is_disk_full and end.exit.not_started is not None:
            sweep.pause_or_raise(DiskFullError(end.exit.not_started))
        outcome = sweep.reader.read(active.run_dir, end.exit, asked=active.asked, measured=active.tail.finish())
        if end.exit.is_disk_full and outcome.is_blameless:
            sweep.pause_or_raise(DiskFullError(outcome.reason))
        excused = blame_full_disk(outcome, sweep.settings.objective)
        if excused is outcome:
            return outcome
        if not sweep.pause.was_on_since(active.started) and has_room(sweep.folder.path):
            return outcome
        sweep.pause_or_raise(DiskFullError(excused.reason))
        return excused

    def commit(self) -> None:
        """Make recorded ends durable, tell of them, and let go again what does."""
        sweep = self._sweep
        ended = sweep.book.commit()
        for handle in self._uncommitted:
            handle.release()
        self._uncommitted.clear()
        if ended and not sweep.plan.is_enumerable and not (sweep.race is not None and sweep.race.begun):
            sweep.backlog.feed(self._runs_to_do())
        for end in ended:
            retry = self._to_go_again.pop(end.record.run_id, None)
            goes_again = retry is not None and sweep.requests.first is None
            if not goes_again:  # else it is still under way, for what learns
                sweep.plan.tell(end.record.params, end.outcome)
            sweep.progress.add(end.record, goes_again=goes_again)
            sweep.observer.run_ended(end.record, end.outcome)
            if not goes_again:
                sweep.hooks.note_end(end.record)
            for note in self._look_after(end.record):
                sweep.say(note)
            if retry is not None and goes_again:
                sweep.backlog.put(retry)
        for note in [*sweep.book.take_notes(), *sweep.hooks.take_notes()]:
            sweep.say(note)
        if sweep.book.table.fault is not None:
            sweep.pause_or_raise(sweep.book.table.fault)

    def _look_after(self, record: RunRecord) -> Iterator[str]:
        """Look at the code that a run has executed and at the files that it leaves; yield what is worth saying."""
        sweep = self._sweep
        is_of_now = record.code == sweep.code.state  # not of a run that an earlier start has started
        note = sweep.code.look_at_end() if record.has_result and is_of_now else None
        if note is not None:
            yield note
        if sweep.effects is not None:
            yield from sweep.effects.note_end(record)
        if sweep.best_files is not None:
            sweep.best_files.note_end(record)
            fault = sweep.best_files.take_fault()
            if fault:
                yield fault

    def settle(self) -> None:
        """Try a last time to write down what the disk did not take."""
        self.record()
        while self.is_reading and not self._sweep.pause.is_on:
            self.record()
        self.commit()
        if self._held:
            self._sweep.say(
                f"{len(self._held)} results do not fit on the disk: they are kept in the runs' folders, and the next "
                "start takes them from there"
            )

    def _hint_at_usage(self, run: Run, log_tail: Sequence[str]) -> None:
        sweep = self._sweep
        hint = None if self._is_usage_told else find_hint(log_tail, run.params, sweep.settings.command)
        if hint is not None:
            self._is_usage_told = True
            sweep.say(hint)

    def _look_for_enough(self, record: RunRecord) -> None:
        """Look whether this end is the one after which nothing more is started: now, as its slot is free already."""
        enough = self._sweep.enough
        if enough is not None and enough.reason is None:
            enough.note(record)
            if enough.reason is not None:
                self._sweep.say(f"stop_sweep: {enough.reason}: nothing more is started")

    def _tell_guard(self, outcome: RunOutcome) -> None:
        guard = self._sweep.guard
        if outcome.log_tail and not self._first_log_tail:
            self._first_log_tail = outcome.log_tail
        if guard.note_end(outcome.state):
            for line in [guard.halted or "", *(f"    | {line}" for line in self._first_log_tail)]:
                self._sweep.say(line)

    def _leave_out(self, device: str, why: str) -> None:
        sweep = self._sweep
        if device not in sweep.slots.usable:
            return
        sweep.slots.take_out_of_service(device)
        sweep.say(why)
        if not sweep.slots.usable:
            sweep.guard.halt("no device is left: nothing more is launched")
            sweep.say(sweep.guard.halted or "")
