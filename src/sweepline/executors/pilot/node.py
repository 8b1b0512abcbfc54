"""One node of an allocation: its keeper is started by the scheduler's own command, and spoken to through its pipes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from sweepline.contract.text import one_line
from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.base import Exit, StopReason, Task
from sweepline.executors.local.client import KeeperClient, LocalRun
from sweepline.executors.local.exits import read_end
from sweepline.executors.local.keeper.messages import STOPPING
from sweepline.executors.local.slots import CUDA
from sweepline.executors.node.sharedfiles import refresh
from sweepline.executors.pilot.allocation import Allocation, Node
from sweepline.executors.pilot.relay import HELLO

_RELAY = "sweepline.executors.pilot.relay"
_HELLO_S = 90.0  # a busy controller takes long to start a step
LEFT_S = 5.0  # beyond its grace: until what a node runs for a sweep that it does not hear has ended there
_DEATH_S = 5.0
_SEEN_S = 90.0  # until what a node has written is seen here, at the latest
_THROUGH_A_SHELL = ("ssh", "rsh", "pbsdsh", "oarsh", "blaunch")
"""Commands that put the words they are given together for a shell on the node."""


class PilotNode(KeeperClient):
    """The keeper of a node. Runs that are submitted before it has answered wait for it.

    A node that never answers, or is told to end, is ``lost``, which says why: its runs go to others. Where the runs'
    folders are ``is_remote``, an end counts once what it has written can be seen here.
    """

    silent_s = 15.0

    def __init__(self, node: Node, allocation: Allocation, token: str, *, is_remote: bool = False) -> None:
        super().__init__(token)
        self.node, self._allocation = node, allocation
        self.lost = ""
        self._visible: Sequence[str] | None = None
        self._is_ready = False
        self._waiting: list[LocalRun] = []
        self._is_remote = is_remote
        self._leaving: list[tuple[float, LocalRun]] = []
        self._unseen: list[tuple[float, LocalRun, Exit]] = []
        self._answer_due = 0.0
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the node)

    @property
    def is_leaving(self) -> bool:
        """Whether there are ends that are looked for in files."""
        return bool(self._leaving or self._unseen)

    def submit(self, task: Task) -> LocalRun:
        """Have the run started here, once the keeper has answered."""
        if self.lost:
            return LocalRun(task, 0, self, exit=self._lost_exit())
        return super().submit(task)

    def _ask_for(self, run: LocalRun) -> None:
        if not self._is_ready:
            self._waiting.append(run)
            return
        environ = run.task.environ
        if self._visible is not None and environ.get(CUDA):
            number = int(environ[CUDA])  # of the node's GPUs, from 0
            if number >= len(self._visible):
                why = f"node {self.node.name} shows {len(self._visible)} GPUs, not {self.node.n_gpus}"
                del self._runs[run.key]
                run.exit = Exit(stopped=StopReason.PREEMPTED, host=self.node.name, lost_device=why)
                return
            run.task = replace(run.task, environ={**environ, CUDA: self._visible[number]})
        super()._ask_for(run)

    def _start_keeper(self) -> None:
        is_told = self._allocation.is_slurm  # which hands over the environment
        words = [sys.executable, "-P", "-m", _RELAY, self.token]
        starter = [word.replace("${node}", self.node.name) for word in self._allocation.starter]
        if is_told:
            starter.append(f"--job-name={step_name(self.token)}")
            starter += [f"--gres=gpu:{self.node.n_gpus}"] if self.node.n_gpus else []
        if Path(starter[0]).name in _THROUGH_A_SHELL:
            words = [shlex.quote(word) for word in words]
        self._is_ready, self._answer_due = False, self._clock.now() + _HELLO_S
        with self._open_lifeline(dict(os.environ) if is_told else {}) as theirs:
            try:
                self._keeper = subprocess.Popen(
                    [*starter, *words],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=self._errors,
                    start_new_session=True,  # Ctrl-C is the sweep's, not the starter's
                )
            except OSError as error:
                self._lifeline.close()
                raise ExecutorUnavailableError(f"{starter[0]} cannot be started: {error.strerror}") from None

    @property
    def next_due(self) -> float | None:
        """When this node needs attention though it has said nothing."""
        times = [due for due, _ in self._leaving]
        if self._keeper is not None and not self._is_ready:
            times.append(self._answer_due)
        return min(times, default=None)

    def serve(self, ready: Sequence[int]) -> bool:
        """Take what the keeper has said; return whether runs have ended because it cannot be spoken to."""
        has_news = super().serve(ready)
        now = self._clock.now()
        if self._keeper is not None and not self._is_ready and now >= self._answer_due:
            self.lost = f"no answer in {_HELLO_S:.0f} s{self._read_errors()}"
            self._bury_keeper()
            has_news = True
        has_news = self._look_for_files(now) or has_news
        for entry in list(self._leaving):
            due, run = entry
            known = read_end(run.task.run_dir, run.task.attempt)
            if known is not None:
                run.exit = self._taken_back(known, run)
            elif now >= due:
                run.exit = self._lost_exit(run)
            if run.exit is not None:
                self._leaving.remove(entry)
                has_news = True
        return has_news

    def _look_for_files(self, now: float) -> bool:
        """Tell the ends whose files can be seen by now; return whether there are any."""
        seen = []
        for entry in self._unseen:
            due, run, ended = entry
            refresh(run.task.run_dir)
            known = read_end(run.task.run_dir, run.task.attempt)  # none while logs are shorter than they were written
            if known is not None or ended.not_started is not None or now >= due:
                run.exit = ended
                seen.append(entry)
        self._unseen = [entry for entry in self._unseen if entry not in seen]
        return bool(seen)

    def _take(self, message: Mapping[str, Any]) -> None:
        if message["ev"] == HELLO:
            self._is_ready, self._visible = True, message["visible"]
            waiting, self._waiting = self._waiting, []
            for run in waiting:
                if run.stopped is None:
                    self._ask_for(run)
                else:
                    del self._runs[run.key]
                    run.exit = Exit(not_started="stopped before it could be started", stopped=run.stopped)
            return
        ending = self._runs.get(message.get("key", 0))
        super()._take(message)
        if message["ev"] == STOPPING:
            self.lost, self.ended_by = "told to end", None
        elif ending is not None and ending.exit is not None:
            ended = self._taken_back(ending.exit, ending)
            ending.exit = None if self._is_remote else ended
            if self._is_remote:
                self._unseen.append((self._clock.now() + _SEEN_S, ending, ended))

    def _taken_back(self, ended: Exit, run: LocalRun) -> Exit:
        """Return an end that nobody here has asked for as the node's own; its device is not used again."""
        if ended.stopped == StopReason.INTERRUPTED and run.stopped is None:
            ended = replace(ended, stopped=StopReason.PREEMPTED)
        return replace(ended, lost_device=self._why_lost) if self.lost else ended

    def _lost_exit(self, run: LocalRun | None = None) -> Exit:
        stopped = StopReason.PREEMPTED if run is None or run.stopped is None else run.stopped
        duration_s = 0.0 if run is None or not self._is_ready else time.monotonic() - run.submitted
        lost = self._why_lost if self.lost else ""
        return Exit(stopped=stopped, host=self.node.name, duration_s=duration_s, lost_device=lost)

    @property
    def _why_lost(self) -> str:
        return f"node {self.node.name} is lost: {self.lost}"

    def _bury_keeper(self) -> None:
        assert self._keeper is not None
        keeper, self._keeper, self._end_due, self._outbox = self._keeper, None, None, b""
        self._lifeline.close()
        keeper.terminate()
        try:
            keeper.wait(_DEATH_S)
        except subprocess.TimeoutExpired:
            keeper.kill()
        if not self._is_ready and not self.lost:
            self.lost = f"no process could be started there{self._read_errors()}"
        runs, self._runs, self._waiting = self._runs, {}, []
        for run in runs.values():
            patience = run.task.grace_s + LEFT_S if self._is_ready else 0.0
            self._leaving.append((self._clock.now() + patience, run))

    def _read_errors(self) -> str:
        """Return what the starter has complained of last."""
        self._errors.seek(0)
        lines = [line for line in self._errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return f" ({one_line(lines[-1])[:200]})" if lines else ""

    def kill_all(self) -> None:
        """End at once whatever runs here."""
        for run in self._runs.values():
            run.cancel(StopReason.INTERRUPTED, now=True)

    def close(self) -> None:
        """End the keeper, and at once whatever it still keeps."""
        super().close()
        self._errors.close()


def step_name(token: str) -> str:
    """Return the name of the steps by which a sweep starts its keepers."""
    return f"sweepline-{token}"
