"""What sweep and keeper say to each other: JSON lines over a socket, whose end-of-file means that the other is dead."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

ENDED, WARM, ALIVE, STOPPING = "ended", "warm", "alive", "stopping"
"""What the keeper tells under ``ev``: an end (what ``exit.json`` holds, with the run's ``key``), what became of warm
starts, that it lives while it ends runs, and that it was itself asked to end, by which ``signal``."""

TOKEN_VARIABLE = "SWEEPLINE_TOKEN"
"""In the environment of every run and of the keeper itself, so that none of them can be taken for a stranger."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks any of these processes to end."""

INTERRUPTED, TIMEOUT, STALLED = "interrupted", "timeout", "stalled"
"""Why the keeper stops a run by itself: its sweep is gone, its time is over, it is silent."""

HERE, ON_CLUSTER = "here", "cluster"
"""What a keeper is started for: runs that nobody but their sweep ends, or runs that a scheduler may end."""

PREEMPTED = "preempted"
"""Why a scheduler ends a run, as its job tells the keeper."""


_PER_RUN = (b"CUDA_VISIBLE_DEVICES", b"HIP_VISIBLE_DEVICES", b"MASTER_PORT", b"PWD", b"ROCR_VISIBLE_DEVICES")


def is_per_run(name: bytes) -> bool:
    """Whether a variable is the sweep's own and told to each run anew, so that imports cannot depend on it."""
    return (name.startswith((b"SWEEPLINE_", b"WANDB_")) and name != b"SWEEPLINE_CODE") or name in _PER_RUN


class Start(NamedTuple):
    """Start a run. ``set`` and ``unset`` are the variables that differ from the keeper's own.

    ``warm`` tells which words of ``argv`` are the interpreter, from and to, where the run may be forked; None where it
    may not. Times are in seconds.
    """

    key: int
    argv: Sequence[str]
    set: Mapping[str, str]
    unset: Sequence[str]
    warm: Sequence[int] | None
    cpus: Sequence[int]
    working_dir: str
    run_dir: str
    attempt: int
    grace_s: float
    timeout_s: float | None
    stall_s: float | None


class Prepare(NamedTuple):
    """Start the warm parent: a process of ``interpreter`` that imports ``preload`` (None: what the program imports).

    ``words`` are the first run's program, ``title`` what it is called; modules of its own are in ``folders``. Modules
    in ``unused`` are left out though a library would import them later; ``without`` says which were, and why.
    """

    interpreter: Sequence[str]
    words: Sequence[str]
    title: str
    set: Mapping[str, str]
    unset: Sequence[str]
    working_dir: str
    preload: Sequence[str] | None
    unused: Sequence[str]
    folders: Sequence[str]
    is_asked_for: bool
    without: Mapping[str, str]


class Stop(NamedTuple):
    """End a run: SIGTERM, after its grace SIGKILL; at once with ``now``."""

    key: int
    reason: str
    now: bool


class Kept(NamedTuple):
    """The end of a run is on the disk in the journal: its files need no sync of their own."""

    key: int


class Close(NamedTuple):
    """Nothing more will be asked for."""


Request = Start | Prepare | Stop | Kept | Close
_REQUESTS: dict[str, type[Request]] = {kind.__name__.lower(): kind for kind in (Start, Prepare, Stop, Kept, Close)}


def encode_request(request: Request) -> bytes:
    """Return what the sweep asks for as one line."""
    return encode({"do": type(request).__name__.lower(), **request._asdict()})


def decode_request(message: Mapping[str, Any]) -> Request:
    """Undo :func:`encode_request`."""
    fields = dict(message)
    return _REQUESTS[fields.pop("do")](**fields)


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
