"""What a run prints: lines on standard output, remarks on standard error. Not what it writes into files.

A reader that has gone (``| head``) never fails a run: that is said once, and the run goes on.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO


def tell(text: str, *, end: str = "\n") -> None:
    """Print on standard output, at once."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        _discard(sys.stdout)
        say("nobody reads the output any more: the run goes on, its metrics are in metrics.csv")


def tell_piece(text: str) -> None:
    """Print a piece of a line, at once."""
    tell(text, end="")


def say(text: str) -> None:
    """Print a remark where METRIC lines are not looked for."""
    try:
        print(f"train_single: {text}", file=sys.stderr, flush=True)
    except BrokenPipeError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Have a stream go nowhere from now on, what it still holds included."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    stream.flush()
