"""Model, optimizer and task of a run, the same for training, probes and advice; and the memory they may take."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from sweepline.training import memory
from sweepline.training.config.schema import LearnerConfig, ModelConfig, TrainConfig
from sweepline.training.datasets.examples import Examples
from sweepline.training.optim.optimization import Optimization
from sweepline.training.optim.optimizers import build_optimizer
from sweepline.training.registry import MODELS, TASKS
from sweepline.training.seeding import seed_everything
from sweepline.training.tasks.base import Task
from sweepline.training.tasks.mixed_precision import MixedPrecision

_HALF = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
_SHARE_OF_GPU = 0.9  # of its memory for all runs that share it; the rest is what each process needs beside tensors


def build_training(
    config: TrainConfig, training: Examples, learner: LearnerConfig | None = None
) -> tuple[nn.Module, Optimization, list[str]]:
    """Return the model on its device, what optimizes it, and the fields of ``learner`` that the optimizer ignores.

    All is drawn from the config's seed; ``learner`` takes the place of the config's own.

    Raises:
        ConfigError: torch has no such optimizer, or it refuses the values.
    """
    _limit_gpu(config)
    seed_everything(config.seed)
    height, width = training.images.shape[1:]
    model = build_model(config.model, image_size=(height, width), n_classes=training.n_classes).to(config.device)
    optimizer, ignored = build_optimizer(learner or config.learner, model.parameters())
    return model, Optimization(optimizer, config), ignored


def build_model(config: ModelConfig, *, image_size: tuple[int, int], n_classes: int) -> nn.Module:
    """Return the network that the config names, drawn from torch's global generator; ``image_size`` is (H, W).

    Raises:
        ConfigError: there is no network of this name.
    """
    build: Callable[..., nn.Module] = MODELS.load(config.name)
    return build(MODELS.settings_of(config.name, config), image_size=image_size, n_classes=n_classes)


def build_task(config: TrainConfig, model: nn.Module, training: Examples, held_out: Examples | None) -> Task:
    """Return what the config trains, its examples on the config's device."""
    device = torch.device(config.device)
    on_device = held_out.to(device) if held_out is not None else None
    build: Callable[..., Task] = TASKS.load(config.training.mode)
    task = build(model, training.to(device), on_device, seed=config.seed)
    return MixedPrecision(task, _HALF[config.precision]) if config.precision in _HALF else task


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
