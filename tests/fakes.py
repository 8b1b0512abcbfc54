"""What stands in for the real thing where that is not the point: an executor without processes, records of no sweep."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sweepline.contract.runfolder import STDOUT
from sweepline.engine.progress import ActiveRun, Progress
from sweepline.executors.base import Attempt, Exit, Lack, StopReason, Task
from sweepline.executors.local.keeper import exitfile
from sweepline.recording.events import Replay, RunRecord
from sweepline.runs import RunOutcome, State

_OF_OUTCOME = ("exit_code", "signal", "reason", "duration_s", "metrics", "is_blameless", "host")


def recorded(run_id: str, *, state: State = State.FINISHED, **fields: Any) -> RunRecord:
    """Return the record of a run that ended so; of one that is under way with ``state=State.RUNNING``."""
    of_outcome = {name: fields.pop(name) for name in _OF_OUTCOME if fields.get(name) is not None}
    for name in _OF_OUTCOME:
        fields.pop(name, None)
    outcome = None if state == State.RUNNING else RunOutcome(state=state, **of_outcome)
    return RunRecord(run_id, **fields, outcome=outcome)


def fold(events: Iterable[Mapping[str, Any]]) -> dict[str, RunRecord]:
    """Return the records that events amount to."""
    replay = Replay()
    for event in events:
        replay.apply(event)
    return replay.records


@dataclass
class FakeRun:
    """A run of a :class:`FakeExecutor`, which has no process: it ends when that is waited for, as it was told.

    ``on_sigterm`` is how it ends when it is asked to; None: it goes on until its grace is over.
    """

    task: Task | None = None
    ends: Exit | None = field(default_factory=lambda: Exit(exit_code=0))
    on_sigterm: Exit | None = field(default_factory=lambda: Exit(signal=signal.SIGTERM))
    exit: Exit | None = None
    stopped: StopReason | None = None
    timeout_at: float = math.inf
    kill_at: float = math.inf

    def poll(self) -> Exit | None:
        """Return how it ended, or None."""
        return self.exit

    def cancel(self, reason: StopReason, *, now: bool = False) -> None:
        """Let it end by SIGTERM, or after its grace by SIGKILL."""
        if self.exit is not None:
            return
        if self.stopped is None:
            self.stopped = reason
            self.timeout_at = math.inf
            self.kill_at = time.monotonic() + (self.task.grace_s if self.task is not None else 0.0)
            if self.on_sigterm is not None:
                self._end(self.on_sigterm)
        if now and self.exit is None:
            self._end(Exit(signal=signal.SIGKILL))

    def release(self) -> None:
        """Nothing is held."""

    @property
    def place(self) -> str:
        """Nothing: it is nowhere."""
        return ""

    def advance(self) -> None:
        """End it where its end, its time limit or its grace has come."""
        if self.exit is None and self.ends is not None:
            self._end(self.ends)
        if time.monotonic() >= self.timeout_at:
            self.cancel(StopReason.TIMEOUT)
        if self.exit is None and time.monotonic() >= self.kill_at:
            self._end(Exit(signal=signal.SIGKILL))

    def _end(self, ended: Exit) -> None:
        self.exit = replace(ended, stopped=self.stopped or ended.stopped)
        if self.task is not None and ended.not_started is None:
            told = {name: getattr(self.exit, name) for name in ("exit_code", "signal", "duration_s", "max_rss_kib")}
            exitfile.write(str(self.task.run_dir), {"attempt": self.task.attempt, "stopped": self.exit.stopped} | told)


@dataclass
class FakeExecutor:
    """A place without processes. Each run prints what ``prints`` returns for it, and ends as ``ends`` says, or is held.

    ``survivors`` are the runs that outlived an earlier orchestrator, by id.
    """

    prints: Callable[[Task], str] = lambda _: ""
    ends: Callable[[Task], Exit | None] = lambda _: Exit(exit_code=0)
    on_sigterm: Callable[[Task], Exit | None] = lambda _: Exit(signal=signal.SIGTERM)
    survivors: Mapping[str, FakeRun] = field(default_factory=dict)
    ended_by: int | None = None
    saved_s: float = 0.0
    prepare_s: float = 0.0
    submitted: list[Task] = field(default_factory=list)
    is_closed: bool = False
    _runs: list[FakeRun] = field(default_factory=list)

    def submit(self, task: Task) -> FakeRun:
        """Take a run, and print what it prints."""
        self.submitted.append(task)
        run = FakeRun(task, self.ends(task), self.on_sigterm(task))
        if task.timeout_s is not None:
            run.timeout_at = time.monotonic() + task.timeout_s
        if run.ends is None or run.ends.not_started is None:
            (task.run_dir / STDOUT).write_text(self.prints(task))
        self._runs.append(run)
        return run

    def recover(self, attempts: Sequence[Attempt]) -> Mapping[str, FakeRun]:
        """Return the survivors among the attempts; they end when they are waited for too."""
        found = {a.run_id: self.survivors[a.run_id] for a in attempts if a.run_id in self.survivors}
        self._runs += found.values()
        return found

    def wait(self, timeout_s: float | None) -> None:
        """Let every run end that is not held; where none does, sleep until one may."""
        held = [run for run in self._runs if run.exit is None]
        for run in held:
            run.advance()
        if held and all(run.exit is None for run in held):
            until = min(min(run.timeout_at, run.kill_at) for run in held) - time.monotonic()
            time.sleep(max(0.0, min(until, math.inf if timeout_s is None else timeout_s)))
            for run in held:
                run.advance()

    def give_more(self, run_id: str, lack: Lack) -> str:
        """Return nothing: it has all there is."""
        return ""

    def take_notes(self) -> Sequence[str]:
        """Return nothing: there is nothing to say."""
        return ()

    def close(self) -> None:
        """End whatever is held."""
        for run in self._runs:
            run.cancel(StopReason.INTERRUPTED, now=True)
        self.is_closed = True


@dataclass
class Listener:
    """An observer that keeps what it is told."""

    notes: list[str] = field(default_factory=list)
    ended: list[RunRecord] = field(default_factory=list)
    refresh_s: float = 0.5

    def begin(self) -> None:
        """Nothing to open."""

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)

    def run_started(self, active: ActiveRun) -> None:
        """Nothing."""

    def run_ended(self, record: RunRecord, outcome: RunOutcome) -> None:
        """Keep it."""
        self.ended.append(record)

    def refresh(self, progress: Progress) -> None:
        """Nothing."""
