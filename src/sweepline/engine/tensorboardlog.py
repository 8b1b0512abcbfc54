"""Reads a TensorBoard log, a folder of event files, as one run: all points of all scalars, in the order of time."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from pathlib import Path

from sweepline.analysis.series import STEP, TIME, RunHistory, build_series
from sweepline.contract.text import display_path
from sweepline.engine.eventfile import Column, EventFile, read_event_file
from sweepline.errors import ConfigError, RecordError

_MARK = "tfevents"
_SESSION = re.compile(r"\d+(\.\d+)?")  # the folder beside the log into which torch's add_hparams writes
_NOTABLE_SHARE = 0.1  # of a run's time, for a pause between its files


def find_event_files(folder: Path) -> list[Path]:
    """Return the event files that lie in a folder itself, or the file that is named instead of one."""
    if folder.is_file():
        return [folder] if _MARK in folder.name else []
    try:
        return sorted(path for path in folder.iterdir() if _MARK in path.name and path.is_file())
    except OSError:
        return []


def find_logs_below(folder: Path) -> list[Path]:
    """Return the folders of event files one level below a folder."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and find_event_files(path))
    except OSError:
        return []


def read_tensorboard_log(folder: Path, *, name: str = "") -> RunHistory:
    """Return the run whose event files lie in a folder, or are one file.

    Times are seconds since its first event, pauses between files included. Files that were begun after another one had
    ended are restarts: of each tag, the later file counts from its first step on, and all of a log counts less than a
    writer that says from which step it goes on. What two files that were written at the same time say of one tag is
    all kept, in the order of steps. A log in which all steps are 0 tells none.

    Raises:
        ConfigError: there is no event file, or no scalar in any.
        RecordError: a file is damaged or cannot be read.
    """
    paths = find_event_files(folder)
    if not paths:
        raise ConfigError(f"{display_path(folder)}: holds no TensorBoard event files (*{_MARK}*)")
    files = [file for file in map(read_event_file, paths) if file.begun_at is not None]
    files.sort(key=lambda file: (file.begun_at or 0.0, file.path.name))
    begin = files[0].begun_at or 0.0 if files else 0.0
    merged, n_void = _merge(files)
    if not merged:
        torn = "; it ends within its first record" if not files else ""
        raise ConfigError(f"{display_path(folder)}: its event files hold no scalars (yet){torn}")
    has_steps = any(any(column.steps) for column in merged.values())
    series = {}
    for tag, column in merged.items():
        places = {TIME: array("d", map((-begin).__add__, column.times))}
        series[tag] = build_series(column.values, places | ({STEP: column.steps} if has_steps else {}))
    sessions, faults = _read_sessions(folder)
    hparams = {name: value for file in [*files, *sessions] for name, value in file.hparams.items()}
    return RunHistory(
        name=name or folder.resolve().name,
        origin=str(folder.resolve()),
        source=f"{len(paths)} event file{'s' * (len(paths) > 1)}",
        series=series,
        params=hparams,
        notes=[*_notes(files, n_void), *faults],
    )


def _merge(files: Sequence[EventFile]) -> tuple[dict[str, Column], int]:
    """Return the columns of files in the order of time as one each, and how many points a restart has made void."""
    merged: dict[str, Column] = {}
    n_void = sum(file.n_void for file in files)
    for file in files:
        begin = file.begun_at or 0.0
        for step in file.restart_steps:
            n_void += sum(column.cut(step) for column in merged.values() if column.times and column.times[-1] <= begin)
        for tag, later in file.columns.items():
            earlier = merged.setdefault(tag, Column())
            if earlier.times and earlier.times[-1] <= begin:
                n_void += earlier.cut(min(later.steps)) if any(later.steps) else 0
            earlier.times += later.times
            earlier.steps += later.steps
            earlier.values += later.values
    return {tag: column for tag, column in merged.items() if column.values}, n_void


def _notes(files: Sequence[EventFile], n_void: int) -> list[str]:
    notes = [
        f"{file.path.name} ends within a record (still written, or cut off): read up to there"
        for file in files
        if file.is_torn
    ]
    if n_void:
        notes.append(f"{n_void:,} points that a restart has gone over again are left out")
    spans = [(file.begun_at or 0.0, _last_time(file)) for file in files]
    end, pauses = spans[0][1] if spans else 0.0, 0.0
    for begin, last in spans[1:]:
        pauses += max(0.0, begin - end)
        end = max(end, last)
    whole = end - spans[0][0] if spans else 0.0
    if pauses > _NOTABLE_SHARE * whole > 0:
        notes.append(f"{pauses:,.0f} s of its {whole:,.0f} s lie between event files, and count as time of the run")
    return notes


def _last_time(file: EventFile) -> float:
    return max([file.begun_at or 0.0, *(max(column.times) for column in file.columns.values())])


def _read_sessions(folder: Path) -> tuple[list[EventFile], list[str]]:
    """Return the files in which torch keeps the settings of a log, each in a folder of its own, and faults of them."""
    sessions = [path for path in find_logs_below(folder) if _SESSION.fullmatch(path.name)] if folder.is_dir() else []
    found, faults = [], []
    for path in (path for session in sessions for path in find_event_files(session)):
        try:
            found.append(read_event_file(path))
        except RecordError as error:
            faults.append(f"its settings are not read: {error}")
    return found, faults
