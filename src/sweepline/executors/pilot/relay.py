"""On a node of an allocation: starts a keeper, and hands on what it and the sweep say to each other.

``python -m`` this, TOKEN. The sweep is at the other end of standard input and output; what it says first is awaited by
nobody, so this tells at once what the node is. When standard input ends, the sweep is dead, and the keeper learns it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys

from sweepline.executors.local.keeper.messages import STOP_SIGNALS, encode
from sweepline.executors.local.keeperprocess import start_keeper

HELLO = "hello"
_CHUNK = 1 << 16
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def describe_node() -> dict[str, object]:
    """Return the name of this node and the GPUs that the job may use here; None where the scheduler does not say."""
    told = next((os.environ[name] for name in _VISIBLE if os.environ.get(name)), None)
    visible = None if told is None else [part.strip() for part in told.split(",") if part.strip()]
    return {"ev": HELLO, "host": os.uname().nodename, "visible": visible}


def relay(keeper: subprocess.Popen[bytes], lifeline: socket.socket) -> None:
    """Hand bytes on until both sides have said all."""
    inputs = [sys.stdin.fileno(), lifeline.fileno()]
    while lifeline.fileno() in inputs:
        ready, _, _ = select.select(inputs, [], [])
        if sys.stdin.fileno() in ready:
            data = os.read(sys.stdin.fileno(), _CHUNK)
            if data:
                lifeline.sendall(data)
            else:
                inputs.remove(sys.stdin.fileno())
                lifeline.shutdown(socket.SHUT_WR)
        if lifeline.fileno() in ready:
            data = lifeline.recv(_CHUNK)
            if not data:
                inputs.remove(lifeline.fileno())
            elif not _write(data):
                lifeline.close()  # nobody listens any more: the keeper learns that its sweep is dead
                break
    keeper.wait()


def _write(data: bytes) -> bool:
    """Write to the sweep; False where it is gone."""
    try:
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]
    except OSError:
        return False
    return True


def main() -> None:
    """Be the other end of a sweep on this node."""
    ours, theirs = socket.socketpair()
    with theirs:
        keeper = start_keeper(theirs, sys.argv[1], is_on_cluster=True)
    for number in STOP_SIGNALS:  # the keeper ends its runs, and tells so
        signal.signal(number, lambda number, _: keeper.send_signal(number))
    _write(encode(describe_node()))
    relay(keeper, ours)


if __name__ == "__main__":
    main()
