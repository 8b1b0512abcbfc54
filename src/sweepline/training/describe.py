"""What a config comes to, for programs that compare configs: its keys, and the objects that are built of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sweepline.contract.values import flatten
from sweepline.errors import SweeplineError
from sweepline.training.config.identity import code_digests, trained_sizes
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import effective_step_size, examples_per_step
from sweepline.training.datasets.splits import Splits, load_data
from sweepline.training.settings import keys_of, mark_of

if TYPE_CHECKING:
    from sweepline.training.optim.optimization import Optimization

N_RATES = 12
_OPTIONS = ("lr", "betas", "eps", "weight_decay", "momentum", "nesterov", "amsgrad")


def describe(config: TrainConfig, *, is_built: bool) -> dict[str, Any]:
    """Return plain values for JSON: ``keys`` that decide what a run computes, and ``all`` keys.

    With ``is_built`` also what is ``built``: optimizer, step sizes, parameters, examples; and the ``environment`` that
    results depend on. Where the data cannot be had ``fault`` says why, and the optimizer alone is built.
    """
    values = flatten(config.model_dump(mode="json"))
    values["learner.opt"] = config.learner.opt.lower()
    told: dict[str, Any] = {"keys": _deciding(values, code_digests(config)), "all": values}
    if is_built:
        told["environment"] = _environment(config)
        try:
            data = load_data(config)
        except SweeplineError as error:
            data, told["fault"] = None, str(error)
        told["built"] = _built(config, data)
    return told


def _deciding(values: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that decide what is computed, arguments one by one, and which code and weights are used."""
    names = deciding_keys()
    own = {name: value for name, value in values.items() if name in names or _section(name) in names}
    return {**own, **digests}


def _section(name: str) -> str:
    """Return the key that an argument belongs to: model.args of model.args.hidden."""
    head, found, _ = name.partition(".args.")
    return f"{head}.args" if found else ""


def deciding_keys() -> list[str]:
    """Return the keys that decide what a run computes and for how long, but not by which way a size was found."""
    fields = dict(keys_of(TrainConfig))
    return [name for name, field in fields.items() if mark_of(field, "affects") == "result" or name == "epochs"]


def _built(config: TrainConfig, data: Splits | None) -> Mapping[str, Any]:
    """Return what is built; without data the optimizer alone, of a weight of its own."""
    import torch

    from sweepline.training.building import build_training
    from sweepline.training.optim.optimization import Optimization
    from sweepline.training.optim.optimizers import build_optimizer

    # Half precision changes none of these objects, and its scaler cannot be made everywhere.
    config = config.model_copy(update={"device": "cpu", "precision": 32})
    if data is None:
        optimizer, _ = build_optimizer(config.learner, torch.nn.Linear(1, 1))
        return _describe_optimization(Optimization(optimizer, config), config, n_steps=None)
    training = data[0]
    learner = config.learner.model_copy(update={"step_size": effective_step_size(config, len(training))})
    model, optimization, _ = build_training(config, training, learner)
    return {
        **_describe_optimization(optimization, config, n_steps=-(-len(training) // examples_per_step(config))),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "examples": [len(part) for part in data if part is not None],
        **trained_sizes(config, config, len(training)),
    }


def _describe_optimization(optimization: Optimization, config: TrainConfig, *, n_steps: int | None) -> dict[str, Any]:
    group = optimization.optimizer.param_groups[0]
    options = {name: group[name] for name in _OPTIONS if name in group}
    told: dict[str, Any] = {"optimizer": type(optimization.optimizer).__name__}
    told |= {f"optimizer.{k}": list(value) if isinstance(value, tuple) else value for k, value in options.items()}
    if n_steps is None and (config.schedule.unit == "step" or config.schedule.warmup_steps):
        return told  # how many steps an epoch has is not known
    for epoch in range(min(config.epochs, N_RATES)):
        optimization.set_step_size(epoch=epoch, step=epoch * (n_steps or 1), n_steps=n_steps or 1)
        told[f"step_size of epoch {epoch + 1}"] = optimization.step_size
    return told


def _environment(config: TrainConfig) -> Mapping[str, Any]:
    import torch

    from sweepline.training.device import resolve_device

    return {
        "torch": torch.__version__.partition("+")[0],
        "cuda": torch.version.cuda,
        "device": resolve_device(config.device).type,
    }
