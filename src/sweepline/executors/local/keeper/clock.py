"""Time as deadlines see it: what passes while this process itself is stopped or frozen does not count.

Durations that are written down are not its matter: they are the machine's.
"""

from __future__ import annotations

import select
import time

TICK_S = 0.5  # the longest wait before a deadline, so that most of a freeze is noticed
_LATE_S = 0.5  # a wait that took so much longer was no wait of a process that could run


class AwakeClock:
    """A monotonic clock that stands still while the whole process does, be it by SIGSTOP, a freezer or a paused VM."""

    def __init__(self) -> None:
        self._away_s = 0.0

    def now(self) -> float:
        """Return seconds since an arbitrary moment."""
        return time.monotonic() - self._away_s

    def poll(self, poll: select.poll, until: float | None) -> list[tuple[int, int]]:
        """Wait for events, at most until this clock shows ``until`` and no longer than ``TICK_S``; for ever with None.

        A wait that was much longer than asked for is not counted at all: better a deadline that comes late.
        """
        if until is None:
            return poll.poll()
        wanted_s = min(max(0.0, until - self.now()), TICK_S)
        began = time.monotonic()
        found = poll.poll(wanted_s * 1000 + 1)
        took_s = time.monotonic() - began
        if took_s > wanted_s + _LATE_S:
            self._away_s += took_s
        return found
