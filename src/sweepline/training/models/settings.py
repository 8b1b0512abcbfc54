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
