"""MNIST and Fashion-MNIST, from the IDX files that torchvision downloads; it is imported only to fetch them.

The format: http://yann.lecun.com/exdb/mnist, "the IDX file format".
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepline.errors import ConfigError
from sweepline.training.datasets.examples import Examples, Split, normalized

_FILES: dict[Split, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_DOWNLOAD_TIMEOUT_S = 30.0  # of one wait for the server; torchvision sets none


def mnist(root: Path) -> IdxDataset:
    """Return MNIST below a folder of data sets."""
    return IdxDataset("mnist", "MNIST", root, mean=0.1307, deviation=0.3081)


def fashion_mnist(root: Path) -> IdxDataset:
    """Return Fashion-MNIST below a folder of data sets."""
    return IdxDataset("fashion_mnist", "FashionMNIST", root, mean=0.2860, deviation=0.3530)


@dataclass(frozen=True)
class IdxDataset:
    """Images of ten classes; see :class:`~sweepline.training.datasets.examples.Dataset`.

    ``torchvision_name`` is the class of torchvision that downloads it, and its folder below ``root``. ``mean`` and
    ``deviation`` are those of the training pixels divided by 255.
    """

    name: str
    torchvision_name: str
    root: Path
    mean: float
    deviation: float

    @property
    def _raw(self) -> Path:
        return self.root / self.torchvision_name / "raw"

    def prepare(self) -> None:
        """Download it where it is not there; one process does, and others wait for it."""
        if self._has_files():
            return
        from filelock import FileLock

        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / f".{self.name}.lock"):
                if not self._has_files():
                    self._download()
        except OSError as error:
            raise self._unavailable(f"{type(error).__name__}: {error}") from None

    def load(self, split: Split) -> Examples:
        """Return one of its portions."""
        images, labels = (_read_idx(self._raw / file) for file in _FILES[split])
        if len(images) != len(labels):
            raise ConfigError(f"{self._raw / _FILES[split][1]}: {len(labels)} labels for {len(images)} images")
        return normalized(images, labels, pixel_max=255.0, mean=self.mean, deviation=self.deviation, n_classes=10)

    def _has_files(self) -> bool:
        return all((self._raw / file).is_file() for files in _FILES.values() for file in files)

    def _download(self) -> None:
        try:
            from torchvision import datasets
        except ImportError:
            raise self._unavailable("torchvision is not installed") from None
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
        try:
            getattr(datasets, self.torchvision_name)(self.root, train=True, download=True)
        except (OSError, RuntimeError) as error:
            raise self._unavailable(" ".join(str(error).split())[:300]) from None
        finally:
            socket.setdefaulttimeout(before)

    def _unavailable(self, why: str) -> ConfigError:
        folder = f"{self.torchvision_name}/raw"
        return ConfigError(
            f"data {self.name}: no {folder} under {self.root.resolve()}, and it cannot be downloaded ({why}); "
            f"set data.root or SWEEPLINE_DATA to a folder that holds {folder}, or use data.name=digits"
        )


def _read_idx(path: Path) -> Any:
    """Return the array of an IDX file of unsigned bytes: magic 0 0 8 n, then n sizes, then the data."""
    import numpy as np

    raw = path.read_bytes()
    n_dims = raw[3] if raw[:3] == b"\x00\x00\x08" and len(raw) > 3 else 0
    header = 4 + 4 * n_dims
    shape = struct.unpack(f">{n_dims}I", raw[4:header]) if n_dims and len(raw) >= header else ()
    if not shape or len(raw) != header + int(np.prod(shape)):
        raise ConfigError(f"{path}: is damaged ({len(raw)} bytes); delete it and let it be downloaded again")
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)
