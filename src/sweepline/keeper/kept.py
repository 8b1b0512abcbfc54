"""One run as its keeper knows it: its process, what was asked of it, and when it next needs attention."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweepline.keeper.child import STDERR, STDOUT
from sweepline.keeper.processes import children, is_zombie, kill, session_of, token_of
from sweepline.keeper.protocol import STALLED, TIMEOUT

PATIENCE_S = 0.5  # for what a run that ended by itself has left, and that may be about to end too
UNKILLABLE_S = 5.0  # how long a SIGKILL is given; beyond it the process hangs in the kernel
_STALL_CHECKS = 4
_LOOK = os.WEXITED | os.WNOWAIT | os.WNOHANG


@dataclass
class KeptRun:
    """A started process, and the message that asked for it. All times are monotonic seconds of this machine."""

    message: Mapping[str, Any]
    n_tries: int
    token: str
    pid: int
    fault_fd: int | None
    started: float
    is_warm: bool = False
    stopped: str | None = None
    ended_at: float | None = None
    kill_at: float | None = None
    killed_at: float | None = None
    left_behind: set[int] = field(default_factory=set)
    _n_output_bytes: int = 0
    _spoke_at: float = 0.0
    _checked_at: float = 0.0

    def __post_init__(self) -> None:
        self._spoke_at = self._checked_at = self.started
        self.key: int = self.message["key"]
        self.run_dir: str = self.message["run_dir"]
        self.grace_s: float = self.message["grace_s"]
        self.timeout_s: float | None = self.message["timeout_s"]
        self.stall_s: float | None = self.message["stall_s"]

    @property
    def next_deadline(self) -> float | None:
        """When this run needs attention though nothing has happened."""
        if self.killed_at is not None:
            return self.killed_at + UNKILLABLE_S
        if self.kill_at is not None:
            return self.kill_at
        due = [] if self.timeout_s is None else [self.started + self.timeout_s]
        if self.stall_s is not None:
            due.append(self._checked_at + self.stall_s / _STALL_CHECKS)
        return min(due, default=None)

    def stop(self, reason: str, *, others: Container[int], now: bool = False) -> None:
        """Send SIGTERM to the run's group, SIGKILL when its grace is over; at once with ``now``."""
        self.note_exit()  # what it did by itself stays its own
        if self.ended_at is None:
            is_first, self.stopped = self.stopped is None, self.stopped or reason
            if is_first and not now:
                self.kill_at = time.monotonic() + self.grace_s
                if self.fault_fd is None:
                    kill(-self.pid, signal.SIGTERM)
        if now:
            self.kill(others)

    def note_started(self) -> None:
        """The child has become its program, which can be told from now on."""
        if self.stopped is not None and self.killed_at is None:
            kill(-self.pid, signal.SIGTERM)

    def kill(self, others: Container[int]) -> None:
        """Send SIGKILL to the group and to whatever has left it."""
        if self.killed_at is None:
            self.killed_at = time.monotonic()
        left = self.leftovers(others) if self.ended_at is not None else []
        kill(-self.pid)
        for pid in left:
            kill(pid)
        if self.stopped is None:
            self.left_behind.update(left)

    def attend(self, now: float, *, others: Container[int]) -> None:
        """Act on a deadline that has passed."""
        deadline = self.next_deadline
        if deadline is None or now < deadline or self.killed_at is not None:
            return
        if self.kill_at is not None:
            self.kill(others)
        elif self.timeout_s is not None and now >= self.started + self.timeout_s:
            self.stop(TIMEOUT, others=others)
        elif self._is_silent(now):
            self.stop(STALLED, others=others)

    def _is_silent(self, now: float) -> bool:
        assert self.stall_s is not None
        n_bytes = self.count_output()
        self._checked_at = now
        if n_bytes != self._n_output_bytes:
            self._n_output_bytes, self._spoke_at = n_bytes, now
        return now >= self._spoke_at + self.stall_s

    def count_output(self) -> int:
        """Return how many bytes the run has written to its logs."""
        return sum(_size_of(os.path.join(self.run_dir, name)) for name in (STDOUT, STDERR))

    def note_exit(self) -> None:
        """Look whether the process has ended; it stays a zombie, so that nobody else gets its number."""
        if self.ended_at is not None or os.waitid(os.P_PID, self.pid, _LOOK) is None:
            return
        self.ended_at = time.monotonic()
        if self.kill_at is None:
            self.kill_at = self.ended_at + PATIENCE_S

    def leftovers(self, others: Container[int]) -> list[int]:
        """Return what has outlived the run's process: the rest of its session, and whatever carries its token.

        All of it is the keeper's child, or descends from one: see :func:`become_subreaper`. ``others`` are the
        processes of the keeper's runs, which need no look.
        """
        return [
            pid
            for pid in children()
            if pid not in others and not is_zombie(pid) and (session_of(pid) == self.pid or token_of(pid) == self.token)
        ]

    @property
    def is_given_up(self) -> bool:
        """Whether something of this run has survived a SIGKILL for longer than any healthy process could."""
        return self.killed_at is not None and time.monotonic() >= self.killed_at + UNKILLABLE_S


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
