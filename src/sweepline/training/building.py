"""Model and optimizer of a run, the same for training, for probes and for a study."""

from __future__ import annotations

import torch
from torch import nn

from sweepline.training.config import LearnerConfig, TrainConfig
from sweepline.training.data import N_CLASSES, Examples
from sweepline.training.memory import GIB
from sweepline.training.models import build_model
from sweepline.training.optimizers import build_optimizer
from sweepline.training.seeding import seed_everything


def build_training(
    config: TrainConfig, training: Examples, learner: LearnerConfig | None = None
) -> tuple[nn.Module, torch.optim.Optimizer, list[str]]:
    """Return the model on its device, its optimizer, and the fields that the optimizer ignores.

    All is drawn from the config's seed; ``learner`` takes the place of the config's own.

    Raises:
        ConfigError: torch has no such optimizer, or it refuses the values.
    """
    _limit_gpu(config)
    seed_everything(config.seed)
    height, width = training.images.shape[1:]
    model = build_model(config.model, image_size=(height, width), n_classes=N_CLASSES).to(config.device)
    optimizer, ignored = build_optimizer(learner or config.learner, model.parameters())
    return model, optimizer, ignored


def _limit_gpu(config: TrainConfig) -> None:
    """Have torch refuse more of a GPU's memory than the config allows."""
    budget, device = config.batch_size_config.memory_budget_gib, torch.device(config.device)
    if budget is not None and device.type == "cuda":
        index = device.index or 0
        share = budget * GIB / torch.cuda.get_device_properties(index).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, share), index)
