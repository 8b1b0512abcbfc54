"""The folder of a sweep: its locks, its frozen inputs, and one folder per run. Nothing in it is ever deleted."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweepline.errors import RecordError, record_error
from sweepline.files import TEMPORARY, write_whole
from sweepline.recording.journal import JOURNAL, unused_path
from sweepline.recording.locks import KEEPER_LOCK, LOCK, OWNER, KeeperLock, SweepLock, is_held
from sweepline.values import display_path

CSV = "runs.csv"
PLAN = "plan.json"
FROZEN = "sweep.yaml"
BEST = "best.yaml"
ARCHIVE = "archive"
_KEPT_ACROSS_ATTEMPTS = ("ckpt", "files", "attempts", "batch_size.json")


class SweepFolder:
    """Paths of a sweep's files, and the lock that makes this process their only writer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs = path / "runs"
        self.keeper_lock = KeeperLock(path)
        self._lock: SweepLock | None = None
        self._inode: tuple[int, int] | None = None

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

    def lock(self, *, take_over: bool = False) -> str | None:
        """Become the only writer until this process ends; return a warning where the file system makes that doubtful.

        Raises:
            SweepLockedError: another process is; the text names it.
            RecordError: the folder cannot be made.
        """
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise record_error(self.path, "cannot be written", error) from None
        lock = SweepLock(self.path)
        lock.take(take_over=take_over)
        self._lock = lock
        for leftover in self.path.glob(f"*{TEMPORARY}"):  # of a start that died while it wrote
            if not leftover.is_dir():
                leftover.unlink(missing_ok=True)
        self._inode = _inode_of(self.path)
        if lock.network is None:
            return None
        return (
            f"{display_path(self.path)} lies on {lock.network}, where locks may not reach other machines: a folder "
            f"'{OWNER}' guards the sweep too; run it from one machine at a time"
        )

    def unlock(self) -> None:
        """Let others write."""
        self.keeper_lock.give_back()
        if self._lock is not None:
            self._lock.give_back()
            self._lock = None

    def is_locked(self) -> bool:
        """Whether an orchestrator holds the folder now; for readers."""
        return is_held(self.path / LOCK)

    def check_is_there(self) -> None:
        """Make sure that this is still the folder that was locked.

        Raises:
            RecordError: it was removed, renamed or mounted over.
        """
        if _inode_of(self.path) != self._inode:
            raise RecordError(f"{self.path}: the sweep folder is gone")

    def archive(self, *, csv: Path | None = None) -> Path | None:
        """Move everything of earlier starts into ``archive/<time>/``, ``csv`` too where it stands elsewhere.

        Returns that folder, None if there was nothing.
        """
        entries = [entry for entry in self.path.iterdir() if entry.name not in (LOCK, KEEPER_LOCK, OWNER, ARCHIVE)]
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


def _inode_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _set_attempt_aside(path: Path, attempt: int) -> None:
    entries = [entry for entry in path.iterdir() if entry.name not in _KEPT_ACROSS_ATTEMPTS]
    if not entries:
        return
    if (path / "attempts").is_symlink():
        raise RecordError(f"{path / 'attempts'}: is a link; run folders are real folders")
    target = unused_path(path / "attempts" / str(max(attempt - 1, 0)))
    target.mkdir(parents=True)
    for entry in entries:
        entry.rename(target / entry.name)
