"""Calls in a thread, one after the other, whose answers are taken where they are waited for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

from sweepline.executors.slurm.client import SlurmError

T = TypeVar("T")
_CLOSE_S, _POLL_S = 5.0, 0.02


class BackgroundCalls:
    """Has Slurm asked without anybody waiting for it; ``fd`` is readable once an answer has come."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._answers: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._began: float | None = None
        self.fd, self._waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def call(
        self, call: Callable[[], T], on_answer: Callable[[T], None], on_error: Callable[[SlurmError], None]
    ) -> None:
        """Call something in the thread; what it returns, or why it was refused, is told by :meth:`take_answers`."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="slurm")

        def finish(future: Future[T]) -> None:
            def take() -> None:
                try:
                    answer = future.result()
                except SlurmError as error:
                    on_error(error)
                else:
                    on_answer(answer)

            if not future.cancelled():
                self._answers.put(take)
                with suppress(OSError):  # full, which wakes as well
                    os.write(self._waking, b"\0")

        def begin() -> T:
            self._began = time.monotonic()
            try:
                return call()
            finally:
                self._began = None

        self._thread.submit(begin).add_done_callback(finish)

    def is_busy_since(self, moment: float) -> bool:
        """Whether a call has been under way since a monotonic time, at least."""
        began = self._began
        return began is not None and began <= moment

    def take_answers(self) -> None:
        """Tell of all answers that have come."""
        with suppress(BlockingIOError):
            os.read(self.fd, 4096)
        while not self._answers.empty():
            self._answers.get()()

    def close(self, abort: Callable[[], None]) -> None:
        """Wait for the call under way, which ``abort`` ends if it takes long, and forget the others."""
        until = time.monotonic() + _CLOSE_S
        while self._began is not None and time.monotonic() < until:
            time.sleep(_POLL_S)
        if self._thread is not None:
            abort()
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._thread = None
        for fd in (self.fd, self._waking):
            with suppress(OSError):  # closed before
                os.close(fd)
