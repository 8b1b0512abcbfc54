"""What sweep and keeper say to each other: JSON lines over a socket, whose end-of-file means that the other is dead."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from typing import Any

PREPARE, START, STOP, KEPT, CLOSE = "prepare", "start", "stop", "kept", "close"  # from the sweep
ENDED, WARM, ALIVE, STOPPING = "ended", "warm", "alive", "stopping"  # from the keeper

TOKEN_VARIABLE = "SWEEPLINE_TOKEN"
"""In the environment of every run and of the keeper itself, so that none of them can be taken for a stranger."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks any of these processes to end."""

INTERRUPTED, TIMEOUT, STALLED = "interrupted", "timeout", "stalled"
"""Why the keeper stops a run by itself: its sweep is gone, its time is over, it is silent."""


_PER_RUN = (b"CUDA_VISIBLE_DEVICES", b"HIP_VISIBLE_DEVICES", b"MASTER_PORT", b"ROCR_VISIBLE_DEVICES")


def is_per_run(name: bytes) -> bool:
    """Whether a variable is the sweep's own and told to each run anew, so that imports cannot depend on it."""
    return name.startswith((b"SWEEPLINE_", b"WANDB_")) or name in _PER_RUN


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as one line; text that is no UTF-8 (surrogates) survives."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Messages:
    """Puts received bytes together into messages."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the messages that ``data`` completes."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            yield json.loads(line)
