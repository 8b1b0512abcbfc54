"""Frozen configs: everything that decided a run, so that it can be repeated, and what the next run should use."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.errors import ConfigError
from sweepline.training.config import TrainConfig, check_config
from sweepline.training.experiment import (
    COUNTER,
    PROPOSED_BY,
    frozen_path,
    is_taken,
    locked,
    next_run_number,
    write_whole,
)
from sweepline.values import display_path, flatten

VERSION = "1.0"
TYPE = "TrainConfig"


def freeze(config: TrainConfig, experiment_dir: Path, number: int) -> Path:
    """Keep the config of a run. What an earlier run had proposed for this number makes way; nothing else ever does.

    Raises:
        ConfigError: the number has a frozen config already.
    """
    path = frozen_path(experiment_dir, number)
    with locked(experiment_dir):
        if is_taken(experiment_dir, number):
            raise ConfigError(f"{path}: frozen already; numbers are given once, is {COUNTER} in order?")
        write_whole(path, _to_json(config, {}))
    return path


def propose(config: TrainConfig, experiment_dir: Path, *, by: int) -> Path:
    """Write the config that the next run should use; the next run itself, or a later proposal, replaces it."""
    with locked(experiment_dir):
        path = frozen_path(experiment_dir, next_run_number(experiment_dir))
        write_whole(path, _to_json(config, {PROPOSED_BY: by}))
    return path


def _to_json(config: TrainConfig, more: Mapping[str, Any]) -> str:
    head = {"_frozen_config_version": VERSION, "_frozen_at": datetime.now().isoformat(), "_type": TYPE, **more}
    return json.dumps({**head, **config.model_dump(mode="json")}, indent=2) + "\n"


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else f"is no JSON ({error})"
        raise ConfigError(f"{path}: {why}; a frozen config is a file that a run has written") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: a frozen config is a mapping of keys, got {type(value).__name__}")
    return value


def load_frozen(path: Path, overrides: Sequence[str] = (), *, notes: list[str] | None = None) -> TrainConfig:
    """Return the config that a run was frozen with, ``key=value`` overrides on top.

    Older ones load too: without ``batch_size_config`` it has its defaults, and what stood elsewhere is moved.

    Raises:
        ConfigError: it cannot be read, or holds keys that this version does not know.
    """
    value = _read(path)
    version = value.get("_frozen_config_version", VERSION)
    if str(version).partition(".")[0] != VERSION.partition(".")[0]:
        raise ConfigError(f"{path}: a frozen config of version {version}; this sweepline reads {VERSION}")
    tree = _without_marks(value)
    label = display_path(path)
    origin = dict.fromkeys(flatten(tree), label)
    return check_config(tree, origin, overrides, label=label, notes=notes)


def _without_marks(value: dict[str, Any]) -> dict[str, Any]:
    """Drop what a frozen config says about itself, at every level."""
    return {
        key: _without_marks(item) if isinstance(item, dict) else item
        for key, item in value.items()
        if not key.startswith("_")
    }
