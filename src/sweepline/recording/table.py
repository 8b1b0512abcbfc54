"""``runs.csv``: one row per run that ended, a view of the journal that pandas can read at any moment.

A reader never sees part of a row. A row is appended only where it lies within one page, because the kernel shows a
longer write page by page; every other change writes a new file and renames it over the old one.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweepline.errors import DiskFullError, record_error
from sweepline.files import replace_file
from sweepline.recording.history import RunRecord
from sweepline.recording.journal import unused_path
from sweepline.runs import State
from sweepline.text import printable

LEADING = (
    "sweep",
    "run_id",
    "run_name",
    "state",
    "exit_code",
    "reason",
    "attempt",
    "seed",
    "device",
    "started_at",
    "duration_s",
)
PAGE_BYTES = 4096
MAX_METRIC_COLUMNS = 500
REBUILD_INTERVAL_S = 0.25
REBUILD_SHARE = 30  # a rebuild that took 0.1 s is followed by none for 3 s
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class RunTable:
    """The file and what stands in it.

    ``fault`` tells that the disk was full at the last flush: rows wait for the next one. ``note`` is a sentence for the
    user about a file that somebody else has changed. ``reserved`` metrics always find a column.
    """

    def __init__(
        self,
        path: Path,
        *,
        sweep: str,
        params: Sequence[str],
        metrics: Sequence[str] = (),
        reserved: Collection[str] = (),
    ) -> None:
        self.path = path
        self.sweep = sweep
        self.fault: DiskFullError | None = None
        self.note: str | None = None
        self._columns = [("param", name) for name in params if name != "seed"] + [("metric", name) for name in metrics]
        self._known = set(self._columns)
        self._reserved = {("metric", name) for name in reserved}
        self._n_metrics = len(metrics)
        self._records: Iterable[RunRecord] = ()
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
    def due(self) -> float | None:
        """The monotonic time at which waiting rows can be written; None when none wait."""
        return self._next_rebuild if self._waiting or self._must_rebuild else None

    def open(self, records: Iterable[RunRecord]) -> str | None:
        """Make the file hold exactly ``records``, in their order; return a sentence when another content was set aside.

        A file that is merely behind (rows missing at its end) is completed without a copy. ``records``, a view that is
        kept up to date, is looked at again should somebody change the file later.

        Raises:
            RecordError: the file cannot be read or written.
        """
        self._records = records
        for record in records:
            if has_row(record):
                self._learn(record)
        kinds = {"param": 0, "metric": 1}
        self._columns.sort(key=lambda column: kinds[column[0]])
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            found = self.path.read_bytes()
        except FileNotFoundError:
            found = b""
        except OSError as error:
            raise record_error(self.path, "cannot be the table of runs", error) from None
        expected = self._render()
        note = None
        try:
            if found and not expected.startswith(found) and not _is_header_alone(found):
                backup = unused_path(self.path.with_name(f"{self.path.name}.bak-{time.strftime('%Y%m%d_%H%M%S')}"))
                backup.write_bytes(found)
                note = f"{self.path.name} did not match the journal; rebuilt (old copy: {backup.name})"
            if found != expected or self.path.is_symlink():
                self._replace(expected)
            else:
                self._use(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), len(found))
        except OSError as error:
            raise record_error(self.path, "cannot be rebuilt", error) from None
        return note

    def put(self, record: RunRecord) -> None:
        """Add a run's row, or move the changed row of a run that went again to the end; :meth:`flush` writes it."""
        if not has_row(record):
            return
        n_fresh = self._learn(record)
        self._waiting = [_widen(line, n_fresh) for line in self._waiting]
        if record.attempt > 1:
            self._outdated.add(record.run_id)
            self._waiting = [line for line in self._waiting if _run_id_in(line) != record.run_id]
        self._must_rebuild |= bool(n_fresh) or record.attempt > 1
        self._waiting.append(self._line(record))

    def flush(self, *, is_last: bool = False) -> None:
        """Write what waits: at once where a row fits into its page, else with the next rebuild, which may have to wait.

        Raises:
            RecordError: the disk refuses, for another reason than room.
        """
        self.fault = None
        if not self._waiting and not self._must_rebuild:
            return
        try:
            if not self._is_untouched():
                self._set_aside()
            if not self._must_rebuild:
                self._append_what_fits()
            if self._must_rebuild and (is_last or time.monotonic() >= self._next_rebuild):
                self._rebuild()
        except OSError as error:
            fault = record_error(self.path, "cannot be written", error)
            if not isinstance(fault, DiskFullError):
                raise fault from None
            self.fault = fault

    def close(self) -> None:
        """Write what waits and close the file."""
        if self._fd is not None:
            self.flush(is_last=True)
            os.close(self._fd)
            self._fd = None

    def _append_what_fits(self) -> None:
        assert self._fd is not None
        for n_written, line in enumerate(self._waiting):
            if self._size % PAGE_BYTES + len(line) > PAGE_BYTES:
                self._waiting = self._waiting[n_written:]
                self._must_rebuild = True
                return
            try:
                if os.write(self._fd, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                os.ftruncate(self._fd, self._size)
                self._waiting = self._waiting[n_written:]
                raise
            self._size += len(line)
        self._waiting = []

    def _rebuild(self) -> None:
        started = time.monotonic()
        self._replace(self._render_changed() if self._is_untouched() else self._render())
        self._waiting, self._must_rebuild = [], False
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

    def _set_aside(self) -> None:
        """Keep what somebody else has made of the file, and write it anew."""
        backup = unused_path(self.path.with_name(f"{self.path.name}.bak-{time.strftime('%Y%m%d_%H%M%S')}"))
        try:
            self.path.rename(backup)
            self.note = f"{self.path.name} was changed while the sweep runs; rebuilt (that copy: {backup.name})"
        except FileNotFoundError:
            self.note = f"{self.path.name} was removed while the sweep runs; rebuilt"
        self._must_rebuild, self._next_rebuild = True, 0.0

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

    def _render(self) -> bytes:
        """Return the whole file from the records."""
        lines = (self._line(record) for record in list(self._records) if has_row(record))
        return b"".join([_csv_line(map(_guard, self.header)), *lines])

    def _render_changed(self) -> bytes:
        """Return the file as it is, with the new columns, without outdated rows, with the rows that wait.

        Taken from the file, because a run that goes again keeps its row, and its record no longer tells it.
        """
        n_fresh = len(self._columns) - self._n_written_columns
        lines = self.path.read_bytes().splitlines(keepends=True)[1:]
        kept = (line for line in lines if not self._outdated or _run_id_in(line) not in self._outdated)
        return b"".join(
            [_csv_line(map(_guard, self.header)), *(_widen(line, n_fresh) for line in kept), *self._waiting]
        )

    def _line(self, record: RunRecord) -> bytes:
        leading: dict[str, Any] = {
            "sweep": self.sweep,
            "run_id": record.run_id,
            "run_name": record.name,
            "state": record.state.value,
            "exit_code": record.exit_code,
            "reason": printable(record.reason),
            "attempt": record.attempt,
            "seed": record.params.get("seed") if record.seed is None else record.seed,
            "device": record.device,
            "started_at": record.started_at,
            "duration_s": None if record.duration_s is None else round(record.duration_s, 3),
        }
        cells = [leading[name] for name in LEADING]
        sources = {"param": record.params, "metric": record.metrics}
        cells += [sources[kind].get(name) for kind, name in self._columns]
        return _csv_line(map(format_cell, cells))

    def _replace(self, content: bytes) -> None:
        self._use(replace_file(self.path, content), len(content))

    def _use(self, fd: int, size: int) -> None:
        """Append to this file from now on; ``size`` is what we know of it, whatever others add meanwhile."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._size = fd, size
        self._n_written_columns = len(self._columns)


def _widen(line: bytes, n_columns: int) -> bytes:
    return line[:-1] + b"," * n_columns + b"\n" if n_columns else line


def _run_id_in(line: bytes) -> str:
    """Return the second cell of a row."""
    if line.startswith(b'"'):
        return "".join(next(csv.reader([line.decode("utf-8", "replace")]))[1:2])
    cells = line.split(b",", 2)
    return cells[1].decode("utf-8", "replace") if len(cells) > 2 else ""


def _is_header_alone(content: bytes) -> bool:
    return content.endswith(b"\n") and content.count(b"\n") == 1


def has_row(record: RunRecord) -> bool:
    """Whether a run has ended at least once and is not under way."""
    return record.state not in (State.PENDING, State.RUNNING)


def _csv_line(cells: Iterable[str]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue().encode("utf-8", "backslashreplace")


def format_cell(value: Any) -> str:
    """Return a value as one cell: numbers with every digit, text that no spreadsheet runs, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple, Mapping)):
        value = json.dumps(value)
    return _guard(value) if isinstance(value, str) else str(value)


def _guard(text: str) -> str:
    """Return text that no spreadsheet takes for a formula, on one line."""
    guarded = f"'{text}" if text.startswith(_FORMULA_STARTS) else text
    return guarded.replace("\r", "\\r").replace("\n", "\\n")
