"""From a state to the value of each action. B: batch, A: actions."""

from __future__ import annotations

import math

from torch import nn

from sweepline.training.models.mlp import Mlp
from sweepline.training.models.settings import DqnSettings, Shape


def build(settings: DqnSettings, *, input_shape: Shape, n_outputs: int) -> nn.Module:
    """Return a fresh network from states (B, D) to values (B, A)."""
    return Mlp([math.prod(input_shape), *[settings.width] * (settings.depth - 1), n_outputs])
