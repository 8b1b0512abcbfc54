"""For runs without a record: the latest batch size that trained with a set-up after memory had run out.

Runs of a sweep that run out of memory would else each find the way down by themselves.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from sweepline.errors import ConfigError
from sweepline.training.experiment.folder import write_whole
from sweepline.training.experiment.records import SHRINK


def recommend_size(experiment_dir: Path, key: str, ran_out_at: int) -> int:
    """Return the size to go on with: one that such a set-up has trained with, else 0.8 of what failed."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        size = json.loads(_path(experiment_dir, key).read_text(encoding="utf-8"))["trained"]
        if isinstance(size, int) and 1 <= size < ran_out_at:
            return size
    return max(1, int(ran_out_at * SHRINK))


def keep_size(experiment_dir: Path, key: str, size: int) -> None:
    """Keep a size that has trained; where that fails others find it by themselves."""
    with suppress(OSError, ConfigError):
        write_whole(_path(experiment_dir, key), json.dumps({"trained": size}) + "\n")


def _path(experiment_dir: Path, key: str) -> Path:
    return experiment_dir / f"trained_{key}.json"
