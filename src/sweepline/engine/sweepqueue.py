"""Sweeps that wait for each other on this machine: a list in a file, and one process that starts them in its order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from sweepline.contract.files import write_whole
from sweepline.errors import ConfigError, RecordError, record_error
from sweepline.recording.locks import is_held, try_flock

_LIST, _LIST_LOCK, _WORKER, _OUTPUT = "queue.json", "queue.lock", "worker.lock", "worker.log"
_START_S, _POLL_S = 10.0, 0.02


@dataclass(frozen=True)
class QueuedSweep:
    """A sweep file, and the folder in which it was queued; ``options`` are those of ``sweepline run``."""

    file: str
    folder: str
    options: Sequence[str] = ()
    is_running: bool = False
    exit_code: int | None = None


class SweepQueue:
    """The queue of a user on this machine, in ``$XDG_STATE_HOME/sweepline/queue``."""

    def __init__(self) -> None:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        self.path = Path(state) / "sweepline" / "queue"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise record_error(self.path, "cannot be made", error) from None

    @property
    def output(self) -> Path:
        """What the sweeps have said."""
        return self.path / _OUTPUT

    def sweeps(self) -> list[QueuedSweep]:
        """Return what waits, what runs, and how the others ended, in their order."""
        try:
            told = json.loads((self.path / _LIST).read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise RecordError(f"{self.path / _LIST}: cannot be read: {error}; remove it to begin anew") from None
        is_working = self.is_working
        found = [QueuedSweep(**one) for one in told]
        return [QueuedSweep(**{**asdict(one), "is_running": one.is_running and is_working}) for one in found]

    @property
    def is_working(self) -> bool:
        """Whether a process starts what waits."""
        return bool(is_held(self.path / _WORKER))

    def add(self, sweeps: Sequence[QueuedSweep]) -> None:
        """Queue sweeps, and see to it that somebody starts them."""
        with self._changed() as queued:
            queued.extend(sweeps)
        if not self.is_working:
            self._start_worker()

    def remove(self, file: str) -> int:
        """Take a sweep that waits out of the queue, or all that have ended; return how many.

        Raises:
            ConfigError: it does not wait.
        """
        with self._changed() as queued:
            waiting = [one for one in queued if one.exit_code is None and not one.is_running]
            gone = [one for one in waiting if _same(one, Path(file).resolve())]
            for one in gone:
                queued.remove(one)
        if not gone:
            raise ConfigError(f"{file}: does not wait in the queue; sweepline stop ends a sweep that runs")
        return len(gone)

    def clear(self) -> int:
        """Take what has ended out of the queue; return how many."""
        with self._changed() as queued:
            gone = [one for one in queued if one.exit_code is not None]
            queued[:] = [one for one in queued if one.exit_code is None]
        return len(gone)

    def work(self) -> None:
        """Start what waits, one after the other, until nothing does. At most one process does so."""
        fd = os.open(self.path / _WORKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not try_flock(fd, tries=1):
            return
        while (place := self._begin_next()) is not None:
            one = self.sweeps()[place]
            command = [sys.executable, "-m", "sweepline.cli.main", "run", one.file, "--plain", *one.options]
            try:
                code = subprocess.run(command, cwd=one.folder, stdin=subprocess.DEVNULL, check=False).returncode
            except OSError as error:  # its folder is gone
                print(f"{one.file}: {error}", flush=True)  # noqa: T201  # the worker's own log
                code = 2
            self._end(one, code)

    def _begin_next(self) -> int | None:
        with self._changed() as queued:
            place = next((i for i, one in enumerate(queued) if one.exit_code is None), None)
            if place is not None:
                queued[place] = QueuedSweep(**{**asdict(queued[place]), "is_running": True})
        return place

    def _end(self, one: QueuedSweep, code: int) -> None:
        with self._changed() as queued:
            place = next(i for i, other in enumerate(queued) if other.is_running and other.file == one.file)
            queued[place] = QueuedSweep(**{**asdict(queued[place]), "is_running": False, "exit_code": code})

    @contextmanager
    def _changed(self) -> Iterator[list[QueuedSweep]]:
        with FileLock(self.path / _LIST_LOCK):
            queued = self.sweeps()
            yield queued
            write_whole(self.path / _LIST, json.dumps([asdict(one) for one in queued], indent=1).encode())

    def _start_worker(self) -> None:
        with self.output.open("ab") as output:
            subprocess.Popen(
                [sys.executable, "-m", "sweepline.cli.main", "queue", "--work"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until = time.monotonic() + _START_S
        while not self.is_working and any(one.exit_code is None for one in self.sweeps()):
            if time.monotonic() > until:
                raise RecordError(f"the queue does not start; what it said is in {self.output}")
            time.sleep(_POLL_S)


def _same(one: QueuedSweep, path: Path) -> bool:
    return Path(one.folder, one.file).resolve() == path
