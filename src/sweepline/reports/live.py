"""A report that is kept current while its sweep runs."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

from sweepline.errors import SweeplineError
from sweepline.reports.collect import collect
from sweepline.reports.page import REPORT, write_page

INTERVAL_S = 10.0
_SHARE = 20  # a report that took 2 s to write is written again after 40 s


class LiveReport:
    """Writes a sweep's report again and again while it is entered, in a thread of its own, from what is on disk."""

    def __init__(self, sweep_dir: Path, *, interval_s: float = INTERVAL_S) -> None:
        self._sweep_dir, self._interval_s = sweep_dir, interval_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._write_until_over, name="live report", daemon=True)

    def __enter__(self) -> LiveReport:
        """Start to write."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; a page that is being written is finished first."""
        self._is_over.set()
        self._thread.join()

    def _write_until_over(self) -> None:
        pause_s = min(1.0, self._interval_s)  # the first page soon after the first runs
        while not self._is_over.wait(pause_s):
            started = time.monotonic()
            with suppress(
                SweeplineError, OSError
            ):  # nothing has started yet, or no room: the end says what is the matter
                write_page(collect([self._sweep_dir]), self._sweep_dir / REPORT, is_live=True)
            pause_s = max(self._interval_s, _SHARE * (time.monotonic() - started))
