"""Runs on the nodes of an allocation, each node's keeper spoken to from here."""

from __future__ import annotations

import select
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from sweepline.contract.variables import NODE
from sweepline.executors.base import Attempt, Exit, Lack, Task
from sweepline.executors.local.client import LocalRun
from sweepline.executors.local.exits import find_exits
from sweepline.executors.local.keeper.clock import AwakeClock
from sweepline.executors.local.warmstart import WarmStart
from sweepline.executors.pilot.allocation import Allocation
from sweepline.executors.pilot.node import LEFT_S, PilotNode, step_name

_LOOK_S = 0.5
_STEPS_S = 60.0


class PilotExecutor:
    """Starts a keeper on each node with its first run. ``token`` names their steps through all starts of a sweep.

    ``grace_s`` is how long runs of an earlier start, which was killed, may take to end. Where the folders of
    runs are ``is_remote``, what nodes write may be seen late.
    """

    def __init__(
        self,
        allocation: Allocation,
        *,
        token: str,
        grace_s: float = 0.0,
        is_remote: bool = False,
        watched: Callable[[], Sequence[int]] = tuple,
    ) -> None:
        self.ended_by: int | None = None
        self._allocation, self._token, self._watched = allocation, token, watched
        self._clock, self._grace_s = AwakeClock(), grace_s
        self.nodes = {node.name: PilotNode(node, allocation, token, is_remote=is_remote) for node in allocation.nodes}
        self._told: set[str] = set()

    @property
    def warm(self) -> WarmStart | None:
        """How runs start warm: from a parent on each node."""
        return next(iter(self.nodes.values())).warm

    @warm.setter
    def warm(self, warm: WarmStart | None) -> None:
        for node in self.nodes.values():
            node.warm = warm

    @property
    def saved_s(self) -> float:
        """Seconds that one warm start saves."""
        return max(node.saved_s for node in self.nodes.values())

    @property
    def prepare_s(self) -> float:
        """Seconds that runs have waited until they could start warm."""
        return max(node.prepare_s for node in self.nodes.values())

    def submit(self, task: Task) -> LocalRun:
        """Have a run started on the node of its slot.

        Raises:
            ExecutorUnavailableError: the starter cannot be started.
        """
        return self.nodes[task.environ[NODE]].submit(task)

    def recover(self, attempts: Sequence[Attempt]) -> Mapping[str, Exit]:
        """Return the ends that keepers wrote down, once those of an earlier start in this allocation have ended."""
        self._end_old_steps()
        found = find_exits(attempts)
        if self._allocation.is_slurm:  # which has ended what it has started
            return found
        until = time.monotonic() + self._grace_s + LEFT_S
        while len(found) < len(attempts) and time.monotonic() < until:
            time.sleep(_LOOK_S)
            found = find_exits(attempts)
        return found

    def _end_old_steps(self) -> None:
        """End the steps of an earlier start: their runs would write where the next attempts do."""
        until = time.monotonic() + _STEPS_S
        while (steps := self._find_steps()) and time.monotonic() < until:
            subprocess.run(["scancel", "-Q", *steps], stdin=subprocess.DEVNULL, capture_output=True, check=False)
            time.sleep(_LOOK_S)

    def _find_steps(self) -> list[str]:
        if not self._allocation.is_slurm:
            return []
        words = ["squeue", "--steps", "-h", "-j", self._allocation.job, "-o", "%i|%j"]
        told = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        pairs = (line.partition("|") for line in told.stdout.splitlines())
        return [step for step, _, name in pairs if name == step_name(self._token)]

    def give_more(self, run_id: str, lack: Lack) -> str:
        """Return nothing: a run has all that its node gives."""
        return ""

    def wait(self, timeout_s: float | None) -> None:
        """Block until a node has said something, a watched descriptor is readable, or the time is over."""
        until = None if timeout_s is None else self._clock.now() + timeout_s
        while not self._has_news(until) and (until is None or self._clock.now() < until):
            pass

    def _has_news(self, until: float | None) -> bool:
        poll = select.poll()
        for fd in self._watched():
            poll.register(fd, select.POLLIN)
        dues = [due for node in self.nodes.values() for due in (node.register(poll), node.next_due)]
        if any(node.is_leaving for node in self.nodes.values()):
            dues.append(self._clock.now() + _LOOK_S)  # their ends are looked for in files
        due = min((at for at in (until, *dues) if at is not None), default=None)
        ready = [fd for fd, _ in self._clock.poll(poll, due)]
        served = [node.serve(ready) for node in self.nodes.values()]
        return any(served) or bool(ready)

    def take_notes(self) -> Sequence[str]:
        """Return what the nodes' keepers say of warm starts, what several say once."""
        notes = [note for node in self.nodes.values() for note in node.take_notes()]
        new = [note for note in dict.fromkeys(notes) if note not in self._told]
        self._told.update(new)
        return new

    def close(self) -> None:
        """End all keepers, and at once whatever they still keep."""
        for node in self.nodes.values():
            node.kill_all()
        for node in self.nodes.values():
            node.close()
