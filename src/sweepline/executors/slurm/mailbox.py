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
from sweepline.contract.runfolder import JOB, read_start_line
from sweepline.executors.base import StopReason
from sweepline.executors.node.sharedfiles import refresh

FOLDER = "slurm"
LOGS = "slurm_logs"
REFRESH_S = 2.0
_LATE_S, _LATE_POLL_S = 60.0, 2.0
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


class Claim:
    """That a job has a run's folder: the first one that starts an attempt, until the folder is another attempt's."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / JOB
        self._inode: int | None = None

    def take(self, attempt: int, told: Mapping[str, Any]) -> bool:
        """Write into the folder whose it is; False where it is another job's, or another attempt's."""
        if self._read_attempt(attempt) != attempt:
            return False
        try:
            with self._path.open("x", encoding="utf-8") as file:
                json.dump({"attempt": attempt, **told}, file)
                self._inode = os.fstat(file.fileno()).st_ino
        except (FileExistsError, FileNotFoundError):
            return False
        return True

    def _read_attempt(self, wanted: int) -> int:
        """Return which attempt the folder is for; an earlier one may be what this node remembers of it."""
        until = time.monotonic() + _LATE_S
        while True:
            refresh(self._path.parent)
            found = (read_start_line(self._path.parent) or {}).get("attempt", 0)
            is_known = isinstance(found, int) and found >= wanted
            if is_known or not self._path.parent.is_dir() or time.monotonic() > until:
                return found if isinstance(found, int) else 0
            time.sleep(_LATE_POLL_S)

    @property
    def holds(self) -> bool:
        """Whether the folder is still this attempt's: the next one finds it emptied."""
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False
        except OSError:  # a file system that does not answer now says nothing about whose it is
            return True


def read_job(run_dir: Path) -> dict[str, Any]:
    """Return which job has a run; nothing where none has."""
    try:
        found = json.loads((run_dir / JOB).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
