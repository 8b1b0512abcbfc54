"""Curriculum: a task that takes easy examples first. It changes their order and nothing else.

After Bengio et al. 2009, "Curriculum Learning"; how hard an example is follows from the loss of a trained network.
"""

from __future__ import annotations

import torch
from torch import nn

from sweepline.training.config.schema import TrainConfig
from sweepline.training.datasets.examples import Examples
from sweepline.training.seeding import epoch_order
from sweepline.training.tasks import supervised
from sweepline.training.tasks.base import Task, WrappedTask


class Curriculum(WrappedTask):
    """The easiest ``start_share`` of the examples in the first epoch, all from epoch ``full_epoch`` on.

    An epoch has as many steps as without: examples that are in use stand in it more often while others are not.
    """

    def __init__(self, task: Task, difficulty: torch.Tensor, *, start_share: float, full_epoch: int) -> None:
        super().__init__(task)
        self._easiest_first = torch.argsort(difficulty.cpu(), stable=True)
        self._start_share, self._full_epoch = start_share, full_epoch

    def n_used(self, epoch: int) -> int:
        """Return how many examples an epoch (from 1) draws from: the easiest, growing linearly."""
        grown = min(1.0, (epoch - 1) / max(1, self._full_epoch - 1))
        share = self._start_share + (1.0 - self._start_share) * grown
        return max(1, round(share * self.n_examples)) if epoch < self._full_epoch else self.n_examples

    def order(self, epoch: int) -> torch.Tensor:
        """See :meth:`Task.order`."""
        n, n_used = self.n_examples, self.n_used(epoch)
        if n_used == n:
            return self.task.order(epoch)
        easiest = self._easiest_first[:n_used]
        rounds = [easiest[epoch_order(self.task.seed, epoch * n + i, n_used)] for i in range(-(-n // n_used))]
        return torch.cat(rounds)[:n]


@torch.no_grad()
def difficulty_of(scorer: Task) -> torch.Tensor:
    """Return how hard the training examples are for a trained network: its loss of each, (N,) on the CPU.

    The scorer evaluates them as its held-out ones.
    """
    each = torch.arange(scorer.n_held_out, device=scorer.device)
    return torch.cat([scorer.losses(index).cpu() for index in torch.split(each, 1000)])


def build(config: TrainConfig, model: nn.Module, training: Examples, held_out: Examples | None) -> Task:
    """Return the task whose order the curriculum changes, once the difficulty of its examples is known."""
    return supervised.build(config, model, training, held_out)
