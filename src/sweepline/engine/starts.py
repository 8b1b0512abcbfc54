"""Starting: which run is next, on which slot, and what is written down before its process exists."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sweepline.contract.runfolder import STDOUT
from sweepline.engine.codestore import CodeStore
from sweepline.engine.outcome import read_asked
from sweepline.engine.progress import ActiveRun
from sweepline.engine.pruning.pruner import read_attempts
from sweepline.engine.recovery import Survivor, start_fields
from sweepline.engine.retries import Retry
from sweepline.engine.stability import is_skipped
from sweepline.engine.state import SweepState
from sweepline.engine.wandbtail import WandbTail
from sweepline.errors import ExecutorUnavailableError, RecordError, record_error
from sweepline.executors.base import StopReason
from sweepline.executors.local.slots import Slot
from sweepline.recording.events import RunRecord
from sweepline.runs import SETTLED, Run, RunOutcome, State, canonical_json

START_SLICE_S = 0.2
"""After so long the other starts wait for the next turn: the runs under way want to be looked at meanwhile."""
MAX_REPEATED = 100  # proposals of known combinations in a row, after which a sampler is taken to have no other


class Starts:
    """Fills free slots, from the runs that go again and then from the plan."""

    def __init__(self, sweep: SweepState) -> None:
        self._sweep = sweep
        self._is_race_told = False
        self.is_filling = False
        """Whether slots are left to be filled at once."""

    def runs_to_do(self) -> Iterator[Run]:
        """Yield the runs of the plan that have no end that stands.

        Of a sampler that learns: what it proposes until it has nothing new, which may change when it is told more.
        """
        sweep, n_repeated = self._sweep, 0
        if sweep.plan.is_enumerable:
            yield from sweep.plan.runs(self._is_to_do)
            return
        for run in sweep.plan.runs():
            record = sweep.book.records.get(run.run_id)
            if self._is_held(run.run_id, record):
                return
            if record is None or self._goes_on(record):
                n_repeated = 0
                yield run
            elif record.outcome is not None:
                if sweep.book.has_uncommitted:
                    return  # its own end may be among them: the sampler is told of it then, once, and asked again
                n_repeated += 1
                if n_repeated > MAX_REPEATED:
                    return
                sweep.plan.tell(record.params, record.outcome)  # it is known how that goes

    def _is_to_do(self, run_id: str) -> bool:
        record = self._sweep.book.records.get(run_id)
        return (record is None or self._goes_on(record)) and not self._is_held(run_id, record)

    def _is_held(self, run_id: str, record: RunRecord | None) -> bool:
        """Whether the same combination, drawn twice, is under way or waits to go again."""
        return (record is not None and record.state == State.RUNNING) or self._sweep.backlog.holds(run_id)

    def _goes_on(self, record: RunRecord) -> bool:
        stability = self._sweep.stability
        if is_skipped(record) and (stability is None or stability.why_skipped(record) is None):
            return True
        if record.goes_on or record.run_id in self._sweep.again:
            return True
        return self._sweep.options.retry_failed and record.state not in SETTLED

    def feed_race(self) -> bool:
        """Go on with the race, now that nothing else is left; return whether it has anything to start."""
        sweep = self._sweep
        race = sweep.race if sweep.options.count is None else None  # which bounds the sweep itself
        runs = [] if race is None else race.next_runs(sweep.records)
        if not runs:
            return False
        if not self._is_race_told:
            self._is_race_told = True
            n, seeds = len({canonical_json(run.params) for run in runs}), len({run.seed for run in runs})
            sweep.say(f"race: {n} configurations get {seeds} seeds more{'' if seeds == 1 else ' each'} to begin with")
        sweep.progress.note_added(run.run_id not in sweep.book.records for run in runs)
        sweep.backlog.replace(iter(runs))
        return not sweep.backlog.is_empty

    def has_to_do(self, n: int) -> bool:
        """Whether at least ``n`` runs are left for this start; of a sampler that learns that is taken for granted."""
        return not self._sweep.plan.is_enumerable or self._sweep.backlog.has(n)

    def fill_slots(self) -> None:
        """Start runs until no slot is free, none is left, or nothing shall be started now; for a moment at most."""
        sweep, until = self._sweep, time.monotonic() + START_SLICE_S
        self.is_filling = False
        if sweep.admission is not None:
            sweep.admission.poll(sweep.active)
            self._tell_notes()
        while not sweep.is_stopping and not sweep.is_paused and not sweep.pause.is_on:
            if sweep.slots.has_free:
                self.promote()
            found = sweep.backlog.take(sweep.slots)
            if found is None:
                break
            retry, slot = found
            try:
                if not self._skip(retry.run, slot):
                    self._start(retry.run, slot)
            except (OSError, RecordError) as error:
                sweep.slots.give_back(slot)
                sweep.backlog.put_back(retry)
                if isinstance(error, OSError):
                    error = record_error(sweep.folder.run_dir(retry.run.run_id), "cannot be written", error)
                sweep.pause_or_raise(error)
            if time.monotonic() >= until:
                self.is_filling = True
                break
        self._tell_notes()

    def _tell_notes(self) -> None:
        sweep = self._sweep
        notes = sweep.admission.take_notes() if sweep.admission is not None else []
        for note in [*notes, *sweep.tasks.wandb_fallback.take_notes()]:
            sweep.say(note)

    def promote(self, *, n_first: int = 0) -> bool:
        """Let a run go on that was stopped at a rung and is the best there now; return whether there is one.

        With ``n_first`` so many may go on from each rung in any case.
        """
        sweep = self._sweep
        if sweep.pruner is None or not sweep.settings.resumable:
            return False
        run_id = sweep.pruner.promote(self._has_paused, n_first=n_first)
        if run_id is None:
            return False
        record = sweep.book.records[run_id]
        named = {"run_id": run_id, "name": record.name, "identity": record.identity}
        sweep.backlog.put(Retry(Run(**named, params=record.params, seed=record.seed, index=0)))
        return True

    def promote_last(self) -> bool:
        """Let the best run go on to its end where none has come there, now that nothing else is left."""
        sweep = self._sweep
        if sweep.options.count is not None or any(record.has_result for record in sweep.records):
            return False
        return self.promote(n_first=1)

    def _has_paused(self, run_id: str) -> bool:
        record = self._sweep.book.records.get(run_id)
        return record is not None and record.state == State.PRUNED and record.belongs

    def _start(self, run: Run, slot: Slot) -> None:
        sweep, record = self._sweep, self._sweep.book.records.get(run.run_id)
        attempt, n_tries = (record.attempt + 1, record.n_tries) if record else (1, 0)
        goes_on = record is not None and (record.goes_on or record.state == State.PRUNED)
        run_dir = sweep.folder.make_run_dir(run.run_id, attempt, keeps_output=goes_on)
        sized = sweep.retries.with_recommended_size(run, record)
        in_sweep = sweep.standing_of(run.run_id)
        code, manifest = self._code_of(record, slot)
        start = start_fields(run, attempt=attempt, device=slot.device, code=code, in_sweep=in_sweep)
        tasks = sweep.tasks if manifest is None else replace(sweep.tasks, code=manifest)
        task = tasks.prepare(sized, slot, run_dir, attempt=attempt, n_tries=n_tries, start=start)
        sweep.book.start(start)  # first the journal, then the process: a run that nobody knows of would be lost
        try:
            handle = sweep.executor.submit(task)
        except ExecutorUnavailableError as error:
            end = RunOutcome(state=State.INTERRUPTED, reason=str(error), is_blameless=True)
            sweep.book.end(run.run_id, attempt, end)
            sweep.slots.give_back(slot)
            raise
        sweep.provenance.begin()
        if sweep.pruner is not None:
            sweep.pruner.begin(run.run_id, run.params, read_attempts(run_dir) if attempt > 1 else ())
        active = ActiveRun(
            run=run,
            attempt=attempt,
            slot=slot,
            handle=handle,
            run_dir=run_dir,
            tail=sweep.reader.follow(run_dir, watched=sweep.watched_metric),
            asked=sweep.tasks.asked(sweep.tasks.expand(sized), slot),
            wandb=self._follow_wandb(run_dir),
        )
        sweep.active.append(active)
        sweep.observer.run_started(active)

    def _follow_wandb(self, run_dir: Path) -> WandbTail | None:
        """Return what follows the file of a run that may log to W&B, where runs under way are judged."""
        sweep = self._sweep
        command = sweep.settings.command
        if sweep.pruner is None or command.proves_overrides:  # our trainer prints what it logs
            return None
        return WandbTail(run_dir, command.working_dir, sweep.pruner.metric)

    def _skip(self, run: Run, slot: Slot) -> bool:
        """Record a run that is not needed as such, and free its slot; return whether it was one."""
        sweep = self._sweep
        why = sweep.stability.why_skipped(run) if sweep.stability is not None else None
        if why is None or sweep.stability is None:
            return False
        record = sweep.book.records.get(run.run_id)
        attempt = record.attempt + 1 if record else 1
        in_sweep = sweep.standing_of(run.run_id)
        (sweep.folder.make_run_dir(run.run_id, attempt, keeps_output=True) / STDOUT).touch()
        sweep.book.start(start_fields(run, attempt=attempt, device=slot.device, code="", in_sweep=in_sweep))
        sweep.book.end(run.run_id, attempt, RunOutcome(state=State.PRUNED, reason=why))
        sweep.stability.note(sweep.book.records[run.run_id])
        sweep.slots.give_back(slot)
        return True

    def adopt(self, survivor: Survivor) -> None:
        """Go on with a run that outlived its orchestrator; one for which there is no slot is stopped."""
        sweep, record, handle = self._sweep, survivor.record, survivor.handle
        run_dir = sweep.folder.run_dir(record.run_id)
        slot = sweep.slots.take()
        if slot is None:
            handle.cancel(StopReason.INTERRUPTED)
            while (end := handle.poll()) is None:
                sweep.executor.wait(1.0)
            sweep.book.end(record.run_id, record.attempt, sweep.reader.read_kept(run_dir, end))
            return
        run = Run(run_id=record.run_id, name=record.name, params=record.params, seed=record.seed, index=0)
        if sweep.stability is not None:
            sweep.stability.note_start(run)
        if sweep.pruner is not None:
            sweep.pruner.begin(run.run_id, run.params, read_attempts(run_dir))
        active = ActiveRun(
            run=run,
            attempt=record.attempt,
            slot=slot,
            handle=handle,
            run_dir=run_dir,
            tail=sweep.reader.follow(run_dir, watched=sweep.watched_metric),
            asked=read_asked(run_dir),
            wandb=self._follow_wandb(run_dir),
        )
        sweep.active.append(active)
        sweep.say(f"{record.name} outlived the sweep that started it, and goes on")

    def _code_of(self, record: RunRecord | None, slot: Slot) -> tuple[str, Path | None]:
        """Return the code of a run that starts now, and its manifest where it is not that of all others.

        A run that a cluster took back goes on with the code that it was started with.
        """
        now = self._code_now()
        is_taken_back = record is not None and record.goes_on and bool(slot.scheduler or slot.host)
        if record is None or not is_taken_back or record.code in ("", now) or self._sweep.code.manifest is None:
            return now, None
        manifest = CodeStore(self._sweep.folder.path).manifest(record.code)
        if manifest is None:
            return now, None
        self._sweep.say(f"{record.name} goes on with the code that it was started with ({record.code})")
        return record.code, manifest

    def _code_now(self) -> str:
        """Return which code a run that starts now executes; say so when the program was edited since the last start."""
        sweep = self._sweep
        note = sweep.code.look()
        if note is not None:
            sweep.book.note_code(sweep.code.state, sweep.code.files)
            sweep.say(note)
        return sweep.code.state
