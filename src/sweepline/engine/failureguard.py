"""When a sweep should stop by itself: too many failures, or nothing but failures from the start."""

from __future__ import annotations

import time
from collections.abc import Callable

from sweepline.runs import SETTLED, State

FLAPPING_RUNS, FLAPPING_S = 3, 60.0


class FailureGuard:
    """Watches the ends of one start. ``halted`` is the sentence that says why nothing more is launched."""

    def __init__(
        self, *, max_failures: int | None, keep_going: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.halted: str | None = None
        self._max_failures = max_failures
        self._clock = clock
        self._started = clock()
        self._n_failures = 0
        self._is_flapping: bool = not keep_going  # until the first run that ends well

    def halt(self, why: str) -> None:
        """Launch nothing more, for a reason that is not a count of failures."""
        self.halted = self.halted or why

    def note_end(self, state: State) -> bool:
        """Take an end into account; return whether this one halts the sweep."""
        if state == State.INTERRUPTED:
            return False
        if state in SETTLED:
            self._is_flapping = False
            return False
        self._n_failures += 1
        if self.halted is not None:
            return False
        took_s = self._clock() - self._started
        if self._is_flapping and self._n_failures == FLAPPING_RUNS and took_s <= FLAPPING_S:
            self.halted = (
                f"the first {FLAPPING_RUNS} runs all failed within {took_s:.0f} s: nothing more is launched; "
                "mend the cause and start again with --retry-failed, or use --keep-going"
            )
        elif self._max_failures is not None and self._n_failures >= self._max_failures:
            self.halted = f"stopped launching after {self._n_failures} failures (--max-failures {self._max_failures})"
        return self.halted is not None
