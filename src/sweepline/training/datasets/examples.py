"""Examples that live whole on the device, images as uint8, and what a data set is. Nothing is shuffled here.

Shapes: N examples, B of them in a batch, (C, H, W) pixels of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch

Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Examples:
    """``inputs`` and ``targets`` of N examples.

    Inputs are images (N, H, W) or (N, C, H, W) uint8, which become float32 as pixels * ``scale`` - ``shift``, or any
    tensor (N, ...) float32, which stays as it is. Targets are classes (N,) int64 below ``n_classes``, or numbers (N, K)
    float32; then ``n_classes`` is 0. ``draw`` makes the examples of an epoch (from 1) anew, where they are drawn.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    scale: float = 1.0
    shift: float = 0.0
    n_classes: int = 0
    draw: Callable[[int], Examples] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input as a network sees it: (C, H, W) of an image."""
        is_gray = self._is_pixels and self.inputs.ndim == 3
        return (1, *self.inputs.shape[1:]) if is_gray else tuple(self.inputs.shape[1:])

    @property
    def n_outputs(self) -> int:
        """How many numbers a network has to return for an example: classes, or K."""
        return self.n_classes or int(self.targets.shape[1])

    @property
    def _is_pixels(self) -> bool:
        import torch

        return self.inputs.dtype == torch.uint8

    def batch(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs float32 and targets of B examples; images (B, C, H, W), channels last."""
        import torch

        if not self._is_pixels:
            return self.inputs[index], self.targets[index]
        pixels = self.inputs[index]
        pixels = (pixels.unsqueeze(1) if pixels.ndim == 3 else pixels).to(torch.float32)
        inputs = pixels.mul_(self.scale).sub_(self.shift)
        return inputs.contiguous(memory_format=torch.channels_last), self.targets[index]

    def of_epoch(self, epoch: int) -> Examples:
        """Return the examples of an epoch: the same ones, unless they are drawn anew each time."""
        return self if self.draw is None else self.draw(epoch).to(self.targets.device)

    def between(self, start: int, stop: int | None = None) -> Examples:
        """Return those from one to before another, without a copy of them."""
        return replace(self, inputs=self.inputs[start:stop], targets=self.targets[start:stop])

    def part(self, index: torch.Tensor) -> Examples:
        """Return some of the examples."""
        return replace(self, inputs=self.inputs[index], targets=self.targets[index])

    def to(self, device: torch.device) -> Examples:
        """Return the examples on a device."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))


class Dataset(Protocol):
    """A data set, as an entry of the registry builds it from the folder of data sets."""

    def prepare(self) -> None:
        """Make sure that it is on this machine, downloading it when it is not. Safe to call at the same time.

        Raises:
            ConfigError: it is not there and cannot be had; says where it was looked for and what to do.
        """

    def load(self, split: Split) -> Examples:
        """Return one of its portions, on the CPU.

        Raises:
            ConfigError: it is not on this machine, or its files are damaged.
        """


def normalized(
    images: Any, labels: Any, *, pixel_max: float, mean: float, deviation: float, n_classes: int
) -> Examples:
    """Return arrays of images (N, H, W) uint8 and classes (N,) as examples with inputs of mean 0 and deviation 1.

    ``mean`` and ``deviation`` are those of the pixels divided by ``pixel_max``.
    """
    import numpy as np
    import torch

    return Examples(
        inputs=torch.from_numpy(images.copy()),
        targets=torch.from_numpy(labels.astype(np.int64)),
        scale=1.0 / (pixel_max * deviation),
        shift=mean / deviation,
        n_classes=n_classes,
    )
