"""Digits: the 8x8 images that come with scikit-learn, so that nothing need be downloaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from sweepline.errors import ConfigError
from sweepline.training.datasets.examples import Examples, Split, normalized

_N_TRAINING = 1500  # of 1797, in the order of the file
_MEAN, _DEVIATION = 0.3053, 0.3760  # of all pixels, divided by 16


class Digits:
    """See :class:`~sweepline.training.datasets.examples.Dataset`; the folder of data sets does not matter."""

    def __init__(self, root: Path) -> None:
        pass

    def prepare(self) -> None:
        """It is there as soon as scikit-learn is."""

    def load(self, split: Split) -> Examples:
        """Return the first 1500 images, or the 297 others."""
        part = slice(0, _N_TRAINING) if split == "train" else slice(_N_TRAINING, None)
        images, labels = (array[part] for array in _read_digits())
        return normalized(images, labels, pixel_max=16.0, mean=_MEAN, deviation=_DEVIATION, n_classes=10)


def _read_digits() -> tuple[Any, Any]:
    """Return scikit-learn's digits, (1797, 8, 8) and (1797,) uint8, without importing scikit-learn (2 s)."""
    import numpy as np

    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise ConfigError("data digits: comes with scikit-learn: pip install 'sweepline[training]'")
    table = np.loadtxt(
        Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",", dtype=np.uint8
    )
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1]
