"""What sweep and jobs tell each other by files on the file system that they share.

Below the sweep's folder: ``slurm/batches/N/`` has the script of an array and ``tasks.jsonl``, ``slurm/stops/`` what
runs are to end and why, ``slurm/ends/`` which have. In the folder of a run, ``job.json`` says which job has it. A file
is there whole or not at all, and a folder is read anew where a missing file might be one that is only not seen yet.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweepline.contract.files import write_whole
from sweepline.executors.base import StopReason
from sweepline.executors.node.sharedfiles import refresh

FOLDER = "slurm"
LOGS = "slurm_logs"
REFRESH_S = 2.0
TASKS, SCRIPT, JOB_NUMBER = "tasks.jsonl", "script.sh", "job"


class Mailbox:
    """The files of one sweep. ``path`` is the folder ``slurm`` in that of the sweep.

    Where it ``is_remote``, what jobs write may be seen late.
    """

    def __init__(self, path: Path, *, is_remote: bool = False) -> None:
        self.path, self._is_remote = path, is_remote
        self._refreshed_at = -REFRESH_S
        self.batches, self._stops, self._ends = path / "batches", path / "stops", path / "ends"

    def make(self) -> None:
        """Make the folders, and that of the logs."""
        for folder in (self.batches, self._stops, self._ends, self.path.parent / LOGS):
            folder.mkdir(parents=True, exist_ok=True)

    # what the sweep writes

    def ask_to_stop(self, run_id: str, attempt: int, reason: StopReason, *, now: bool) -> None:
        """Have an attempt end, or not begin."""
        text = json.dumps({"reason": reason, "now": now})
        write_whole(self._stops / name_of(run_id, attempt), text.encode(), is_durable=False)

    def take_ends(self) -> list[str]:
        """Return the names of the attempts that have ended; each is told until it is forgotten."""
        if self._is_remote and time.monotonic() >= self._refreshed_at + REFRESH_S:
            refresh(self._ends)
            self._refreshed_at = time.monotonic()
        try:
            names = os.listdir(self._ends)  # noqa: PTH208 (five times a second)
        except FileNotFoundError:
            return []
        return [name for name in names if name.rpartition(".")[2].isdecimal()]

    def forget(self, run_id: str, attempt: int, *, keeps_stop: bool = False) -> None:
        """Remove what was told of an attempt; with ``keeps_stop`` a job that starts late sees that it is not wanted."""
        name = name_of(run_id, attempt)
        (self._ends / name).unlink(missing_ok=True)
        if not keeps_stop:
            (self._stops / name).unlink(missing_ok=True)

    # what the job writes

    def read_stop(self, run_id: str, attempt: int) -> tuple[StopReason, bool] | None:
        """Return why an attempt is to end, and whether at once; None while it may go on."""
        try:
            told = json.loads((self._stops / name_of(run_id, attempt)).read_bytes())
        except FileNotFoundError:
            return None
        return StopReason(told["reason"]), told["now"]

    def note_end(self, run_id: str, attempt: int) -> None:
        """Tell that an attempt has ended."""
        (self._ends / name_of(run_id, attempt)).touch()


def name_of(run_id: str, attempt: int) -> str:
    """Return the name of the files about an attempt."""
    return f"{run_id}.{attempt}"


def read_tasks(batch: Path) -> list[dict[str, Any]]:
    """Return the tasks of an array, each with its ``index``."""
    with (batch / TASKS).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def read_task(batch: Path, index: int) -> dict[str, Any]:
    """Return one task of an array, which may be of thousands."""
    start = _line_start(index)
    with (batch / TASKS).open(encoding="utf-8") as file:
        found: dict[str, Any] = json.loads(next(line for line in file if line.startswith(start)))
    return found


def write_tasks(batch: Path, tasks: Mapping[int, Mapping[str, Any]]) -> None:
    """Write the tasks of an array by index."""
    lines = [_line_start(index) + json.dumps(task)[1:] for index, task in tasks.items()]
    write_whole(batch / TASKS, ("\n".join(lines) + "\n").encode())


def _line_start(index: int) -> str:
    return f'{{"index": {index}, '
