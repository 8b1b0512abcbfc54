"""Whether the disk of a sweep has room, asked by writing; and the pause while it has none."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from pathlib import Path

from sweepline.contract.files import write_all
from sweepline.contract.text import display_path
from sweepline.runs import Objective, RunOutcome, State

PROBE_BYTES = 256 * 1024
RETRY_S = 1.0


class DiskPause:
    """A pause of launching. It begins when a record did not fit, and ends by itself when there is room again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_on = False
        self._ended_at = float("-inf")
        self._next_try = 0.0

    @property
    def due(self) -> float | None:
        """The monotonic time at which to look again; None when there is no pause."""
        return self._next_try if self.is_on else None

    def begin(self) -> bool:
        """Pause; return whether this is news."""
        was_on, self.is_on = self.is_on, True
        self._next_try = time.monotonic() + RETRY_S
        return not was_on

    def try_end(self) -> bool:
        """End the pause if there is room again; return whether it ended. Looks once a second at most."""
        if not self.is_on or time.monotonic() < self._next_try:
            return False
        self._next_try = time.monotonic() + RETRY_S
        if not has_room(self.folder):
            return False
        self.is_on, self._ended_at = False, time.monotonic()
        return True

    def was_on_since(self, started: float) -> bool:
        """Whether the disk was full at any time after ``started``."""
        return self.is_on or self._ended_at >= started

    def describe(self, n_held: int) -> str:
        """Return the sentence that tells of the pause."""
        try:
            status = os.statvfs(self.folder)
            free = f"{status.f_bavail * status.f_frsize // 1024} KiB free"
        except OSError as error:
            free = str(error.strerror)
        held = f", {n_held} results held" if n_held else ""
        return f"disk full on {display_path(self.folder)} ({free}): launching paused{held}; free space and it continues"


def blame_full_disk(outcome: RunOutcome, objective: Objective | None) -> RunOutcome:
    """Return how a run ended that met a full disk: what it failed at, or could not tell, is not held against it."""
    if not is_excusable(outcome, objective):
        return outcome
    reason = f"the disk was full: {outcome.reason}"
    return replace(outcome, state=State.INTERRUPTED, reason=reason, is_blameless=True, log_tail=())


def is_excusable(outcome: RunOutcome, objective: Objective | None) -> bool:
    """Whether a run failed, or finished without its objective: what a lost record may be to blame for."""
    has_failed = outcome.state in (State.FAILED, State.SPAWN_ERROR)
    return has_failed or (
        outcome.state == State.FINISHED and objective is not None and objective.name not in outcome.metrics
    )


def has_room(folder: Path) -> bool:
    """Whether a few records fit; a quota answers only to who really writes."""
    path = folder / ".room"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        write_all(fd, bytes(PROBE_BYTES))
    except OSError as error:
        return error.errno == errno.EFBIG  # a limit of this process, which no waiting changes
    else:
        return True
    finally:
        os.close(fd)
        path.unlink(missing_ok=True)
