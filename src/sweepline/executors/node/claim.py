"""Whose a run's folder is, where an attempt that its sweep takes for lost may live on unseen: ``job.json`` in it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweepline.contract.runfolder import JOB, read_start_line
from sweepline.executors.node.sharedfiles import refresh

FENCE_S = 5.0
"""Until whoever had a claim that is gone has seen that, and has killed its run."""

_LATE_S, _LATE_POLL_S = 60.0, 2.0  # a node may remember an earlier attempt


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


def drop_claim(run_dir: Path) -> None:
    """Take a folder from whoever has it, whose run is dead ``FENCE_S`` later."""
    (run_dir / JOB).unlink(missing_ok=True)
