"""Optimizers by name: they get the fields of ``learner`` that they take; the others are said to be ignored."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch

from sweepline.errors import ConfigError, did_you_mean
from sweepline.training.config.schema import LearnerConfig
from sweepline.training.optim.dynamo import spare_dynamo
from sweepline.training.registry import OPTIMIZERS


def build_optimizer(
    config: LearnerConfig, parameters: Iterable[torch.nn.Parameter]
) -> tuple[torch.optim.Optimizer, list[str]]:
    """Return the optimizer and the names of set fields that it ignores.

    Raises:
        ConfigError: torch has no such optimizer, or it refuses the values.
    """
    kind = find_class(config.opt)
    accepted = inspect.signature(kind).parameters
    wanted: dict[str, Any] = {"lr": config.step_size, "weight_decay": config.weight_decay, "momentum": config.momentum}
    if config.beta1 is not None and config.beta2 is not None:
        wanted["betas"] = (config.beta1, config.beta2)
    if config.eps is not None:
        wanted["eps"] = config.eps
    taken = {name for name in wanted if name in accepted}
    if "eps" in taken and not isinstance(accepted["eps"].default, float):
        taken.remove("eps")  # adafactor's is a pair
    ignored = [name for name, value in wanted.items() if name not in taken and value]
    options = {name: value for name, value in wanted.items() if name in taken}
    if "fused" in accepted:
        options["fused"] = True
    spare_dynamo(kind)
    try:
        return kind(parameters, **options), ignored
    except ValueError as error:
        raise ConfigError(f"learner.opt {config.opt}: {error}") from None


def find_class(name: str) -> type[Any]:
    """Return torch's optimizer of a name, whatever its case.

    Raises:
        ConfigError: torch has none of that name.
    """
    if name in OPTIMIZERS:
        kind: type[Any] = OPTIMIZERS.load(name)
        return kind
    by_name = {
        key.lower(): value
        for key, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
    }
    if name.lower() not in by_name:
        raise ConfigError(f"unknown learner.opt {name!r}{did_you_mean(name.lower(), by_name)}")
    return by_name[name.lower()]
