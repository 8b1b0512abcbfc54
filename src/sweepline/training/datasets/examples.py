"""Data sets that live whole on the device as uint8. Shapes: N examples, (H, W) pixels, one class label each.

MNIST and Fashion-MNIST are read from the IDX files that torchvision downloads; torchvision itself is imported only to
fetch them. Nothing is shuffled here.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepline.errors import ConfigError
from sweepline.training.config.schema import TrainConfig

if TYPE_CHECKING:
    import torch

_IDX_FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
_IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# Mean and standard deviation of the training pixels (of digits: of all pixels), scaled to [0, 1].
_STATISTICS = {"mnist": (0.1307, 0.3081), "fashion_mnist": (0.2860, 0.3530), "digits": (0.3053, 0.3760)}
_PIXEL_MAX = {"mnist": 255.0, "fashion_mnist": 255.0, "digits": 16.0}
_DIGITS_TRAINING = 1500
N_CLASSES = 10
_DOWNLOAD_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Examples:
    """``images`` (N, H, W) uint8, ``labels`` (N,) int64, and how to turn pixels into inputs."""

    images: torch.Tensor
    labels: torch.Tensor
    scale: float
    shift: float

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
        return Examples(self.images[index], self.labels[index], self.scale, self.shift)

    def to(self, device: torch.device) -> Examples:
        """Return the examples on a device."""
        return Examples(self.images.to(device), self.labels.to(device), self.scale, self.shift)


Splits = tuple[Examples, Examples | None, Examples]  # training, held out of it, test


def data_root(config: TrainConfig) -> Path:
    """Return the folder of data sets: ``data.root``, else ``$SWEEPLINE_DATA``, else ``./data``."""
    return Path(config.data.root or os.environ.get("SWEEPLINE_DATA") or "data").expanduser()


def prepare_data(config: TrainConfig) -> None:
    """Make sure that the data set is on this machine, downloading it when it is not. Safe to call at the same time.

    Raises:
        ConfigError: it is not there and cannot be had; says where it was looked for and what to do.
    """
    name = config.data.name
    if name == "digits":
        return
    root = data_root(config)
    if _has_idx_files(root, name):
        return
    from filelock import FileLock

    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name}.lock"):
            if not _has_idx_files(root, name):
                _download(root, name)
    except OSError as error:
        raise _unavailable(root, name, f"{type(error).__name__}: {error}") from None


def load_data(config: TrainConfig) -> Splits:
    """Return the training, held-out (None without ``valid_fraction``) and test examples, on the CPU.

    Raises:
        ConfigError: the data set is not on this machine, or its files are damaged.
    """
    import torch

    prepare_data(config)
    train = _load_split(config, "train")
    if config.data.limit is not None:
        train = train.part(torch.arange(min(config.data.limit, len(train))))
    valid = None
    n_valid = round(len(train) * config.data.valid_fraction)
    if config.data.valid_fraction and not 0 < n_valid < len(train):
        raise ConfigError(
            f"data.valid_fraction={config.data.valid_fraction} of {len(train)} examples holds out {n_valid}; "
            "at least one must be held out and one left to train on"
        )
    if n_valid:
        # The last examples in an order of their own that no seed changes: every run holds out the same ones.
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
        valid, train = train.part(order[-n_valid:].sort().values), train.part(order[:-n_valid].sort().values)
    return train, valid, _load_split(config, "test")


def pick_held_out(config: TrainConfig, data: Splits) -> Examples | None:
    """Return what of :func:`load_data` is evaluated; None where nothing is."""
    _, valid, test = data
    return (valid if config.evaluate.split == "valid" else test) if config.evaluate.every else None


def _load_split(config: TrainConfig, split: str) -> Examples:
    import numpy as np
    import torch

    name = config.data.name
    if name == "digits":
        part = slice(0, _DIGITS_TRAINING) if split == "train" else slice(_DIGITS_TRAINING, None)
        images, labels = (array[part] for array in _read_digits())
    else:
        folder = data_root(config) / _IDX_FOLDERS[name] / "raw"
        images, labels = (_read_idx(folder / file) for file in _IDX_FILES[split])
        if len(images) != len(labels):
            raise ConfigError(f"{folder / _IDX_FILES[split][1]}: {len(labels)} labels for {len(images)} images")
    mean, deviation = _STATISTICS[name]
    return Examples(
        images=torch.from_numpy(images.copy()),
        labels=torch.from_numpy(labels.astype(np.int64)),
        scale=1.0 / (_PIXEL_MAX[name] * deviation),
        shift=mean / deviation,
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


def _has_idx_files(root: Path, name: str) -> bool:
    folder = root / _IDX_FOLDERS[name] / "raw"
    return all((folder / file).is_file() for files in _IDX_FILES.values() for file in files)


def _download(root: Path, name: str) -> None:
    try:
        from torchvision import datasets
    except ImportError:
        raise _unavailable(root, name, "torchvision is not installed") from None
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    try:
        {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}[name](root, train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise _unavailable(root, name, " ".join(str(error).split())[:300]) from None
    finally:
        socket.setdefaulttimeout(before)


def _unavailable(root: Path, name: str, why: str) -> ConfigError:
    folder = f"{_IDX_FOLDERS[name]}/raw"
    return ConfigError(
        f"data {name}: no {folder} under {root.resolve()}, and it cannot be downloaded ({why}); set data.root or "
        f"SWEEPLINE_DATA to a folder that holds {folder}, or use data.name=digits"
    )
