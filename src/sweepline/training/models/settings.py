"""The settings of each model, apart from the networks themselves, which need torch.

The config's section ``model`` has the keys of all models; one that is null there has the default of the model here.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal

from sweepline.errors import ConfigError
from sweepline.training.settings import ModelSettings

ADAMS = ("adam", "adamw", "nadam", "radam", "adamax")
SCALED_OPTIMIZERS = ("sgd", *ADAMS)
"""Those for which it is known how step sizes follow from an MLP's width and richness."""
Shape = tuple[int, ...]
"""Of one example: (C, H, W) of an image, (D,) of a vector."""


def image_shape(shape: Shape) -> tuple[int, int, int]:
    """Return the shape of an image as (C, H, W).

    Raises:
        ConfigError: inputs are no images.
    """
    if len(shape) != 3:
        raise ConfigError(f"model.name: needs images, inputs are of shape {shape}; use mlp, or another data.name")
    channels, height, wide = shape
    return channels, height, wide


class SimpleCNNSettings(ModelSettings):
    """Two convolutions and two linear layers; ``width`` filters in the first, twice as many in the second."""

    width: int = 32

    @property
    def size_word(self) -> str:
        """See :attr:`ModelSettings.size_word`."""
        return f"width_{self.width}"

    def n_parameters(self, input_shape: Shape, n_classes: int) -> int:
        """See :meth:`ModelSettings.n_parameters`."""
        width, (channels, height, wide) = self.width, image_shape(input_shape)
        convolutions = (9 * channels + 1) * width + (9 * width + 1) * 2 * width
        return convolutions + (2 * width * (height // 4) * (wide // 4) + 1) * 128 + (128 + 1) * n_classes


class MlpSettings(ModelSettings):
    """``depth`` layers with weights, all but the last of ``width`` units."""

    width: int = 32
    depth: int = 3
    parametrization: Literal["standard", "sp", "mup"] = "standard"
    gamma: float = 1.0

    @property
    def size_word(self) -> str:
        """See :attr:`ModelSettings.size_word`."""
        own = "" if self.parametrization == "standard" else f"_{self.parametrization}_gamma_{self.gamma:g}"
        return f"width_{self.width}_depth_{self.depth}{own}"

    def n_parameters(self, input_shape: Shape, n_classes: int) -> int:
        """See :meth:`ModelSettings.n_parameters`."""
        units = [math.prod(input_shape), *[self.width] * (self.depth - 1), n_classes]
        n_bias = 1 if self.parametrization == "standard" else 0
        return sum((before + n_bias) * after for before, after in itertools.pairwise(units))


def no_hidden_layer(depth: int) -> str:
    """Return a sentence on a scaled MLP that has no hidden layer."""
    return f"model.depth {depth}: sp and mup need a hidden layer; use 2 or more"


def no_scaling_rule(parametrization: str, optimizer: str) -> str:
    """Return a sentence on an optimizer that is none of :data:`SCALED_OPTIMIZERS`."""
    return f"model.parametrization {parametrization}: no rule for {optimizer}; use sgd or adam"


class TransformerSettings(ModelSettings):
    """``depth`` blocks of ``width`` features in ``heads`` heads, over square patches of ``patch`` pixels."""

    width: int = 32
    depth: int = 2
    heads: int = 4
    patch: int = 4

    @property
    def size_word(self) -> str:
        """See :attr:`ModelSettings.size_word`."""
        return f"width_{self.width}_depth_{self.depth}_heads_{self.heads}_patch_{self.patch}"


class AutoencoderSettings(ModelSettings):
    """``width`` filters in the first of two convolutions, ``latent`` numbers in the code."""

    width: int = 32
    latent: int = 16

    @property
    def size_word(self) -> str:
        """See :attr:`ModelSettings.size_word`."""
        return f"width_{self.width}_latent_{self.latent}"


class DqnSettings(ModelSettings):
    """``depth`` linear layers of ``width`` units, from a state to the value of each action."""

    width: int = 32
    depth: int = 2

    @property
    def size_word(self) -> str:
        """See :attr:`ModelSettings.size_word`."""
        return f"width_{self.width}_depth_{self.depth}"


TRANSFORMER = (TransformerSettings, ("normal", "curriculum"))
