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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from sweepline.contract.files import CHUNK_BYTES, replace_file, write_all, write_whole
from sweepline.contract.text import printable
from sweepline.errors import DiskFullError, RecordError, record_error
from sweepline.recording.cells import csv_line, format_cell, format_parameter, guard, on_one_line, read_rows, says
from sweepline.recording.events import STANDINGS, RunRecord
from sweepline.recording.journal import unused_path
from sweepline.recording.locks import POLL_S
from sweepline.recording.rows import TableBusyError, locked_folder, run_id_in, widen
from sweepline.runs import RunOutcome

_COLUMNS: tuple[tuple[str, Callable[[RunRecord, RunOutcome], Any]], ...] = (
    ("run_id", lambda run, _: run.run_id),
    ("run_name", lambda run, _: run.name),
    ("state", lambda _, end: end.state.value),
    ("exit_code", lambda _, end: end.exit_code),
    ("reason", lambda _, end: printable(end.reason)),
    ("attempt", lambda run, _: run.attempt),
    ("seed", lambda run, _: run.params.get("seed") if run.seed is None else run.seed),
    ("device", lambda run, _: run.device),
    ("started_at", lambda run, _: run.started_at),
    ("duration_s", lambda _, end: round(end.duration_s, 3)),
    ("code", lambda run, _: run.code),
    ("in_sweep", lambda run, _: run.in_sweep),
    ("host", lambda _, end: end.host),
)
"""What stands in the columns before parameters and metrics, of a run that has ended."""

LEADING = ("sweep", *(name for name, _ in _COLUMNS))
OLDER_LEADING = LEADING[: LEADING.index("code")]
"""The leading columns of tables that older versions wrote; what has come later may be missing in them."""

PAGE_BYTES = 4096
MAX_METRIC_COLUMNS = 500
REBUILD_INTERVAL_S = 0.25
REBUILD_SHARE = 30  # a rebuild that took 0.1 s is followed by none for 3 s
RETRY_S = 10.0  # before a table that could not be written is tried again
LOCK_TRIES = 50


def tabulate(records: Iterable[RunRecord], *, sweep: str) -> tuple[list[str], list[list[Any]]]:
    """Return the header and the rows of a table of runs that have ended, with values instead of cells."""
    ended = [record for record in records if has_row(record)]
    params = list(dict.fromkeys(name for record in ended for name in record.params if name != "seed"))
    metrics = list(dict.fromkeys(name for record in ended for name in record.metrics))
    header = RunTable(Path("runs.csv"), sweep=sweep, params=params, metrics=metrics).header
    rows = []
    for record in ended:
        assert record.outcome is not None
        leading = [read(record, record.outcome) for _, read in _COLUMNS]
        values = [*(record.params.get(name) for name in params), *(record.metrics.get(name) for name in metrics)]
        rows.append([sweep, *leading, *values])
    return header, rows


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
        self._columns = [("param", name) for name in params if name != "seed"] + [("metric", name) for name in metrics]
        self._known = set(self._columns)
        self._reserved = {("metric", name) for name in reserved}
        self._n_metrics = len(metrics)
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
        self._size = 0

    @property
    def header(self) -> list[str]:
        """The columns: fixed ones, parameters by dotted name, metrics by name (with a prefix where a name is taken)."""
        columns = dict.fromkeys(LEADING)
        for kind, name in self._columns:
            while name in columns:
                name = f"{kind}.{name}"  # noqa: PLW2901
            columns[name] = None
        return list(columns)

    @property
    def _whole_header(self) -> list[str]:
        """The columns as they are written: ours, then those that only other sweeps have."""
        own = list(map(guard, self.header))
        return own + [name for name in self._others_columns if name not in own]

    @property
    def due(self) -> float | None:
        """The monotonic time at which waiting rows can be written; None when none wait."""
        return self._next_rebuild if self._waiting or self._must_rebuild else None

    def open(self, records: Mapping[str, RunRecord], *, reread: Set[str] = frozenset()) -> str | None:
        """Make the file hold exactly ``records``, in their order; return a sentence when another content was set aside.

        A file that is merely behind (rows missing at its end, columns of a parameter that is new) is completed without
        a copy. ``records``, a view that is kept up to date, is looked at again should somebody change the file later;
        the rows of ``reread`` may say what was read out of their runs before.

        Raises:
            DiskFullError: there is no room for it.
        """
        self._records, self._reread = records, reread
        for record in records.values():
            if has_row(record):
                self._learn(record)
        kinds = {"param": 0, "metric": 1}
        self._columns.sort(key=lambda column: kinds[column[0]])
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(n_tries=LOCK_TRIES):
                return self._bring_up_to_date()
        except TableBusyError:
            self._must_rebuild = True
        except OSError as error:
            self._go_on_without(error)
            if self.fault is not None:
                raise self.fault from None
        note, self.note = self.note, None
        return note

    def _bring_up_to_date(self) -> str | None:
        try:
            found = self.path.read_bytes()
        except FileNotFoundError:
            found = b""
        self._take_others(found)
        expected = b"".join(self._render())
        note = None
        if found and not expected.startswith(found) and not self._tells_our_runs(found):
            backup = self._unused_backup()
            write_whole(backup, found)
            note = f"{self.path.name} did not match the journal; rebuilt (old copy: {backup.name})"
        if found != expected or self.path.is_symlink():
            self._replace([expected])
        else:
            self._use(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), len(found))
        return note

    def put(self, record: RunRecord) -> None:
        """Add a run's row, or move the changed row of a run that went again to the end; :meth:`flush` writes it."""
        if not has_row(record):
            return
        n_fresh = self._learn(record)
        self._waiting = [widen(line, n_fresh) for line in self._waiting]
        if record.attempt > 1:
            self._outdated.add(record.run_id)
            self._waiting = [line for line in self._waiting if run_id_in(line) != record.run_id]
        self._must_rebuild |= bool(n_fresh) or record.attempt > 1
        self._waiting.append(self._line(record))

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
            if self._size % PAGE_BYTES + len(row) > PAGE_BYTES:
                self._waiting = self._waiting[n_written:]
                self._must_rebuild = True
                return
            try:
                write_all(self._fd, row)
            except OSError:
                os.ftruncate(self._fd, self._size)
                self._waiting = self._waiting[n_written:]
                raise
            self._size += len(row)
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
        return (seen.st_ino, seen.st_dev, seen.st_size) == (ours.st_ino, ours.st_dev, self._size)

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
        if header[: len(OLDER_LEADING)] != list(OLDER_LEADING):
            return False
        if not self.is_shared and (len(ours) < len(rows) or not set(header) <= set(self._whole_header)):
            return False
        fields = dict(zip(map(guard, self.header[len(LEADING) :]), self._columns, strict=True))
        told: list[str] = []
        for row in ours:
            record = self._records[row["run_id"]]
            if row["attempt"] == str(record.attempt) and has_row(record):
                if record.run_id not in self._reread and not self._is_row_of(row, record, fields):
                    return False
                told.append(record.run_id)
            elif not row["attempt"].isdecimal() or int(row["attempt"]) > record.attempt:
                return False
        # A run that went again has moved to the end, where its row may be missing like any of the latest.
        again = {record.run_id for record in self._records.values() if record.attempt > 1} - set(told)
        due = [record.run_id for record in self._records.values() if has_row(record) and record.run_id not in again]
        return due[: len(told)] == told

    def _is_row_of(self, row: Mapping[str, str], record: RunRecord, fields: Mapping[str, tuple[str, str]]) -> bool:
        leading = dict(zip(LEADING, self._leading_cells(record), strict=True))
        for column, cell in row.items():
            if column == "in_sweep" and cell in STANDINGS:  # as it was when the row was written
                continue
            if column in leading:
                if cell != leading[column]:
                    return False
                continue
            kind, name = fields.get(column, ("", ""))
            values = record.params if kind == "param" else record.metrics
            if cell if name not in values else not says(cell, kind, values[name]):
                return False
        return True

    def _learn(self, record: RunRecord) -> int:
        """Add columns for names that are new, as far as there is room for metrics; return how many."""
        params = [("param", name) for name in record.params if name != "seed"]
        metrics = [("metric", name) for name in record.metrics]
        fresh = [column for column in (*params, *metrics) if column not in self._known]
        n_too_many = self._n_metrics + sum(kind == "metric" for kind, _ in fresh) - MAX_METRIC_COLUMNS
        if n_too_many > 0 and fresh:
            n_kept = max(0, len(fresh) - n_too_many)
            fresh = [*fresh[:n_kept], *(column for column in fresh[n_kept:] if column in self._reserved)]
            self.note = self.note or (
                f"{self.path.name}: more than {MAX_METRIC_COLUMNS} metric names; the others are in the journal alone"
            )
        self._n_metrics += sum(kind == "metric" for kind, _ in fresh)
        self._columns += fresh
        self._known.update(fresh)
        return len(fresh)

    def _render(self) -> Iterator[bytes]:
        """Return the parts of the whole file: the rows of other sweeps, and ours from the records."""
        return self._join(self._line(record) for record in list(self._records.values()) if has_row(record))

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

    def _leading_cells(self, record: RunRecord) -> list[str]:
        assert record.outcome is not None
        return [format_cell(self.sweep), *(format_cell(read(record, record.outcome)) for _, read in _COLUMNS)]

    def _line(self, record: RunRecord) -> bytes:
        params, metrics = record.params, record.metrics
        cells = self._leading_cells(record)
        for kind, name in self._columns:
            if kind == "param":
                cells.append(format_parameter(params[name]) if name in params else "")
            else:
                cells.append(format_cell(metrics.get(name)))
        return csv_line(cells)

    def _replace(self, parts: Iterable[bytes]) -> None:
        self._use(*replace_file(self.path, parts))

    def _use(self, fd: int, size: int) -> None:
        """Append to this file from now on; ``size`` is what we know of it, whatever others add meanwhile."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._size = fd, size
        self._n_written_columns = len(self._whole_header)


def has_row(record: RunRecord) -> bool:
    """Whether a run has ended at least once and is not under way."""
    return record.outcome is not None
