"""What MLflow keeps on disk, read without it: a database (its default since 3.0), or a folder for each run."""

from __future__ import annotations

import math
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from sweepline.contract.files import open_plain
from sweepline.contract.metrics import MetricPoint
from sweepline.errors import RecordError

_METRICS, _ABOUT = "metrics", "meta.yaml"
_MAX_FILES = 2000
_QUERY = "select key, value, step, is_nan from metrics order by timestamp, rowid"
_Row = tuple[str, float, int]


def is_mlflow_store(path: Path) -> bool:
    """Whether a file is a database of MLflow, or a folder what it keeps of a run."""
    if path.is_dir():
        return (path / _METRICS).is_dir() and (path / _ABOUT).is_file()
    try:
        with closing(_connect(path)) as database:
            names = {str(row[1]) for row in database.execute("pragma table_info(metrics)")}
    except sqlite3.Error:  # no database at all; whoever reads it says so
        return False
    return {"key", "value", "step", "is_nan", "run_uuid"} <= names


def read_mlflow(path: Path) -> list[MetricPoint]:
    """Return all that was logged, in its order; what follows one another at one step is one point.

    Raises:
        RecordError: the store cannot be read.
    """
    rows = _rows_of_folder(path) if path.is_dir() else _rows_of_database(path)
    return list(_points(rows))


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _rows_of_database(path: Path) -> list[_Row]:
    try:
        with closing(_connect(path)) as database:
            rows = database.execute(_QUERY).fetchall()
    except sqlite3.Error as error:
        raise RecordError(str(error)) from None
    return [(key, math.nan if is_nan else _number(value), int(step)) for key, value, step, is_nan in rows]


def _rows_of_folder(path: Path) -> list[_Row]:
    """Return the lines ``TIME VALUE STEP`` of the files below ``metrics``, which are called by the metrics' names."""
    folder = path / _METRICS
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if len(files) > _MAX_FILES:
        raise RecordError(f"more than {_MAX_FILES} metrics")
    found: list[tuple[int, _Row]] = []
    for file in files:
        name = file.relative_to(folder).as_posix()
        with open_plain(file) as lines:
            found += [(time, (name, value, step)) for time, value, step in _parse(lines)]
    return [row for _, row in sorted(found, key=lambda item: item[0])]


def _parse(lines: Iterable[bytes]) -> Iterator[tuple[int, float, int]]:
    for line in lines:
        words: Sequence[bytes] = line.split()
        try:
            yield int(words[0]), _number(float(words[1])), int(words[2]) if len(words) > 2 else 0
        except (IndexError, ValueError):  # the last line may be cut off
            continue


def _number(value: float) -> float:
    """Return a value as it was logged: a database keeps the largest number in place of infinity."""
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value


def _points(rows: Iterable[_Row]) -> Iterator[MetricPoint]:
    values: dict[str, float] = {}
    at = 0
    for name, value, step in rows:
        if values and (step != at or name in values):
            yield MetricPoint(values, {"step": at})
            values = {}
        values[name], at = value, step
    if values:
        yield MetricPoint(values, {"step": at})
