"""What stands in for the real thing where that is not the point: an executor without processes, records of no sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweepline.contract.runfolder import STDOUT
from sweepline.engine.progress import ActiveRun, Progress
from sweepline.executors.base import Attempt, Exit, StopReason, Task
from sweepline.recording.events import RunRecord
from sweepline.runs import RunOutcome, State

_OF_OUTCOME = ("exit_code", "signal", "reason", "duration_s", "metrics", "is_blameless", "host")


def recorded(run_id: str, *, state: State = State.FINISHED, **fields: Any) -> RunRecord:
    """Return the record of a run that ended so; of one that is under way with ``state=State.RUNNING``."""
    of_outcome = {name: fields.pop(name) for name in _OF_OUTCOME if fields.get(name) is not None}
    for name in _OF_OUTCOME:
        fields.pop(name, None)
    outcome = None if state == State.RUNNING else RunOutcome(state=state, **of_outcome)
    return RunRecord(run_id, **fields, outcome=outcome)


@dataclass
class FakeRun:
    """A run of a :class:`FakeExecutor`: it ends when that is waited for, or at once when it is cancelled."""

    task: Task | None = None
    exit: Exit | None = None

    def poll(self) -> Exit | None:
        """Return how it ended."""
        return self.exit

    def cancel(self, reason: StopReason, *, now: bool = False) -> None:
        """End it by a signal."""
        self.exit = self.exit or Exit(signal=9 if now else 15, stopped=reason)

    def release(self) -> None:
        """Nothing is held."""


@dataclass
class FakeExecutor:
    """A place without processes. Each run prints what ``prints`` returns for it, and ends as ``ends`` says.

    ``survivors`` are the runs that outlived an earlier orchestrator, by id.
    """

    prints: Callable[[Task], str] = lambda _: ""
    ends: Callable[[Task], Exit] = lambda _: Exit(exit_code=0)
    survivors: Mapping[str, FakeRun] = field(default_factory=dict)
    ended_by: int | None = None
    saved_s: float = 0.0
    prepare_s: float = 0.0
    submitted: list[Task] = field(default_factory=list)
    is_closed: bool = False
    _runs: list[FakeRun] = field(default_factory=list)

    def submit(self, task: Task) -> FakeRun:
        """Take a run."""
        self.submitted.append(task)
        self._runs.append(FakeRun(task))
        return self._runs[-1]

    def recover(self, attempts: Sequence[Attempt]) -> Mapping[str, FakeRun]:
        """Return the survivors among the attempts; they end when they are waited for too."""
        found = {a.run_id: self.survivors[a.run_id] for a in attempts if a.run_id in self.survivors}
        self._runs += found.values()
        return found

    def wait(self, timeout_s: float | None) -> None:
        """Let every run end."""
        for run in self._runs:
            if run.exit is None:
                if run.task is not None:
                    (run.task.run_dir / STDOUT).write_text(self.prints(run.task))
                run.exit = self.ends(run.task) if run.task is not None else Exit(exit_code=0)

    def take_notes(self) -> Sequence[str]:
        """Return nothing: there is nothing to say."""
        return ()

    def close(self) -> None:
        """Say so."""
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
