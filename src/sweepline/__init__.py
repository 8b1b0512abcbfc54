"""sweepline: hyperparameter sweeps of training scripts on the machine you have."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweepline.api import compare, load_history, load_runs, load_sweep, log_metrics, run_sweep
    from sweepline.engine.session import SweepResult
    from sweepline.engine.signals import StopRequests
    from sweepline.errors import (
        ConfigError,
        ExecutorUnavailableError,
        RecordError,
        SweeplineError,
        SweepLockedError,
    )
    from sweepline.frames import chart, differing, fold_seeds, golden_middle, noise, smooth, subsample, temperature
    from sweepline.runs import State

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "ExecutorUnavailableError",
    "RecordError",
    "State",
    "StopRequests",
    "SweepLockedError",
    "SweepResult",
    "SweeplineError",
    "chart",
    "compare",
    "differing",
    "fold_seeds",
    "golden_middle",
    "load_history",
    "load_runs",
    "load_sweep",
    "log_metrics",
    "noise",
    "run_sweep",
    "smooth",
    "subsample",
    "temperature",
]

_HOMES = {
    **dict.fromkeys(
        ("compare", "load_history", "load_runs", "load_sweep", "log_metrics", "run_sweep"), "sweepline.api"
    ),
    **dict.fromkeys(
        ("ConfigError", "ExecutorUnavailableError", "RecordError", "SweepLockedError", "SweeplineError"),
        "sweepline.errors",
    ),
    **dict.fromkeys(
        ("chart", "differing", "fold_seeds", "golden_middle", "noise", "smooth", "subsample", "temperature"),
        "sweepline.frames",
    ),
    "State": "sweepline.runs",
    "StopRequests": "sweepline.engine.signals",
    "SweepResult": "sweepline.engine.session",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the keeper and the trainer import this package and need none."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sweepline' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
