"""Standard output as a running sweep writes to it: it waits for no reader and fails for no letter. No drawing here.

A terminal that is stopped (Ctrl-S), or a pipe whose reader sleeps, takes nothing. What it does not take is kept up to
a bound and then left out; the sweep's log has every line.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Self, TextIO

from sweepline.contract.text import printable

MAX_PENDING_BYTES = 1 << 20
PATIENCE_S = 1.0  # for a reader that takes nothing, when all is done
_WRITE_BYTES = 64 * 1024
_POLLED_BYTES = 512
_REOPENED = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def prepare_streams() -> None:
    """Give a process that was started without standard streams harmless ones, and have all replace unknown letters.

    Without this the next file that is opened would become standard output, also that of every child.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(fd, True)
    for name, fd in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, "r" if fd == 0 else "w", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def is_dumb() -> bool:
    """Whether the terminal says that it cannot move its cursor, or its user that nothing but text is wanted."""
    return os.environ.get("TERM", "").lower() in ("", "dumb", "unknown") or bool(os.environ.get("NO_COLOR"))


class Terminal:
    """A text file that never blocks; also one that ``rich`` can draw on."""

    def __init__(self, stream: TextIO) -> None:
        self.encoding = stream.encoding or "utf-8"
        self._stream = stream
        self._fd = -1
        self._socket: socket.socket | None = None
        self._is_polled = False
        self._pending = bytearray()
        self._n_lost = 0
        with suppress(OSError, ValueError):
            stream.flush()
            self._open(stream.fileno())

    def _open(self, fd: int) -> None:
        """Open what a descriptor shows a second time: its own mode, not the one shared with the user's shell."""
        mode = os.fstat(fd).st_mode
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(fd))
            return
        if stat.S_ISREG(mode):
            self._fd = os.dup(fd)
            return
        try:
            self._fd = os.open(f"/proc/self/fd/{fd}", _REOPENED)
        except OSError:
            self._fd, self._is_polled = os.dup(fd), True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def isatty(self) -> bool:
        """Whether there is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the stream itself."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write as much as is taken and keep the rest; beyond the bound a text is left out as a whole."""
        if len(self._pending) > MAX_PENDING_BYTES:
            self.flush()
        if len(self._pending) > MAX_PENDING_BYTES:
            self._n_lost += text.count("\n")
            return len(text)
        if self._n_lost:
            text, self._n_lost = f"({self._n_lost} lines left out; the log has them)\n{text}", 0
        self._pending += text.encode(self.encoding, "replace")
        self.flush()
        return len(text)

    def write_line(self, text: str) -> None:
        """Write lines that no terminal obeys."""
        self.write(f"{printable(text)}\n")

    def flush(self) -> None:
        """Hand on what is taken now."""
        while self._pending:
            try:
                n_taken = self._take(bytes(self._pending[:_WRITE_BYTES]))
            except BlockingIOError:
                return
            except OSError as error:  # no reader any more, or no room for what it writes to
                self._pending.clear()
                if isinstance(error, BrokenPipeError):
                    self.close()
                return
            del self._pending[:n_taken]

    def _take(self, data: bytes) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        if self._fd < 0:
            return len(data)
        if not self._is_polled:
            return os.write(self._fd, data)
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        if not poll.poll(0):
            raise BlockingIOError
        return os.write(self._fd, data[:_POLLED_BYTES])

    @property
    def is_blocked(self) -> bool:
        """Whether there is something that was not taken yet."""
        self.flush()
        return bool(self._pending)

    def finish(self) -> None:
        """Wait for what is kept to be taken, as long as any of it is, and close."""
        until = time.monotonic() + PATIENCE_S
        while self.is_blocked and time.monotonic() < until:
            n_before = len(self._pending)
            poll = select.poll()
            poll.register(self._socket or self._fd, select.POLLOUT)
            poll.poll(max(0.0, until - time.monotonic()) * 1000)
            self.flush()
            if len(self._pending) < n_before:
                until = time.monotonic() + PATIENCE_S
        self.close()

    def close(self) -> None:
        """Write no more; what comes is left out."""
        self._pending.clear()
        if self._socket is not None:
            self._socket.close()
        elif self._fd >= 0:
            os.close(self._fd)
        self._socket, self._fd = None, -1
