"""Large files of runs that have finished: those of the best runs stay, so that thousands of runs do not fill a disk."""

from __future__ import annotations

import heapq
import math
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sweepline.config.schema import KeepModel
from sweepline.contract.runfolder import ATTEMPTS, RECORDED
from sweepline.recording.events import RunRecord
from sweepline.recording.folders import SweepFolder
from sweepline.runs import Objective, State

_RECORDED = {(name,) for name in (*RECORDED, ATTEMPTS)} | {()}


class BestRunFiles:
    """Deletes what ``keep`` names of finished runs that are not, or no longer, among the best.

    Runs that failed or were interrupted keep theirs: they may go on from them. Runs that the sweep file no longer
    describes are left alone, and do not count among the best.
    """

    def __init__(self, keep: KeepModel, objective: Objective, folder: SweepFolder) -> None:
        self._keep, self._objective, self._folder = keep, objective, folder
        self._best: list[tuple[float, str]] = []  # a heap, the worst of the best first
        self._fault = ""
        self._is_told = False

    def load(self, records: Iterable[RunRecord]) -> None:
        """Take what earlier starts have recorded into account."""
        for record in records:
            self.note_end(record)

    def note_end(self, record: RunRecord) -> None:
        """Take a run that has ended into account; a run is told once."""
        if record.state == State.PRUNED:
            self._delete(record.run_id)  # settled, and without a result
        if record.state != State.FINISHED or not record.belongs:
            return
        value = record.metrics.get(self._objective.name)
        if value is None:  # a mistyped metric shall not cost weights
            self._fault = self._fault or (
                f"keep: {record.name} has no METRIC {self._objective.name}, by which the best are kept: its files stay"
            )
            return
        if math.isnan(value):
            self._delete(record.run_id)
            return
        goodness = value if self._objective.goal == "maximize" else -value
        heapq.heappush(self._best, (goodness, record.run_id))
        if len(self._best) > self._keep.best:
            self._delete(heapq.heappop(self._best)[1])

    def take_fault(self) -> str:
        """Return, once for a start, why files stay that might have been deleted."""
        fault, self._fault = self._fault, ""
        if not fault or self._is_told:
            return ""
        self._is_told = True
        return fault

    def _delete(self, run_id: str) -> None:
        run_dir = self._folder.run_dir(run_id)
        for name in self._keep.files:
            is_pattern = any(character in name for character in "*?[")
            for path in run_dir.glob(name) if is_pattern else [run_dir / name]:
                first = path.relative_to(run_dir).parts[:1]
                if not os.path.lexists(path) or first in _RECORDED or not _lies_in(path, run_dir):
                    continue
                try:
                    _remove(path)
                except FileNotFoundError:  # it has none, or had none left
                    continue
                except OSError as error:
                    self._fault = f"keep: {path} could not be deleted: {error.strerror}"


def _lies_in(path: Path, run_dir: Path) -> bool:
    """Whether a path leads to something of the run's folder, not through a link to somewhere else."""
    with suppress(OSError):
        return path.parent.resolve().is_relative_to(run_dir.resolve())
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
