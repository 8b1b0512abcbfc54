"""Which keys of a config decide what a run computes: by these alone a checkpoint or a stopped run is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from sweepline.errors import ConfigError
from sweepline.training import plugins
from sweepline.training.config.files import RUN_SIZE, STEP_SIZE
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import effective_step_size
from sweepline.training.config.trained import find_trained
from sweepline.training.registry import DATASETS, MODELS, OPTIMIZERS, TASKS
from sweepline.training.settings import counts, keys_of, mark_of, values_of


def asked_identity(config: TrainConfig) -> str:
    """Return what configs have in common that ask for the same run, perhaps for more epochs of it."""
    names = {name for name, field in keys_of(TrainConfig) if mark_of(field, "affects") != "nothing"}
    return _digest(_keys(config, names) | _schedule_length(config))


def result_identity(config: TrainConfig, n_examples: int) -> str:
    """Return what configs have in common that compute the same, however their sizes were found.

    ``config`` is what trains: its batch size is decided.
    """
    names = {
        name
        for name, field in keys_of(TrainConfig)
        if mark_of(field, "affects") == "result" and mark_of(field, "through") is None
    }
    through = {
        "target": config.batch_size_config.target_batch_size,
        "step_size": effective_step_size(config, n_examples),
    }
    return _digest({**_keys(config, names), **through, **_schedule_length(config)})


def trained_sizes(written: TrainConfig, used: TrainConfig, n_examples: int) -> dict[str, Any]:
    """Return what trains, where it is not what the keys of the config that is written say."""
    trained: dict[str, Any] = {}
    size, step_size = min(used.batch_size, n_examples), effective_step_size(used, n_examples)
    if size != written.batch_size or written.batch_size_config.is_deciding:
        trained[RUN_SIZE] = size
    if step_size != written.learner.step_size:
        trained[STEP_SIZE] = step_size
    return trained


def report_sizes(config: TrainConfig, n_examples: int, *, n_splits: int) -> dict[str, float]:
    """Return the size and the step size that trained as metrics, where they were not simply asked for."""
    sizes = config.batch_size_config
    size = min(-(-config.batch_size // n_splits), n_examples)
    is_telling = size != config.batch_size or sizes.is_used or sizes.max_batch_size is not None
    metrics: dict[str, float] = {"run_batch_size": size} if is_telling else {}
    if sizes.lr_rule != "none":
        metrics["effective_step_size"] = effective_step_size(config, n_examples)
    return metrics


def _keys(config: TrainConfig, names: Collection[str]) -> dict[str, Any]:
    """Return keys of these names; of a device its kind, for which of several GPUs a run gets decides nothing."""
    digests = code_digests(config)
    keys = values_of(config) | {"device": config.device.partition(":")[0]} | digests
    names = {*names, *digests}
    omitted = {name for name, field in keys_of(TrainConfig) if not counts(field, keys[name])}
    return {name: value for name, value in keys.items() if name in names and name not in omitted}


def stands_on_others(config: TrainConfig) -> bool:
    """Whether a config names code of the user's own, or networks that other runs have trained."""
    own = config.training
    is_helped = own.use_knowledge_distillation or own.mode in ("curriculum", "fusion")
    return bool(_brought(config)) or is_helped or config.model.weights is not None


def _brought(config: TrainConfig) -> list[tuple[str, str]]:
    named = {
        MODELS: config.model.name,
        DATASETS: config.data.name,
        TASKS: config.training.mode,
        OPTIMIZERS: config.learner.opt,
    }
    return [(registry.key, name) for registry, name in named.items() if registry.is_brought(name)]


def code_digests(config: TrainConfig) -> dict[str, str]:
    """Return digests of the user's own code, and of trained weights, that the config names: others compute others."""
    digests: dict[str, str | None] = {}
    for key, name in _brought(config):
        with suppress(ConfigError):  # what cannot be found is said where it is loaded
            digests[f"code of {key}"] = plugins.code_digest(key, name)
    own = config.training
    helping = {
        "model.weights": config.model.weights,
        "training.teacher": own.teacher if own.use_knowledge_distillation else None,
        "training.difficulty": own.difficulty if own.mode == "curriculum" else None,
        **({f"training.experts.{i}": name for i, name in enumerate(own.experts)} if own.mode == "fusion" else {}),
    }
    for key, helper in helping.items():
        with suppress(ConfigError):
            digests[f"weights of {key}"] = find_trained(helper, key).digest if helper is not None else None
    return {key: digest for key, digest in digests.items() if digest is not None}


def _schedule_length(config: TrainConfig) -> dict[str, Any]:
    """Return the epochs where something else follows from how many there are: more are another training then."""
    own = config.training
    is_curriculum = own.mode == "curriculum" and own.grow_epochs is None
    return {"schedule_epochs": config.epochs} if config.schedule.follows_epochs or is_curriculum else {}


def _digest(keys: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()
