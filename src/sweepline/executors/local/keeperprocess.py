"""Starts a keeper as a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sweepline.executors.local.keeper.messages import HERE, ON_CLUSTER, TOKEN_VARIABLE

_ROOT = str(Path(__file__).resolve().parents[3])
_MAIN = "import sys; sys.path.append(sys.argv[1]); from sweepline.executors.local.keeper.main import main; main()"


def start_keeper(
    lifeline: socket.socket, token: str, *, held: Sequence[int] = (), is_on_cluster: bool = False
) -> subprocess.Popen[bytes]:
    """Start a keeper at one end of a lifeline; it keeps the descriptors ``held`` open too.

    With ``is_on_cluster`` it knows that a scheduler may end its runs.

    Raises:
        OSError: the system allows no process.
    """
    handed = (lifeline.fileno(), *held)
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _MAIN, _ROOT, ON_CLUSTER if is_on_cluster else HERE, *map(str, handed)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, TOKEN_VARIABLE: token},
        pass_fds=handed,
        start_new_session=True,
    )
