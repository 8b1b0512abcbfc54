"""Examples that live whole on the device as uint8, and what a data set is. Nothing is shuffled here.

Shapes: N examples, B of them in a batch, (H, W) pixels, one class label each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch

Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Examples:
    """``images`` (N, H, W) uint8, ``labels`` (N,) int64 below ``n_classes``; inputs are pixels * scale - shift."""

    images: torch.Tensor
    labels: torch.Tensor
    scale: float
    shift: float
    n_classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs (B, 1, H, W) float32 with mean 0 and deviation 1, channels last, and labels (B,)."""
        import torch

        pixels = self.images[index].unsqueeze(1).to(torch.float32)
        inputs = pixels.mul_(self.scale).sub_(self.shift)
        return inputs.contiguous(memory_format=torch.channels_last), self.labels[index]

    def part(self, index: torch.Tensor) -> Examples:
        """Return some of the examples."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def to(self, device: torch.device) -> Examples:
        """Return the examples on a device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


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
    """Return arrays of images (N, H, W) uint8 and labels (N,) as examples with inputs of mean 0 and deviation 1.

    ``mean`` and ``deviation`` are those of the pixels divided by ``pixel_max``.
    """
    import numpy as np
    import torch

    return Examples(
        images=torch.from_numpy(images.copy()),
        labels=torch.from_numpy(labels.astype(np.int64)),
        scale=1.0 / (pixel_max * deviation),
        shift=mean / deviation,
        n_classes=n_classes,
    )
