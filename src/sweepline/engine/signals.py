"""Requests to stop or drain a sweep, by signals or by a program, and a descriptor that ends the loop's waiting."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Self

from sweepline.executors.local.keeper.messages import STOP_SIGNALS

SAME_WISH_S = 1.0


def _not_ignored(numbers: Sequence[signal.Signals]) -> list[signal.Signals]:
    """Return the signals to act on: all, but a hangup that ``nohup`` has switched off."""
    return [n for n in numbers if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]


@contextmanager
def stop_as_exit() -> Iterator[None]:
    """While entered, SIGTERM and SIGHUP end the program as an exception does, so that children are ended with it."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's, and whoever runs a sweep in another stops it by a request
        return
    previous = {number: signal.signal(number, leave) for number in _not_ignored((signal.SIGTERM, signal.SIGHUP))}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class StopRequests:
    """How often a stop was asked for, and whether a drain was; a descriptor ends the loop's waiting.

    Who ends a whole machine, job or session says so more than once, in a moment (SIGTERM and SIGHUP, or one of them to
    the process, to its group and to the keeper): that is one wish. Only Ctrl-C is always a person's, who is in earnest.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self.n_received = 0
        self._same_until: float | None = None
        self._is_from_elsewhere = False
        self.is_draining = False
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)

    @property
    def wakeup_fd(self) -> int:
        """Readable when something was asked for, until :meth:`clear`."""
        return self._reading.fileno()

    def clear(self) -> None:
        """Make the descriptor wait for the next request."""
        with suppress(BlockingIOError):
            self._reading.recv(4096)

    def request(self, number: int = signal.SIGINT) -> None:
        """Ask for a stop, as the signal ``number`` would; from any thread."""
        self._count(number)
        with suppress(OSError):  # full, which wakes as well; or closed, as the sweep has ended
            self._writing.send(b"\0")

    def note_elsewhere(self, number: int) -> None:
        """Count a stop signal that another process of the sweep was sent, and this one perhaps is just now as well."""
        if self.first is None:
            self._is_from_elsewhere = True
            self._count(number)

    def _count(self, number: int) -> None:
        now = time.monotonic()
        if self._same_until is None:
            self._same_until = now + SAME_WISH_S
        elif now < self._same_until and (number != signal.SIGINT or self._is_from_elsewhere):
            return
        self.first = self.first or number
        self.n_received += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it open: whoever made it may still ask."""

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptors; nobody has to."""
        self._reading.close()
        self._writing.close()


class StopSignals(StopRequests):
    """While entered, stop signals are requests instead of acted on, and SIGUSR1 asks for a drain. Main thread only.

    With ``is_final`` Ctrl-C is ignored after a sweep that was stopped: one held down shall not cut off the summary.
    """

    def __init__(self, *, is_final: bool = False) -> None:
        super().__init__()
        self.is_final = is_final

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._receive) for number in _not_ignored(STOP_SIGNALS)}
        self._previous[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._drain)
        self._previous_fd = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._previous_fd)
        for number, handler in self._previous.items():
            is_ignored = self.is_final and number == signal.SIGINT and self.first is not None
            signal.signal(number, signal.SIG_IGN if is_ignored else handler)
        self.close()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._count(number)

    def _drain(self, number: int, frame: FrameType | None) -> None:
        self.is_draining = True
