"""A place to run without processes, in two halves that share files and a socket.

:class:`SimulatedExecutor` is the half in the orchestrator; :class:`Place`, in another process, makes the files that
runs would make: lines in ``stdout.log`` as they go, ``exit.json`` at their end. It tells ends as a queue does that is
asked once a second: all that there are by then.
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
import random
import select
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepline.contract.runfolder import STDERR, STDOUT
from sweepline.engine.signals import StopRequests
from sweepline.executors.base import Attempt, Exit, Lack, StopReason, Task
from sweepline.executors.local.exits import read_exit
from sweepline.executors.local.keeper import exitfile

PRINT_S, TELL_S = 10.0, 1.0
"""How often a run prints, and how often ends are told."""
BAD = 1e9
"""The loss of a run that has gone astray, which early stopping shall see."""


class Lines:
    """Messages over a socket, each a JSON value on a line."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel, self._partial = channel, b""

    def send(self, *message: Any) -> None:
        """Send a message."""
        self.channel.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout_s: float | None) -> list[Any]:
        """Return the messages that have come, after at most so long; raise EOFError where the other side is gone."""
        if not select.select([self.channel], [], [], timeout_s)[0]:
            return []
        chunk = self.channel.recv(1 << 16)
        if not chunk:
            raise EOFError
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        return list(map(json.loads, lines))


@dataclass(eq=False, slots=True)
class SimulatedRun:
    """The orchestrator's handle of a run."""

    task: Task
    executor: SimulatedExecutor
    exit: Exit | None = None

    def poll(self) -> Exit | None:
        """Return how it ended, or None."""
        return self.exit

    def cancel(self, reason: StopReason, *, now: bool = False) -> None:
        """Let it end at once."""
        if self.exit is None:
            self.executor.lines.send("cancel", self.task.run_id, reason.value)

    def release(self) -> None:
        """Its end is in the books."""
        self.executor.n_released += 1
        self.executor.lines.send("released", self.executor.n_released)

    @property
    def place(self) -> str:
        """Nothing: it is nowhere."""
        return ""


@dataclass
class SimulatedExecutor:
    """The orchestrator's half. ``n_waits`` counts how often it was waited for; told to, it drains by ``requests``."""

    lines: Lines
    requests: StopRequests
    ended_by: int | None = None
    saved_s: float = 0.0
    prepare_s: float = 0.0
    n_waits: int = 0
    n_released: int = 0
    _runs: dict[str, SimulatedRun] = field(default_factory=dict)

    def submit(self, task: Task) -> SimulatedRun:
        """Hand a run to the place."""
        run = self._runs[task.run_id] = SimulatedRun(task, self)
        self.lines.send("start", task.run_id, task.attempt, str(task.run_dir))
        return run

    def recover(self, attempts: Sequence[Attempt]) -> Mapping[str, SimulatedRun | Exit]:
        """Return nothing: nothing outlives a benchmark."""
        return {}

    def wait(self, timeout_s: float | None) -> None:
        """Take the ends that are told."""
        self.n_waits += 1
        for kind, *told in self.lines.receive(timeout_s):
            if kind == "ended":
                for run_id in told:
                    run = self._runs.pop(run_id)
                    found = read_exit(run.task.run_dir)
                    assert found is not None, run_id
                    run.exit = found[1]
            elif kind == "drain":
                self.requests.is_draining = True
            elif kind == "count":
                self.lines.send("counted", self.n_waits)

    def give_more(self, run_id: str, lack: Lack) -> str:
        """Return nothing: it has all there is."""
        return ""

    def take_notes(self) -> Sequence[str]:
        """Return nothing: there is nothing to say."""
        return ()

    def close(self) -> None:
        """Leave what runs: the other half ends with its process."""


@dataclass(eq=False, slots=True)
class _Simulated:
    """A run as the place knows it."""

    run_id: str
    attempt: int
    run_dir: str
    log: str
    started: float
    ends_at: float
    step: int = 0
    bad_at: float = 0.0


class Place:
    """The other half: ``running`` are the runs by id, ``waited_s`` the seconds from bad lines to their cancellation."""

    def __init__(
        self,
        lines: Lines,
        *,
        n_first: int = 0,
        mean_life_s: float,
        n_bad_per_s: float = 0.0,
        print_s: float = PRINT_S,
        tell_s: float = TELL_S,
    ) -> None:
        self._lines, self._n_first, self._mean_life_s = lines, n_first, mean_life_s
        self._print_s, self._tell_s = print_s, tell_s
        self._random = random.Random(0)
        self._due: list[tuple[float, int, _Simulated]] = []
        self._order = itertools.count()
        self._ended: list[str] = []
        self._tell_at = 0.0
        self._bad_every_s = 1 / n_bad_per_s if n_bad_per_s else math.inf
        self._bad_at = math.inf
        self.running: dict[str, _Simulated] = {}
        self.waited_s: list[float] = []
        self.n_started = self.n_released = self.n_ended = self.n_lines = 0
        self.n_waits: int | None = None
        self.is_gone = False

    def begin_bad(self) -> None:
        """Let runs go astray from now on."""
        self._bad_at, self.waited_s = time.monotonic() + self._bad_every_s, []

    def send(self, kind: str) -> None:
        """Tell the orchestrator's half something."""
        self._lines.send(kind)

    def work(self, until: float) -> None:
        """Be the place until then, or until the next message has been dealt with."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            self._go_on(heapq.heappop(self._due)[2], now)
        if now >= self._tell_at:
            self._tell_at = now + self._tell_s
            self.tell()
        next_at = min(until, self._tell_at, self._due[0][0] if self._due else math.inf)
        try:
            messages = self._lines.receive(max(0.0, next_at - time.monotonic()))
        except (EOFError, ConnectionError):
            self.is_gone = True
            return
        for kind, *told in messages:
            self._take(kind, told)

    def tell(self) -> None:
        """Tell all ends that there are."""
        if self._ended:
            self._lines.send("ended", *self._ended)
            self._ended.clear()

    def end_all(self) -> None:
        """End every run, and tell it at once."""
        for run in list(self.running.values()):
            self._end(run, time.monotonic())
        self.tell()

    def _take(self, kind: str, told: Sequence[Any]) -> None:
        if kind == "start":
            self._start(*told)
        elif kind == "released":
            self.n_released = told[0]
        elif kind == "counted":
            self.n_waits = told[0]
        elif kind == "cancel" and told[0] in self.running:
            run = self.running[told[0]]
            if run.bad_at:
                self.waited_s.append(time.monotonic() - run.bad_at)
            self._end(run, time.monotonic(), stopped=told[1])

    def _start(self, run_id: str, attempt: int, run_dir: str) -> None:
        now = time.monotonic()
        life_s = self._mean_life_s * self._random.uniform(0.2, 1.8)
        if self.n_started < self._n_first:
            life_s *= self._random.random()  # as if it had been under way for a while
        run = _Simulated(run_id, attempt, run_dir, f"{run_dir}/{STDOUT}", now, now + life_s)
        exitfile.reserve(run_dir)
        Path(run.log).touch()
        Path(run_dir, STDERR).touch()
        self.running[run_id] = run
        self.n_started += 1
        self._plan(run, now + self._random.uniform(0, self._print_s))

    def _plan(self, run: _Simulated, at: float) -> None:
        heapq.heappush(self._due, (min(at, run.ends_at), next(self._order), run))

    def _go_on(self, run: _Simulated, now: float) -> None:
        """Print what a run prints, or end it."""
        if run.run_id not in self.running:
            return
        if now >= run.ends_at:
            self._end(run, now)
            return
        run.step += 1
        loss = 1 / run.step + self._random.random() / 100
        if now >= self._bad_at and not run.bad_at and run.step > 1:
            loss, self._bad_at = BAD, now + self._bad_every_s
        with open(run.log, "ab", buffering=0) as log:
            line = f"METRIC step={run.step} loss={loss:.5f} accuracy={1 - loss:.5f}\n"
            log.write(f"[{time.time():.0f}] step {run.step}: 10.0 s, 1234 samples/s\n{line}".encode())
        if loss == BAD:
            run.bad_at = time.monotonic()
        self.n_lines += 1
        self._plan(run, now + self._print_s)

    def _end(self, run: _Simulated, now: float, *, stopped: str | None = None) -> None:
        del self.running[run.run_id]
        told = {"exit_code": 0, "signal": None, "duration_s": round(now - run.started, 3), "max_rss_kib": 1 << 20}
        exitfile.write(run.run_dir, {"attempt": run.attempt, "stopped": stopped, **told})
        self._ended.append(run.run_id)
        self.n_ended += 1
