"""The keys of each model, apart from the networks themselves, which need torch."""

from __future__ import annotations

from sweepline.training.settings import ModelSettings, key


class SimpleCNNSettings(ModelSettings):
    """Two convolutions and two linear layers."""

    width: int = key(
        32, "Filters of the first convolution; the second has twice as many. At least 1.", memory="value", ge=1
    )

    @property
    def size_word(self) -> str:
        """See :attr:`ModelSettings.size_word`."""
        return f"width_{self.width}"

    def n_parameters(self, image_size: tuple[int, int], n_classes: int) -> int:
        """Return how many weights and biases the network has, for images of (H, W) pixels."""
        width, (height, wide) = self.width, image_size
        convolutions = (9 + 1) * width + (9 * width + 1) * 2 * width
        return convolutions + (2 * width * (height // 4) * (wide // 4) + 1) * 128 + (128 + 1) * n_classes
