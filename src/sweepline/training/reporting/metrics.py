"""A run's metrics as they come: METRIC lines on standard output, ``metrics.csv`` in its folder, and its trackers."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sweepline.contract.metrics import format_metric_line
from sweepline.contract.runfolder import METRICS
from sweepline.training.config.schema import TrainConfig
from sweepline.training.loop import EpochResult
from sweepline.training.reporting.console import print_line
from sweepline.training.reporting.exitcodes import exit_code_of
from sweepline.training.reporting.tensorboard import start_tensorboard
from sweepline.training.reporting.wandbrun import start_wandb


class Reporter:
    """Reports epochs as they end, then the run's result; within ``with`` also the error that ended it."""

    def __init__(self, config: TrainConfig, run_dir: Path, *, beside: Mapping[str, Any] | None = None) -> None:
        """Start the trackers; ``beside`` goes with the config into them."""
        self._history = run_dir / METRICS
        self._columns: list[str] = []
        started = (start_wandb(config, run_dir, beside), start_tensorboard(config, run_dir, beside))
        self._trackers = [tracker for tracker in started if tracker]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the trackers of a run that has failed, with the exit code that its process will have."""
        if error is not None:
            self.close(exit_code_of(error))

    def epoch(self, result: EpochResult) -> None:
        """Report one epoch."""
        place = {"epoch": result.epoch, "step": result.step, "samples": result.samples}
        print_line(format_metric_line(result.metrics, **place))
        self._append({**place, **result.metrics})
        for tracker in self._trackers:
            tracker.log(result.metrics, place)

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Report the run's result and close the trackers."""
        self.close(0, metrics)
        for name, value in metrics.items():
            print_line(format_metric_line({name: value}))

    def close(self, exit_code: int, metrics: Mapping[str, float] | None = None) -> None:
        """Close the trackers of a run that ends with this exit code."""
        for tracker in self._trackers:
            tracker.finish(exit_code, metrics or {})

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
