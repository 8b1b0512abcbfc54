"""Runs as processes of this machine, each in a session of its own. Waits on pidfds, so an end is seen at once."""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from sweepline.executors.base import Exit, SpawnError, StopReason, Task
from sweepline.files import write_whole

STDOUT, STDERR, EXIT_FILE = "stdout.log", "stderr.log", "exit.json"


@dataclass
class LocalRun:
    """A process, its process group, and the deadlines that watch it."""

    task: Task
    pid: int
    pidfd: int
    started: float = field(default_factory=time.monotonic)
    exit: Exit | None = None
    stopped: StopReason | None = None
    kill_at: float | None = None

    @property
    def next_deadline(self) -> float | None:
        """The monotonic time at which this run needs attention."""
        if self.kill_at is not None:
            return self.kill_at
        if self.stopped is None and self.task.timeout_s is not None:
            return self.started + self.task.timeout_s
        return None

    def poll(self) -> Exit | None:
        """Return how the run ended, or None while it runs."""
        return self.exit

    def cancel(self, reason: StopReason, *, now: bool = False) -> None:
        """Send SIGTERM to the run's process group, and SIGKILL when the grace is over."""
        if self.exit is not None or self._has_ended():
            return
        is_first = self.stopped is None
        self.stopped = self.stopped or reason
        if now:
            self.kill_at = None
            self._signal_group(signal.SIGKILL)
        elif is_first:
            self.kill_at = time.monotonic() + self.task.grace_s
            self._signal_group(signal.SIGTERM)

    def watch(self, now: float) -> None:
        """Act on deadlines that have passed."""
        deadline = self.next_deadline
        if self.exit is not None or deadline is None or now < deadline:
            return
        if self.stopped is None:
            self.cancel(StopReason.TIMEOUT)
        else:
            self.kill_at = None
            self._signal_group(signal.SIGKILL)

    def reap(self) -> None:
        """Take the end of the process; the rest of its group dies while the leader's number is still held."""
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT)
        duration_s = time.monotonic() - self.started
        self._signal_group(signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        os.close(self.pidfd)
        code = os.waitstatus_to_exitcode(status)
        self.exit = Exit(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            duration_s=duration_s,
            max_rss_kib=_own_share(usage.ru_maxrss),
            stopped=self.stopped,
        )
        write_exit(self.task.run_dir, self.task.attempt, self.exit)

    def _has_ended(self) -> bool:
        """Whether the process has ended but was not reaped yet: what it did by itself stays its own."""
        return os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return
        except PermissionError:  # the leader runs as somebody else (sudo); only its own end can be awaited
            return


class LocalExecutor:
    """Starts every run cold, by exec.

    ``wakeup_fd`` becomes readable when a signal arrives, so that a wait ends at once.
    """

    def __init__(self, *, wakeup_fd: int | None = None) -> None:
        self._selector = selectors.DefaultSelector()
        self._wakeup_fd = wakeup_fd
        self._running: dict[int, LocalRun] = {}
        if wakeup_fd is not None:
            self._selector.register(wakeup_fd, selectors.EVENT_READ)

    def submit(self, task: Task) -> LocalRun:
        """Start a process in a session of its own, its output going to files.

        Raises:
            SpawnError: the program is missing, not executable, or the system refuses another process.
        """
        started = time.monotonic()
        try:
            with _create(task.run_dir / STDOUT) as stdout, _create(task.run_dir / STDERR) as stderr:
                process = subprocess.Popen(
                    list(task.argv),
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=task.working_dir,
                    env=dict(task.environ),
                    start_new_session=True,
                )
        except (OSError, ValueError, IndexError) as error:
            raise SpawnError(_why_not_started(error, task)) from None
        process.returncode = 0  # this class reaps; Popen must not
        run = LocalRun(task, process.pid, os.pidfd_open(process.pid), started)
        self._running[run.pidfd] = run
        self._selector.register(run.pidfd, selectors.EVENT_READ)
        return run

    def wait(self, timeout_s: float | None) -> None:
        """Block until a process ended, a deadline passed, a signal arrived, or the time is over."""
        deadlines = [run.next_deadline for run in self._running.values()]
        due = min((deadline for deadline in deadlines if deadline is not None), default=None)
        if due is not None:
            until_due = max(0.0, due - time.monotonic())
            timeout_s = until_due if timeout_s is None else min(timeout_s, until_due)
        for key, _ in self._selector.select(timeout_s):
            if key.fd == self._wakeup_fd:
                os.read(key.fd, 4096)
                continue
            run = self._running.pop(key.fd)
            self._selector.unregister(key.fd)
            run.reap()
        now = time.monotonic()
        for run in self._running.values():
            run.watch(now)

    def close(self) -> None:
        """Close the selector."""
        self._selector.close()


def _why_not_started(error: Exception, task: Task) -> str:
    if not task.argv:
        return "empty command"
    if not isinstance(error, OSError):
        return f"{error}: '{task.argv[0]}'"
    is_folder = str(error.filename) == str(task.working_dir)
    return f"{error.strerror}: '{task.working_dir if is_folder else task.argv[0]}'"


def _own_share(max_rss_kib: int) -> int | None:
    """Return a child's peak memory, or None where the kernel only tells ours: a child starts out with our pages."""
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max_rss_kib if max_rss_kib > ours else None


def _create(path: Path):  # type: ignore[no-untyped-def]
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644), "wb", buffering=0)


def write_exit(run_dir: Path, attempt: int, ended: Exit) -> None:
    """Write ``exit.json``, whole or not at all."""
    record = {
        "attempt": attempt,
        "exit_code": ended.exit_code,
        "signal": ended.signal,
        "duration_s": round(ended.duration_s, 6),
        "max_rss_kib": ended.max_rss_kib,
        "stopped": ended.stopped,
    }
    write_whole(run_dir / EXIT_FILE, (json.dumps(record) + "\n").encode(), is_durable=False)


def read_exit(run_dir: Path) -> tuple[int, Exit] | None:
    """Return the attempt and its end as ``exit.json`` tells them; None when it is not there or not whole."""
    try:
        record = json.loads((run_dir / EXIT_FILE).read_text())
        attempt = record.pop("attempt")
        stopped = record.pop("stopped")
        return attempt, Exit(**record, stopped=StopReason(stopped) if stopped else None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
