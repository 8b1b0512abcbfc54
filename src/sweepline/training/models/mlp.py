"""A multilayer perceptron: plain, or as the scaling studies have it. N: width, L: depth, B: batch.

For the studies there are no biases and all weights are drawn from N(0, 1). A hidden layer computes
relu(W h / sqrt(n)), n being its inputs; the readout is divided by gamma sqrt(N) (``sp``) or gamma N (``mup``). gamma is
the richness of what is learned: with a small one features hardly move. Which step size a layer needs follows from
that, see :meth:`ScaledMlp.step_factors`. After Yang and Hu 2021, "Tensor Programs IV", and for
gamma Bordelon and Pehlevan 2022, "Self-consistent dynamical field theory of kernel evolution in wide neural networks".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from sweepline.errors import ConfigError
from sweepline.training.models.settings import ADAMS, MlpSettings, Shape, no_hidden_layer, no_scaling_rule


class Mlp(nn.Module):
    """Linear layers with biases and ReLU between them, initialized as torch does."""

    def __init__(self, units: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(units))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return outputs (B, K) for inputs (B, ...)."""
        hidden = inputs.flatten(1)
        for layer in self.layers[:-1]:
            hidden = functional.relu(layer(hidden))
        outputs: torch.Tensor = self.layers[-1](hidden)
        return outputs


class ScaledMlp(nn.Module):
    """The network of the scaling studies, in standard or in maximal-update parametrization."""

    def __init__(self, units: list[int], *, parametrization: str, gamma: float) -> None:
        super().__init__()
        self.parametrization, self.gamma, self.width = parametrization, gamma, units[-2]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(after, before)) for before, after in itertools.pairwise(units)
        )
        self.readout = gamma * (math.sqrt(self.width) if parametrization == "sp" else self.width)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return outputs (B, K) for inputs (B, ...)."""
        return list(self.activations(inputs))[-1]

    def activations(self, inputs: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield what each layer computes, before the nonlinearity, and at last the outputs."""
        hidden = inputs.flatten(1)
        for weight in self.weights[:-1]:
            before = functional.linear(hidden, weight) / math.sqrt(weight.shape[1])
            yield before
            hidden = functional.relu(before)
        yield functional.linear(hidden, self.weights[-1]) / self.readout

    def step_factors(self, optimizer: str) -> list[tuple[nn.Parameter, float]]:
        """Return each weight with what its step size is multiplied by.

        SGD: gamma^2, or gamma^(2/L) of a gamma above 1; times N in mup. Adam and its kin: gamma, or gamma^(1/L); in mup
        the hidden layers' is divided by sqrt(N).

        Raises:
            ConfigError: the rule for such an optimizer is not known.
        """
        depth, n = len(self.weights), self.width
        is_mup = self.parametrization == "mup"
        power = 1.0 if self.gamma <= 1 else 1.0 / depth
        if optimizer == "sgd":
            factor = self.gamma ** (2 * power) * (n if is_mup else 1)
            return [(weight, factor) for weight in self.weights]
        if optimizer not in ADAMS:
            raise ConfigError(no_scaling_rule(self.parametrization, optimizer))
        hidden = 1 / math.sqrt(n) if is_mup else 1.0
        own = [1.0, *[hidden] * (depth - 2), 1.0]
        return [(weight, f * self.gamma**power) for weight, f in zip(self.weights, own, strict=True)]


def build(settings: MlpSettings, *, input_shape: Shape, n_outputs: int) -> nn.Module:
    """Return a fresh network, its weights drawn from torch's global generator.

    Raises:
        ConfigError: it would have no hidden layer where that is needed.
    """
    units = [math.prod(input_shape), *[settings.width] * (settings.depth - 1), n_outputs]
    if settings.parametrization == "standard":
        return Mlp(units)
    if settings.depth < 2:
        raise ConfigError(no_hidden_layer(settings.depth))
    return ScaledMlp(units, parametrization=settings.parametrization, gamma=settings.gamma)
