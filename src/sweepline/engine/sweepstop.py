"""When a sweep has found enough, by its file: nothing more is started then."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sweepline.config.schema import StopSweepModel
from sweepline.recording.events import IN_SWEEP, RunRecord
from sweepline.runs import SETTLED, Objective


class SweepStop:
    """Looks at ends. ``reason`` is the sentence that says why nothing more is started, once that is so.

    Args:
        wanted: what the sweep file says.
        objective: the metric.
        count_epochs: returns how many epochs all runs have gone through.
    """

    def __init__(self, wanted: StopSweepModel, objective: Objective, count_epochs: Callable[[], float]) -> None:
        self._wanted, self._objective, self._count_epochs = wanted, objective, count_epochs
        self._best: float | None = None
        self._n_since = 0
        self._met: set[str] = set()
        self.reason: str | None = None

    def load(self, records: Iterable[RunRecord]) -> None:
        """Take what earlier starts recorded into account, in the order in which runs ended."""
        for record in records:
            self.note(record)

    def note(self, record: RunRecord) -> None:
        """Take an end into account."""
        wanted, objective = self._wanted, self._objective
        if self.reason is not None or record.state not in SETTLED or record.in_sweep != IN_SWEEP:
            return
        value = record.metrics.get(objective.name) if record.has_result else None
        self._n_since += record.run_id not in self._met  # one that was stopped early may have gone on
        self._met.add(record.run_id)
        if value is not None and objective.is_better(value, self._best):
            self._best, self._n_since = value, 0
        is_enough = value is not None and wanted.target is not None and not objective.is_better(wanted.target, value)
        if is_enough:
            self.reason = f"{objective.name} {value:.6g} of {record.name} reaches the target {wanted.target:g}"
        elif wanted.patience is not None and self._n_since >= wanted.patience:
            best = "nothing yet" if self._best is None else f"{objective.name} {self._best:.6g}"
            self.reason = f"no better than {best} in {self._n_since} runs"
        elif wanted.max_epochs is not None and self._count_epochs() >= wanted.max_epochs:
            self.reason = f"{self._count_epochs():.0f} epochs are trained, of {wanted.max_epochs}"
