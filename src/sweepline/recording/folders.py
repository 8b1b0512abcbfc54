"""The folder of a sweep: its lock, its frozen inputs, and one folder per run. Nothing in it is ever deleted."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweepline.errors import RecordError, SweepLockedError
from sweepline.files import write_whole
from sweepline.recording.journal import JOURNAL, unused_path

CSV = "runs.csv"
PLAN = "plan.json"
FROZEN = "sweep.yaml"
BEST = "best.yaml"
ARCHIVE = "archive"
_KEPT_ACROSS_ATTEMPTS = ("ckpt", "attempts")


class SweepFolder:
    """Paths of a sweep's files, and the lock that makes this process their only writer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs = path / "runs"
        self._lock_fd: int | None = None

    @property
    def journal(self) -> Path:
        """The journal."""
        return self.path / JOURNAL

    @property
    def csv(self) -> Path:
        """The view of the journal, unless the sweep file moves it."""
        return self.path / CSV

    def run_dir(self, run_id: str) -> Path:
        """The folder of one run."""
        return self.runs / run_id

    def lock(self) -> None:
        """Become the only writer until this process ends.

        Raises:
            SweepLockedError: another process is; the text names it.
            RecordError: the folder cannot be made.
        """
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path / "sweep.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be written: {error.strerror}") from None
        if not _try_lock(fd):
            holder = os.pread(fd, 500, 0).decode("utf-8", "replace").strip() or "another process"
            os.close(fd)
            raise SweepLockedError(f"this sweep is being run by {holder} (lock {self.path / 'sweep.lock'})")
        os.ftruncate(fd, 0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        os.pwrite(fd, f"pid {os.getpid()} on {socket.gethostname()} since {since}".encode(), 0)
        self._lock_fd = fd

    def unlock(self) -> None:
        """Let others write."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def is_locked(self) -> bool:
        """Whether an orchestrator holds the folder now; for readers."""
        try:
            fd = os.open(self.path / "sweep.lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True
        finally:
            os.close(fd)

    def archive(self, *, csv: Path | None = None) -> Path | None:
        """Move everything of earlier starts into ``archive/<time>/``, ``csv`` too where it stands elsewhere.

        Returns that folder, None if there was nothing.
        """
        entries = [entry for entry in self.path.iterdir() if entry.name not in ("sweep.lock", ARCHIVE)]
        if not self.journal.exists():
            return None
        target = unused_path(self.path / ARCHIVE / time.strftime("%Y%m%d_%H%M%S"))
        target.mkdir(parents=True)
        for entry in entries:
            entry.rename(target / entry.name)
        if csv is not None and csv.exists():
            shutil.move(csv, target / CSV)
        self.runs.mkdir()
        return target

    def make_run_dir(self, run_id: str, attempt: int) -> Path:
        """Return the folder of a run, the files of an earlier attempt moved into ``attempts/<n>/``."""
        path = self.run_dir(run_id)
        try:
            path.mkdir()
        except FileExistsError:
            if path.is_symlink():
                raise RecordError(f"{path}: is a link; run folders are real folders") from None
            _set_attempt_aside(path, attempt)
        return path

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Write ``plan.json``, whole or not at all."""
        write_whole(self.path / PLAN, (json.dumps(plan, indent=2, default=str) + "\n").encode())

    def read_plan(self) -> dict[str, Any] | None:
        """Return ``plan.json``; None when there is none.

        Raises:
            RecordError: the file is no plan.
        """
        try:
            plan = json.loads((self.path / PLAN).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            plan = None
        if not isinstance(plan, dict):
            raise RecordError(f"{self.path / PLAN}: is damaged; restore it, or start over with --fresh")
        return plan

    def freeze(self, source: bytes) -> None:
        """Keep the sweep file as it was at this start."""
        write_whole(self.path / FROZEN, source)


def _try_lock(fd: int) -> bool:
    """Take the lock; tried a few times, because ``is_locked`` holds it for an instant."""
    for _ in range(5):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def _set_attempt_aside(path: Path, attempt: int) -> None:
    entries = [entry for entry in path.iterdir() if entry.name not in _KEPT_ACROSS_ATTEMPTS]
    if not entries:
        return
    target = unused_path(path / "attempts" / str(max(attempt - 1, 0)))
    target.mkdir(parents=True)
    for entry in entries:
        entry.rename(target / entry.name)
