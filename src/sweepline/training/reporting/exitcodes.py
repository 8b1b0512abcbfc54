"""With which exit code a run ends, by the error that ended it."""

from __future__ import annotations

import signal

from sweepline.errors import SweeplineError
from sweepline.training.memory import BatchTooLargeError
from sweepline.training.reporting.console import OutputError

EXIT_FAILED, EXIT_OUT_OF_MEMORY, EXIT_UNUSABLE, EXIT_UNWRITTEN = 1, 1, 2, 120
EXIT_INTERRUPTED, EXIT_STOPPED = 128 + signal.SIGINT, 128 + signal.SIGTERM


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a run that an error has ended."""
    if isinstance(error, OutputError):
        return EXIT_UNWRITTEN
    if isinstance(error, BatchTooLargeError):
        return EXIT_OUT_OF_MEMORY
    if isinstance(error, SweeplineError):
        return EXIT_UNUSABLE
    return EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else EXIT_FAILED
