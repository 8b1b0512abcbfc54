"""``runs.csv``: its columns, and a row per run that ended: a view of the journal that pandas reads at any moment.

A reader never sees part of a row. A row is appended only where it lies within one page, because the kernel shows a
longer write page by page; every other change writes a new file and renames it over the old one. A table outside the
sweep's folder may be that of several sweeps, each of which keeps its own rows and leaves the others' alone.
"""

from __future__ import annotations

import errno
import itertools
import os
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from sweepline import __version__
from sweepline.contract.files import CHUNK_BYTES, replace_file, write_all, write_whole
from sweepline.errors import DiskFullError, RecordError, record_error
from sweepline.recording.cells import csv_line, guard, on_one_line, read_rows
from sweepline.recording.columns import MAX_METRIC_COLUMNS, OLDER_FIXED_COLUMNS, Columns, has_row
from sweepline.recording.events import RunRecord
from sweepline.recording.journal import unused_path
from sweepline.recording.locks import POLL_S
from sweepline.recording.rows import LOCK_TRIES, TableBusyError, locked_folder, run_id_in, widen

PAGE_BYTES = 4096
REBUILD_INTERVAL_S = 0.25
REBUILD_SHARE = 30  # a rebuild that took 0.1 s is followed by none for 3 s
RETRY_S = 10.0  # before a table that could not be written is tried again


@dataclass(frozen=True, slots=True)
class TableState:
    """The content of a table, bytes and checksum; ``writer`` is the version and label of the sweep that wrote it."""

    writer: str
    n_bytes: int = 0
    crc32: int = 0

    def add(self, part: bytes) -> TableState:
        """Return the state with this behind it."""
        return TableState(self.writer, self.n_bytes + len(part), zlib.crc32(part, self.crc32))


class RunTable:
    """The file and what stands in it.

    ``fault`` tells that the disk was full at the last flush: rows wait for the next one. ``note`` is a sentence for the
    user about a file that somebody else has changed, or that cannot be written: the journal has every run, so a sweep
    goes on without its table. ``reserved`` metrics always find a column. With ``is_shared`` other sweeps may write the
    same file.
    """

    def __init__(
        self,
        path: Path,
        *,
        sweep: str,
        params: Sequence[str],
        metrics: Sequence[str] = (),
        reserved: Collection[str] = (),
        is_shared: bool = False,
    ) -> None:
        self.path, self.sweep, self.is_shared = path, sweep, is_shared
        self.fault: DiskFullError | None = None
        self.problem: RecordError | None = None
        """Why the file is not up to date, for another reason than room."""
        self.note: str | None = None
        self._is_full_told = False
        self._columns = Columns(sweep=sweep, params=params, metrics=metrics, reserved=reserved)
        self._records: Mapping[str, RunRecord] = {}
        self._reread: Set[str] = frozenset()
        self._others: list[dict[str, str]] = []  # rows of other sweeps
        self._others_columns: list[str] = []
        self._n_written_columns = 0
        self._waiting: list[bytes] = []
        self._outdated: set[str] = set()  # runs whose row in the file is that of an earlier attempt
        self._must_rebuild = False
        self._next_rebuild = 0.0
        self._fd: int | None = None
        self._empty = self._written = TableState(f"{__version__} {sweep}")

    @property
    def header(self) -> list[str]:
        """The names of the columns, before a spreadsheet's formulas in them are made harmless."""
        return self._columns.header

    @property
    def _whole_header(self) -> list[str]:
        """The columns as they are written: ours, then those that only other sweeps have."""
        own = list(map(guard, self.header))
        return own + [name for name in self._others_columns if name not in own]

    @property
    def due(self) -> float | None:
        """The monotonic time at which waiting rows can be written; None when none wait."""
        return self._next_rebuild if self._waiting or self._must_rebuild else None

    @property
    def state(self) -> TableState | None:
        """The content of the file as we wrote it; None where it is not what the records tell.

        The row of an earlier attempt stays while a run goes again.
        """
        is_behind = self._waiting or self._must_rebuild or self.fault or self.problem
        goes_again = any(record.outcome is None and record.attempt > 1 for record in self._records.values())
        return None if is_behind or goes_again else self._written

    def open(
        self, records: Mapping[str, RunRecord], *, reread: Set[str] = frozenset(), known: TableState | None = None
    ) -> str | None:
        """Make the file hold exactly ``records``, in their order; return a sentence when another content was set aside.

        A file that is merely behind (rows missing at its end, columns of a parameter that is new) is completed without
        a copy. ``records``, a view that is kept up to date, is looked at again should somebody change the file later;
        the rows of ``reread`` may say what was read out of their runs before. A file in the state ``known`` holds
        exactly ``records``, as far as its columns are still these.

        Raises:
            DiskFullError: there is no room for it.
        """
        self._records, self._reread = records, reread
        for record in records.values():
            if has_row(record):
                self._learn(record)
        self._columns.put_parameters_first()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(n_tries=LOCK_TRIES):
                return self._bring_up_to_date(known)
        except TableBusyError:
            self._must_rebuild = True
        except OSError as error:
            self._go_on_without(error)
            if self.fault is not None:
                raise self.fault from None
        note, self.note = self.note, None
        return note

    def _bring_up_to_date(self, known: TableState | None) -> str | None:
        try:
            found = self.path.read_bytes()
        except FileNotFoundError:
            found = b""
        self._take_others(found)
        state = self._empty.add(found)
        is_known = state == known and found.startswith(csv_line(self._whole_header))
        expected = found if is_known else b"".join(self._render())
        note = None
        if found and not expected.startswith(found) and not self._tells_our_runs(found):
            backup = self._unused_backup()
            write_whole(backup, found)
            note = f"{self.path.name} did not match the journal; rebuilt (old copy: {backup.name})"
        if found != expected or self.path.is_symlink():
            self._replace([expected])
        else:
            self._use(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), state)
        return note

    def put(self, record: RunRecord) -> None:
        """Add a run's row, or move the changed row of a run that went again to the end; :meth:`flush` writes it."""
        if not has_row(record):
            return
        n_fresh = self._learn(record)
        if n_fresh:
            self._waiting = [widen(line, n_fresh) for line in self._waiting]
        if record.attempt > 1:
            self._outdated.add(record.run_id)
            self._waiting = [line for line in self._waiting if run_id_in(line) != record.run_id]
        self._must_rebuild |= bool(n_fresh) or record.attempt > 1
        self._waiting.append(self._columns.line(record))

    def flush(self, *, is_last: bool = False) -> None:
        """Write what waits: at once where a row fits into its page, else with the next rebuild, which may have to wait.

        What cannot be written is told by ``fault``, or once by ``note``, and tried again later.

        Raises:
            RecordError: the disk is broken.
        """
        self.fault = None
        if not self._waiting and not self._must_rebuild:
            return
        if self.problem is not None and not is_last and time.monotonic() < self._next_rebuild:
            return
        try:
            with self._locked(n_tries=LOCK_TRIES if is_last else 1):
                if self._fd is None:
                    self._must_rebuild = True
                elif not self._is_untouched():
                    self._meet_change()
                if not self._must_rebuild:
                    self._append_what_fits()
                if self._must_rebuild and (is_last or time.monotonic() >= self._next_rebuild):
                    self._rebuild()
        except TableBusyError:
            self._must_rebuild, self._next_rebuild = True, time.monotonic() + POLL_S
        except OSError as error:
            self._go_on_without(error)

    def close(self) -> None:
        """Write what waits and close the file."""
        self.flush(is_last=True)
        self.abandon()

    def abandon(self) -> None:
        """Close the file as it is."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _go_on_without(self, error: OSError) -> None:
        """Go on without the table: rows wait, for room on the disk or for whatever else is in their way.

        Raises:
            RecordError: the disk itself is broken.
        """
        fault = record_error(self.path, "cannot be written", error)
        if error.errno == errno.EIO:
            raise fault from None
        self._must_rebuild = True
        if isinstance(fault, DiskFullError):
            self.fault = fault
            return
        self._next_rebuild = time.monotonic() + RETRY_S
        if self.problem is None:
            self.problem = fault
            self.note = f"{fault}; the sweep goes on: the journal has every run, sweepline rebuild-csv writes the table"

    def _locked(self, *, n_tries: int) -> AbstractContextManager[None]:
        return locked_folder(self.path.parent, n_tries=n_tries) if self.is_shared else nullcontext()

    def _append_what_fits(self) -> None:
        assert self._fd is not None
        n_more = len(self._whole_header) - len(self.header)
        for n_written, line in enumerate(self._waiting):
            row = widen(line, n_more)
            if self._written.n_bytes % PAGE_BYTES + len(row) > PAGE_BYTES:
                self._waiting = self._waiting[n_written:]
                self._must_rebuild = True
                return
            try:
                write_all(self._fd, row)
            except OSError:
                os.ftruncate(self._fd, self._written.n_bytes)
                self._waiting = self._waiting[n_written:]
                raise
            self._written = self._written.add(row)
        self._waiting = []

    def _rebuild(self) -> None:
        started = time.monotonic()
        self._replace(self._render_changed() if self._fd is not None and self._is_untouched() else self._render())
        self._waiting, self._must_rebuild, self.problem = [], False, None
        self._outdated.clear()
        ended = time.monotonic()
        self._next_rebuild = ended + max(REBUILD_INTERVAL_S, REBUILD_SHARE * (ended - started))

    def _is_untouched(self) -> bool:
        assert self._fd is not None
        try:
            seen = self.path.stat()
        except FileNotFoundError:
            return False
        ours = os.fstat(self._fd)
        return (seen.st_ino, seen.st_dev, seen.st_size) == (ours.st_ino, ours.st_dev, self._written.n_bytes)

    def _meet_change(self) -> None:
        """Take on what other sweeps have written; what somebody has made of our rows is kept apart and written anew."""
        try:
            found = self.path.read_bytes()
        except FileNotFoundError:
            self._take_others(b"")
            self.note = f"{self.path.name} was removed while the sweep runs; rebuilt"
        else:
            self._take_others(found)
            if not (self.is_shared and self._tells_our_runs(found)):
                backup = self._unused_backup()
                self.path.rename(backup)
                self.note = f"{self.path.name} was changed while the sweep runs; rebuilt (that copy: {backup.name})"
        self._must_rebuild, self._next_rebuild = True, min(self._next_rebuild, time.monotonic() + REBUILD_INTERVAL_S)

    def _unused_backup(self) -> Path:
        return unused_path(self.path.with_name(f"{self.path.name}.bak-{time.strftime('%Y%m%d_%H%M%S')}"))

    def _take_others(self, found: bytes) -> None:
        """Learn the rows of a shared table that are not ours."""
        self._others, self._others_columns = [], []
        if not self.is_shared:
            return
        try:
            header, rows = read_rows(found)
        except ValueError:
            return
        self._others = [row for row in rows if not self._is_ours(row)]
        self._others_columns = header if self._others else []

    def _is_ours(self, row: Mapping[str, str]) -> bool:
        return row.get("sweep") == self.sweep and row.get("run_id") in self._records

    def _tells_our_runs(self, found: bytes) -> bool:
        """Whether a table holds our runs as we wrote them, the latest possibly missing, and nothing that we did not."""
        try:
            header, rows = read_rows(found)
        except ValueError:
            return False
        ours = [row for row in rows if self._is_ours(row)]
        if header[: len(OLDER_FIXED_COLUMNS)] != list(OLDER_FIXED_COLUMNS):
            return False
        if not self.is_shared and (len(ours) < len(rows) or not set(header) <= set(self._whole_header)):
            return False
        told: list[str] = []
        for row in ours:
            record = self._records[row["run_id"]]
            if row["attempt"] == str(record.attempt) and has_row(record):
                if record.run_id not in self._reread and not self._columns.has_row(row, record):
                    return False
                told.append(record.run_id)
            elif not row["attempt"].isdecimal() or int(row["attempt"]) > record.attempt:
                return False
        # A run that went again has moved to the end, where its row may be missing like any of the latest.
        again = {record.run_id for record in self._records.values() if record.attempt > 1} - set(told)
        due = [record.run_id for record in self._records.values() if has_row(record) and record.run_id not in again]
        return due[: len(told)] == told

    def _learn(self, record: RunRecord) -> int:
        """Add columns for names that are new; return how many."""
        n_fresh = self._columns.learn(record)
        if self._columns.is_full and not self._is_full_told:
            self._is_full_told = True
            self.note = self.note or (
                f"{self.path.name}: more than {MAX_METRIC_COLUMNS} metric names; the others are in the journal alone"
            )
        return n_fresh

    def _render(self) -> Iterator[bytes]:
        """Return the parts of the whole file: the rows of other sweeps, and ours from the records."""
        return self._join(self._columns.line(record) for record in list(self._records.values()) if has_row(record))

    def _render_changed(self) -> Iterator[bytes]:
        """Return the parts of the file as it is, with the new columns and the rows that wait, without outdated rows.

        Taken from the file, because a run that goes again keeps its row, and its record no longer tells it. What stands
        behind our columns is empty in our rows, so that a column of others that becomes ours changes nothing in them.
        """
        with self.path.open("rb") as file:
            for _ in range(1 + len(self._others)):  # the header and the rows of others
                file.readline()
            n_fresh = len(self.header) - self._n_written_columns
            kept: Iterable[bytes] = iter(lambda: file.read(CHUNK_BYTES), b"")
            if self._outdated or n_fresh or self._others_columns:
                outdated = self._outdated
                lines = (line for line in file if not outdated or run_id_in(line) not in outdated)
                kept = (widen(line, n_fresh) for line in lines)
            yield from self._join(itertools.chain(kept, self._waiting))

    def _join(self, ours: Iterable[bytes]) -> Iterator[bytes]:
        """Return the parts of a file of the others' rows and of ``ours``: rows of our columns, or more that are empty.

        Where no other sweep has columns of its own, a part of ``ours`` may be any piece of the file.
        """
        header = self._whole_header
        n_more = len(header) - len(self.header)
        yield csv_line(header)
        for row in self._others:
            yield csv_line(on_one_line(row.get(column, "")) for column in header)
        for part in ours:
            yield widen(part, n_more)

    def _replace(self, parts: Iterable[bytes]) -> None:
        state = self._empty

        def count() -> Iterator[bytes]:
            nonlocal state
            for part in parts:
                state = state.add(part)
                yield part

        fd = replace_file(self.path, count())
        self._use(fd, state)

    def _use(self, fd: int, state: TableState) -> None:
        """Append to this file from now on; ``state`` is what we know of it, whatever others add meanwhile."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._written = fd, state
        self._n_written_columns = len(self._whole_header)
