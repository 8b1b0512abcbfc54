"""Runs as processes of this machine. A process of its own, the ``keeper``, starts and supervises them; this asks it."""

from __future__ import annotations

import os
import secrets
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.base import Attempt, Exit, StopReason, Task
from sweepline.executors.local.exits import exit_of, read_exit
from sweepline.executors.local.keeper import processes
from sweepline.executors.local.keeper.clock import AwakeClock
from sweepline.executors.local.keeper.messages import (
    ENDED,
    STOPPING,
    TOKEN_VARIABLE,
    WARM,
    Close,
    Kept,
    Messages,
    Prepare,
    Request,
    Start,
    Stop,
    encode_request,
    is_per_run,
)

_ROOT = str(Path(__file__).resolve().parents[3])
_MAIN = "import sys; sys.path.append(sys.argv[1]); from sweepline.executors.local.keeper.main import main; main()"
_CLOSE_S = 10.0  # for a keeper that has nothing more to keep
_SILENT_S = 1.0  # a keeper that ends runs tells twice a second that it lives
_DEATH_S = 0.7  # for its own death by SIGKILL, which a disk that hangs may prevent
_BURIAL_S = 5.0


def check_available() -> None:
    """Make sure that processes can be watched here.

    Raises:
        ExecutorUnavailableError: they cannot: no end of a run would be noticed.
    """
    if not processes.can_see_itself():
        raise ExecutorUnavailableError(
            "/proc is not mounted, or is that of another pid namespace, so that no run could be watched: mount it "
            "(mount -t proc proc /proc, or unshare --mount-proc)"
        )


@dataclass(frozen=True)
class WarmStart:
    """That runs shall be forked from a parent which has imported ``preload``; None: what the program itself imports.

    ``folders`` are where the program finds modules of its own; ``unused`` modules are left out though a library would
    import them later. With ``is_asked_for`` they are forked even where that spares no imports.
    """

    preload: Sequence[str] | None = None
    unused: Sequence[str] = ()
    folders: Sequence[str] = ()
    is_asked_for: bool = False


@dataclass
class LocalRun:
    """A run that the keeper was asked to start."""

    task: Task
    key: int
    executor: LocalExecutor
    exit: Exit | None = None
    stopped: StopReason | None = None

    def poll(self) -> Exit | None:
        """Return how the run ended, or None while it runs."""
        return self.exit

    def cancel(self, reason: StopReason, *, now: bool = False) -> None:
        """Have the keeper send SIGTERM to the run's process group, and SIGKILL when the grace is over."""
        if self.exit is None and (now or self.stopped is None):
            self.stopped = self.stopped or reason
            if now or reason == StopReason.INTERRUPTED:
                self.executor.expect_end(0.0 if now else self.task.grace_s)
            self.executor.tell(Stop(self.key, reason, now))

    def release(self) -> None:
        """Spare the keeper the sync of a run whose end is on disk in the journal."""
        self.executor.tell_later(Kept(self.key))


class LocalExecutor:
    """Has every run started in a session of its own, its output going to files.

    With ``warm`` runs of a Python program are forked from one process that has done their imports. ``watched`` tells
    the descriptors whose readability ends a wait. ``held`` are descriptors that the keeper keeps open too, so that the
    locks on them last until the last run has ended. ``token`` marks all of these processes. No process is started
    before the first run. What a dead keeper leaves becomes a child of this process, unless ``adopts_orphans`` is False.
    """

    def __init__(
        self,
        *,
        watched: Callable[[], Sequence[int]] = tuple,
        held: Sequence[int] = (),
        token: str | None = None,
        warm: WarmStart | None = None,
        adopts_orphans: bool = True,
    ) -> None:
        self.saved_s = self.prepare_s = 0.0
        self.ended_by: int | None = None
        self._clock = AwakeClock()
        self.warm, self._is_warming = warm, False
        self._adopts_orphans = adopts_orphans
        self._notes: list[str] = []
        self.token = token or secrets.token_hex(8)
        self._watched, self._held = watched, tuple(held)
        self._runs: dict[int, LocalRun] = {}
        self._outbox = b""
        self._end_due: float | None = None  # when runs that are being stopped ought to have ended
        self._heard_at = 0.0
        self._last_key = 0
        self._keeper: subprocess.Popen[bytes] | None = None

    def expect_end(self, within_s: float) -> None:
        """Bury the keeper, should it be silent once ``within_s`` is over; one that was suspended goes on first."""
        due = self._clock.now() + within_s
        self._end_due = due if self._end_due is None else min(due, self._end_due)
        self._heard_at = self._clock.now()
        if self._keeper is not None:
            self._keeper.send_signal(signal.SIGCONT)

    @property
    def _burial_due(self) -> float | None:
        if self._end_due is None or self._keeper is None:
            return None
        return max(self._end_due, self._heard_at) + _SILENT_S

    def recover(self, attempts: Sequence[Attempt]) -> Mapping[str, Exit]:
        """Return the ends that the last keeper wrote down; it has died by now, and no run outlives its keeper."""
        found = {attempt.run_id: (attempt.attempt, read_exit(attempt.run_dir)) for attempt in attempts}
        return {run_id: end[1] for run_id, (number, end) in found.items() if end is not None and end[0] == number}

    def submit(self, task: Task) -> LocalRun:
        """Start a process; one that cannot be started ends with ``Exit.not_started``.

        Raises:
            ExecutorUnavailableError: the system allows no process at all, not even a keeper.
        """
        if self._keeper is None:
            self._start_keeper()
        interpreter = task.interpreter if self.warm is not None else None
        if interpreter is not None and not self._is_warming:
            self._prepare_warm(task, interpreter)
        self._last_key += 1
        run = self._runs[self._last_key] = LocalRun(task, self._last_key, self)
        self.tell(
            Start(
                key=run.key,
                argv=list(task.argv),
                set=self._changes(task.environ),
                unset=[name for name in self._inherited if name not in task.environ],
                warm=interpreter,
                cpus=list(task.cpus),
                working_dir=str(task.working_dir),
                run_dir=str(task.run_dir),
                attempt=task.attempt,
                grace_s=task.grace_s,
                timeout_s=task.timeout_s,
                stall_s=task.stall_s,
            )
        )
        return run

    def _prepare_warm(self, task: Task, interpreter: tuple[int, int]) -> None:
        """Have the keeper prepare the parent of this run and all later ones; they wait for it."""
        assert self.warm is not None
        self._is_warming = True
        first, last = interpreter
        words = task.argv[last:]
        self.tell_later(
            Prepare(
                interpreter=list(task.argv[first:last]),
                words=list(words[: 2 if words[0] == "-m" else 1]),
                title=words[1] if words[0] == "-m" else words[0],
                set={n: value for n, value in self._changes(task.environ).items() if not is_per_run(n.encode())},
                unset=[name for name in self._inherited if name not in task.environ],
                working_dir=str(task.working_dir),
                preload=None if self.warm.preload is None else list(self.warm.preload),
                unused=list(self.warm.unused),
                folders=list(self.warm.folders),
                is_asked_for=self.warm.is_asked_for,
                without={},
            )
        )

    def _changes(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that differ from the keeper's own."""
        return {name: value for name, value in environ.items() if self._inherited.get(name) != value}

    def take_notes(self) -> list[str]:
        """Return what became of warm starts, each sentence once."""
        notes, self._notes = self._notes, []
        return notes

    def wait(self, timeout_s: float | None) -> None:
        """Block until a process ended, a watched descriptor is readable, or the time is over."""
        until = None if timeout_s is None else self._clock.now() + timeout_s
        while not self._has_news(until) and (until is None or self._clock.now() < until):
            pass

    def _has_news(self, until: float | None) -> bool:
        """Wait once, for a moment at most; return whether that has changed anything."""
        self._send()
        poll = select.poll()
        for fd in self._watched():
            poll.register(fd, select.POLLIN)
        if self._keeper is not None:
            poll.register(self._lifeline, select.POLLIN | (select.POLLOUT if self._outbox else 0))
        due = min((at for at in (until, self._burial_due) if at is not None), default=None)
        ready = [fd for fd, _ in self._clock.poll(poll, due)]
        if self._keeper is not None and self._lifeline.fileno() in ready:
            self._receive()
        due = self._burial_due
        if due is not None and self._clock.now() >= due:
            self._bury_keeper()
            return True
        return bool(ready)

    def close(self) -> None:
        """End the keeper, and at once whatever it still keeps."""
        for run in self._runs.values():
            run.cancel(StopReason.INTERRUPTED, now=True)
        if self._keeper is None:
            return
        self.tell(Close())
        if self._keeper is None:
            return
        self._lifeline.close()
        self._keeper.send_signal(signal.SIGCONT)
        try:
            self._keeper.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._bury_keeper()
        self._keeper = None

    def tell(self, request: Request) -> None:
        """Ask the keeper for something."""
        self.tell_later(request)
        self._send()

    def tell_later(self, request: Request) -> None:
        """Ask the keeper for something that has time until the next wait."""
        self._outbox += encode_request(request)

    def _send(self) -> None:
        """Hand over what was said, as far as the keeper takes it; one that is dead is replaced at the next start."""
        if self._keeper is None:
            self._outbox = b""
        if not self._outbox:
            return
        try:
            self._outbox = self._outbox[self._lifeline.send(self._outbox) :]
        except BlockingIOError:
            return
        except OSError:
            self._bury_keeper()

    def _start_keeper(self) -> None:
        if self._adopts_orphans:
            processes.become_subreaper()  # should the keeper die, what it kept becomes ours to end
        self._inherited = dict(os.environ)
        self._children_before = set(processes.children())
        self._is_warming = False
        self._lifeline, theirs = socket.socketpair()
        self._lifeline.setblocking(False)
        self._messages = Messages()
        with theirs:
            handed = (theirs.fileno(), *self._held)
            try:
                self._keeper = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _MAIN, _ROOT, *map(str, handed)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={**self._inherited, TOKEN_VARIABLE: self.token},
                    pass_fds=handed,
                    start_new_session=True,
                )
            except OSError as error:
                self._lifeline.close()
                raise ExecutorUnavailableError(f"no process can be started: {error.strerror}") from None

    def _receive(self) -> None:
        try:
            data = self._lifeline.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._bury_keeper()
            return
        self._heard_at = self._clock.now()
        for message in self._messages.feed(data):
            if message["ev"] == WARM:
                self._note_warm(message)
            elif message["ev"] == STOPPING:
                self.ended_by = message["signal"]
            elif message["ev"] == ENDED and (run := self._runs.pop(message["key"], None)) is not None:
                run.exit = exit_of(message)
        if not any(run.stopped for run in self._runs.values()):
            self._end_due = None

    def _note_warm(self, message: Mapping[str, Any]) -> None:
        left_out = ", ".join(f"{name} ({why})" for name, why in message.get("without", {}).items())
        if "reason" in message:
            self._notes.append(f"cold start: no warm one is possible: {message['reason']}")
            return
        if message["is_in_vain"]:
            self._notes.append(f"cold start: nothing that takes time can be shared: {left_out}")
            return
        self.saved_s, self.prepare_s = message["took_s"], message["prepare_s"]
        tops = dict.fromkeys(name.partition(".")[0] for name in message["preloaded"])
        self._notes.append(
            f"warm starts: {', '.join(tops)} imported once, ready in {self.prepare_s:.1f} s, runs are forked from there"
            if tops
            else "nothing to import in advance: runs are forked from an interpreter that has started"
        )
        if message["stopped_by"]:
            self._notes.append(
                f"{message['stopped_by']} changes what later imports find or read: they are left to the runs; "
                "name them under preload: to share them all the same"
            )
        if message["missing"]:
            self._notes.append(f"preload: cannot be imported: {', '.join(message['missing'])}")
        if left_out:
            self._notes.append(f"not imported in advance: {left_out}")

    def _bury_keeper(self) -> None:
        """The keeper is dead or must die: end what it kept, and with it every run that it has not told of."""
        assert self._keeper is not None
        keeper, self._keeper, self._end_due, self._outbox = self._keeper, None, None, b""
        self._lifeline.close()
        keeper.kill()
        try:
            keeper.wait(_DEATH_S)
        except subprocess.TimeoutExpired:  # it hangs in the kernel, and what it kept is not ours yet
            until = self._clock.now() + _DEATH_S
            while processes.kill_by_token(self.token) - {keeper.pid} and self._clock.now() < until:
                pass
            self._notes.append(
                f"the keeper (pid {keeper.pid}) survives SIGKILL: it hangs in the kernel, on a disk perhaps"
            )
        if self._adopts_orphans:
            processes.kill_children(lambda pid: pid != keeper.pid and self._is_of_keeper(pid), within_s=_BURIAL_S)
        else:  # they are children of init now, and told by their token alone
            until = self._clock.now() + _BURIAL_S
            while processes.kill_by_token(self.token) and self._clock.now() < until:
                pass
        runs, self._runs = self._runs, {}
        why = StopReason.KEEPER_DIED if self.ended_by is None else StopReason.INTERRUPTED
        for run in runs.values():
            known = read_exit(run.task.run_dir)
            is_known = known is not None and known[0] == run.task.attempt
            run.exit = known[1] if known and is_known else Exit(stopped=run.stopped or why)

    def _is_of_keeper(self, pid: int) -> bool:
        """Whether a child of ours came to us by the keeper's death: it is marked, or was not there before."""
        if processes.belongs_to(pid, self.token) or processes.is_zombie(pid):
            return True
        return pid not in self._children_before and processes.session_of(pid) != os.getsid(0)
