"""What is trained, as an object: a task turns the index of examples into a loss, for whoever needs one.

The loop, the probes of batch sizes and the noise meter call a task, and none of them knows what a loss is made of.
What changes only the loss (a teacher) or only the order (a curriculum) is a task around another.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from sweepline.training.datasets.examples import Examples
from sweepline.training.seeding import epoch_order

Sums = Mapping[str, torch.Tensor]
NAMES_OF_LOOP = frozenset(
    {"epoch", "batch", "step", "samples", "n_splits", "n_skipped", "noise", "best", "initial_loss", "sums"}
)
"""What the loop keeps in a checkpoint; a task's sums stand beside it and have other names."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What ``n`` examples came to.

    ``loss`` is their mean, a scalar; in training it carries the graph. ``sums`` are scalars over the examples, on the
    device and without a graph: they are added up over an epoch, and read once, at its end.
    """

    loss: torch.Tensor
    n: int
    sums: Sums


class Task(ABC):
    """A model and the examples that it is trained and evaluated on, all on one device.

    ``frozen`` are other networks that it needs, by what they are: on the device, in evaluation mode, never trained.
    """

    def __init__(self, model: nn.Module, training: Examples, held_out: Examples | None, *, seed: int) -> None:
        self.model, self.training, self.held_out, self.seed = model, training, held_out, seed
        self.frozen: dict[str, nn.Module] = {}

    @property
    def device(self) -> torch.device:
        """Where the examples are, and so the model."""
        return self.training.targets.device

    @property
    def n_examples(self) -> int:
        """How many there are to train on."""
        return len(self.training)

    @property
    def n_held_out(self) -> int:
        """How many there are to evaluate on."""
        return len(self.held_out) if self.held_out is not None else 0

    @abstractmethod
    def loss(self, index: torch.Tensor) -> Outcome:
        """Return what training examples, (B,) int64 on the device, come to; the model is in training mode."""

    @abstractmethod
    def evaluate(self, index: torch.Tensor) -> Outcome:
        """Return what held-out examples, (B,) int64 on the device, come to; without gradients, in evaluation mode."""

    def losses(self, index: torch.Tensor) -> torch.Tensor:
        """Return the loss of each of some held-out examples by itself, (B,); without gradients, in evaluation mode."""
        raise NotImplementedError(f"{type(self).__name__} has no losses of single examples")

    @abstractmethod
    def zero_sums(self) -> dict[str, torch.Tensor]:
        """Return the sums of no examples, on the device: which there are, and of which type."""

    @abstractmethod
    def metrics(self, sums: Mapping[str, float], n: int) -> dict[str, float]:
        """Return means over ``n`` examples, by the names that a user reads."""

    def order(self, epoch: int) -> torch.Tensor:
        """Return in which order an epoch (from 1) takes the training examples, (n,) int64 on the CPU.

        It is asked for when the epoch begins, and again when training goes on in the midst of it.
        """
        self.training = self.training.of_epoch(epoch)
        return epoch_order(self.seed, epoch, self.n_examples)

    def evaluating(self, held_out: Examples) -> Self:
        """Return the same task with other examples to evaluate on."""
        other = copy.copy(self)
        other.held_out = held_out.to(self.device)
        return other

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold of the task itself, beside its model: tensors and plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most tasks have no state
        """Undo :meth:`state_dict`."""


def metric_names(task: Task) -> list[str]:
    """Return the names of what a task measures; of sums that are all 1, as a share of nothing may be no number."""
    return list(task.metrics(dict.fromkeys(task.zero_sums(), 1.0), 1))


class WrappedTask(Task):
    """A task that does as another one does, but for what a subclass changes. Model and examples are the other's."""

    def __init__(self, task: Task) -> None:
        self.task = task  # before all else: what follows is set there
        super().__init__(task.model, task.training, task.held_out, seed=task.seed)
        self.frozen = dict(task.frozen)

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        return self.task.model

    @model.setter
    def model(self, model: nn.Module) -> None:
        self.task.model = model

    @property
    def training(self) -> Examples:
        """The examples to train on, those of this epoch where each has its own."""
        return self.task.training

    @training.setter
    def training(self, training: Examples) -> None:
        self.task.training = training

    @property
    def held_out(self) -> Examples | None:
        """The examples to evaluate on."""
        return self.task.held_out

    @held_out.setter
    def held_out(self, held_out: Examples | None) -> None:
        self.task.held_out = held_out

    @property
    def device(self) -> torch.device:
        """See :attr:`Task.device`."""
        return self.task.device

    @property
    def n_examples(self) -> int:
        """See :attr:`Task.n_examples`."""
        return self.task.n_examples

    @property
    def n_held_out(self) -> int:
        """See :attr:`Task.n_held_out`."""
        return self.task.n_held_out

    def loss(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.loss`."""
        return self.task.loss(index)

    def evaluate(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.evaluate`."""
        return self.task.evaluate(index)

    def losses(self, index: torch.Tensor) -> torch.Tensor:
        """See :meth:`Task.losses`."""
        return self.task.losses(index)

    def zero_sums(self) -> dict[str, torch.Tensor]:
        """See :meth:`Task.zero_sums`."""
        return self.task.zero_sums()

    def metrics(self, sums: Mapping[str, float], n: int) -> dict[str, float]:
        """See :meth:`Task.metrics`."""
        return self.task.metrics(sums, n)

    def order(self, epoch: int) -> torch.Tensor:
        """See :meth:`Task.order`."""
        return self.task.order(epoch)

    def evaluating(self, held_out: Examples) -> Self:
        """See :meth:`Task.evaluating`."""
        other = copy.copy(self)
        other.task = self.task.evaluating(held_out)
        return other

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Task.state_dict`."""
        return self.task.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Task.load_state_dict`."""
        self.task.load_state_dict(state)
