"""Frozen configs: everything that decided a run, so that it can be repeated, and what the next run should use.

Keys that begin with ``_`` say what became of it: the size and the step size that trained, and where.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.contract.text import display_path
from sweepline.contract.values import flatten, parse_override
from sweepline.errors import ConfigError
from sweepline.training import places
from sweepline.training.config.batchsizeschema import DECIDING
from sweepline.training.config.files import RUN_SIZE, without_outcome
from sweepline.training.config.loading import check_config
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import with_decided_size
from sweepline.training.experiment.folder import CONFIGS, frozen_path, locked, write_whole
from sweepline.training.experiment.numbers import PROPOSED_BY, is_taken, next_run_number, reserve_run_number
from sweepline.training.experiment.records import find_record

VERSION = "1.0"
TYPE = "TrainConfig"
EVALUATION_SIZE, ENVIRONMENT = "_evaluation_batch_size", "_environment"
_ASKING_AGAIN = tuple(f"batch_size_config.{name}" for name in DECIDING)
_FILE_NAME = re.compile(r"frozen_config_run_(\d+)\.json")


class NumberTakenError(ConfigError):
    """A number has a frozen config already."""


def begin_number(config: TrainConfig, experiment_dir: Path) -> int:
    """Return a new run's number, with the config frozen under it: whoever has made that file has the number.

    Raises:
        ConfigError: the folder cannot be written.
    """
    while True:
        number = reserve_run_number(experiment_dir)
        try:
            freeze(config, experiment_dir, number)
        except NumberTakenError:
            continue
        return number


def freeze(config: TrainConfig, experiment_dir: Path, number: int) -> Path:
    """Keep the config of a run. What an earlier run had proposed for this number makes way; nothing else ever does.

    Raises:
        NumberTakenError: the number has a frozen config already.
    """
    path = frozen_path(experiment_dir, number)
    with locked(experiment_dir):
        path.parent.mkdir(exist_ok=True)
        if path.is_file() and not is_taken(experiment_dir, number):
            path.unlink()
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(_to_json(config, {}))
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            raise NumberTakenError(f"{path}: frozen already; numbers are given once") from None
    return path


def add_decision(config: TrainConfig, experiment_dir: Path, number: int, outcome: Mapping[str, Any]) -> None:
    """Add to a run's frozen config what was decided for it."""
    with locked(experiment_dir):
        write_whole(frozen_path(experiment_dir, number), _to_json(config, outcome))


def propose(config: TrainConfig, experiment_dir: Path, *, by: int, key: str) -> Path:
    """Write the config that the next run should use, and return where it stays.

    It stands under the next run's number, where that run or a later proposal replaces it; and by ``key``, which set-ups
    of the same memory share, so that those of unlike runs do not replace each other.

    Raises:
        ConfigError: it cannot be written.
    """
    with locked(experiment_dir):
        path = frozen_path(experiment_dir, next_run_number(experiment_dir))
        text = _to_json(config, {PROPOSED_BY: by})
        write_whole(path, text)
        own = path.with_name(f"proposed_{key}.json")
        write_whole(own, text)
    return own


def _to_json(config: TrainConfig, more: Mapping[str, Any]) -> str:
    head = {"_frozen_config_version": VERSION, "_frozen_at": datetime.now().isoformat(), "_type": TYPE, **more}
    return json.dumps({**head, **config.model_dump(mode="json")}, indent=2) + "\n"


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_duplicates)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else f"is no JSON ({error})"
        raise ConfigError(f"{path}: {why}; a frozen config is a file that a run has written") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: a frozen config is a mapping of keys, got {type(value).__name__}")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return value


def load_frozen(path: Path, overrides: Sequence[str] = (), *, remarks: list[str] | None = None) -> TrainConfig:
    """Return the config that a run was frozen with, ``key=value`` overrides on top.

    A size that was searched then is used as it came out, unless an override asks for another or for a new search.
    Older ones load too: without ``batch_size_config`` it has its defaults, and what stood elsewhere is moved.

    Raises:
        ConfigError: it cannot be read, or holds keys that this version does not know.
    """
    places.look_from(path)
    value = _read(path)
    version = value.get("_frozen_config_version", VERSION)
    if str(version).partition(".")[0] != VERSION.partition(".")[0]:
        raise ConfigError(f"{path}: a frozen config of version {version}; this sweepline reads {VERSION}")
    tree = without_outcome(value)
    label = display_path(path)
    origin = dict.fromkeys(flatten(tree), label)
    origin.pop("batch_size", None)  # it holds every key, so that a batch_size beside a tuned one is no contradiction
    config = check_config(tree, origin, overrides, label=label, remarks=remarks)
    if _asks_again(overrides):
        return config
    return with_decided_size(config, *_decided_sizes(path, value))


def _asks_again(overrides: Sequence[str]) -> bool:
    keys = {key for text in overrides for key in flatten(dict([parse_override(text)]))}
    return not keys.isdisjoint(_ASKING_AGAIN)


def _decided_sizes(path: Path, value: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the sizes with which a frozen run trained and was evaluated, None where that is not known."""
    name = _FILE_NAME.fullmatch(path.name)
    if RUN_SIZE in value or PROPOSED_BY in value or name is None or path.parent.name != CONFIGS:
        return value.get(RUN_SIZE), value.get(EVALUATION_SIZE)
    record = find_record(path.parent.parent, int(name[1]))  # an older version wrote it there alone
    return (record.run_batch_size, record.evaluation_batch_size) if record else (None, None)
