"""How long what is left of a sweep will take, by how long its runs took so far. Pure arithmetic over records."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from sweepline.recording.events import RunRecord
from sweepline.runs import SETTLED, State


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeEstimate:
    """What ``n_left`` runs take, ``n_slots`` at a time, if each takes the mean of the ``n_known`` that have ended.

    Those took ``low_s`` to ``high_s`` seconds. Nothing is said of how the time goes with the parameters.
    """

    n_known: int
    mean_s: float
    low_s: float
    high_s: float
    n_left: int
    n_slots: int

    @property
    def total_s(self) -> float:
        """Seconds of run time, all runs together."""
        return self.mean_s * self.n_left

    @property
    def wall_s(self) -> float:
        """Seconds until the last of them has ended."""
        return self.mean_s * math.ceil(self.n_left / self.n_slots)


def estimate_time(
    records: Iterable[RunRecord], *, n_left: int, n_slots: int, are_stopped_early: bool = False
) -> TimeEstimate | None:
    """Return the estimate; None where no run has ended, or none is left.

    Runs that failed tell nothing of how long one takes; those that were stopped early do where more will be.
    """
    states = SETTLED if are_stopped_early else {State.FINISHED}
    known = [r.duration_s for r in records if r.belongs and r.state in states and r.duration_s > 0]
    if not known or n_left < 1:
        return None
    return TimeEstimate(
        n_known=len(known),
        mean_s=statistics.fmean(known),
        low_s=min(known),
        high_s=max(known),
        n_left=n_left,
        n_slots=n_slots,
    )
