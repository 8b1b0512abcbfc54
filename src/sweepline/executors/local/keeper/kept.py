"""One run as its keeper knows it: its process, what was asked of it, and when it next needs attention."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from sweepline.executors.local.keeper.clock import AwakeClock
from sweepline.executors.local.keeper.logs import RunLogs
from sweepline.executors.local.keeper.messages import INTERRUPTED, PREEMPTED, STALLED, STOP_SIGNALS, TIMEOUT, Start
from sweepline.executors.local.keeper.processes import children, is_zombie, kill, mark_of, session_of, token_of

PATIENCE_S = 0.5  # for what a run that ended by itself has left, and that may be about to end too
UNKILLABLE_S = 5.0  # how long a SIGKILL is given; beyond it the process hangs in the kernel
DOUBT_S = 0.25  # for the keeper or its sweep to be told to stop as well, by whoever has told the run
FULL_BYTES = 64 * 1024
_STALL_CHECKS = 4
_LOOK = os.WEXITED | os.WNOWAIT | os.WNOHANG


@dataclass
class KeptRun:
    """A started process, and the message that asked for it.

    With ``is_on_cluster`` a scheduler may end it. ``started`` and ``ended_at`` are monotonic seconds of this machine,
    deadlines those of ``clock``.
    """

    message: Start
    n_tries: int
    token: str
    mark: int | None
    pid: int
    logs: RunLogs
    clock: AwakeClock
    fault_fd: int | None
    started: float
    is_warm: bool = False
    is_on_cluster: bool = False
    stopped: str | None = None
    ended_at: float | None = None
    kill_at: float | None = None
    killed_at: float | None = None
    left_behind: set[int] = field(default_factory=set)
    _n_output_bytes: int = 0
    _spoke_at: float = 0.0
    _checked_at: float = 0.0
    _doubt_until: float = 0.0

    def __post_init__(self) -> None:
        self._began = self._spoke_at = self._checked_at = self.clock.now()
        self.key: int = self.message.key
        self.run_dir: str = self.message.run_dir
        self.grace_s: float = self.message.grace_s
        self.timeout_s: float | None = self.message.timeout_s
        self.stall_s: float | None = self.message.stall_s

    @property
    def next_deadline(self) -> float | None:
        """When this run needs attention though nothing has happened."""
        if self.killed_at is not None:
            return self.killed_at + UNKILLABLE_S
        if self.is_in_doubt:
            return self._doubt_until
        if self.kill_at is not None:
            return self.kill_at
        due = [] if self.timeout_s is None else [self._began + self.timeout_s]
        if self.stall_s is not None:
            due.append(self._checked_at + self.stall_s / _STALL_CHECKS)
        return min(due, default=None)

    def stop(self, reason: str, *, others: Container[int], now: bool = False) -> None:
        """Send SIGTERM to the run's group, SIGKILL when its grace is over; at once with ``now``."""
        self.note_exit()  # what it did by itself stays its own
        if self.ended_at is None:
            is_first, self.stopped = self.stopped is None, self.stopped or reason
            if is_first and not now:
                self.kill_at = self.clock.now() + self.grace_s
                if self.fault_fd is None:
                    kill(-self.pid, signal.SIGTERM)
        elif self.is_in_doubt and reason in (INTERRUPTED, PREEMPTED):
            self.stopped = reason
        if now:
            self.kill(others)

    def stop_with_all(self, *, others: Container[int]) -> None:
        """Stop the run because the keeper was told to end, and the run probably with it: by the same signal."""
        was_running = self.ended_at is None
        self.stop(INTERRUPTED, others=others)
        if was_running and self.stopped is None:  # it has ended in this very moment
            self.stopped = INTERRUPTED

    def note_started(self) -> None:
        """The child has become its program, which can be told from now on."""
        if self.stopped is not None and self.killed_at is None:
            kill(-self.pid, signal.SIGTERM)

    def kill(self, others: Container[int]) -> None:
        """Send SIGKILL to the group and to whatever has left it."""
        if self.killed_at is None:
            self.killed_at = self.clock.now()
        left = self.leftovers(others) if self.ended_at is not None else []
        kill(-self.pid)
        for pid in left:
            kill(pid)
        if self.stopped is None:
            self.left_behind.update(left)

    def check_deadlines(self, *, others: Container[int]) -> None:
        """Act on a deadline that has passed."""
        now, deadline = self.clock.now(), self.next_deadline
        if deadline is None or now < deadline or self.killed_at is not None:
            return
        if self.kill_at is not None:
            self.kill(others)
        elif self.timeout_s is not None and now >= self._began + self.timeout_s:
            self.stop(TIMEOUT, others=others)
        elif self._is_silent(now):
            self.stop(STALLED, others=others)

    def _is_silent(self, now: float) -> bool:
        assert self.stall_s is not None
        n_bytes = self.logs.count_bytes()
        self._checked_at = now
        if n_bytes != self._n_output_bytes:
            self._n_output_bytes, self._spoke_at = n_bytes, now
        return now >= self._spoke_at + self.stall_s

    def note_exit(self) -> None:
        """Look whether the process has ended; it stays a zombie, so that nobody else gets its number."""
        if self.ended_at is not None:
            return
        found = os.waitid(os.P_PID, self.pid, _LOOK)
        if found is None:
            return
        self.ended_at = time.monotonic()
        if self.kill_at is None:
            self.kill_at = self.clock.now() + PATIENCE_S
        number = found.si_status - (0 if found.si_code == os.CLD_KILLED else 128)
        may_have_left = self.is_on_cluster and (found.si_code, found.si_status) == (os.CLD_EXITED, 0)
        if number in STOP_SIGNALS or may_have_left:
            self._doubt_until = self.clock.now() + DOUBT_S

    @property
    def is_in_doubt(self) -> bool:
        """Whether a signal that asks for an end has just ended the run, and the rest may be told to stop any moment.

        A scheduler that ends a job tells all of its processes at a time. A run that leaves then with exit code 0 has
        not finished.
        """
        return self.stopped is None and self.clock.now() < self._doubt_until

    def leftovers(self, others: Container[int]) -> list[int]:
        """Return what has outlived the run's process: the rest of its session, and what carries its token or its mark.

        All of it is the keeper's child, or descends from one: see :func:`become_subreaper`. ``others`` are the
        processes of the keeper's runs, which need no look.
        """
        ended: set[int] = set()
        while True:
            found = [pid for pid in children() if pid not in others]
            mine = [pid for pid in found if self._has_started(pid)]
            zombies = {pid for pid in found if is_zombie(pid)}
            if zombies <= ended:
                return [pid for pid in mine if pid not in zombies]
            ended |= zombies  # what they had started became a child of ours before that, and may not be in the list

    def _has_started(self, pid: int) -> bool:
        is_marked = self.mark is not None and mark_of(pid) == self.mark
        return is_marked or session_of(pid) == self.pid or token_of(pid) == self.token

    @property
    def is_given_up(self) -> bool:
        """Whether something of this run has survived a SIGKILL for longer than any healthy process could."""
        return self.killed_at is not None and self.clock.now() >= self.killed_at + UNKILLABLE_S

    def describe_end(
        self, code: int | None, max_rss_kib: int | None, cpu_s: float | None, *, is_unkillable: bool
    ) -> dict[str, Any]:
        """Return the record of the run's end; logs that have lost their names are given back to its folder."""
        own_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # a child starts out with our pages
        ended_at = time.monotonic() if self.ended_at is None else self.ended_at
        is_log_lost = self.logs.restore()
        if not is_unkillable:  # else something may still write into them
            self.logs.drop_empty()
        return {
            "attempt": self.message.attempt,
            "exit_code": code if code is not None and code >= 0 else None,
            "signal": -code if code is not None and code < 0 else None,
            "duration_s": round(ended_at - self.started, 6),
            "max_rss_kib": max_rss_kib if max_rss_kib is not None and max_rss_kib > own_kib else None,
            "cpu_s": None if cpu_s is None else round(cpu_s, 3),
            "host": os.uname().nodename,
            "stopped": self.stopped,
            "n_left_behind": len(self.left_behind),
            "is_unkillable": is_unkillable,
            "n_log_bytes": 0 if is_log_lost else self.logs.count_bytes(),
            "is_log_lost": is_log_lost,
            "is_disk_full": _is_disk_full(self.run_dir),
            "is_warm": self.is_warm,
        }


def _is_disk_full(path: str) -> bool:
    """Whether a run that ends now may have found no room for what it wanted to write."""
    try:
        status = os.statvfs(path)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize < FULL_BYTES
