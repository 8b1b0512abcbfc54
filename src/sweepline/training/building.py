"""Model, optimizer and task of a run, the same for training, probes and advice; and the memory they may take."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from sweepline.errors import ConfigError
from sweepline.training import calling, memory, plugins, trying
from sweepline.training.config.checks import models_for
from sweepline.training.config.schema import LearnerConfig, ModelConfig, TrainConfig
from sweepline.training.config.trained import Trained, find_trained
from sweepline.training.datasets.examples import Examples
from sweepline.training.optim.optimization import Optimization
from sweepline.training.optim.optimizers import build_optimizer
from sweepline.training.registry import MODELS, OPTIMIZERS, TASKS
from sweepline.training.seeding import seed_everything, unchanged_randomness
from sweepline.training.tasks.autoencode import Autoencode
from sweepline.training.tasks.base import Task
from sweepline.training.tasks.curriculum import Curriculum, difficulty_of
from sweepline.training.tasks.distill import PROJECTION, Distilled, last_linear
from sweepline.training.tasks.mixed_precision import MixedPrecision
from sweepline.training.tasks.supervised import Classify
from sweepline.training.tasks.supervised import build as build_supervised

_HALF = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
_GIVING_SCORES = ("normal", "curriculum")
_SHARE_OF_GPU = 0.9  # of its memory for all runs that share it; the rest is what each process needs beside tensors


def build_training(
    config: TrainConfig, training: Examples, learner: LearnerConfig | None = None
) -> tuple[nn.Module, Optimization, list[str]]:
    """Return the model on its device, what optimizes it, and the keys that model and optimizer ignore.

    All is drawn from the config's seed; ``learner`` takes the place of the config's own.

    Raises:
        ConfigError: there is no such model or optimizer, it refuses the values, or goes with no such data or mode.
    """
    _limit_gpu(config)
    seed_everything(config.seed)
    check_pair(config)
    input_shape, n_outputs = shapes_of(config, training)
    model = build_model(config.model, input_shape=input_shape, n_outputs=n_outputs)
    if MODELS.is_brought(config.model.name):
        trying.check_network(config, model, training, input_shape, n_outputs)
    if OPTIMIZERS.is_brought(config.learner.opt):
        trying.check_optimizer(learner or config.learner, model)
    if not config.batch_size_config.is_deciding:  # else which size trains is not known yet
        trying.check_last_batch(config, model, training, input_shape)
    if config.model.weights is not None:
        _go_on_from(config, config.model.weights, model)
    if distills_features(config):
        _add_projection(config, model, training)
    model = model.to(config.device)
    optimizer, ignored = build_optimizer(learner or config.learner, model)
    unused = [f"model.{name}" for name in MODELS.ignored(config.model.name, config.model)]
    return model, Optimization(optimizer, config), [*ignored, *unused]


def check_pair(config: TrainConfig) -> None:
    """Refuse a network that cannot be trained in the config's mode.

    Raises:
        ConfigError: it cannot; with those that can.
    """
    name, mode = config.model.name, config.training.mode
    entry = MODELS.entry(name)
    if entry is not None:
        modes: Sequence[str] | None = entry.modes
    else:
        modes = plugins.mark_of(MODELS.load(name), "model").modes
    if modes is not None and mode not in modes and mode in TASKS:
        raise ConfigError(f"training.mode {mode}: model {name} cannot be trained in it; use {models_for(mode)}")


def shapes_of(config: TrainConfig, training: Examples) -> tuple[tuple[int, ...], int]:
    """Return the shape of what enters the config's network for an example, and how many numbers it returns."""
    if config.training.mode == "fusion":
        return (2 * training.n_classes,), config.training.n_weights
    return training.input_shape, training.n_outputs


def build_model(config: ModelConfig, *, input_shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    """Return the network that the config names, drawn from torch's global generator.

    Raises:
        ConfigError: there is no network of this name, or it cannot be made with these settings for such inputs.
    """
    settings = MODELS.settings_of(config.name, config)
    build: Callable[..., nn.Module] = MODELS.load(config.name)
    if settings is not None:
        return build(settings, input_shape=input_shape, n_outputs=n_outputs)
    what = f"model {config.name}"
    model = calling.call(build, what, offer_of_shapes(input_shape, n_outputs), config.args)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{what}: returns a {type(model).__name__}, not a torch.nn.Module")
    return model


def offer_of_shapes(input_shape: tuple[int, ...], n_outputs: int) -> dict[str, Any]:
    """Return what a network of a user's own may ask for, by the names of its arguments."""
    offered: dict[str, Any] = {"input_shape": input_shape, "n_outputs": n_outputs, "n_classes": n_outputs}
    if len(input_shape) == 3:
        offered |= {"in_channels": input_shape[0], "image_size": input_shape[1:]}
    return offered | {"n_inputs": math.prod(input_shape)}


def load_trained(
    name: str, key: str, training: Examples, device: torch.device, *, modes: Sequence[str] = _GIVING_SCORES
) -> tuple[nn.Module, TrainConfig]:
    """Return a network that a run has trained, in evaluation mode and not to be trained, with the run's config.

    Raises:
        ConfigError: it cannot be found, is for other data, or was trained in one of our modes but none of ``modes``.
    """
    found = find_trained(name, key)
    mode = found.config.training.mode
    if mode in TASKS and mode not in modes:
        raise ConfigError(f"{key} {name}: was trained in the mode {mode}; use one that was in {' or '.join(modes)}")
    input_shape, n_outputs = shapes_of(found.config, training)
    model = build_model(found.config.model, input_shape=input_shape, n_outputs=n_outputs)
    _load_weights(found, f"{key} {name}", model)
    return model.to(device).eval().requires_grad_(requires_grad=False), found.config


def _go_on_from(config: TrainConfig, name: str, model: nn.Module) -> None:
    """Give a network the weights of one that a run has trained.

    Raises:
        ConfigError: it cannot be found, or is another kind of network.
    """
    found = find_trained(name, "model.weights")
    own, other = (one.model_dump(exclude={"weights"}) for one in (config.model, found.config.model))
    differing = [f"model.{key} is {other[key]!r} there" for key in own if own[key] != other[key]]
    if differing:
        raise ConfigError(f"model.weights {name}: is another network: {', '.join(differing)}")
    _load_weights(found, f"model.weights {name}", model)


def _load_weights(found: Trained, what: str, model: nn.Module) -> None:
    """Give a network the weights that a run has kept: its best ones where it has those, else its last.

    Raises:
        ConfigError: they do not fit, do not tell what it computes, or the run has not ended.
    """
    if found.config.training.centered:
        raise ConfigError(f"{what}: was trained centered, so that its weights alone do not tell what it computes")
    try:
        content = torch.load(found.weights, map_location="cpu", weights_only=True)
        state = content.get("model", content)
        model.load_state_dict({n: value for n, value in state.items() if not n.startswith(f"{PROJECTION}.")})
    except Exception as error:  # whatever a damaged file, or one of another network, makes of the reader
        raise ConfigError(f"{what}: {found.weights} does not fit: {' '.join(str(error).split())[:200]}") from None
    stands = content.get("state") if state is not content else None
    if stands is not None and stands["epoch"] <= found.config.epochs and not stands["best"]["is_over"]:
        raise ConfigError(f"{what}: the run has not ended: it stands at epoch {stands['epoch']}")


def distills_features(config: TrainConfig) -> bool:
    """Whether a teacher's features are learned from too."""
    return config.training.use_knowledge_distillation and config.training.feature_weight > 0


def _add_projection(config: TrainConfig, model: nn.Module, training: Examples) -> None:
    """Give the student a layer that makes features of the teacher's width of its own."""
    with unchanged_randomness(torch.device("cpu")):
        teacher, _ = load_trained(str(config.training.teacher), "training.teacher", training, torch.device("cpu"))
        layers = [last_linear(network) for network in (model, teacher)]
        if layers[0] is None or layers[1] is None:
            raise ConfigError("training.feature_weight: needs networks that end in a linear layer")
        setattr(model, PROJECTION, nn.Linear(layers[0].in_features, layers[1].in_features, bias=False))


def build_task(config: TrainConfig, model: nn.Module, training: Examples, held_out: Examples | None) -> Task:
    """Return what the config trains, its examples on the config's device.

    Raises:
        ConfigError: the mode needs a trained network that cannot be had, or does not go with the data.
    """
    device = torch.device(config.device)
    training = training.to(device)
    held_out = held_out.to(device) if held_out is not None else None
    with unchanged_randomness(device):  # so that a run draws the same whatever it is helped by
        task = _base_task(config, model, training, held_out)
        if config.training.use_knowledge_distillation:
            task = _distilled(config, task, training)
        if config.training.mode == "curriculum":
            task = _in_order(config, task, training)
    return MixedPrecision(task, _HALF[config.precision]) if config.precision in _HALF else task


def _base_task(config: TrainConfig, model: nn.Module, training: Examples, held_out: Examples | None) -> Task:
    mode, own = config.training.mode, config.training
    build: Callable[..., Task] = TASKS.load(mode)
    if mode not in TASKS:
        offered = {"model": model, "training": training, "held_out": held_out, "seed": config.seed}
        task = calling.call(build, f"training.mode {mode}", offered, own.args)
        if not isinstance(task, Task):
            raise ConfigError(f"training.mode {mode}: is a {type(task).__name__}, not a sweepline.training Task")
        trying.check_task(config, task)
        trying.check_measured(config, task)
        return task
    if mode != "fusion":
        return build(config, model, training, held_out)
    if not training.n_classes or len(own.experts) != 2:
        raise ConfigError("training.mode fusion: needs classes, and training.experts with two trained networks")
    experts = [load_trained(name, "training.experts", training, training.targets.device)[0] for name in own.experts]
    return build(config, model, training, held_out, experts=tuple(experts))


def _distilled(config: TrainConfig, task: Task, training: Examples) -> Task:
    own = config.training
    if not isinstance(task, Classify) or own.teacher is None:
        raise ConfigError("training.use_knowledge_distillation: needs classes, and training.teacher, a trained network")
    teacher, _ = load_trained(own.teacher, "training.teacher", training, task.device)
    return Distilled(task, teacher, temperature=own.temperature, alpha=own.alpha, feature_weight=own.feature_weight)


def _in_order(config: TrainConfig, task: Task, training: Examples) -> Task:
    own = config.training
    if own.difficulty is None:
        raise ConfigError("training.mode curriculum: needs training.difficulty, a network that a run has trained")
    if training.draw is not None:
        raise ConfigError(f"training.mode curriculum: data {config.data.name} draws its examples: none is met twice")
    modes = (*_GIVING_SCORES, "autoencoder")
    scorer, its_config = load_trained(own.difficulty, "training.difficulty", training, task.device, modes=modes)
    kind: Task = (
        Autoencode(scorer, training, training, seed=0)
        if its_config.training.mode == "autoencoder"
        else build_supervised(its_config, scorer, training, training)
    )
    full_epoch = own.grow_epochs or max(2, -(-config.epochs // 2))
    return Curriculum(task, difficulty_of(kind), start_share=own.start_share, full_epoch=full_epoch)


def device_share(config: TrainConfig) -> float | None:
    """Return the share of a GPU's memory that the run may take; None where it may take all, or there is no such GPU.

    The config's budget says it, else the number of runs that the device is shared by.
    """
    if torch.device(config.device).type != "cuda":
        return None
    budget, n_runs = config.batch_size_config.memory_budget_gib, memory.runs_per_device()
    if budget is not None:
        return min(1.0, budget * memory.GIB / device_bytes(config))
    return _SHARE_OF_GPU / n_runs if n_runs > 1 else None


def device_bytes(config: TrainConfig) -> int:
    """Return the memory of the config's GPU."""
    return int(torch.cuda.get_device_properties(torch.device(config.device).index or 0).total_memory)


def budget_bytes(config: TrainConfig) -> int | None:
    """Return the bytes of the config's own budget; None where it sets none."""
    budget = config.batch_size_config.memory_budget_gib
    return int(budget * memory.GIB) if budget is not None else None


def memory_limit(config: TrainConfig) -> int | None:
    """Return the bytes that a probe may take beyond torch and its data; None where the device itself sets the limit."""
    budget = budget_bytes(config)
    if budget is not None:
        return budget
    if config.device == "cpu":
        return memory.usable_bytes()
    share = device_share(config)
    return int(share * device_bytes(config)) if share is not None else None


def _limit_gpu(config: TrainConfig) -> None:
    """Have torch refuse more of a GPU's memory than the run may take."""
    share = device_share(config)
    if share is not None:
        torch.cuda.set_per_process_memory_fraction(share, torch.device(config.device).index or 0)
