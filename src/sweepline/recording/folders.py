"""The folder of a sweep: its locks, its frozen inputs, and one folder per run. No record in it is ever deleted."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweepline.contract.files import TEMPORARY, write_whole
from sweepline.contract.runfolder import ATTEMPTS, KEPT_ACROSS_ATTEMPTS, OUTPUT_FOLDER
from sweepline.contract.text import display_path
from sweepline.errors import RecordError, SweepLockedError, record_error
from sweepline.recording.journal import JOURNAL, unused_path
from sweepline.recording.locks import KEEPER_LOCK, LOCK, OWNER, KeeperLock, SweepLock, is_held
from sweepline.recording.rows import take_rows_out

CSV = "runs.csv"
PLAN = "plan.json"
FROZEN = "sweep.yaml"
BEST = "best.yaml"
ENVIRONMENT = "environment.json"
ARCHIVE = "archive"
CONTROL = "control"
"""Where other processes ask something of the sweep that holds the folder."""

STAGING = "merging"
"""Where the folder of a run from elsewhere is copied to before it is put into its place."""

_UNFINISHED = ".unfinished"


class SweepFolder:
    """Paths of a sweep's files, and the lock that makes this process their only writer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs = path / "runs"
        self.keeper_lock = KeeperLock(path)
        self.finished_archive: Path | None = None
        """What a ``--fresh`` that was killed had begun to archive, and :meth:`lock` has finished."""
        self._lock: SweepLock | None = None
        self._inode: tuple[int, int] | None = None
        self._is_new = False

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
            self._is_new = not self.path.exists()
            self.runs.mkdir(parents=True, exist_ok=True)
            lock = SweepLock(self.path)
            lock.take(take_over=take_over)
            self._lock = lock
            self.runs.mkdir(exist_ok=True)  # the last holder may have removed it
        except OSError as error:
            raise record_error(self.path, "cannot be written", error) from None
        for unfinished in (self.path / ARCHIVE).glob(f"*{_UNFINISHED}"):
            self.finished_archive = self._move_into(unfinished)
        for leftover in self.path.glob(f"*{TEMPORARY}"):  # of a start that died while it wrote
            if not leftover.is_dir():
                leftover.unlink(missing_ok=True)
        shutil.rmtree(self.path / STAGING, ignore_errors=True)  # likewise
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

    def unlock_unused(self) -> None:
        """Let others write; remove the folder where :meth:`lock` made it and nothing was recorded since."""
        self.keeper_lock.give_back()
        lock = self._lock if self._is_new and _inode_of(self.path) == self._inode else None
        own = (LOCK, KEEPER_LOCK, OWNER, self.runs.name)
        with suppress(OSError):  # what is not empty any more stays
            has_more = any(entry.name not in own for entry in self.path.iterdir())
            if lock is not None and not has_more and is_held(self.path / KEEPER_LOCK) is False:
                self.runs.rmdir()
                (self.path / KEEPER_LOCK).unlink(missing_ok=True)
                lock.remove()
        self.unlock()
        if lock is not None:
            with suppress(OSError):
                self.path.rmdir()

    def is_locked(self) -> bool | None:
        """Whether an orchestrator holds the folder now, for readers; None where that cannot be told."""
        return is_held(self.path / LOCK)

    def check_is_there(self) -> str | None:
        """Make sure that this is still the folder that was locked; return a sentence where its lock was made anew.

        Raises:
            RecordError: it was removed, renamed or mounted over, or another process has made its lock anew.
        """
        if _inode_of(self.path) != self._inode:
            raise RecordError(f"{self.path}: the sweep folder is gone")
        try:
            return self._lock.restore() if self._lock is not None else None
        except SweepLockedError as error:
            raise RecordError(f"{LOCK} was removed while the sweep runs, and {error}") from None

    def archive(self, *, csv: Path | None = None, table_label: str = "") -> Path | None:
        """Move everything of earlier starts into ``archive/<time>/``, and its runs' rows out of ``csv``, elsewhere.

        Returns that folder, None if there was nothing. A move that is cut off is finished by the next :meth:`lock`.
        """
        if not self._entries():
            return None
        target = unused_path(self.path / ARCHIVE / time.strftime("%Y%m%d_%H%M%S"))
        unfinished = target.with_name(f"{target.name}{_UNFINISHED}")
        unfinished.mkdir(parents=True)
        if csv is not None:
            take_rows_out(
                csv,
                table_label or self.path.name,
                [run_dir.name for run_dir in self.runs.iterdir()],
                to=unfinished / CSV,
            )
        return self._move_into(unfinished)

    def is_unused(self) -> bool:
        """Whether no sweep was run here, and nothing else is here but what a start writes first."""
        return all(entry.name.removesuffix(TEMPORARY) in (PLAN, FROZEN, ENVIRONMENT) for entry in self._entries())

    def _entries(self) -> list[Path]:
        """Return what earlier starts have left, the journal last; a folder of runs that is empty is nothing."""
        kept = (LOCK, KEEPER_LOCK, OWNER, ARCHIVE, CONTROL)
        entries = [entry for entry in self.path.iterdir() if entry.name not in kept]
        found = [entry for entry in entries if entry != self.runs or any(entry.iterdir())]
        return sorted(found, key=lambda entry: entry.name == JOURNAL)

    def _move_into(self, unfinished: Path) -> Path:
        for entry in self._entries():
            entry.rename(unused_path(unfinished / entry.name))
        target = unfinished.with_name(unfinished.name.removesuffix(_UNFINISHED))
        unfinished.rename(target)
        self.runs.mkdir(exist_ok=True)
        return target

    def make_run_dir(self, run_id: str, attempt: int, *, keeps_output: bool = False) -> Path:
        """Return the folder of a run, the files of an earlier attempt moved into ``attempts/<n>/``.

        With ``keeps_output`` the program's own folder stays: a run that was interrupted goes on with what it has there,
        one that failed begins with an empty one.
        """
        path = self.run_dir(run_id)
        try:
            path.mkdir()
        except FileExistsError:
            if path.is_symlink():
                raise RecordError(f"{path}: is a link; run folders are real folders") from None
            _set_attempt_aside(path, attempt, keeps_output=keeps_output)
        return path

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Write ``plan.json``, whole or not at all."""
        write_whole(self.path / PLAN, (json.dumps(plan, indent=2, default=str) + "\n").encode())

    def read_plan(self) -> dict[str, Any] | None:
        """Return ``plan.json``; None when there is none, or a damaged one, which the next start writes anew.

        Raises:
            RecordError: the file cannot be read.
        """
        try:
            plan = json.loads((self.path / PLAN).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        except OSError as error:
            raise RecordError(f"{self.path / PLAN}: cannot be read: {error.strerror}") from None
        return plan if isinstance(plan, dict) else None

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Write down what surrounds all runs of this start."""
        write_whole(self.path / ENVIRONMENT, (json.dumps(environment, indent=1) + "\n").encode())

    def freeze(self, source: bytes) -> None:
        """Keep the sweep file as it was at this start."""
        write_whole(self.path / FROZEN, source)


def _inode_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _set_attempt_aside(path: Path, attempt: int, *, keeps_output: bool) -> None:
    kept = (*KEPT_ACROSS_ATTEMPTS, OUTPUT_FOLDER) if keeps_output else KEPT_ACROSS_ATTEMPTS
    entries = [entry for entry in path.iterdir() if entry.name not in kept]
    if not entries:
        return
    if (path / ATTEMPTS).is_symlink():
        raise RecordError(f"{path / 'attempts'}: is a link; run folders are real folders")
    target = unused_path(path / ATTEMPTS / str(max(attempt - 1, 0)))
    target.mkdir(parents=True)
    for entry in entries:
        entry.rename(target / entry.name)
