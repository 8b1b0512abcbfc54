"""The books of a sweep: journal, table and the fold of both, kept in step by their only writer."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sweepline.executors.local import read_exit
from sweepline.recording.folders import SweepFolder
from sweepline.recording.history import RUN_END, RUN_START, RunRecord, apply_event
from sweepline.recording.journal import Journal
from sweepline.recording.outcome import read_asked, read_outcome
from sweepline.recording.table import RunTable
from sweepline.runs import Objective, Run, RunOutcome, State

COMMIT_INTERVAL_S = 0.02  # ends that come within this time share one fdatasync


@dataclass(frozen=True, slots=True)
class CommittedEnd:
    """An end that is on disk, with the record as it was then."""

    record: RunRecord
    outcome: RunOutcome
    log_tail: Sequence[str] = ()


@functools.lru_cache(maxsize=1)
def _tell_second(second: int) -> str:
    """Return a wall time with its zone; runs that start in one second share one text."""
    return datetime.fromtimestamp(second).astimezone().isoformat(timespec="seconds")


class RecordBook:
    """Writes a run's end in this order: journal, disk, row. Every later step can be repeated from the earlier one."""

    def __init__(
        self,
        folder: SweepFolder,
        *,
        csv: Path,
        sweep: str,
        params: Sequence[str],
        metrics: Sequence[str],
        reserved: Collection[str] = (),
    ) -> None:
        self.folder = folder
        self.records: dict[str, RunRecord] = {}
        self.journal = Journal(folder.journal, take=lambda event: apply_event(self.records, event))
        self.table = RunTable(csv, sweep=sweep, params=params, metrics=metrics, reserved=reserved)
        self._uncommitted: list[CommittedEnd] = []
        self._commit_due = 0.0

    def open(
        self,
        *,
        patterns: Mapping[str, re.Pattern[str]],
        objective: Objective | None,
        proves_overrides: bool,
        logged: Collection[str] = (),
        working_dir: Path | None = None,
    ) -> list[str]:
        """End what a dead orchestrator left open and bring the table up to date; return sentences worth saying."""
        read = functools.partial(
            read_outcome,
            patterns=patterns,
            objective=objective,
            logged=logged,
            is_own=proves_overrides,
            working_dir=working_dir,
        )
        for record in list(self.records.values()):
            if record.state == State.RUNNING:
                outcome = self._recover(record, read)
                self._append_end(record.run_id, record.attempt, outcome)
        self.journal.sync()
        self._uncommitted.clear()
        notes = [self.journal.cut_note, self.table.open(self.records.values())]
        return [note for note in notes if note]

    def note_event(self, event: str, **fields: object) -> None:
        """Write an event that concerns no single run."""
        self.journal.append(event, **fields)

    def start(self, run: Run, attempt: int, device: str) -> None:
        """Write that an attempt is about to be started."""
        event = {
            "run": run.run_id,
            "attempt": attempt,
            "name": run.name,
            "params": dict(run.params),
            "seed": run.seed,
            "identity": run.identity,
            "device": device,
            "started_at": _tell_second(int(time.time())),
        }
        self.journal.append(RUN_START, **event)
        apply_event(self.records, {"ev": RUN_START, **event})

    def end(self, run: Run, attempt: int, outcome: RunOutcome, *, log_tail: Sequence[str] = ()) -> None:
        """Write how an attempt ended; it counts once :meth:`commit` has returned."""
        self._append_end(run.run_id, attempt, outcome, log_tail)

    @property
    def has_uncommitted(self) -> bool:
        """Whether there are ends that do not count yet."""
        return bool(self._uncommitted)

    @property
    def commit_due(self) -> float | None:
        """The monotonic time at which ends want to be committed or rows to be written; None when there are none."""
        return self._commit_due if self._uncommitted else self.table.due

    def commit(self) -> list[CommittedEnd]:
        """Make the ends durable, then write their rows; return them.

        Raises:
            RecordError: the disk refuses. Rows that merely find no room wait: see ``table.fault``.
        """
        if self._uncommitted:
            self.journal.sync()
        ended, self._uncommitted = self._uncommitted, []
        for end in ended:
            self.table.put(end.record)
        self.table.flush()
        return ended

    def close(self, *, is_sound: bool = True) -> None:
        """Make everything durable and close the files; after a fault of the disk only close them."""
        if is_sound:
            self.journal.sync()
            self.table.close()
        self.journal.close()

    def _append_end(self, run_id: str, attempt: int, outcome: RunOutcome, log_tail: Sequence[str] = ()) -> None:
        event = {
            "run": run_id,
            "attempt": attempt,
            "state": outcome.state.value,
            "exit_code": outcome.exit_code,
            "signal": outcome.signal,
            "reason": outcome.reason,
            "duration_s": round(outcome.duration_s, 6),
            "metrics": dict(outcome.metrics),
            "n_bad_metric_lines": outcome.n_bad_metric_lines,
            "max_rss_kib": outcome.max_rss_kib,
            "is_blameless": outcome.is_blameless,
        }
        self.journal.append(RUN_END, **event)
        apply_event(self.records, {"ev": RUN_END, **event})
        if not self._uncommitted:
            self._commit_due = time.monotonic() + COMMIT_INTERVAL_S
        self._uncommitted.append(CommittedEnd(replace(self.records[run_id]), outcome, log_tail))

    def _recover(self, record: RunRecord, read: Callable[..., RunOutcome]) -> RunOutcome:
        """Return the end of a run that nobody recorded: by its ``exit.json``, else interrupted."""
        run_dir = self.folder.run_dir(record.run_id)
        found = read_exit(run_dir)
        if found is None or found[0] != record.attempt:
            return RunOutcome(state=State.INTERRUPTED, reason="the sweep ended before this run did")
        return read(run_dir, found[1], asked=read_asked(run_dir))
