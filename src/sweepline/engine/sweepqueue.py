"""Sweeps that run one after the other on this machine: each has a process that waits for its turn.

The process is that of the terminal from which its sweep was queued, so that it has the environment of that one. A list
in a file has the order; whoever waits holds a lock of its own, by which others know that it lives.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from filelock import FileLock

from sweepline.contract.files import write_whole
from sweepline.errors import ConfigError, RecordError, record_error
from sweepline.recording.locks import is_held, try_flock

_LIST, _LIST_LOCK, _OUTPUT = "queue.json", "queue.lock", "queue.log"
_START_S, _POLL_S, _TURN_S = 10.0, 0.02, 0.5


@dataclass(frozen=True)
class QueuedSweep:
    """A sweep file, and the folder in which it was queued. ``is_lost`` tells that nobody waits for its turn."""

    file: str
    folder: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    is_running: bool = False
    exit_code: int | None = None
    is_lost: bool = False


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
            found = [QueuedSweep(**one) for one in told]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise RecordError(f"{self.path / _LIST}: cannot be read: {error}; remove it to begin anew") from None
        return [replace(one, is_lost=one.exit_code is None and not self._is_waited_for(one)) for one in found]

    def add(self, sweeps: Sequence[QueuedSweep]) -> None:
        """Queue sweeps; each gets a process that waits for its turn."""
        with self._changed() as queued:
            queued.extend(sweeps)
            for one in sweeps:
                self._start_waiting(one)

    def remove(self, file: str) -> None:
        """Take a sweep that waits out of the queue.

        Raises:
            ConfigError: it does not wait.
        """
        path = Path(file).resolve()
        with self._changed() as queued:
            gone = [one for one in queued if one.exit_code is None and (not one.is_running or one.is_lost)]
            gone = [one for one in gone if Path(one.folder, one.file).resolve() == path]
            queued[:] = [one for one in queued if one not in gone]
        if not gone:
            raise ConfigError(f"{file}: does not wait in the queue; sweepline stop ends a sweep that runs")

    def clear(self) -> int:
        """Take what has ended, or is lost, out of the queue; return how many."""
        with self._changed() as queued:
            gone = [one for one in queued if one.exit_code is not None or one.is_lost]
            queued[:] = [one for one in queued if one not in gone]
        for one in gone:
            self._lock_of(one).unlink(missing_ok=True)
        return len(gone)

    def take_turn(self, sweep_id: str) -> None:
        """Wait until everything before a sweep has ended, and run it; nothing where it is taken out of the queue."""
        own = self.path / f"{sweep_id}.lock"
        fd = os.open(own, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not try_flock(fd):
                return  # somebody waits for it already
            while (one := self._mine(sweep_id)) is not None and not one.is_running:
                time.sleep(_TURN_S)
            if one is not None:
                self._end(one, self._run(one))
        finally:
            os.close(fd)
            own.unlink(missing_ok=True)

    def _mine(self, sweep_id: str) -> QueuedSweep | None:
        """Return a sweep, running as soon as nobody who lives is before it; None where it was taken out."""
        with self._changed() as queued:
            for i, one in enumerate(queued):
                if one.id == sweep_id:
                    queued[i] = replace(one, is_running=True, is_lost=False)
                    return queued[i]
                if one.exit_code is None and not one.is_lost:
                    return next((other for other in queued if other.id == sweep_id), None)
        return None

    def _run(self, one: QueuedSweep) -> int:
        command = [sys.executable, "-m", "sweepline.cli.main", "run", one.file, "--plain"]
        try:
            return subprocess.run(command, cwd=one.folder, stdin=subprocess.DEVNULL, check=False).returncode
        except OSError as error:  # its folder is gone
            print(f"{one.file}: {error}", flush=True)  # noqa: T201  # into the queue's log
            return 2

    def _end(self, ended: QueuedSweep, code: int) -> None:
        with self._changed() as queued:
            queued[:] = [replace(o, is_running=False, exit_code=code) if o.id == ended.id else o for o in queued]

    @contextmanager
    def _changed(self) -> Iterator[list[QueuedSweep]]:
        with FileLock(self.path / _LIST_LOCK):
            queued = self.sweeps()
            yield queued
            told = [asdict(replace(one, is_lost=False)) for one in queued]
            write_whole(self.path / _LIST, json.dumps(told, indent=1).encode())

    def _lock_of(self, one: QueuedSweep) -> Path:
        return self.path / f"{one.id}.lock"

    def _is_waited_for(self, one: QueuedSweep) -> bool:
        return bool(is_held(self._lock_of(one)))

    def _start_waiting(self, one: QueuedSweep) -> None:
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "sweepline.cli.main", "queue", "--take-turn", one.id],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until = time.monotonic() + _START_S
        while not self._is_waited_for(one):
            if process.poll() is not None or time.monotonic() > until:
                raise RecordError(f"{one.file}: its process does not start; what it said is in {self.output}")
            time.sleep(_POLL_S)
