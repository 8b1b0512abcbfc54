"""Follows what a run under way logs to W&B, for early stopping of scripts that print nothing of it."""

from __future__ import annotations

import math
import time
from pathlib import Path

from sweepline.contract.files import open_plain
from sweepline.contract.metrics import PLACES, MetricPoint
from sweepline.engine.wandbfile import find_wandb_files, numbers_of, read_payloads, read_row

LOOK_S = 3.0
"""How often a run's file is looked for, while it has none: that may mean to walk through folders."""


class WandbTail:
    """Reads the points of a metric from the file that the W&B client writes of a run, as it grows.

    Each byte is read once. ``has_told`` tells that points came from it, ``why_blind`` why it cannot be read.
    """

    def __init__(self, run_dir: Path, working_dir: Path | None, metric: str) -> None:
        self._run_dir, self._working_dir, self._metric = run_dir, working_dir, metric
        self._path: Path | None = None
        self._offset = 0
        self._due = 0.0
        self.has_told = False
        self.why_blind = ""

    @property
    def is_blind(self) -> bool:
        """Whether the file cannot be read."""
        return bool(self.why_blind)

    def take_new(self, *, has_ended: bool = False) -> list[MetricPoint]:
        """Return the points since the last call."""
        if self.is_blind:
            return []
        if not self.has_told and (time.monotonic() >= self._due or has_ended):
            self._due = time.monotonic() + LOOK_S
            path = next(reversed(find_wandb_files(self._run_dir, self._working_dir)), None)
            if path != self._path:  # the first one that is found may be of an earlier attempt
                self._path, self._offset = path, 0
        return [] if self._path is None else self._read(self._path)

    def _read(self, path: Path) -> list[MetricPoint]:
        try:
            from google.protobuf.message import DecodeError
            from wandb.proto.wandb_internal_pb2 import Record
        except ImportError:
            self.why_blind = "pip install 'sweepline[wandb]'"
            return []
        points = []
        try:
            with open_plain(path) as file:
                file.seek(self._offset)
                data = file.read()
            for payload, end in read_payloads(data, self._offset):
                self._offset = end
                record = Record.FromString(payload)
                if record.WhichOneof("record_type") == "history":
                    row = read_row(record.history)
                    numbers = dict(numbers_of(row))
                    if self._metric in numbers:
                        told = {name: numbers[name] for name in PLACES if name in numbers}
                        place = {name: int(value) for name, value in told.items() if math.isfinite(value)}
                        place.setdefault("step", int(row.get("_step", 0)))
                        points.append(MetricPoint({self._metric: numbers[self._metric]}, place))
        except (OSError, DecodeError) as error:
            self.why_blind = f"{path.name} cannot be read: {error}"
        self.has_told |= bool(points)
        return points
