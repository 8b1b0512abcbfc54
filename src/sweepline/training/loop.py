"""The training loop: epochs over examples that live on the device. The loss stays there until the epoch ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from sweepline.training.config import TrainConfig
from sweepline.training.data import Examples
from sweepline.training.seeding import epoch_order

EVALUATION_BATCH = 1000


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What an epoch measured. ``samples`` and ``step`` count from the start of the run."""

    epoch: int
    step: int
    samples: int
    metrics: dict[str, float] = field(default_factory=dict)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    examples: Examples,
    held_out: Examples | None,
) -> Iterator[EpochResult]:
    """Train and yield each epoch's result: means over examples of the training loss and accuracy as they ran.

    ``examples`` and ``held_out`` are on the model's device; ``held_out`` is evaluated every ``evaluate.every`` epochs.
    """
    step = samples = 0
    for epoch in range(1, config.epochs + 1):
        order = epoch_order(config.seed, epoch, len(examples)).to(examples.labels.device)
        loss_sum = torch.zeros((), device=order.device)
        n_right = torch.zeros((), dtype=torch.int64, device=order.device)
        model.train()
        for index in torch.split(order, config.batch_size):
            inputs, labels = examples.batch(index)
            optimizer.zero_grad(set_to_none=True)
            logits = model(inputs)
            loss = functional.cross_entropy(logits, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            if config.gradient_clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
            optimizer.step()
            loss_sum += loss.detach() * len(index)
            n_right += (logits.detach().argmax(1) == labels).sum()
            step, samples = step + 1, samples + len(index)
        n = len(examples)
        metrics = {"epoch_loss": loss_sum.item() / n, "epoch_accuracy": n_right.item() / n}
        if held_out is not None and config.evaluate.every and epoch % config.evaluate.every == 0:
            loss_mean, accuracy = evaluate(model, held_out)
            metrics |= {f"{config.evaluate.split}_loss": loss_mean, f"{config.evaluate.split}_accuracy": accuracy}
        yield EpochResult(epoch, step, samples, metrics)


@torch.no_grad()
def evaluate(model: nn.Module, examples: Examples) -> tuple[float, float]:
    """Return the mean loss and the share of right answers over all examples."""
    model.eval()
    loss_sum, n_right = 0.0, 0
    for index in torch.split(torch.arange(len(examples), device=examples.labels.device), EVALUATION_BATCH):
        inputs, labels = examples.batch(index)
        logits = model(inputs)
        loss_sum += functional.cross_entropy(logits, labels, reduction="sum").item()
        n_right += int((logits.argmax(1) == labels).sum().item())
    return loss_sum / len(examples), n_right / len(examples)
