"""What is still to be started: the runs of the plan in their order, and before them those that go again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from sweepline.devices import Slot, Slots
from sweepline.retries import Again
from sweepline.runs import Run


class Backlog:
    """Pairs the next run with a slot that it may use. ``count`` bounds how many of the plan's runs are handed out."""

    def __init__(self, pending: Iterator[Run], *, count: int | None = None) -> None:
        self._pending = pending
        self._n_left = count
        self._again: deque[Again] = deque()
        self._is_exhausted = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing left; known only once the end of the plan was reached."""
        return self._is_exhausted and not self._again

    def holds(self, run_id: str) -> bool:
        """Whether a run waits to go again."""
        return any(again.run.run_id == run_id for again in self._again)

    def put(self, again: Again) -> None:
        """Add a run that goes again."""
        self._again.append(again)

    def put_back(self, run: Run) -> None:
        """Take back a run that could not be started now; it is the next."""
        self._again.appendleft(Again(run))

    def clear_retries(self) -> None:
        """Forget the runs that go again."""
        self._again.clear()

    def take(self, slots: Slots) -> tuple[Run, Slot] | None:
        """Return the next run with its slot; None when there is no run or no slot for one."""
        for again in list(self._again):
            slot = slots.take_alone() if again.is_alone else slots.take(avoid=again.avoid)
            if slot is not None:
                self._again.remove(again)
                return again.run, slot
        slot = None if self._is_exhausted else slots.take()
        if slot is None:
            return None
        run = self._next_pending()
        if run is None:
            slots.give_back(slot)
            return None
        return run, slot

    def _next_pending(self) -> Run | None:
        run = None if self._n_left == 0 else next(self._pending, None)
        if run is None:
            self._is_exhausted = True
        elif self._n_left is not None:
            self._n_left -= 1
        return run
