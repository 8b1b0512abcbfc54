"""A small convolutional network for images. B: batch, C: channels, H, W: height and width in pixels."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from sweepline.training.models.settings import Shape, SimpleCNNSettings, image_shape


class SimpleCNN(nn.Module):
    """Two 3x3 convolutions with ReLU and 2x2 max-pooling, then two linear layers.

    With width 32 on 28x28 images: 1-32-64 filters, 3136-128-10 units, 421,642 parameters.
    """

    def __init__(self, *, width: int, input_shape: Shape, n_outputs: int) -> None:
        super().__init__()
        channels, height, wide = image_shape(input_shape)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.fc1 = nn.Linear(2 * width * (height // 4) * (wide // 4), 128)
        self.fc2 = nn.Linear(128, n_outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits (B, n_outputs) for inputs (B, C, H, W).

        ReLU comes after the pooling: the same values and gradients on a quarter of the elements.
        """
        hidden = functional.relu(functional.max_pool2d(self.conv1(inputs), 2))
        hidden = functional.relu(functional.max_pool2d(self.conv2(hidden), 2))
        logits: torch.Tensor = self.fc2(functional.relu(self.fc1(hidden.flatten(1))))
        return logits


def build(settings: SimpleCNNSettings, *, input_shape: Shape, n_outputs: int) -> SimpleCNN:
    """Return a freshly initialised network, its weights drawn from torch's global generator.

    Channels last, as its inputs come.
    """
    model = SimpleCNN(width=settings.width, input_shape=input_shape, n_outputs=n_outputs)
    return model.to(memory_format=torch.channels_last)
