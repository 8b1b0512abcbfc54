"""What outputs cost against targets. B: examples of a batch, K: outputs."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch.nn import functional

Reduction = Literal["mean", "sum", "none"]


class PointwiseLoss(Protocol):
    """A loss of each example by itself."""

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor, *, reduction: Reduction) -> torch.Tensor:
        """Return the loss of outputs (B, K): its mean or sum over examples, a scalar, or (B,) with ``none``."""


def cross_entropy(outputs: torch.Tensor, targets: torch.Tensor, *, reduction: Reduction) -> torch.Tensor:
    """Return the cross-entropy of scores against classes (B,)."""
    return functional.cross_entropy(outputs, targets, reduction=reduction)


def mse(outputs: torch.Tensor, targets: torch.Tensor, *, reduction: Reduction) -> torch.Tensor:
    """Return the squared difference to numbers (B, K), its mean over K."""
    return _reduce((outputs - targets).square().mean(1), reduction)


def mse_one_hot(outputs: torch.Tensor, targets: torch.Tensor, *, reduction: Reduction) -> torch.Tensor:
    """Return the squared difference between scores less their mean and the class (B,) as 1 among zeros."""
    outputs = in_single(outputs)
    centered = outputs - outputs.mean(1, keepdim=True)
    wanted = functional.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
    return _reduce((centered - wanted).square().sum(1), reduction)


def in_single(outputs: torch.Tensor) -> torch.Tensor:
    """Return outputs in single precision at least: in half a square overflows, and a sum over a batch is rounded."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


def _reduce(losses: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


LOSSES: dict[str, PointwiseLoss] = {"cross_entropy": cross_entropy, "mse": mse, "mse_one_hot": mse_one_hot}
