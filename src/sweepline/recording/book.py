"""The books of a sweep: journal, table and the fold of both, kept in step by their only writer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweepline.config.sweepfile import SweepSettings
from sweepline.executors.base import Exit
from sweepline.executors.local import read_exit
from sweepline.metrics import Measured
from sweepline.recording.folders import SweepFolder
from sweepline.recording.history import (
    CODE,
    EXTRA,
    IN_SWEEP,
    MEMBERSHIP,
    REMOVED,
    RUN_END,
    RUN_REREAD,
    RUN_START,
    RunRecord,
    apply_event,
)
from sweepline.recording.journal import Journal
from sweepline.recording.outcome import discard_own_history, read_asked, read_outcome
from sweepline.recording.recovery import find_unrecorded, read_start
from sweepline.recording.table import RunTable
from sweepline.runs import Objective, Run, RunOutcome, State

COMMIT_INTERVAL_S = 0.02  # ends that come within this time share one fdatasync


@dataclass(frozen=True, slots=True)
class CommittedEnd:
    """An end that is on disk, with the record as it was then."""

    record: RunRecord
    outcome: RunOutcome
    log_tail: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a run's result is read out of its folder: see :func:`read_outcome`."""

    patterns: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    objective: Objective | None = None
    logged: Collection[str] = ()
    is_own: bool = False
    working_dir: Path | None = None


def reading_of(settings: SweepSettings) -> Reading:
    """Return how the output of a sweep's runs is read."""
    return Reading(
        patterns=settings.patterns,
        objective=settings.objective,
        logged=settings.logged_metrics,
        is_own=settings.command.is_native,
        working_dir=settings.command.working_dir,
    )


class RecordBook:
    """Writes a run's end in this order: journal, disk, row. Every later step can be repeated from the earlier one."""

    def __init__(
        self,
        folder: SweepFolder,
        *,
        csv: Path | None,
        sweep: str,
        params: Sequence[str],
        metrics: Sequence[str],
        reading: Reading,
        reserved: Collection[str] = (),
    ) -> None:
        self.folder, self.reading = folder, reading
        self.records: dict[str, RunRecord] = {}
        self.codes: dict[str, Mapping[str, str]] = {}
        """The files of every state of the program that runs were started with, by the hash that records carry."""
        self._reread: set[str] = set()
        self.journal = Journal(folder.journal, take=self._take)
        self.table = RunTable(
            csv or folder.csv,
            sweep=sweep,
            params=params,
            metrics=metrics,
            reserved=reserved,
            is_shared=csv is not None,
        )
        self._uncommitted: list[CommittedEnd] = []
        self._commit_due = 0.0

    def _take(self, event: Mapping[str, Any]) -> None:
        apply_event(self.records, event)
        if event["ev"] == CODE:
            self.codes[event["code"]] = event["files"]
        elif event["ev"] == RUN_REREAD:
            self._reread.add(event["run"])

    def note_code(self, code: str, files: Mapping[str, str]) -> bool:
        """Write down what the program consists of from now on; return whether that is news."""
        if code in self.codes or not code:
            return False
        self.journal.append(CODE, code=code, files=dict(files))
        self.codes[code] = dict(files)
        return True

    def recover(self, *, planned: Callable[[], Mapping[str, Run]] = dict) -> list[str]:
        """End what a dead orchestrator left open, and record what it did not; return sentences worth saying.

        ``planned`` gives the runs of the plan by id, for folders of runs that do not tell it themselves.
        """
        for record in list(self.records.values()):
            if record.state == State.RUNNING:
                self._append_end(record.run_id, record.attempt, self._recover(record))
        note = self._take_in_unrecorded(planned)
        return [*self.take_notes(), *([note] if note else [])]

    def open_table(self) -> list[str]:
        """Bring the table up to date with what is recorded so far; return sentences worth saying."""
        self.journal.sync()
        self._uncommitted.clear()
        note = self.table.open(self.records, reread=self._reread)
        return [*([note] if note else []), *self.take_notes()]

    def take_notes(self) -> list[str]:
        """Return what is worth saying of the journal and the table since the last call."""
        notes = [self.journal.note, self.table.note]
        self.journal.note = self.table.note = None
        return [note for note in notes if note]

    def _take_in_unrecorded(self, planned: Callable[[], Mapping[str, Run]]) -> str | None:
        """Record attempts that ended and that the journal does not know: an older copy of it was put back, or none."""
        n_taken, unknown = 0, []
        runs: Mapping[str, Run] | None = None
        for place, attempt, end in find_unrecorded(self.folder.runs, self.records):
            runs = planned() if runs is None else runs
            start = read_start(place, runs)
            if start is None:
                unknown.append(place.name)
                continue
            self.start(start)
            self._append_end(start["run"], attempt, self._read_kept(place, end))
            n_taken += 1
        taken = f"{n_taken} ended runs that the journal did not know were taken from their folders" if n_taken else ""
        left = f"{len(unknown)} run folders do not tell their parameters and are left alone" if unknown else ""
        return "; ".join(filter(None, (taken, left))) or None

    def mark_membership(self, whole: Set[str]) -> None:
        """Write down which recorded runs belong to the sweep as it is now, whose runs are ``whole``."""
        changed = {}
        for run_id, record in self.records.items():
            standing = IN_SWEEP if run_id in whole else EXTRA if record.in_sweep == EXTRA else REMOVED
            if standing != record.in_sweep:
                changed[run_id] = standing
        if changed:
            self.journal.append(MEMBERSHIP, runs=changed)
            apply_event(self.records, {"ev": MEMBERSHIP, "runs": changed})

    def read_again(self) -> int:
        """Read the kept output of all runs that finished, whose patterns have changed; return how many results did."""
        n_changed = 0
        for record in list(self.records.values()):
            run_dir = self.folder.run_dir(record.run_id)
            found = read_exit(run_dir)
            if record.state != State.FINISHED or found is None or found[0] != record.attempt:
                continue
            discard_own_history(run_dir)
            outcome = self._read_kept(run_dir, found[1])
            metrics, reason = self._merge_reading(record, outcome)
            if outcome.state != State.FINISHED or (reason, metrics) == (record.reason, dict(record.metrics)):
                continue
            event = {"run": record.run_id, "reason": reason, "metrics": metrics}
            self.journal.append(RUN_REREAD, **event)
            self._take({"ev": RUN_REREAD, **event})
            n_changed += 1
        return n_changed

    def note_event(self, event: str, **fields: object) -> None:
        """Write an event that concerns no single run."""
        self.journal.append(event, **fields)

    def _merge_reading(self, record: RunRecord, outcome: RunOutcome) -> tuple[dict[str, float], str]:
        """Return metrics and reason after a second reading: what came from a source that is gone by now stays.

        W&B's files are often removed once they are uploaded. What a pattern of the sweep file finds is in the logs.
        """
        read, patterns = outcome.metrics, self.reading.patterns
        gone = {name: v for name, v in record.metrics.items() if name not in read and name not in patterns}
        objective = self.reading.objective
        is_told_before = objective is not None and objective.name in gone
        return {**read, **gone}, record.reason if is_told_before else outcome.reason

    def start(self, fields: Mapping[str, Any]) -> None:
        """Write that an attempt is about to be started; ``fields`` are those of :func:`start_fields`."""
        self.journal.append(RUN_START, **fields)
        apply_event(self.records, {"ev": RUN_START, **fields})

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

    def _recover(self, record: RunRecord) -> RunOutcome:
        """Return the end of a run that nobody recorded: by its ``exit.json``, else interrupted."""
        run_dir = self.folder.run_dir(record.run_id)
        found = read_exit(run_dir)
        if found is None or found[0] != record.attempt:
            return RunOutcome(state=State.INTERRUPTED, reason="the sweep ended before this run did")
        return self._read_kept(run_dir, found[1])

    def _read_kept(self, run_dir: Path, end: Exit) -> RunOutcome:
        return self.read(run_dir, end, asked=read_asked(run_dir))

    def read(
        self, run_dir: Path, end: Exit, *, asked: Mapping[str, Any] | None, measured: Measured | None = None
    ) -> RunOutcome:
        """Return how an attempt ended and what it measured: see :func:`read_outcome`."""
        reading = self.reading
        return read_outcome(
            run_dir,
            end,
            patterns=reading.patterns,
            objective=reading.objective,
            logged=reading.logged,
            asked=asked,
            is_own=reading.is_own,
            working_dir=reading.working_dir,
            measured=measured,
        )
