"""Which size is used: what was found, how much of it, and what follows for the step size."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from sweepline.training import memory
from sweepline.training.config.identity import code_digests
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import accumulates, default_size
from sweepline.training.plugins import file_word
from sweepline.training.settings import counts, keys_of, mark_of, values_of

_FIRST_NAMES = {"learner.momentum": "has_momentum", "gradient_clip": "clips", "noise_every": "measures_noise"}
FEW_STEPS = 20  # an epoch should have as many, or it trains little


def safety_factor(config: TrainConfig) -> tuple[float, str | None]:
    """Return the share of the largest size that is used, and a sentence where the mode's own is the larger one.

    That of the mode comes before that of the data set, and that before the one for all.
    """
    sizes, own = config.batch_size_config, None
    if config.training.mode == "curriculum":
        own, name = sizes.curriculum_safety_factor, "curriculum_safety_factor"
    elif config.training.use_knowledge_distillation:
        own, name = sizes.kd_safety_factor, "kd_safety_factor"
    base = sizes.data_safety_factors.get(config.data.name, sizes.safety_factor)
    if own is None:
        return base, None
    remark = f"{name} {own} is larger than safety_factor {base}" if own > base else None
    return own, remark


def size_without_tuning(config: TrainConfig) -> tuple[int, str]:
    """Return the size that is used where nothing is searched, and where it is from."""
    sizes = config.batch_size_config
    if config.training.mode == "fusion" and sizes.fusion_batch_size is not None:
        return sizes.fusion_batch_size, "fusion_batch_size"
    if sizes.tuned_batch_size is not None:
        return sizes.tuned_batch_size, "tuned_batch_size"
    if sizes.default_batch_size is not None:
        return sizes.default_batch_size, "default_batch_size"
    return config.batch_size, "batch_size"


def first_size(config: TrainConfig) -> int:
    """Return where a search begins: where an earlier run has found its limit, of which it used a share."""
    sizes = config.batch_size_config
    if sizes.tuned_batch_size is not None:
        return math.ceil(sizes.tuned_batch_size / safety_factor(config)[0])
    return default_size(config)


def is_tuned(config: TrainConfig) -> bool:
    """Whether the size is searched; one that is given for fusion never is."""
    sizes = config.batch_size_config
    is_given = config.training.mode == "fusion" and sizes.fusion_batch_size is not None
    return bool(sizes.optimize_batch_size) and not is_given


def limit_size(config: TrainConfig, size: int, n_examples: int) -> int:
    """Return a size within what the data, the config's own bound and the target allow."""
    sizes = config.batch_size_config
    bounds = [bound for bound in (sizes.max_batch_size, sizes.target_batch_size) if bound is not None]
    return max(1, min(size, n_examples, *bounds))


def tuning_key(config: TrainConfig, device_name: str) -> str:
    """Return what set-ups that need the same memory have in common.

    It follows from the keys that are marked with ``memory``, under the names that the first version gave them.
    """
    needs = memory_needs(config)
    sections: dict[str, dict[str, Any]] = {"": {}}
    for name, value in needs.items():
        section, _, key = name.rpartition(".")
        sections.setdefault(section, {})[key] = value
    top, learner, evaluate = sections.pop(""), sections.pop("learner"), sections.pop("evaluate")
    del top["device"], top["accumulate"], sections["batch_size_config"]  # what follows from them stands for them
    parts = {
        **{_FIRST_NAMES.get(name, name): value for name, value in top.items()},
        **{_FIRST_NAMES.get(f"learner.{name}", name): value for name, value in learner.items()},
        **sections,
        **code_digests(config),
        "data": list(sections["data"].values()),
        "opt": learner["opt"].lower(),
        "evaluates": evaluate.pop("every") and list(evaluate.values()),
        "accumulates": accumulates(config),
        "device": device_name,
        "budget": config.batch_size_config.memory_budget_gib or f"1/{memory.runs_per_device()} of the device",
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def memory_needs(config: TrainConfig) -> dict[str, Any]:
    """Return of each key that is marked with ``memory`` its value, or whether it is set, by dotted name."""
    values = values_of(config)
    marks = {name: mark_of(field, "memory") for name, field in keys_of(TrainConfig) if counts(field, values[name])}
    return {
        name: values[name] if mark == "value" else bool(values[name])
        for name, mark in marks.items()
        if mark is not None
    }


def size_cap(config: TrainConfig, n_examples: int) -> int:
    """Return the largest size that is of interest.

    On a CPU without any bound memory sets none soon, and a whole epoch in a few steps trains nothing.
    """
    cap, sizes = limit_size(config, n_examples, n_examples), config.batch_size_config
    bounds = (sizes.memory_budget_gib, sizes.max_batch_size, sizes.target_batch_size)
    if config.device != "cpu" or any(bound is not None for bound in bounds):
        return cap
    n_batches = FEW_STEPS * (config.accumulate if isinstance(config.accumulate, int) else 1)
    return min(cap, max(1, int(n_examples / n_batches / safety_factor(config)[0])))


def config_key(config: TrainConfig) -> str:
    """Return data, model and mode in one word."""
    return "_".join(map(file_word, (config.data.name, config.model.name, config.training.mode)))
