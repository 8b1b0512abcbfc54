"""What Ray executes: handed over by value, so that a node needs nothing of ours before the task is there.

The standard library and Ray alone. A task starts a helper (``helper.py``), and hands on what it and the sweep say to
each other.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

_MAIN = (
    "import os, sys; root = sys.argv[1]; "
    "sys.path[:0] = [root] if os.path.isdir(root) and root not in sys.path else []; "
    "from sweepline.executors.ray.helper import main; main()"
)
DIED = "the process that runs it there has died"


def run_attempt(root: str, told: bytes, key: str, stops: Any) -> Iterator[bytes]:
    """Run an attempt on this node; yield what its helper says, a line at a time.

    Args:
        root: where the sweep's own sweepline is, which is used where the node sees it.
        told: the task, as one line.
        key: the name of the attempt.
        stops: the actor that tells which attempts are to end.

    Raises:
        RuntimeError: the helper ended without telling the end; the run is dead, or dies.
    """
    words = [sys.executable, "-P", "-c", _MAIN, root, _node_id()]
    helper = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert helper.stdin is not None
    assert helper.stdout is not None
    try:
        helper.stdin.write(told)
        helper.stdin.flush()
        _hand_on(stops, key, helper.stdin)
        for line in helper.stdout:  # noqa: UP028 (Ray sends to the generator, which a file does not take)
            yield line
    finally:
        with suppress(OSError):
            helper.stdin.close()  # should it live, it learns that nobody is there any more
    if helper.wait():
        raise RuntimeError(DIED)


def _node_id() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _hand_on(stops: Any, key: str, pipe: Any) -> None:
    """Have each wish written to the helper, in Ray's own thread: a task that waits by ray.get counts as idle."""

    def take(future: Future[bytes | None]) -> None:
        try:
            wish = future.result()
            if wish is not None:
                pipe.write(wish)
                pipe.flush()
        except Exception:  # whatever is wrong with Ray, or the helper has ended: how the task ends tells
            return
        if wish is not None:
            _hand_on(stops, key, pipe)

    stops.take.remote(key).future().add_done_callback(take)


class Stops:
    """What attempts are asked, by their names. Whoever takes waits until there is something."""

    def __init__(self) -> None:
        self._wishes: dict[str, asyncio.Queue[bytes | None]] = {}

    def _queue(self, key: str) -> asyncio.Queue[bytes | None]:
        return self._wishes.setdefault(key, asyncio.Queue())

    async def tell(self, key: str, wish: bytes) -> None:
        """Tell an attempt something."""
        await self._queue(key).put(wish)

    async def take(self, key: str) -> bytes | None:
        """Return the next that an attempt is told; None once it has ended."""
        return await self._queue(key).get()

    async def forget(self, key: str) -> None:
        """Nothing more is told to an attempt: it has ended."""
        queue = self._wishes.pop(key, None)
        if queue is not None:
            queue.put_nowait(None)
