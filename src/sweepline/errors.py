"""The errors that an entry point shows as sentences. Everything else is a bug and keeps its traceback."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class SweeplineError(Exception):
    """Base of every error that a user can cause and mend."""


class ConfigError(SweeplineError, ValueError):
    """What the user wrote cannot be used. Holds every fault found, one sentence each."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class RecordError(SweeplineError):
    """A file that records a sweep is damaged, newer than this version, or cannot be written."""


class DiskFullError(RecordError):
    """There is no room for a record; nothing of it was written, and it can be tried again."""


class SweepLockedError(SweeplineError):
    """Another orchestrator holds the sweep folder."""


class ExecutorUnavailableError(SweeplineError):
    """A place to run is not there: no such device, no such program."""


def record_error(path: object, problem: str, error: OSError) -> RecordError:
    """Return the error for a file that the system refuses: one that passes when it is a matter of room."""
    if error.errno == errno.EFBIG:
        return RecordError(f"{path}: {problem}: the limit on the size of files (ulimit -f) is reached; raise it")
    kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else RecordError
    return kind(f"{path}: {problem}: {error.strerror}")


def did_you_mean(word: str, known: Iterable[str], *, n: int = 1) -> str:
    """Return ``"; did you mean 'x'?"`` with the nearest known words, or ``""`` when none is near."""
    candidates = sorted(set(known))
    near = difflib.get_close_matches(word, candidates, n=n, cutoff=0.6)
    tails = {name.rsplit(".", 1)[-1]: name for name in candidates}
    if not near:
        near = [tails[t] for t in difflib.get_close_matches(word.rsplit(".", 1)[-1], list(tails), n=n, cutoff=0.6)]
    return f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
