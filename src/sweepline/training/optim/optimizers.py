"""Optimizers by name: they get the fields of ``learner`` that they take; the others are said to be ignored."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from sweepline.errors import ConfigError, did_you_mean
from sweepline.training import calling
from sweepline.training.config.schema import LearnerConfig
from sweepline.training.optim.dynamo import spare_dynamo
from sweepline.training.registry import OPTIMIZERS

FACTOR = "step_factor"
"""Of a group of parameters: by what its step size is multiplied."""


def build_optimizer(config: LearnerConfig, model: nn.Module) -> tuple[torch.optim.Optimizer, list[str]]:
    """Return the optimizer of a model's parameters and the set keys that it ignores.

    A model with ``step_factors(optimizer)`` says by what each parameter's step size is multiplied; those that it leaves
    out, which others may have added to it, are trained with the step size as it is.

    Raises:
        ConfigError: there is no such optimizer, or it refuses the values.
    """
    kind = find_class(config.opt)
    accepted = calling.parameters_of(kind)
    wanted: dict[str, Any] = {"lr": config.step_size, "weight_decay": config.weight_decay, "momentum": config.momentum}
    if config.beta1 is not None and config.beta2 is not None:
        wanted["betas"] = (config.beta1, config.beta2)
    if config.eps is not None:
        wanted["eps"] = config.eps
    taken = {name for name in wanted if name in accepted}
    if "eps" in taken and not isinstance(accepted["eps"].default, float):
        taken.remove("eps")  # adafactor's is a pair
    ignored = [f"learner.{name}" for name, value in wanted.items() if name not in taken and value]
    options = {name: value for name, value in wanted.items() if name in taken}
    is_brought = OPTIMIZERS.is_brought(config.opt)
    if "fused" in accepted and "fused" not in config.args and not is_brought:
        options["fused"] = True
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer):
        spare_dynamo(kind)
    what = f"learner.opt {config.opt}"
    optimizer = calling.call(kind, what, {"params": _groups(model, config), **options}, config.args)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ConfigError(f"{what}: makes a {type(optimizer).__name__}, not a torch.optim.Optimizer")
    return optimizer, ignored


def _groups(model: nn.Module, config: LearnerConfig) -> Iterable[Any]:
    """Return the model's parameters, those with step sizes of their own in groups."""
    factors = getattr(model, "step_factors", None)
    if factors is None:
        return list(model.parameters())
    scaled: list[tuple[nn.Parameter, float]] = factors(config.opt.lower())
    told = {id(parameter) for parameter, _ in scaled}
    scaled = [*scaled, *((parameter, 1.0) for parameter in model.parameters() if id(parameter) not in told)]
    return [{"params": [parameter], "lr": config.step_size * factor, FACTOR: factor} for parameter, factor in scaled]


def find_class(name: str) -> Any:
    """Return torch's optimizer of a name, whatever its case.

    Raises:
        ConfigError: torch has none of that name.
    """
    if name in OPTIMIZERS or OPTIMIZERS.is_brought(name):
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
