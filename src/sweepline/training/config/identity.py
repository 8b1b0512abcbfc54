"""Which keys of a config decide what a run computes: by these alone a checkpoint or a stopped run is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

from sweepline.contract.values import flatten
from sweepline.training.config.files import MARKS
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import effective_step_size

RUN_SIZE, STEP_SIZE = MARKS  # what trained, beside the keys that it follows from
# Where things are written or read, what is told to whom, and how long it goes on.
_DECIDES_NOTHING = frozenset({"output_dir", "run_numbers", "epochs", "tensorboard", "data.root", "checkpoint", "wandb"})
# What leads to a batch size and a step size; the size, the step size and the target themselves are kept.
_LEADS_TO_SIZES = frozenset({"batch_size_config", "learner.step_size"})


def asked_identity(config: TrainConfig) -> str:
    """Return what configs have in common that ask for the same run, perhaps for more epochs of it."""
    return _digest(_deciding(config, without=_DECIDES_NOTHING))


def result_identity(config: TrainConfig, n_examples: int) -> str:
    """Return what configs have in common that compute the same, however their sizes were found.

    ``config`` is what trains: its batch size is decided.
    """
    keys = _deciding(config, without=_DECIDES_NOTHING | _LEADS_TO_SIZES)
    keys["target"] = config.batch_size_config.target_batch_size
    keys["step_size"] = effective_step_size(config, n_examples)
    return _digest(keys)


def marks_of(written: TrainConfig, used: TrainConfig, n_examples: int) -> dict[str, Any]:
    """Return what trains, where it is not what the keys of the config that is written say."""
    marks: dict[str, Any] = {}
    size, step_size = min(used.batch_size, n_examples), effective_step_size(used, n_examples)
    if size != written.batch_size or written.batch_size_config.is_deciding:
        marks[RUN_SIZE] = size
    if step_size != written.learner.step_size:
        marks[STEP_SIZE] = step_size
    return marks


def report_sizes(config: TrainConfig, n_examples: int, *, n_splits: int) -> dict[str, float]:
    """Return the size and the step size that trained as metrics, where they were not simply asked for."""
    sizes = config.batch_size_config
    size = min(-(-config.batch_size // n_splits), n_examples)
    is_telling = size != config.batch_size or sizes.is_used or sizes.max_batch_size is not None
    metrics: dict[str, float] = {"run_batch_size": size} if is_telling else {}
    if sizes.lr_rule != "none":
        metrics["effective_step_size"] = effective_step_size(config, n_examples)
    return metrics


def _deciding(config: TrainConfig, *, without: Collection[str]) -> dict[str, Any]:
    keys = flatten(config.model_dump(mode="json")) | {"device": config.device.partition(":")[0]}
    return {name: value for name, value in keys.items() if not {name, name.partition(".")[0]} & set(without)}


def _digest(keys: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()
