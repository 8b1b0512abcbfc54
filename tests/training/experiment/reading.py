"""The records of an experiment, as tests look at them."""

from __future__ import annotations

from pathlib import Path

from sweepline.training.experiment.records import TuningRecord, newest_first


def read_records(experiment_dir: Path) -> dict[int, TuningRecord]:
    """Return all records by run number."""
    return dict(sorted((record.run_number, record) for record in newest_first(experiment_dir)))
