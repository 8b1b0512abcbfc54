"""Reads the file that the W&B client writes beside every run (``run-*.wandb``), offline or online.

The file is a LevelDB log (7-byte file header, 32 KiB blocks, records with CRC, length and type) of protobuf records.
Needs the ``wandb`` package for the record's definition, and nothing of its private modules.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepline.files import open_plain
from sweepline.metrics import MetricPoint, MetricReader

_FILE_HEADER_BYTES, _BLOCK_BYTES, _RECORD_HEADER = 7, 32 * 1024, struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


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
            row: dict[str, Any] = {}
            _update(row, record.history.item)
            run.history.append(row)
        elif kind == "summary":
            _update(run.summary, record.summary.update)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def read_wandb_metrics(path: Path) -> MetricReader:
    """Return a run's logged numbers as if they had been METRIC lines."""
    reader = MetricReader()
    run = read_wandb_run(path)
    logged = {name for row in run.history for name in row}
    alone = {name: value for name, value in run.summary.items() if name not in logged}
    for row in [*run.history, alone]:
        numbers = {k: float(v) for k, v in row.items() if _is_number(v) and not k.startswith("_")}
        if numbers:
            reader.add(MetricPoint(numbers, {"step": row["_step"]} if "_step" in row else {}))
    return reader


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _update(target: dict[str, Any], items: Any) -> None:
    for item in items:
        key = item.key or ".".join(item.nested_key)
        value = json.loads(item.value_json)
        target[key] = float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def _read_payloads(data: bytes) -> Iterator[bytes]:
    offset, partial = _FILE_HEADER_BYTES, b""
    while offset + _RECORD_HEADER.size <= len(data):
        left_in_block = _BLOCK_BYTES - offset % _BLOCK_BYTES
        if left_in_block < _RECORD_HEADER.size:
            offset += left_in_block
            continue
        _, length, kind = _RECORD_HEADER.unpack_from(data, offset)
        body = data[offset + _RECORD_HEADER.size : offset + _RECORD_HEADER.size + length]
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or len(body) < length:
            return
        offset += _RECORD_HEADER.size + length
        partial = body if kind in (_FULL, _FIRST) else partial + body
        if kind in (_FULL, _LAST):
            yield partial
