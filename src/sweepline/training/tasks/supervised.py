"""Supervised training: a network's outputs against targets, classes or numbers."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import nn

from sweepline.errors import ConfigError
from sweepline.training.config.schema import TrainConfig
from sweepline.training.datasets.examples import Examples
from sweepline.training.tasks.base import Outcome, Task
from sweepline.training.tasks.losses import LOSSES, PointwiseLoss, cross_entropy

INITIAL = "initial"


class Supervised(Task):
    """Outputs of the model against targets.

    With ``centered`` what counts is what the model computes beyond what it did when it was new, which is kept as the
    frozen network ``initial``.
    """

    def __init__(
        self,
        model: nn.Module,
        training: Examples,
        held_out: Examples | None,
        *,
        seed: int,
        criterion: PointwiseLoss = cross_entropy,
        centered: bool = False,
    ) -> None:
        super().__init__(model, training, held_out, seed=seed)
        self.criterion = criterion
        if centered:
            self.frozen[INITIAL] = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)

    def outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the network's outputs (B, K) for inputs, less those of the new network where they are centered."""
        outputs: torch.Tensor = self.model(inputs)
        initial = self.frozen.get(INITIAL)
        if initial is None:
            return outputs
        with torch.no_grad():
            before: torch.Tensor = initial(inputs)
        return outputs - before

    def loss(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.loss`."""
        inputs, targets = self.training.batch(index)
        outputs = self.outputs(inputs)
        loss = self.criterion(outputs, targets, reduction="mean")
        return Outcome(loss, len(index), self.sums(outputs.detach(), targets, loss.detach() * len(index)))

    def evaluate(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.evaluate`.

        Losses are summed by the kernel: a mean times its count would round once more.
        """
        assert self.held_out is not None
        inputs, targets = self.held_out.batch(index)
        outputs = self.outputs(inputs)
        loss_sum = self.criterion(outputs, targets, reduction="sum")
        return Outcome(loss_sum / len(index), len(index), self.sums(outputs, targets, loss_sum))

    def losses(self, index: torch.Tensor) -> torch.Tensor:
        """See :meth:`Task.losses`."""
        assert self.held_out is not None
        inputs, targets = self.held_out.batch(index)
        losses: torch.Tensor = self.criterion(self.outputs(inputs), targets, reduction="none")
        return losses

    @abstractmethod
    def sums(self, outputs: torch.Tensor, targets: torch.Tensor, loss_sum: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what is summed up over examples."""


class Classify(Supervised):
    """Scores (B, n_classes) against one class each; sums ``loss_sum`` and ``n_right``, metrics loss and accuracy."""

    def sums(self, outputs: torch.Tensor, targets: torch.Tensor, loss_sum: torch.Tensor) -> dict[str, torch.Tensor]:
        """See :meth:`Supervised.sums`."""
        return {"loss_sum": loss_sum, "n_right": (outputs.argmax(1) == targets).sum()}

    def zero_sums(self) -> dict[str, torch.Tensor]:
        """See :meth:`Task.zero_sums`."""
        return {
            "loss_sum": torch.zeros((), device=self.device),
            "n_right": torch.zeros((), dtype=torch.int64, device=self.device),
        }

    def metrics(self, sums: Mapping[str, float], n: int) -> dict[str, float]:
        """See :meth:`Task.metrics`."""
        return {"loss": sums["loss_sum"] / n, "accuracy": sums["n_right"] / n}


class Regress(Supervised):
    """Numbers (B, K) against numbers; the loss is all that is measured."""

    def sums(self, outputs: torch.Tensor, targets: torch.Tensor, loss_sum: torch.Tensor) -> dict[str, torch.Tensor]:
        """See :meth:`Supervised.sums`."""
        return {"loss_sum": loss_sum}

    def zero_sums(self) -> dict[str, torch.Tensor]:
        """See :meth:`Task.zero_sums`."""
        return {"loss_sum": torch.zeros((), device=self.device)}

    def metrics(self, sums: Mapping[str, float], n: int) -> dict[str, float]:
        """See :meth:`Task.metrics`."""
        return {"loss": sums["loss_sum"] / n}


def build(config: TrainConfig, model: nn.Module, training: Examples, held_out: Examples | None) -> Supervised:
    """Return the task that goes with the examples' targets.

    Raises:
        ConfigError: the loss does not go with them.
    """
    wanted = config.training.loss
    name = ("cross_entropy" if training.n_classes else "mse") if wanted == "auto" else wanted
    if (name == "mse") == bool(training.n_classes):
        what = "classes" if training.n_classes else "numbers"
        there_is = "cross_entropy or mse_one_hot" if training.n_classes else "mse"
        raise ConfigError(f"training.loss {name}: {config.data.name} has {what}; use {there_is}")
    kind = Classify if training.n_classes else Regress
    return kind(
        model,
        training,
        held_out,
        seed=config.seed,
        criterion=LOSSES[name],
        centered=config.training.centered,
    )
