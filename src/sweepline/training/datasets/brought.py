"""Data sets that users bring: a function from a portion's name to inputs and targets, checked and made examples of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweepline.errors import ConfigError
from sweepline.training import plugins
from sweepline.training.datasets.examples import Examples, Split

if TYPE_CHECKING:
    import torch

SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True)
class BroughtDataset:
    """What a user's function returns for ``split="train"`` and ``"test"``; see :class:`Dataset`."""

    what: str
    function: Callable[..., Any]
    offered: Mapping[str, Any]
    args: Mapping[str, Any]

    def prepare(self) -> None:
        """Check the arguments; what has to be downloaded is when it is loaded."""
        if "split" not in plugins.parameters_of(self.function):
            raise ConfigError(f"{self.what}: must take split, which is 'train' or 'test'")
        plugins.check_arguments(self.function, self.what, {**self.offered, "split": "train"}, self.args)

    def load(self, split: Split) -> Examples:
        """Return one of its portions.

        Raises:
            ConfigError: the function fails, or returns no examples.
        """
        import torch

        from sweepline.training.seeding import seed_everything, unchanged_randomness

        with unchanged_randomness(torch.device("cpu")):
            seed_everything(0)  # the same for both portions and every run, so that a split at random stays one
            found = plugins.call(self.function, self.what, {**self.offered, "split": split}, self.args)
        if isinstance(found, Examples):
            return found
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise ConfigError(f"{self.what}: returns a {type(found).__name__}, not (inputs, targets)")
        inputs, targets = (_as_tensor(self.what, name, value) for name, value in zip(_NAMES, found, strict=True))
        return _checked(self.what, split, inputs, targets)


_NAMES = ("inputs", "targets")


def _as_tensor(what: str, name: str, value: Any) -> torch.Tensor:
    import numpy as np
    import torch

    try:
        return value.detach().cpu() if torch.is_tensor(value) else torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{what}: its {name} are no array: {' '.join(str(error).split())[:200]}") from None


def _checked(what: str, split: Split, inputs: torch.Tensor, targets: torch.Tensor) -> Examples:
    """Return examples: inputs of bytes or numbers, targets of classes or numbers."""
    import torch

    shapes = f"inputs {tuple(inputs.shape)}, targets {tuple(targets.shape)} for split {split}"
    if inputs.ndim < 2 or len(inputs) != len(targets) or not len(inputs):
        raise ConfigError(f"{what}: needs inputs (N, ...) and as many targets, got {shapes}")
    if inputs.is_complex() or inputs.layout != torch.strided or targets.layout != torch.strided:
        raise ConfigError(f"{what}: inputs are real numbers, and arrays are dense; got {inputs.dtype}, {inputs.layout}")
    if inputs.dtype != torch.uint8:
        inputs = inputs.to(torch.float32)
    scale = 1 / 255 if inputs.dtype == torch.uint8 else 1.0
    if not targets.is_floating_point():
        classes = targets.to(torch.int64)
        if targets.ndim != 1 or int(classes.min()) < 0:
            raise ConfigError(f"{what}: classes are (N,) whole numbers from 0 on, got {shapes}")
        return Examples(inputs, classes, scale=scale, n_classes=int(classes.max()) + 1)
    numbers = targets.to(torch.float32)
    if numbers.ndim > 2:
        raise ConfigError(f"{what}: targets are classes (N,) or numbers (N, K), got {shapes}")
    return Examples(inputs, numbers if numbers.ndim == 2 else numbers.unsqueeze(1), scale=scale)
