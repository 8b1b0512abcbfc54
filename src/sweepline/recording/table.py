"""``runs.csv``: one row per run that ended, a view of the journal that pandas can read at any moment."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweepline.errors import RecordError
from sweepline.files import write_whole
from sweepline.recording.history import RunRecord
from sweepline.recording.journal import unused_path
from sweepline.runs import State

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


class RunTable:
    """The file and what stands in it. Rows are appended whole; a new metric or a changed row rebuilds it by rename."""

    def __init__(self, path: Path, *, sweep: str, params: Sequence[str], metrics: Sequence[str] = ()) -> None:
        self.path = path
        self.sweep = sweep
        self.params = [name for name in params if name != "seed"]
        self.metrics = list(metrics)
        self._rows: dict[str, RunRecord] = {}
        self._fd: int | None = None

    @property
    def header(self) -> list[str]:
        """The columns: fixed ones, parameters by dotted name, metrics by name (with a prefix where a name is taken)."""
        columns = list(LEADING)
        for prefix, names in (("param.", self.params), ("metric.", self.metrics)):
            for name in names:
                while name in columns:
                    name = prefix + name  # noqa: PLW2901
                columns.append(name)
        return columns

    def open(self, records: Iterable[RunRecord]) -> str | None:
        """Make the file hold exactly ``records``, in their order; return a sentence when another content was set aside.

        A file that is merely behind (rows missing at its end) is completed without a copy.

        Raises:
            RecordError: the file cannot be read or written.
        """
        for record in records:
            if _has_row(record):
                self._rows[record.run_id] = replace(record)
                self._learn(record)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            found = self.path.read_bytes()
        except FileNotFoundError:
            found = b""
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be the table of runs: {error.strerror}") from None
        expected = self._render()
        note = None
        if found and not expected.startswith(found) and not _is_header_alone(found):
            backup = unused_path(self.path.with_name(f"{self.path.name}.bak-{time.strftime('%Y%m%d_%H%M%S')}"))
            backup.write_bytes(found)
            note = f"{self.path.name} did not match the journal; rebuilt (old copy: {backup.name})"
        if found != expected:
            self._replace(expected)
        self._open_for_append()
        return note

    def put(self, record: RunRecord) -> None:
        """Write a run's row: appended, or by a rebuild when it changes an old row or needs a new column."""
        if not _has_row(record):
            return
        is_new = self._rows.pop(record.run_id, None) is None
        has_grown = self._learn(record)
        self._rows[record.run_id] = replace(record)
        if is_new and not has_grown:
            self._append(self._line(record))
        else:
            self._replace(self._render())
            self._open_for_append()

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _learn(self, record: RunRecord) -> bool:
        fresh = [name for name in record.metrics if name not in self.metrics]
        new_params = [name for name in record.params if name != "seed" and name not in self.params]
        self.metrics += fresh
        self.params += new_params
        return bool(fresh or new_params)

    def _render(self) -> bytes:
        return _csv_line(self.header) + b"".join(map(self._line, self._rows.values()))

    def _line(self, record: RunRecord) -> bytes:
        leading: dict[str, Any] = {
            "sweep": self.sweep,
            "run_id": record.run_id,
            "run_name": record.name,
            "state": record.state.value,
            "exit_code": record.exit_code,
            "reason": record.reason,
            "attempt": record.attempt,
            "seed": record.params.get("seed") if record.seed is None else record.seed,
            "device": record.device,
            "started_at": record.started_at,
            "duration_s": None if record.duration_s is None else round(record.duration_s, 3),
        }
        cells = [leading[name] for name in LEADING]
        cells += [record.params.get(name) for name in self.params]
        cells += [record.metrics.get(name) for name in self.metrics]
        return _csv_line(cells)

    def _append(self, line: bytes) -> None:
        """Write a row, or nothing of it."""
        assert self._fd is not None
        size = os.fstat(self._fd).st_size
        try:
            n_written = os.write(self._fd, line)
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be written: {error.strerror}") from None
        if n_written != len(line):
            os.ftruncate(self._fd, size)
            raise RecordError(f"{self.path}: only {n_written} of {len(line)} bytes were written; is the disk full?")

    def _replace(self, content: bytes) -> None:
        try:
            write_whole(self.path, content)
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be rebuilt: {error.strerror}") from None

    def _open_for_append(self) -> None:
        self.close()
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)


def _is_header_alone(content: bytes) -> bool:
    return content.endswith(b"\n") and content.count(b"\n") == 1


def _has_row(record: RunRecord) -> bool:
    return record.state not in (State.PENDING, State.RUNNING)


def _csv_line(cells: Sequence[Any]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([_cell(value) for value in cells])
    return buffer.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple, Mapping)):
        value = json.dumps(value)
    return str(value).replace("\r", "\\r").replace("\n", "\\n")
