"""A convolutional autoencoder. B: batch, C: channels, H, W: height and width in pixels."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from sweepline.training.models.settings import AutoencoderSettings, Shape, image_shape


class ConvAutoencoder(nn.Module):
    """Two convolutions that halve the image, a code of ``latent`` numbers, and the way back."""

    def __init__(self, *, width: int, latent: int, input_shape: Shape) -> None:
        super().__init__()
        channels, height, wide = image_shape(input_shape)
        half = (-(-height // 2), -(-wide // 2))
        self._halves, self._full = half, (height, wide)
        self._quarter = (2 * width, -(-half[0] // 2), -(-half[1] // 2))
        n_hidden = self._quarter[0] * self._quarter[1] * self._quarter[2]
        self.conv1 = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.code = nn.Linear(n_hidden, latent)
        self.decode = nn.Linear(latent, n_hidden)
        self.up1 = nn.Conv2d(2 * width, width, 3, padding=1)
        self.up2 = nn.Conv2d(width, channels, 3, padding=1)

    def encode(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return codes (B, latent)."""
        hidden = functional.relu(self.conv2(functional.relu(self.conv1(inputs))))
        codes: torch.Tensor = self.code(hidden.flatten(1))
        return codes

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, C, H, W) for inputs of that shape."""
        hidden = functional.relu(self.decode(self.encode(inputs))).reshape(-1, *self._quarter)
        hidden = functional.relu(self.up1(functional.interpolate(hidden, size=self._halves)))
        outputs: torch.Tensor = self.up2(functional.interpolate(hidden, size=self._full))
        return outputs


def build(settings: AutoencoderSettings, *, input_shape: Shape, n_outputs: int) -> ConvAutoencoder:  # noqa: ARG001
    """Return a fresh network, its weights drawn from torch's global generator."""
    return ConvAutoencoder(width=settings.width, latent=settings.latent, input_shape=input_shape)
