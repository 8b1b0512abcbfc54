"""Asks a keeper for runs: what every place has in common whose runs a keeper starts and supervises."""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweepline.executors.base import Exit, Lack, StopReason, Task
from sweepline.executors.local.exits import exit_of
from sweepline.executors.local.keeper.clock import AwakeClock
from sweepline.executors.local.keeper.messages import (
    ENDED,
    STOPPING,
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
from sweepline.executors.local.warmstart import WarmStart

_CLOSE_S = 10.0  # for a keeper that has nothing more to keep


@dataclass
class LocalRun:
    """A run that the keeper was asked to start."""

    task: Task
    key: int
    executor: KeeperClient
    exit: Exit | None = None
    stopped: StopReason | None = None
    submitted: float = field(default_factory=time.monotonic)

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

    @property
    def place(self) -> str:
        """Nothing: its slot tells."""
        return ""


class KeeperClient(ABC):
    """One keeper, started with the first run, and the runs that it was asked for.

    ``token`` marks its processes. One that is silent for ``silent_s`` though its runs ought to have ended is given up:
    it tells twice a second that it lives while it ends runs.
    """

    silent_s = 1.0

    def __init__(self, token: str, *, warm: WarmStart | None = None) -> None:
        self.saved_s = self.prepare_s = 0.0
        self.ended_by: int | None = None
        self.token, self.warm = token, warm
        self._clock = AwakeClock()
        self._is_warming = False
        self._notes: list[str] = []
        self._runs: dict[int, LocalRun] = {}
        self._outbox = b""
        self._end_due: float | None = None  # when runs that are being stopped ought to have ended
        self._heard_at = 0.0
        self._last_key = 0
        self._keeper: subprocess.Popen[bytes] | None = None
        self._lifeline: socket.socket
        self._messages = Messages()
        self._inherited: Mapping[str, str] = {}

    @abstractmethod
    def _start_keeper(self) -> None:
        """Start the keeper, and hold the other end of its lifeline.

        Raises:
            ExecutorUnavailableError: the system allows no process at all, not even a keeper.
        """

    @abstractmethod
    def _bury_keeper(self) -> None:
        """The keeper is dead or must die: end what it kept, and with it every run that it has not told of."""

    def _open_lifeline(self, inherited: Mapping[str, str]) -> socket.socket:
        """Return the keeper's end of a new lifeline; ``inherited`` are the variables that it will have by itself."""
        self._inherited, self._is_warming, self._messages = inherited, False, Messages()
        self._lifeline, theirs = socket.socketpair()
        self._lifeline.setblocking(False)
        return theirs

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
        return max(self._end_due, self._heard_at) + self.silent_s

    def submit(self, task: Task) -> LocalRun:
        """Start a process; one that cannot be started ends with ``Exit.not_started``.

        Raises:
            ExecutorUnavailableError: the system allows no process at all, not even a keeper.
        """
        if self._keeper is None:
            self._start_keeper()
        self._last_key += 1
        run = self._runs[self._last_key] = LocalRun(task, self._last_key, self)
        self._ask_for(run)
        return run

    def _ask_for(self, run: LocalRun) -> None:
        """Have the keeper start a run, after what its warm start needs."""
        task = run.task
        interpreter = task.interpreter if self.warm is not None else None
        if interpreter is not None and not self._is_warming:
            self._prepare_warm(task, interpreter)
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

    def give_more(self, run_id: str, lack: Lack) -> str:
        """Return nothing: a run has all of its machine."""
        return ""

    def take_notes(self) -> list[str]:
        """Return what became of warm starts, each sentence once."""
        notes, self._notes = self._notes, []
        return notes

    def register(self, poll: select.poll) -> float | None:
        """Have the keeper waited for as well; return when it is to be buried at the latest, if it is."""
        self._send()
        if self._keeper is not None:
            poll.register(self._lifeline, select.POLLIN | (select.POLLOUT if self._outbox else 0))
        return self._burial_due

    def serve(self, ready: Sequence[int]) -> bool:
        """Take what the keeper has said; return whether it had to be buried."""
        if self._keeper is not None and self._lifeline.fileno() in ready:
            self._receive()
        due = self._burial_due
        if due is None or self._clock.now() < due:
            return False
        self._bury_keeper()
        return True

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
            self._take(message)
        if not any(run.stopped for run in self._runs.values()):
            self._end_due = None

    def _take(self, message: Mapping[str, Any]) -> None:
        """Take note of what the keeper tells."""
        if message["ev"] == WARM:
            self._note_warm(message)
        elif message["ev"] == STOPPING:
            self.ended_by = message["signal"]
        elif message["ev"] == ENDED and (run := self._runs.pop(message["key"], None)) is not None:
            run.exit = exit_of(message)

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
