"""The training loop: epochs over examples that live on the device. The loss stays there until the epoch ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

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


@dataclass
class LoopState:
    """Where training stands between two optimizer steps: in ``epoch``, before its batch ``batch`` (from 0).

    ``loss_sum`` float32 and ``n_right`` int64 are scalars over the epoch so far, on the device.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    samples: int = 0
    loss_sum: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    n_right: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LoopState:
        """Undo :meth:`to_dict`."""
        return cls(**values)


class TrainingStoppedError(Exception):
    """Training was asked to stop, and did so between two optimizer steps."""


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    examples: Examples,
    held_out: Examples | None,
    *,
    state: LoopState | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[EpochResult]:
    """Train and yield each epoch's result: means over examples of the training loss and accuracy as they ran.

    ``examples`` and ``held_out`` are on the model's device; ``held_out`` is evaluated every ``evaluate.every`` epochs.
    ``state`` is where to go on from; it is kept up to date, so that at any yield and at a stop it is where to go on.

    Raises:
        TrainingStoppedError: ``should_stop`` said so.
    """
    device = examples.labels.device
    state = state or LoopState()
    state.loss_sum, state.n_right = state.loss_sum.to(device), state.n_right.to(device)
    while state.epoch <= config.epochs:
        order = epoch_order(config.seed, state.epoch, len(examples)).to(device)
        model.train()
        for index in torch.split(order, config.batch_size)[state.batch :]:
            if should_stop():
                raise TrainingStoppedError
            inputs, labels = examples.batch(index)
            optimizer.zero_grad(set_to_none=True)
            logits = model(inputs)
            loss = functional.cross_entropy(logits, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            if config.gradient_clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
            optimizer.step()
            state.loss_sum += loss.detach() * len(index)
            state.n_right += (logits.detach().argmax(1) == labels).sum()
            state.batch, state.step, state.samples = state.batch + 1, state.step + 1, state.samples + len(index)
        n = len(examples)
        metrics = {"epoch_loss": state.loss_sum.item() / n, "epoch_accuracy": state.n_right.item() / n}
        if held_out is not None and config.evaluate.every and state.epoch % config.evaluate.every == 0:
            loss_mean, accuracy = evaluate(model, held_out)
            metrics |= {f"{config.evaluate.split}_loss": loss_mean, f"{config.evaluate.split}_accuracy": accuracy}
        result = EpochResult(state.epoch, state.step, state.samples, metrics)
        state.epoch, state.batch = state.epoch + 1, 0
        state.loss_sum, state.n_right = torch.zeros_like(state.loss_sum), torch.zeros_like(state.n_right)
        yield result


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
