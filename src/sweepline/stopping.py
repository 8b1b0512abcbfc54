"""Ctrl-C, SIGTERM and SIGHUP as counts that the loop looks at, and a descriptor that ends its waiting."""

from __future__ import annotations

import signal
import socket
from types import FrameType, TracebackType
from typing import Self

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """While entered, stop signals are counted instead of acted on. Main thread only."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.n_received = 0
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)

    @property
    def wakeup_fd(self) -> int:
        """Readable when a signal has arrived."""
        return self._reading.fileno()

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._receive) for number in STOP_SIGNALS}
        self._previous_fd = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._previous_fd)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._reading.close()
        self._writing.close()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.first = self.first or number
        self.n_received += 1
