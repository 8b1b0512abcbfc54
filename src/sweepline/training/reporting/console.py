"""What a run prints: lines on standard output, remarks on standard error, both in a log where one is kept.

A reader that has gone (``| head``) never fails a run: that is said once, and the run goes on.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from sweepline.errors import SweeplineError

_log: list[Path] = []


class OutputError(SweeplineError):
    """Standard output takes nothing more, though somebody reads it."""


def keep_log(path: Path | None) -> None:
    """Write what is printed from now on into a file too; None: into none."""
    _log[:] = [path] if path is not None else []


def print_line(text: str, *, end: str = "\n") -> None:
    """Print on standard output, at once.

    Raises:
        OutputError: it cannot be written, as on a full disk.
    """
    _write_log(text + end)
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        _discard(sys.stdout)
        say("nobody reads the output any more: the run goes on, its metrics are in metrics.csv")
    except OSError as error:
        raise OutputError(f"output cannot be written: {error.strerror}") from None


def print_part(text: str) -> None:
    """Print a piece of a line, at once."""
    print_line(text, end="")


def say(text: str) -> None:
    """Print a remark where METRIC lines are not looked for."""
    _write_log(f"train_single: {text}\n")
    try:
        print(f"train_single: {text}", file=sys.stderr, flush=True)
    except BrokenPipeError:
        _discard(sys.stderr)


def _write_log(text: str) -> None:
    for path in _log:
        with suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(text)


def _discard(stream: TextIO) -> None:
    """Have a stream go nowhere from now on, what it still holds included."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    stream.flush()
