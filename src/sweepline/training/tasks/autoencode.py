"""Autoencoding: a network that has to return its inputs, through a code that is smaller."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from sweepline.training.config.schema import TrainConfig
from sweepline.training.datasets.examples import Examples
from sweepline.training.tasks.base import Outcome, Task


class Autoencode(Task):
    """The loss is the squared difference between outputs and inputs, its mean over all numbers of an input."""

    def loss(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.loss`."""
        return self._outcome(self.training, index)

    def evaluate(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.evaluate`."""
        assert self.held_out is not None
        return self._outcome(self.held_out, index)

    def losses(self, index: torch.Tensor) -> torch.Tensor:
        """See :meth:`Task.losses`."""
        assert self.held_out is not None
        inputs, _ = self.held_out.batch(index)
        losses: torch.Tensor = (self.model(inputs) - inputs).square().flatten(1).mean(1)
        return losses

    def _outcome(self, examples: Examples, index: torch.Tensor) -> Outcome:
        inputs, _ = examples.batch(index)
        loss = functional.mse_loss(self.model(inputs), inputs)
        return Outcome(loss, len(index), {"loss_sum": loss.detach() * len(index)})

    def zero_sums(self) -> dict[str, torch.Tensor]:
        """See :meth:`Task.zero_sums`."""
        return {"loss_sum": torch.zeros((), device=self.device)}

    def metrics(self, sums: Mapping[str, float], n: int) -> dict[str, float]:
        """See :meth:`Task.metrics`."""
        return {"loss": sums["loss_sum"] / n}


def build(config: TrainConfig, model: nn.Module, training: Examples, held_out: Examples | None) -> Autoencode:
    """Return the task."""
    return Autoencode(model, training, held_out, seed=config.seed)
