"""The books of a sweep: journal, table and what both tell, kept in step by their only writer."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sweepline.errors import RecordError
from sweepline.recording.events import (
    CODE,
    EXTRA,
    IN_SWEEP,
    MEMBERSHIP,
    REMOVED,
    RUN_END,
    RUN_FORGET,
    RUN_REREAD,
    RUN_START,
    RUN_TAG,
    SWEEP_START,
    RunRecord,
    end_fields,
)
from sweepline.recording.folders import SweepFolder
from sweepline.recording.journal import Journal
from sweepline.recording.snapshot import MIN_EVENTS, Snapshot, collection_paused, load_snapshot, save_snapshot
from sweepline.recording.table import RunTable
from sweepline.runs import RunOutcome

COMMIT_INTERVAL_S = 0.02  # ends that come within this time share one fdatasync

_CHANGING = frozenset(
    {RUN_START, RUN_END, RUN_REREAD, RUN_FORGET, MEMBERSHIP}
)  # events after which the table is another
_MANY_EVENTS = 20_000  # whose reading takes as long as writing a snapshot


@dataclass(frozen=True, slots=True)
class CommittedEnd:
    """An end that is on disk, with the record as it was then."""

    record: RunRecord
    outcome: RunOutcome


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
        reserved: Collection[str] = (),
    ) -> None:
        self.folder = folder
        snapshot = load_snapshot(folder.journal)
        self._replay, self._known_table = snapshot.replay, snapshot.table
        self._snapshot_at = snapshot.position
        self._is_in_step = True  # whether the replay has every event that the journal has
        with collection_paused():
            self.journal = Journal(folder.journal, take=self._take, after=snapshot.position)
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

    @property
    def records(self) -> dict[str, RunRecord]:
        """The record of every run."""
        return self._replay.records

    @property
    def codes(self) -> dict[str, Mapping[str, str]]:
        """The files of every state of the program that runs were started with, by the hash that records carry."""
        return self._replay.codes

    def _take(self, event: Mapping[str, Any]) -> None:
        self._replay.apply(event)
        if event["ev"] in _CHANGING:
            self._known_table = None

    def _record(self, event: str, **fields: Any) -> None:
        """Write an event, and take it into account; an interrupt may come between the two."""
        self._record_all([(event, fields)])

    def _record_all(self, events: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        self._is_in_step = False
        try:
            self.journal.append_all(events)
        except RecordError:  # nothing was written
            self._is_in_step = True
            raise
        for event, fields in events:
            self._take({**fields, "ev": event})
        self._is_in_step = True

    def note_code(self, code: str, files: Mapping[str, str]) -> bool:
        """Write down what the program consists of from now on; return whether that is news."""
        if code in self.codes or not code:
            return False
        self._record(CODE, code=code, files=dict(files))
        return True

    def open_table(self, *, is_anew: bool = False) -> list[str]:
        """Bring the table up to date with what is recorded so far; return sentences worth saying.

        With ``is_anew`` every row is made from the records, also where the file is known to have it.
        """
        self.journal.sync()
        self._uncommitted.clear()
        with collection_paused():
            known = None if is_anew else self._known_table
            note = self.table.open(self.records, reread=self._replay.reread, known=known)
        if self.journal.position.seq > self._snapshot_at.seq + _MANY_EVENTS:
            self._save_snapshot()  # which a start that was killed could not
        return [*([note] if note else []), *self.take_notes()]

    def take_notes(self) -> list[str]:
        """Return what is worth saying of the journal and the table since the last call."""
        notes = [self.journal.note, self.table.note]
        self.journal.note = self.table.note = None
        return [note for note in notes if note]

    def mark_membership(self, whole: Set[str], added: Mapping[str, str] = MappingProxyType({})) -> None:
        """Write down which recorded runs belong to the sweep as it is now: its ``whole``, and what is ``added``."""
        changed = {}
        for run_id, record in self.records.items():
            if run_id in added:
                standing = added[run_id]
            elif run_id in whole:
                standing = IN_SWEEP
            else:
                standing = EXTRA if record.in_sweep == EXTRA else REMOVED
            if standing != record.in_sweep:
                changed[run_id] = standing
        if changed:
            self._record(MEMBERSHIP, runs=changed)

    def tag(self, run_id: str, tags: str) -> None:
        """Write down the tags of a run, those that it had before among them."""
        self._record(RUN_TAG, run=run_id, tags=tags)

    def forget(self, run_id: str) -> None:
        """Write down that a run is to be as if it had never been."""
        self._record(RUN_FORGET, run=run_id)

    def correct(self, run_id: str, *, metrics: Mapping[str, float], reason: str) -> None:
        """Write down what a second reading of a run's kept output says."""
        self._record(RUN_REREAD, run=run_id, reason=reason, metrics=dict(metrics))

    def begin(self, *, sweep: str, sweep_file: Path, sweep_token: str) -> None:
        """Write that a start of the sweep begins, in this process."""
        relative = os.path.relpath(sweep_file, self.folder.path)
        self.journal.append(SWEEP_START, sweep=sweep, sweep_file=relative, pid=os.getpid(), sweep_token=sweep_token)

    def note_event(self, event: str, **fields: object) -> None:
        """Write an event that concerns no single run."""
        self.journal.append(event, **fields)

    def start(self, fields: Mapping[str, Any]) -> None:
        """Write that an attempt is about to be started; ``fields`` are those of :func:`start_fields`."""
        self._record(RUN_START, **fields)

    def end(self, run_id: str, attempt: int, outcome: RunOutcome) -> None:
        """Write how an attempt ended; it counts once :meth:`commit` has returned."""
        self._record(RUN_END, run=run_id, attempt=attempt, **end_fields(outcome))
        if not self._uncommitted:
            self._commit_due = time.monotonic() + COMMIT_INTERVAL_S
        self._uncommitted.append(CommittedEnd(replace(self.records[run_id]), outcome))

    def take_in(self, events: Sequence[Mapping[str, Any]], *, is_anew: bool = False) -> None:
        """Write events of a run as another journal of the same sweep has them, their times with them, all or none.

        With ``is_anew`` what was known of the run is forgotten.
        """
        told = [(e["ev"], {name: e[name] for name in e if name not in ("v", "seq", "ev")}) for e in events]
        self._record_all([*([(RUN_FORGET, {"run": events[0]["run"]})] if is_anew else []), *told])

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
        try:
            if is_sound:
                self.journal.sync()
                self.table.close()
                self._save_snapshot()
        finally:
            self.table.abandon()
            self.journal.close()

    def _save_snapshot(self) -> None:
        """Keep what the journal tells where reading it again takes long."""
        position = self.journal.position
        if position.seq < MIN_EVENTS or position == self._snapshot_at or not self._is_in_step:
            return
        try:
            save_snapshot(self.folder.journal, Snapshot(self._replay, position, self.table.state))
        except OSError:  # nothing is lost: the journal has everything, and is read from its start
            return
        self._snapshot_at = position
