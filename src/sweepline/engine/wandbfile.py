"""Finds and reads the files that the W&B client writes of every run (``run-*.wandb``), offline or online.

The file is a LevelDB log (7-byte file header, 32 KiB blocks, records with CRC, length and type) of protobuf records.
Needs the ``wandb`` package for the record's definition, and nothing of its private modules.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepline.contract.files import open_plain
from sweepline.contract.metrics import MetricPoint
from sweepline.contract.runfolder import ENVIRONMENT, STDERR, STDOUT, read_start_line
from sweepline.contract.text import strip_escapes
from sweepline.contract.values import is_number
from sweepline.engine.metricreader import Measured, MetricReader, summarize
from sweepline.programs.wandb import RUN_ID
from sweepline.recording.journal import JOURNAL

_FILE_HEADER_BYTES, _BLOCK_BYTES, _RECORD_HEADER = 7, 32 * 1024, struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_MAX_DEPTH, _MAX_ENTRIES = 3, 20_000  # of a search below the working directory
_LOG_BYTES = 64 * 1024
_TOLD = re.compile(r"^wandb: .*?(?:saved locally in|wandb sync|Find logs at:)\s+(.+?)(?:/logs)?\s*$", re.MULTILINE)


@dataclass
class WandbRun:
    """What a ``.wandb`` file says of its run."""

    run_id: str = ""
    project: str = ""
    group: str = ""
    name: str = ""
    job_type: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    """What the summary and the history said last of each name, whichever of them that was."""
    exit_code: int | None = None


def read_wandb_run(path: Path) -> WandbRun:
    """Return the run that a ``.wandb`` file records; a file that is still written gives what is there.

    Raises:
        ImportError: wandb is not installed.
        ValueError: a record is damaged.
    """
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    run = WandbRun()
    with open_plain(path) as file:
        data = file.read()
    for payload in _read_payloads(data):
        try:
            record = Record.FromString(payload)
        except DecodeError as error:
            raise ValueError(f"{path.name}: {error}") from None
        kind = record.WhichOneof("record_type")
        if kind == "run":
            source = record.run
            run.run_id, run.project, run.group = source.run_id, source.project, source.run_group
            run.name, run.job_type, run.tags = source.display_name, source.job_type, tuple(source.tags)
            _update(run.config, source.config.update)
        elif kind == "config":
            _update(run.config, record.config.update)
        elif kind == "history":
            row = read_row(record.history)
            run.history.append(row)
            run.last.update(row)
        elif kind == "summary":
            _update(run.summary, record.summary.update)
            _update(run.last, record.summary.update)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def read_wandb_metrics(paths: Sequence[Path], reader: MetricReader) -> Measured:
    """Return what a run logged to W&B, in the order of its files, as if it had been METRIC lines.

    A value that the script put into W&B's summary counts more than the last one that it logged, as it does there.

    Args:
        paths: the run's files.
        reader: takes the points; it has read nothing yet.
    """
    last: dict[str, float] = {}
    for path in paths:
        run = read_wandb_run(path)
        for row in run.history:
            numbers = dict(numbers_of(row))
            if numbers:
                reader.add(MetricPoint(numbers, {"step": row["_step"]} if "_step" in row else {}))
        last.update(numbers_of(run.last))
    alone = {name: value for name, value in last.items() if name not in reader.latest}
    if alone:
        reader.add(MetricPoint(alone))
    latest = {name: last.get(name, value) for name, value in reader.latest.items()}
    return Measured(
        results=summarize(latest, reader.extremes, reader.summaries),
        points=reader.points,
        n_dropped_names=reader.n_dropped_names,
        stride=reader.history.stride,
    )


def numbers_of(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of a row by dotted name; names that begin with ``_`` are W&B's own."""
    for name, value in values.items():
        if name.startswith("_"):
            continue
        if isinstance(value, Mapping) and "_type" not in value:
            yield from numbers_of(value, f"{prefix}{name}.")
        elif is_number(value):
            yield f"{prefix}{name}", float(value)


def find_wandb_files(run_dir: Path, working_dir: Path | None) -> list[Path]:
    """Return the files of a run, in the order in which they were begun, wherever its script had them written.

    They are looked for in the run's folder, by the run's id below its working directory, and where its output says.
    """
    folders = {folder.resolve() for folder in run_dir.glob("wandb/*run-*")}
    folders |= {folder.resolve() for folder in run_dir.glob("*/wandb/*run-*")}
    if working_dir is not None:
        run_id = _wandb_id(run_dir)
        for place in wandb_folders(working_dir, without=run_dir.parent.parent) if run_id else ():
            folders |= {folder.resolve() for folder in place.glob(f"*run-*-{run_id}")}
        folders |= {(working_dir / told).resolve() for told in _told_folders(run_dir)}
    files = {file for folder in folders for file in folder.glob("run-*.wandb")}
    return sorted(files, key=lambda file: (file.parent.name.partition("run-")[2], str(file)))


def wandb_folders(top: Path, *, without: Path) -> Iterator[Path]:
    """Yield the folders called ``wandb`` near the top of a tree; not those of sweeps, nor hidden ones.

    Of a tree with very many entries only a part is seen, and no folder may use up what the others need.
    """
    level, n_left = [top], _MAX_ENTRIES
    for depth in range(_MAX_DEPTH + 1):
        found: list[Path] = []
        for folder in level:
            if _holds(folder, JOURNAL):
                continue
            if _holds(folder, "wandb"):
                yield folder / "wandb"
            names, n_seen = _folders_in(folder, n_left // 2 if depth < _MAX_DEPTH else 0)
            n_left -= n_seen
            found += [folder / name for name in names if name != "wandb"]
        level = [folder for folder in found if folder != without]


def _holds(folder: Path, name: str) -> bool:
    try:
        return (folder / name).exists()
    except OSError:
        return False


def _folders_in(folder: Path, limit: int) -> tuple[list[str], int]:
    """Return the names of the folders among the first entries of a folder, and how many entries those are."""
    if limit <= 0:
        return [], 0
    try:
        with os.scandir(folder) as entries:
            seen = list(itertools.islice(entries, limit))
    except OSError:
        return [], 0
    return [entry.name for entry in seen if not entry.name.startswith(".") and _is_folder(entry)], len(seen)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _wandb_id(run_dir: Path) -> str:
    """Return the id that the run was given, as its folder tells it."""
    started = read_start_line(run_dir)
    if started is not None:
        return str(started.get(RUN_ID, ""))
    try:  # as older versions wrote it
        return str(json.loads((run_dir / ENVIRONMENT).read_bytes())["set"]["WANDB_RUN_ID"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _told_folders(run_dir: Path) -> Iterator[str]:
    """Yield the folders that the W&B client names in what it prints."""
    for name in (STDERR, STDOUT):
        try:
            with open_plain(run_dir / name) as file:
                begin = file.read(_LOG_BYTES)
                file.seek(max(file.tell(), file.seek(0, 2) - _LOG_BYTES))
                text = (begin + file.read()).decode("utf-8", "replace")
        except OSError:
            continue
        yield from _TOLD.findall(strip_escapes(text).replace("\r", "\n"))


def read_row(history: Any) -> dict[str, Any]:
    """Return what a record of a run's history holds."""
    row: dict[str, Any] = {}
    _update(row, history.item)
    return row


def _update(target: dict[str, Any], items: Any) -> None:
    for item in items:
        key = item.key or ".".join(item.nested_key)
        value = json.loads(item.value_json)
        target[key] = float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def _read_payloads(data: bytes) -> Iterator[bytes]:
    return (payload for payload, _ in read_payloads(data, 0))


def read_payloads(data: bytes, begin: int) -> Iterator[tuple[bytes, int]]:
    """Yield the records of a file that are whole, each with where the next one begins.

    Args:
        data: the file's content from ``begin`` on.
        begin: where a record, or the file, begins.
    """
    offset, partial = max(begin, _FILE_HEADER_BYTES), b""
    end = begin + len(data)
    while offset + _RECORD_HEADER.size <= end:
        left_in_block = _BLOCK_BYTES - offset % _BLOCK_BYTES
        if left_in_block < _RECORD_HEADER.size:
            offset += left_in_block
            continue
        at = offset - begin
        _, length, kind = _RECORD_HEADER.unpack_from(data, at)
        body = data[at + _RECORD_HEADER.size : at + _RECORD_HEADER.size + length]
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or len(body) < length:
            return
        offset += _RECORD_HEADER.size + length
        partial = body if kind in (_FULL, _FIRST) else partial + body
        if kind in (_FULL, _LAST):
            yield partial, offset
