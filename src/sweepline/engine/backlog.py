"""What is still to be started: the runs of the plan in their order, and before them those that go again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Set

from sweepline.engine.retries import Retry
from sweepline.executors.local.slots import Slot, Slots
from sweepline.runs import Run

MAX_PASSED_OVER = 500  # runs that wait; where so many do, those that decide are under way


class Backlog:
    """Pairs the next run with a slot that it may use. ``count`` bounds how many of the plan's runs are handed out.

    A run of the plan that ``must_wait`` lets others go first.
    """

    def __init__(
        self,
        pending: Iterator[Run] | None = None,
        *,
        count: int | None = None,
        must_wait: Callable[[Run], bool] | None = None,
    ) -> None:
        self._must_wait = must_wait
        self._pending = iter(()) if pending is None else pending
        self._n_left = count
        self._again: deque[Retry] = deque()
        self._ahead: deque[Run] = deque()  # looked at already
        self._is_exhausted = False

    def feed(self, pending: Iterator[Run]) -> None:
        """Take these as the plan's runs that are still to be started, behind those that were looked at already."""
        self._pending, self._is_exhausted = pending, False

    def replace(self, pending: Iterator[Run]) -> None:
        """Take these instead of all that is still to be started of the plan."""
        self._ahead.clear()
        self.feed(pending)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing left to start."""
        return not self._again and self._peek() is None

    def holds(self, run_id: str) -> bool:
        """Whether a run waits to go again."""
        return any(again.run.run_id == run_id for again in self._again)

    def put(self, again: Retry) -> None:
        """Add a run that goes again."""
        self._again.append(again)

    def put_back(self, again: Retry) -> None:
        """Take back what could not be started now; it is the next."""
        self._again.appendleft(again)

    def drop_retries(self, run_ids: Set[str]) -> None:
        """Forget these of the runs that go again."""
        self._again = deque(again for again in self._again if again.run.run_id not in run_ids)

    def clear_retries(self) -> None:
        """Forget the runs that go again."""
        self._again.clear()

    def take(self, slots: Slots) -> tuple[Retry, Slot] | None:
        """Return the next run, how it goes, and its slot; None when there is no run or no slot for one."""
        for again in list(self._again):
            slot = slots.take_alone() if again.is_alone else slots.take(avoid=again.avoid)
            if slot is not None:
                self._again.remove(again)
                return again, slot
        place = self._find_next() if slots.has_free else None  # a sampler is not asked before there is a slot
        slot = slots.take() if place is not None else None
        if place is None or slot is None:
            return None
        run = self._ahead[place]
        del self._ahead[place]
        if self._n_left is not None:
            self._n_left -= 1
        return Retry(run), slot

    def has(self, n: int) -> bool:
        """Whether at least ``n`` of the plan's runs are still to be started."""
        if self._n_left is not None and self._n_left < n:
            return False
        while len(self._ahead) < n and not self._is_exhausted:
            run = next(self._pending, None)
            self._is_exhausted = run is None
            if run is not None and all(run.run_id != known.run_id for known in self._ahead):  # drawn twice
                self._ahead.append(run)
        return len(self._ahead) >= n

    def _find_next(self) -> int | None:
        """Return which of the runs ahead is the next that need not wait."""
        for place in range(MAX_PASSED_OVER):
            if not self.has(place + 1):
                return None
            if self._must_wait is None or not self._must_wait(self._ahead[place]):
                return place
        return None

    def _peek(self) -> Run | None:
        """Return the plan's next run without handing it out."""
        return self._ahead[0] if self.has(1) else None
