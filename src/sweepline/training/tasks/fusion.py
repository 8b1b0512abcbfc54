"""Fusion: a network that says, for each example, how to weigh the scores of two trained ones.

It is a contextual bandit: a state is what both networks say of an example, an action one of a few weights, the reward
whether the weighted scores are right, and there is no next state. What a Q-network learns then is the expected reward
of each action. All rewards of an example are known, so that it learns from all of them at once; with feedback ``taken``
it learns from the action alone that it took, mostly the best by its own lights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn
from torch.nn import functional

from sweepline.training.config.schema import TrainConfig
from sweepline.training.datasets.examples import Examples
from sweepline.training.tasks.base import Outcome, Task


@dataclass(frozen=True, slots=True)
class States:
    """What both networks say of N examples: ``inputs`` (N, 2K) float32, and ``rewards`` (N, A) of each weight."""

    inputs: torch.Tensor
    rewards: torch.Tensor


class Fusion(Task):
    """Expected rewards (B, A) of weights from 0, the first network alone, to 1, the second alone.

    Beside loss and accuracy it measures that of both networks and of the weight that is best for all training examples
    alike, on the same examples.
    """

    def __init__(
        self,
        model: nn.Module,
        training: Examples,
        held_out: Examples | None,
        *,
        seed: int,
        experts: tuple[nn.Module, nn.Module],
        n_weights: int,
        epsilon: float | None = None,
    ) -> None:
        super().__init__(model, training, held_out, seed=seed)
        self.frozen = {"expert_1": experts[0], "expert_2": experts[1]}
        self.weights = torch.linspace(0, 1, n_weights, device=self.device)
        self._epsilon = epsilon
        self._seen = self._look_at(training)
        self.evaluated = self._look_at(held_out) if held_out is not None else None
        self._constant = int(self._seen.rewards.mean(0).argmax())

    @torch.no_grad()
    def _look_at(self, examples: Examples) -> States:
        """Return what both networks say of examples, a thousand at a time."""
        inputs, rewards = [], []
        for index in torch.split(torch.arange(len(examples), device=self.device), 1000):
            batch, targets = examples.batch(index)
            first, second = (functional.softmax(expert(batch), dim=1) for expert in self.frozen.values())
            mixed = torch.lerp(first.unsqueeze(1), second.unsqueeze(1), self.weights.view(1, -1, 1))
            inputs.append(torch.cat([first, second], dim=1))
            rewards.append((mixed.argmax(2) == targets.unsqueeze(1)).to(torch.float32))
        return States(torch.cat(inputs), torch.cat(rewards))

    def loss(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.loss`."""
        values, rewards = self.model(self._seen.inputs[index]), self._seen.rewards[index]
        if self._epsilon is None:
            loss = functional.mse_loss(values, rewards)
        else:
            taken = self._take(values.detach()).unsqueeze(1)
            loss = functional.mse_loss(values.gather(1, taken), rewards.gather(1, taken))
        return Outcome(loss, len(index), self._sums(values.detach(), rewards, loss.detach() * len(index)))

    def evaluate(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.evaluate`."""
        assert self.evaluated is not None
        values, rewards = self.model(self.evaluated.inputs[index]), self.evaluated.rewards[index]
        loss = functional.mse_loss(values, rewards)
        return Outcome(loss, len(index), self._sums(values, rewards, loss * len(index)))

    def _take(self, values: torch.Tensor) -> torch.Tensor:
        """Return an action for each example: the best one, and a share of them at random."""
        best = values.argmax(1)
        drawn = torch.randint(len(self.weights), best.shape, device=self.device)
        is_random = torch.rand(best.shape, device=self.device) < (self._epsilon or 0.0)
        return torch.where(is_random, drawn, best)

    def _sums(self, values: torch.Tensor, rewards: torch.Tensor, loss_sum: torch.Tensor) -> dict[str, torch.Tensor]:
        chosen = rewards.gather(1, values.argmax(1, keepdim=True)).sum()
        alone = {"n_right_1": 0, "n_right_2": -1, "n_right_constant": self._constant}
        return {"loss_sum": loss_sum, "n_right": chosen, **{n: rewards[:, i].sum() for n, i in alone.items()}}

    def zero_sums(self) -> dict[str, torch.Tensor]:
        """See :meth:`Task.zero_sums`."""
        names = ("loss_sum", "n_right", "n_right_1", "n_right_2", "n_right_constant")
        return {name: torch.zeros((), device=self.device) for name in names}

    def metrics(self, sums: Mapping[str, float], n: int) -> dict[str, float]:
        """See :meth:`Task.metrics`."""
        return {
            "loss": sums["loss_sum"] / n,
            "accuracy": sums["n_right"] / n,
            "expert_1_accuracy": sums["n_right_1"] / n,
            "expert_2_accuracy": sums["n_right_2"] / n,
            "constant_accuracy": sums["n_right_constant"] / n,
        }

    def evaluating(self, held_out: Examples) -> Self:
        """See :meth:`Task.evaluating`."""
        other = super().evaluating(held_out)
        other.evaluated = self._look_at(held_out.to(self.device))
        return other


def build(
    config: TrainConfig,
    model: nn.Module,
    training: Examples,
    held_out: Examples | None,
    *,
    experts: tuple[nn.Module, nn.Module],
) -> Fusion:
    """Return the task of two trained networks."""
    own = config.training
    return Fusion(
        model,
        training,
        held_out,
        seed=config.seed,
        experts=experts,
        n_weights=own.n_weights,
        epsilon=own.epsilon if own.feedback == "taken" else None,
    )
