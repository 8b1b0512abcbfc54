"""The process that speaks to Ray, as the sweep has it: started, written to and read from, and ended."""

from __future__ import annotations

import importlib.util
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from sweepline.contract.text import one_line
from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.local.keeper.messages import Messages, encode

_ROOT = str(Path(__file__).resolve().parents[3])
_MAIN = (
    "import sys; root = sys.argv.pop(1); sys.path[:0] = [root] if root not in sys.path else []; "
    "from sweepline.executors.ray.bridge import main; main()"
)
_SOURCE = re.compile(r"^\[[^]]*\] \S+:\d+: ")  # the time and place in Ray's code that a line begins with
_END_S = 30.0  # Ray takes seconds to end its own processes
_CHUNK = 1 << 20


def check_installed() -> None:
    """Make sure that Ray can be used, without importing it.

    Raises:
        ExecutorUnavailableError: it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise ExecutorUnavailableError(
            "executor: ray needs the package ray: pip install 'sweepline[ray]', here and on the nodes of the cluster"
        )


class BridgeProcess:
    """One such process. What is said to it is kept until it takes it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Start it.

        Raises:
            OSError: the system allows no process.
        """
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
        self._temp_dir = tempfile.mkdtemp(prefix="sweepline-ray-", dir="/tmp")  # the names of sockets in it are short
        self._socket, theirs = socket.socketpair()
        self._messages, self._outbox = Messages(), b""
        self._socket.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _MAIN, _ROOT, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                env={"RAY_USAGE_STATS_ENABLED": "0", **os.environ},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is the sweep's
            )
        self.tell({**options, "temp_dir": self._temp_dir})

    def register(self, poll: select.poll) -> int:
        """Have news waited for; return the descriptor."""
        self._send()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._outbox else 0))
        return self._socket.fileno()

    def tell(self, message: Mapping[str, Any]) -> None:
        """Say something."""
        self._outbox += encode(message)

    def _send(self) -> None:
        with suppress(BlockingIOError, ConnectionError):  # its end is read
            while self._outbox:
                self._outbox = self._outbox[self._socket.send(self._outbox) :]

    def receive(self) -> Iterator[dict[str, Any]] | None:
        """Return what it has said; None when it is dead."""
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return iter(())
        except ConnectionError:
            data = b""
        return self._messages.feed(data) if data else None

    def read_errors(self) -> str:
        """Return what it has complained of last, in brackets."""
        self._errors.seek(0)
        lines = [line for line in self._errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        said = _SOURCE.sub("", one_line(lines[-1])).partition(". ")[0] if lines else ""
        return f" ({said})" if said else ""

    def end(self, *, now: bool = False) -> None:
        """End it, and with it whatever Ray still runs for it."""
        self._socket.close()
        if now:
            self._process.kill()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._temp_dir, ignore_errors=True)
        self._errors.close()
