"""Classification: cross-entropy of logits (B, n_classes) against one label each, and how many were right."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

from sweepline.training.tasks.base import Outcome, Task


class Classify(Task):
    """Its sums are ``loss_sum`` float32 and ``n_right`` int64, its metrics ``loss`` and ``accuracy``."""

    def loss(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.loss`."""
        inputs, labels = self.training.batch(index)
        logits = self.model(inputs)
        loss = functional.cross_entropy(logits, labels)
        return Outcome(
            loss, len(index), {"loss_sum": loss.detach() * len(index), "n_right": _n_right(logits.detach(), labels)}
        )

    def evaluate(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.evaluate`.

        Losses are summed by the kernel: a mean times its count would round once more.
        """
        assert self.held_out is not None
        inputs, labels = self.held_out.batch(index)
        logits = self.model(inputs)
        loss_sum = functional.cross_entropy(logits, labels, reduction="sum")
        return Outcome(loss_sum / len(index), len(index), {"loss_sum": loss_sum, "n_right": _n_right(logits, labels)})

    def zero_sums(self) -> dict[str, torch.Tensor]:
        """See :meth:`Task.zero_sums`."""
        return {
            "loss_sum": torch.zeros((), device=self.device),
            "n_right": torch.zeros((), dtype=torch.int64, device=self.device),
        }

    def metrics(self, sums: Mapping[str, float], n: int) -> dict[str, float]:
        """See :meth:`Task.metrics`."""
        return {"loss": sums["loss_sum"] / n, "accuracy": sums["n_right"] / n}


def _n_right(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return (logits.argmax(1) == labels).sum()
