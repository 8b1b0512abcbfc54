"""What the kernel tells others of this process."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # prctl(2)
_RLIMIT_RTTIME = 15
libc = ctypes.CDLL(None)


class ProcTitle:
    """Where the kernel finds what it tells others of this process: its command line, and the token in its environment.

    ``mark`` is the token's variable as it stands there, with room for that of any run.
    """

    def __init__(self, mark: str) -> None:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end, of_environment = (int(field) for field in fields[45:48])
        self._title, self._room = start, end - start
        with open("/proc/self/environ", "rb") as file:
            self._token = of_environment + file.read().index(mark.encode()) + mark.index("=") + 1
        self._width = len(mark) - mark.index("=") - 1

    def write(self, token: str | None, words: list[str]) -> None:
        """Write a run's token, and its command line for ``ps``; one that finds no room is cut."""
        text = b" ".join(os.fsencode(word) for word in words)[: self._room - 2]
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            if token is not None:
                memory.seek(self._token)
                memory.write(token.encode().ljust(self._width, b"\0"))
            memory.seek(self._title)
            # A last byte that is not zero tells the kernel to end the line at the first zero.
            memory.write(text.ljust(self._room - 1, b"\0") + b"\x01")


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it dies."""
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def name_process(name: str) -> None:
    """Set what ``top`` calls this process; 15 bytes are kept."""
    libc.prctl(_PR_SET_NAME, ctypes.c_char_p(os.fsencode(name)[:15]), 0, 0, 0)


def mark_process(mark: int) -> None:
    """Mark this process and all that it will start, as the keeper marks those that it starts itself."""
    limit = (ctypes.c_uint64 * 2)(mark, 2**64 - 1)
    libc.prlimit(0, _RLIMIT_RTTIME, limit, None)
