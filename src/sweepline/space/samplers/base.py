"""What proposes combinations of a search space, one at a time, and may learn from how they went."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sweepline.runs import Params, RunOutcome
from sweepline.space.constraints import Constraint
from sweepline.space.dependent import Dependencies


@dataclass
class Tally:
    """How many combinations were walked, and what became of them."""

    n_walked: int = 0
    n_skipped: int = 0
    n_merged: int = 0
    n_left_out: int = 0
    """Runs, not combinations, that were not asked for."""

    @property
    def n_kept(self) -> int:
        """How many remain."""
        return self.n_walked - self.n_skipped - self.n_merged


def apply_constraints(
    constraints: Sequence[Constraint], params: dict[str, Any], dependencies: Dependencies
) -> str | None:
    """Change a combination as constraints say, what is computed with it; return the text of the one that drops it."""
    for constraint in constraints:
        if not constraint.apply(params):
            return constraint.text
        if constraint.assign and dependencies:
            dependencies.compute_again(params)
    return None


class Sampler(Protocol):
    """Proposes combinations.

    One that ``is_enumerable`` proposes the same again whenever it is made anew, whatever it was told: its proposals can
    be counted, and need not be written down. Any other is asked for each run when a slot is free for it.
    """

    is_enumerable: bool

    @property
    def n_total(self) -> int | None:
        """How many combinations there will be; None where only asking tells."""

    def ask(self) -> Params | None:
        """Return the next combination; None when there is none (left, or before more is told)."""

    def tell(self, params: Params, outcome: RunOutcome) -> None:
        """Learn how a run with these parameters ended: an attempt that is in the records, whatever its state."""


class EnumeratedSampler(ABC):
    """A sampler that walks combinations in an order fixed beforehand, and learns nothing."""

    is_enumerable = True

    def __init__(self) -> None:
        self.tally = Tally()
        self._walking: Iterator[Mapping[str, Any]] | None = None

    @abstractmethod
    def walk(self, tally: Tally) -> Iterator[Mapping[str, Any]]:
        """Yield the combinations from the first one on, counting into ``tally``."""

    def count(self, tally: Tally) -> Iterator[None]:
        """Walk without making values, where that is cheaper; yield once for each combination that remains."""
        for _ in self.walk(tally):
            yield

    @property
    def n_total(self) -> int | None:
        """None: constraints decide as the walk goes."""
        return None

    def ask(self) -> Params | None:
        """Return the next combination of a walk of its own."""
        if self._walking is None:
            self._walking = self.walk(self.tally)
        return next(self._walking, None)

    def tell(self, params: Params, outcome: RunOutcome) -> None:  # noqa: B027  # learning nothing is what it does
        """Learn nothing."""
