"""Optimizers by name: they get the fields of ``learner`` that they take; the others are said to be ignored."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterable
from typing import Any

import torch

from sweepline.errors import ConfigError, did_you_mean
from sweepline.training.config.schema import LearnerConfig


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
    _spare_dynamo(kind)
    try:
        return kind(parameters, **options), ignored
    except ValueError as error:
        raise ConfigError(f"learner.opt {config.opt}: {error}") from None


def _spare_dynamo(kind: type[torch.optim.Optimizer]) -> None:
    """Spare the first optimizer the import of ``torch._dynamo``, a second and more that only compiling makes use of.

    Torch wraps these methods so that its compiler leaves them alone; the wrapped ones are used as they are. Where torch
    wraps them differently nothing is changed, and where the compiler is there already nothing is spared.
    """
    if "torch._dynamo" in sys.modules:
        return
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        wrapped = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if wrapped is not None:
            setattr(wrapped, "__dynamo_disable", wrapped)
    step = getattr(kind.step, "__wrapped__", None)
    if step is None or kind.step.__code__.co_name != "_use_grad":
        return

    @functools.wraps(step)
    def plain_step(self: torch.optim.Optimizer, closure: Any = None) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, closure)

    kind.step = plain_step  # type: ignore[method-assign]


def find_class(name: str) -> type[Any]:
    """Return torch's optimizer of a name, whatever its case.

    Raises:
        ConfigError: torch has none of that name.
    """
    by_name = {
        key.lower(): value
        for key, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
    }
    if name.lower() not in by_name:
        raise ConfigError(f"unknown learner.opt {name!r}{did_you_mean(name.lower(), by_name)}")
    return by_name[name.lower()]
