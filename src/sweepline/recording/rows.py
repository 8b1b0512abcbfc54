"""Rows of a table as lines of its file, and the file that several sweeps write. What stands in a cell: ``cells``."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sweepline.contract.files import write_whole
from sweepline.errors import RecordError
from sweepline.recording.cells import csv_line, read_rows
from sweepline.recording.locks import try_flock

LOCK_TRIES = 50


class TableBusyError(Exception):
    """Another sweep is writing the table just now."""


def take_rows_out(path: Path, sweep: str, run_ids: Iterable[str], *, to: Path) -> None:
    """Copy a table to ``to``, and take the rows of a sweep's runs out of it; those of other sweeps stay.

    A table that cannot be read stays as it is: whoever opens it next keeps a copy and writes it anew.

    Raises:
        RecordError: other sweeps write it all the time.
    """
    try:
        with locked_folder(path.parent, n_tries=LOCK_TRIES):
            _take_rows_out(path, sweep, run_ids, to)
    except TableBusyError:
        raise RecordError(f"{path}: another sweep writes it just now; try again") from None
    except FileNotFoundError:  # there is no table, or no folder of it
        return


def _take_rows_out(path: Path, sweep: str, run_ids: Iterable[str], to: Path) -> None:
    found = path.read_bytes()
    try:
        header, rows = read_rows(found)
    except ValueError:
        write_whole(to, found)
        return
    wanted = set(run_ids)
    others = [row for row in rows if row.get("sweep") != sweep or row.get("run_id") not in wanted]
    write_whole(to, found)
    if others:
        write_whole(path, b"".join(csv_line(row.values()) for row in [dict(zip(header, header, strict=True)), *others]))
    else:
        path.unlink()


@contextmanager
def locked_folder(folder: Path, *, n_tries: int) -> Iterator[None]:
    """Hold the folder of a table that others may write too; a lock file beside it would be in people's way.

    Raises:
        TableBusyError: another process holds it.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            is_free = try_flock(fd, tries=n_tries)
        except OSError:  # a file system without locks for folders: whoever comes second finds the change
            is_free = True
        if not is_free:
            raise TableBusyError
        yield
    finally:
        os.close(fd)


def widen(line: bytes, n_columns: int) -> bytes:
    """Return a row with so many empty cells more."""
    return line[:-1] + b"," * n_columns + b"\n" if n_columns else line


def run_id_in(line: bytes) -> str:
    """Return the second cell of a row."""
    if line.startswith(b'"'):
        return "".join(next(csv.reader([line.decode("utf-8", "replace")]))[1:2])
    cells = line.split(b",", 2)
    return cells[1].decode("utf-8", "replace") if len(cells) > 2 else ""
