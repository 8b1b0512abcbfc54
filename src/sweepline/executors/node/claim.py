"""Whose a run's folder is, where an attempt that its sweep takes for lost may live on unseen: ``job.json`` in it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweepline.contract.runfolder import JOB, read_start_line

FENCE_S = 2.0
"""Until whoever had a claim that is gone has seen that, and has killed its run."""


class Claim:
    """That a job has a run's folder: the first one that starts an attempt, until the folder is another attempt's."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / JOB
        self._inode: int | None = None

    def take(self, attempt: int, told: Mapping[str, Any]) -> bool:
        """Write into the folder whose it is; False where it is another job's, or another attempt's."""
        start = read_start_line(self._path.parent) or {}
        if start.get("attempt") != attempt:
            return False
        try:
            with self._path.open("x", encoding="utf-8") as file:
                json.dump({"attempt": attempt, **told}, file)
                self._inode = os.fstat(file.fileno()).st_ino
        except (FileExistsError, FileNotFoundError):
            return False
        return True

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
