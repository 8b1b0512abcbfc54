"""A run's metrics as they come: METRIC lines on standard output, ``metrics.csv`` in its folder, and its trackers."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweepline.contract.metrics import format_metric_line
from sweepline.contract.runfolder import METRICS
from sweepline.training.config.schema import TrainConfig
from sweepline.training.loop import EpochResult
from sweepline.training.reporting.console import print_line
from sweepline.training.reporting.trackers import start_tensorboard, start_wandb


class Reporter:
    """Reports epochs as they end, and the last one's metrics as the run's result."""

    def __init__(self, config: TrainConfig, run_dir: Path, *, beside: Mapping[str, Any] | None = None) -> None:
        """Start the trackers; ``beside`` goes with the config into W&B."""
        self._history = run_dir / METRICS
        self._columns: list[str] = []
        self._trackers = [t for t in (start_wandb(config, run_dir, beside), start_tensorboard(config, run_dir)) if t]

    def epoch(self, result: EpochResult) -> None:
        """Report one epoch."""
        place = {"epoch": result.epoch, "step": result.step, "samples": result.samples}
        print_line(format_metric_line(result.metrics, **place))
        self._append({**place, **result.metrics})
        for tracker in self._trackers:
            tracker.log(result.metrics, place)

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Report the run's result and close the trackers."""
        self.close()
        for name, value in metrics.items():
            print_line(format_metric_line({name: value}))

    def close(self) -> None:
        """Close the trackers of a run that has ended or goes on later."""
        for tracker in self._trackers:
            tracker.finish()

    def _append(self, row: Mapping[str, Any]) -> None:
        """Add a row; a metric that was not there before widens the file."""
        if not self._columns:
            self._columns = list(row)
            self._history.write_text(",".join(self._columns) + "\n")
        fresh = [name for name in row if name not in self._columns]
        if fresh:
            self._columns += fresh
            with self._history.open(newline="") as file:
                rows = list(csv.DictReader(file))
            with self._history.open("w", newline="") as file:
                writer = csv.DictWriter(file, self._columns, restval="")
                writer.writeheader()
                writer.writerows(rows)
        with self._history.open("a", newline="") as file:
            csv.DictWriter(file, self._columns, restval="").writerow({k: repr(v) for k, v in row.items()})
