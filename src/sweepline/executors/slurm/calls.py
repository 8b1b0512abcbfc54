"""Calls in a thread, one after the other, whose answers are taken where they are waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

from sweepline.executors.slurm.client import SlurmError

T = TypeVar("T")


class BackgroundCalls:
    """Has Slurm asked without anybody waiting for it; ``fd`` is readable once an answer has come."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._answers: SimpleQueue[Callable[[], None]] = SimpleQueue()
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

        self._thread.submit(call).add_done_callback(finish)

    def take_answers(self) -> None:
        """Tell of all answers that have come."""
        with suppress(BlockingIOError):
            os.read(self.fd, 4096)
        while not self._answers.empty():
            self._answers.get()()

    def close(self) -> None:
        """Wait for the call under way, and forget the others."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._thread = None
        for fd in (self.fd, self._waking):
            with suppress(OSError):  # closed before
                os.close(fd)
