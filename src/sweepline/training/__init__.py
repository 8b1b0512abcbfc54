"""One run, done right: config, data, model, optimizer, loop, METRIC lines. Knows nothing of sweeps; runs alone.

The names here are for those who bring models, data and modes of their own, or a training loop of their own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweepline.training.datasets.examples import Examples
    from sweepline.training.experiment.numbers import reserve_run_number
    from sweepline.training.ownloop import (
        Checkpoints,
        TunedBatchSize,
        freeze_config,
        load_frozen_config,
        tune_batch_size,
    )
    from sweepline.training.plugins import dataset, model, optimizer, task
    from sweepline.training.tasks.base import Outcome, Task, WrappedTask

__all__ = [
    "Checkpoints",
    "Examples",
    "Outcome",
    "Task",
    "TunedBatchSize",
    "WrappedTask",
    "dataset",
    "freeze_config",
    "load_frozen_config",
    "model",
    "optimizer",
    "reserve_run_number",
    "task",
    "tune_batch_size",
]

_HOMES = {
    "Examples": "datasets.examples",
    "reserve_run_number": "experiment.numbers",
    **dict.fromkeys(
        ("Checkpoints", "TunedBatchSize", "freeze_config", "load_frozen_config", "tune_batch_size"), "ownloop"
    ),
    **dict.fromkeys(("dataset", "model", "optimizer", "task"), "plugins"),
    **dict.fromkeys(("Outcome", "Task", "WrappedTask"), "tasks.base"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: a run needs few of them, and torch later than its config."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sweepline.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sweepline.training.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
