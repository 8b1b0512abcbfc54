"""On a node of Ray: runs one attempt as the sweep's own machine would, and tells of it on standard output.

Ray kills the children of a worker that it ends, and with it the process that would end the run in good order. So this
is a grandchild: it learns of the worker's death by the end of its standard input, and gives the run its grace.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweepline.executors.base import Exit, StopReason, Task
from sweepline.executors.local.keeper import exitfile
from sweepline.executors.local.keeper.messages import Messages, encode
from sweepline.executors.node.claim import Claim
from sweepline.executors.node.running import LOOK_S, Wish, run_task, write_not_started
from sweepline.executors.node.taskfile import decode_task
from sweepline.executors.ray.environment import build_environment
from sweepline.executors.ray.shipping import FolderError, Shipment, unpack_folder
from sweepline.fits.freememory import free_bytes

_STDIN, _STDOUT = 0, 1
_CHUNK = 1 << 20
SHIPPING_S = 0.5  # how often what the logs have gained is sent
_SCARCE = 0.06  # of the machine's memory; Ray begins to kill at 0.05


class Helper:
    """One attempt, and the two pipes to the sweep."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._messages, self._is_alone = Messages(), False
        self._inbox: list[dict[str, Any]] = []
        self._wish: Wish | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def run(self) -> None:
        """Read the task, run it, and tell how that went."""
        while not self._inbox and not self._is_alone:
            self._read()
        if self._inbox:
            self._run(self._inbox.pop(0))

    def _run(self, told: Mapping[str, Any]) -> None:
        task = decode_task(told["task"], {})
        is_shared = Path(told["marker"]).exists()
        claim = self._claim_folder(task, told, is_shared=is_shared)
        if claim is None:
            return
        self._tell(ev="begun", host=os.uname().nodename, is_shared=is_shared)
        environ = build_environment(task.environ, os.environ, has_devices=told["has_devices"], is_shared=is_shared)
        shipment = None if is_shared else Shipment(task.run_dir, self._tell)
        ended = self._follow(replace(task, environ=environ), claim, shipment)
        if ended is None:
            self._tell(ev="unwanted")
            return
        if shipment is not None:
            shipment.send_rest()
        self._tell(ev="ended", record=exitfile.read(str(task.run_dir)))

    def _claim_folder(self, task: Task, told: Mapping[str, Any], *, is_shared: bool) -> Claim | None:
        """Return the claim on the run's folder, made first where it is not shared; None where another has it."""
        try:
            if not is_shared:
                unpack_folder(task.run_dir, told["files"], sweep=told["sweep"])
        except FolderError as error:
            self._tell(ev="failed", why=str(error))
            return None
        claim, node = Claim(task.run_dir), {"node": os.uname().nodename, "node_id": self._node_id}
        if claim.take(task.attempt, {**node, "sweep": told["sweep"], "grace_s": task.grace_s}):
            return claim
        self._tell(ev="unwanted")
        return None

    def _follow(self, task: Task, claim: Claim, shipment: Shipment | None) -> Exit | None:
        """Run the task unless it is to end by now; None where the folder was taken from it."""

        def look() -> bool:
            if shipment is not None:
                shipment.send_gains()
            return claim.holds

        os.set_blocking(_STDIN, False)
        wish = self._find_wish()
        if wish is not None:
            ended = Exit(not_started="stopped before it could be started", stopped=wish[0])
            write_not_started(task, ended)
            return ended
        look_s = LOOK_S if shipment is None else SHIPPING_S
        return run_task(task, look, self._find_wish, look_s=look_s, watched=self._watched)

    def _watched(self) -> Sequence[int]:
        return () if self._is_alone else (_STDIN,)

    def _find_wish(self) -> Wish | None:
        """Return what the sweep asks for last; when nobody is there any more, that the run ends."""
        self._read()
        for message in self._inbox:
            self._wish = StopReason(message["reason"]), message["now"]
        self._inbox.clear()
        if self._is_alone and self._wish is None:
            self._wish = StopReason.PREEMPTED, _is_memory_scarce()
        return self._wish

    def _read(self) -> None:
        if self._is_alone:
            return
        try:
            data = os.read(_STDIN, _CHUNK)
        except BlockingIOError:
            return
        self._is_alone = not data
        self._inbox += self._messages.feed(data)

    def _receive(self, _number: int, _frame: object) -> None:
        self._wish = self._wish or (StopReason.PREEMPTED, False)

    def _tell(self, **message: Any) -> None:
        data = encode(message)
        try:
            while data:
                data = data[os.write(_STDOUT, data) :]
        except BrokenPipeError:  # the worker is dead, and standard input says so too
            return


def _is_memory_scarce() -> bool:
    """Whether Ray may have ended the worker for want of memory, in which case it goes on with others until there is."""
    return free_bytes() < _SCARCE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def main() -> None:
    """Be a grandchild of Ray's worker: the process between waits, and is all that Ray kills."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(min(255, abs(os.waitstatus_to_exitcode(status))))
    os.setsid()
    Helper(sys.argv[2]).run()
