"""The folder of one run: which it is. What stands in it is written by others."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from sweepline.errors import ConfigError
from sweepline.training.config import TrainConfig


def experiment_dir(config: Path | None) -> Path:
    """Return the config file's folder, or its parent when that folder is called ``cfg``."""
    folder = config.parent if config is not None else Path.cwd()
    return folder.parent if folder.name == "cfg" else folder


def make_run_dir(config: TrainConfig, outputs: Path) -> Path:
    """Return this run's folder: ``$SWEEPLINE_RUN_DIR``, else a new one under ``single/`` in the outputs."""
    given = os.environ.get("SWEEPLINE_RUN_DIR")
    if given:
        path = Path(given)
        path.mkdir(parents=True, exist_ok=True)
        return path
    parent = (Path(config.output_dir) if config.output_dir else outputs) / "single"
    stamp = datetime.now().strftime("%Y%m%d_%H%M%S")
    parent.mkdir(parents=True, exist_ok=True)
    for suffix in ("", *(f"_{i}" for i in range(1, 1000))):
        path = parent / f"{stamp}_s{config.seed}{suffix}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise ConfigError(f"{parent}: cannot make a folder for this run")
