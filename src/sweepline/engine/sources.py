"""Results that a program leaves in files: TensorBoard's events, CSV, JSON and JSON lines, databases.

The logs of a run come first; what they do not tell is looked for in the run's own folder, or where the sweep file says.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.analysis.series import STEP, TIME
from sweepline.config.metricsfrom import CSV, JSON, MLFLOW, TENSORBOARD, TRACKIO, WANDB, MetricsSource
from sweepline.contract.files import open_plain
from sweepline.contract.metrics import MetricPoint
from sweepline.contract.runfolder import ATTEMPTS, COMMAND, EXIT_FILE, METRICS, OUTPUT_FOLDER, read_start_line
from sweepline.contract.values import flatten, is_number
from sweepline.engine.mlflowstore import is_mlflow_store, read_mlflow
from sweepline.engine.tensorboardlog import find_event_files, read_tensorboard_log
from sweepline.errors import ConfigError, RecordError, SweeplineError
from sweepline.programs.macros import Macros

PLACE_NAMES: Mapping[str, str] = {
    "step": "step",
    "global_step": "step",
    "_step": "step",
    "iteration": "step",
    "iter": "step",
    "epoch": "epoch",
    "samples": "samples",
}
"""What programs call the place of a point, and what we call it."""
_USUAL = ("trainer_state.json", "metrics.json", "results.json", "all_results.json", "metrics.jsonl", "log.jsonl")
_HISTORIES = ("log_history", "history", "logs", "metrics")
"""Keys below which a list of points usually stands."""
_DATABASE = ".db"
SECONDS = "time_s"
"""A column of histories: seconds since the run began."""
_MAX_BYTES = 64 << 20
_MAX_ENTRIES, _MAX_DEPTH = 2000, 4
_CLOCK_S = 2.0  # by which the clocks of two file systems may differ


@dataclass(frozen=True, slots=True)
class FoundPoints:
    """Points, and the file that they were read from."""

    path: Path
    points: Sequence[MetricPoint]


def read_sources(
    sources: Sequence[MetricsSource], run_dir: Path, working_dir: Path | None
) -> tuple[list[FoundPoints], list[str]]:
    """Return what is found in the files that a sweep file names, and why others cannot be read."""
    found: list[FoundPoints] = []
    faults: list[str] = []
    for source in sources:
        if source.kind == WANDB:
            continue  # which is always looked for
        paths = _paths_of(source, run_dir, working_dir)
        if not paths:
            faults.append(f"metrics_from: {source.path or source.kind}: no such file was written by the run")
        for path in paths:
            _read_into(found, faults, path, source)
    return found, faults


def read_usual(run_dir: Path) -> tuple[list[FoundPoints], list[str]]:
    """Return what is found in files of usual names in the run's own folder."""
    found: list[FoundPoints] = []
    faults: list[str] = []
    for path in _usual_files(run_dir / OUTPUT_FOLDER, run_dir):
        _read_into(found, faults, path, MetricsSource(_kind_of(path)))
    return found, faults


def _kind_of(path: Path) -> str:
    if (path.is_dir() or path.suffix == _DATABASE) and is_mlflow_store(path):
        return MLFLOW
    if path.is_dir():
        return TENSORBOARD
    return {".csv": CSV, _DATABASE: TRACKIO}.get(path.suffix, JSON)


def _read_into(found: list[FoundPoints], faults: list[str], path: Path, source: MetricsSource) -> None:
    try:
        points = _READERS[source.kind](path, source.at)
    except (OSError, ValueError, SweeplineError) as error:
        faults.append(f"{path.name} cannot be read: {error}")
        return
    if points:
        found.append(FoundPoints(path, points))


def _usual_files(*folders: Path) -> Iterator[Path]:
    """Yield folders of TensorBoard logs and files of usual names, the ones nearest to the top first."""
    n_left, level = _MAX_ENTRIES, [folder for folder in folders if os.access(folder, os.R_OK | os.X_OK)]
    for _ in range(_MAX_DEPTH):
        below: list[Path] = []
        for folder in level:
            entries = sorted(itertools.islice(_entries(folder), n_left))
            n_left -= len(entries)
            if find_event_files(folder) or is_mlflow_store(folder):
                yield folder
            yield from (e for e in entries if e.name in _USUAL or e.suffix == _DATABASE)
            yield from (e for e in entries if e.name == METRICS and folder != folders[-1])
            below += [e for e in entries if e.is_dir() and not e.is_symlink() and e.name not in (ATTEMPTS, "wandb")]
        level = [folder for folder in below if folder not in folders]


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from (folder / entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError:  # the program has shut it
        return


def _paths_of(source: MetricsSource, run_dir: Path, working_dir: Path | None) -> list[Path]:
    """Return the files that a source names and that were written by the run, latest last."""
    own = run_dir / OUTPUT_FOLDER
    if not source.path:
        return [path for path in _usual_files(own, run_dir) if _kind_of(path) == source.kind]
    text = _expand(source.path, run_dir)
    folders = [own, run_dir, *([working_dir] if working_dir is not None else [])]
    for folder in folders:
        path = folder / text
        matching = (
            sorted(folder.glob(text)) if any(c in text for c in "*?[") and not Path(text).is_absolute() else [path]
        )
        written = [path for path in matching if _is_of_run(path, run_dir)]
        if written:
            return sorted(written, key=lambda path: path.stat().st_mtime)
    return []


def _expand(text: str, run_dir: Path) -> str:
    started = read_start_line(run_dir) or {}
    params = started.get("params")
    names = {"run_dir": str(run_dir / OUTPUT_FOLDER), "run_id": run_dir.name, "run_name": str(started.get("name", ""))}
    seed = {} if started.get("seed") is None else {"seed": str(started["seed"])}
    known = params if isinstance(params, Mapping) else {}
    return "".join(Macros(params=known, arguments=known, of_command={}, of_run=names | seed).expand(text))


def _is_of_run(path: Path, run_dir: Path) -> bool:
    """Whether a file is there, and was last written while the run was under way: not by an earlier or a later one."""
    try:
        files = find_event_files(path) if path.is_dir() else [path]
        written = max((file.stat().st_mtime for file in files), default=0.0)
        if run_dir in path.resolve().parents:
            return bool(files) and written > 0
        started = (run_dir / COMMAND).stat()
        slack = 0.0 if started.st_dev == path.stat().st_dev else _CLOCK_S
        begun = started.st_mtime - slack
        ended = (run_dir / EXIT_FILE).stat().st_mtime + slack if (run_dir / EXIT_FILE).exists() else written
    except OSError:  # it was not written
        return False
    return begun <= written <= ended


def _read_tensorboard(path: Path, _at: str) -> list[MetricPoint]:
    """Return scalars, those of a step as one point."""
    found: dict[float, dict[str, float]] = {}
    for tag, series in read_tensorboard_log(path).series.items():
        steps = series.places.get(STEP, range(len(series)))
        for step, value, at in zip(steps, series.values, series.places[TIME], strict=True):
            found.setdefault(step, {})[tag] = value
            found[step][SECONDS] = round(at, 3)
    return [MetricPoint(values, {"step": int(step)}) for step, values in sorted(found.items())]


def _read_csv(path: Path, _at: str) -> list[MetricPoint]:
    with open_plain(path) as file:
        rows = csv.DictReader(line.decode("utf-8", "replace") for line in file)
        try:
            return list(_points(rows))
        except csv.Error as error:
            raise RecordError(str(error)) from None


def _read_trackio(path: Path, _at: str) -> list[MetricPoint]:
    """Return what trackio keeps in a database of a project, of all runs in it."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute("select step, metrics, timestamp from metrics order by id").fetchall()
    except sqlite3.Error as error:
        raise RecordError(str(error)) from None
    times = [datetime.fromisoformat(at) for _, _, at in rows]
    told = (
        {"step": step, **flatten(json.loads(text)), SECONDS: (at - times[0]).total_seconds()}
        for (step, text, _), at in zip(rows, times, strict=True)
    )
    return list(_points(told))


def _read_mlflow(path: Path, _at: str) -> list[MetricPoint]:
    return read_mlflow(path)


def _read_json(path: Path, at: str) -> list[MetricPoint]:
    with open_plain(path) as file:
        text = file.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise RecordError(f"more than {_MAX_BYTES >> 20} MiB")
    try:
        told = json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        told = [json.loads(line) for line in (lines if text.endswith(b"\n") else lines[:-1])]  # the last may be cut off
    return list(_points(_rows_of(_at(told, at))))


def _at(told: Any, at: str) -> Any:
    for name in filter(None, at.split(".")):
        if isinstance(told, list) and name.lstrip("-").isdecimal() and abs(int(name)) <= len(told):
            told = told[int(name)] if int(name) < len(told) else None
        elif isinstance(told, Mapping) and name in told:
            told = told[name]
        else:
            there = f"; there are {', '.join(map(str, told))}" if isinstance(told, Mapping) else ""
            raise ConfigError(f"nothing at {at!r}{there[:200]}")
    return told


def _rows_of(told: Any) -> Iterable[Mapping[str, Any]]:
    """Return the points of a structure: a list of them, columns of equal length, or the values of the whole run."""
    if isinstance(told, list):
        return [row for row in told if isinstance(row, Mapping)]
    if not isinstance(told, Mapping):
        return []
    for name in _HISTORIES:
        if isinstance(told.get(name), list) and any(isinstance(row, Mapping) for row in told[name]):
            return [*_rows_of(told[name]), {k: v for k, v in told.items() if is_number(v)}]
    columns = {
        name: column for name, column in told.items() if isinstance(column, list) and all(map(is_number, column))
    }
    if columns and len(set(map(len, columns.values()))) == 1 and len(columns) == len(told):
        n = len(next(iter(columns.values())))
        return [{"epoch": i + 1, **{name: column[i] for name, column in columns.items()}} for i in range(n)]
    return [flatten(told)]


def _points(rows: Iterable[Mapping[Any, Any]]) -> Iterator[MetricPoint]:
    """Yield what rows hold of numbers, with the place that they tell."""
    for row in rows:
        values: dict[str, float] = {}
        place: dict[str, int] = {}
        for name, cell in row.items():
            number = _number(cell)
            if name is None or number is None:
                continue
            known = str(name).strip()  # columns may be padded
            axis = PLACE_NAMES.get(known)
            if axis is None:
                values[known] = number
            elif number.is_integer():
                place[axis] = int(number)
        if values:
            yield MetricPoint(values, place)


def _number(cell: Any) -> float | None:
    if isinstance(cell, bool) or not isinstance(cell, (int, float, str)):
        return None
    try:
        return float(cell)
    except (ValueError, OverflowError):
        return None


_READERS = {
    TENSORBOARD: _read_tensorboard,
    CSV: _read_csv,
    JSON: _read_json,
    TRACKIO: _read_trackio,
    MLFLOW: _read_mlflow,
}
