"""MNIST and Fashion-MNIST: their files, and what happens where they are not."""

from __future__ import annotations

import struct
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sweepline.errors import ConfigError
from sweepline.training.config.loading import load_config
from sweepline.training.datasets.examples import Examples
from sweepline.training.datasets.splits import load_data, prepare_data

N_TRAIN, N_TEST = 6, 4
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def load(*overrides: str) -> tuple[Examples, Examples | None, Examples]:
    return load_data(load_config(None, overrides))


def inputs_of(examples: Examples) -> torch.Tensor:
    return examples.batch(torch.arange(len(examples)))[0]


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def images(n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)


def labels(n: int) -> NDArray[np.uint8]:
    return np.arange(n, dtype=np.uint8) % 10


@pytest.fixture
def idx_root(tmp_path: Path) -> Path:
    """A data folder with a tiny made-up Fashion-MNIST of the real layout."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    contents = (images(N_TRAIN), labels(N_TRAIN), images(N_TEST), labels(N_TEST))
    for name, array in zip(IDX_FILES, contents, strict=True):
        (raw / name).write_bytes(idx_bytes(array))
    return tmp_path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Downloads go through a proxy that is not there, so that they fail at once on every machine."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    urllib.request.install_opener(urllib.request.build_opener())
    yield
    urllib.request.install_opener(None)  # type: ignore[arg-type]


# IDX files


def test_idx_files_are_read_as_they_were_written(idx_root: Path) -> None:
    train, _, test = load("data.name=fashion_mnist", f"data.root={idx_root}")
    np.testing.assert_array_equal(train.inputs.numpy(), images(N_TRAIN))
    np.testing.assert_array_equal(test.targets.numpy(), labels(N_TEST))


@pytest.mark.parametrize("file", IDX_FILES)
@pytest.mark.parametrize("n_bytes", [0, 3, 4, 7, -1])
def test_a_truncated_idx_file_is_named(idx_root: Path, file: str, n_bytes: int) -> None:
    path = idx_root / "FashionMNIST" / "raw" / file
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(ConfigError) as caught:
        load("data.name=fashion_mnist", f"data.root={idx_root}")
    assert caught.value.args[0].startswith(f"{path}: is damaged")


@pytest.mark.parametrize("prefix", [b"\x1f\x8b", b"\x00\x00\x0d", b"<html>"])
def test_a_file_that_is_no_idx_file_is_named(idx_root: Path, prefix: bytes) -> None:
    path = idx_root / "FashionMNIST" / "raw" / IDX_FILES[0]
    path.write_bytes(prefix + path.read_bytes()[len(prefix) :])
    with pytest.raises(ConfigError) as caught:
        load("data.name=fashion_mnist", f"data.root={idx_root}")
    assert caught.value.args[0].startswith(f"{path}: is damaged")


def test_an_idx_file_with_bytes_too_many_is_named(idx_root: Path) -> None:
    path = idx_root / "FashionMNIST" / "raw" / IDX_FILES[0]
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(ConfigError) as caught:
        load("data.name=fashion_mnist", f"data.root={idx_root}")
    assert caught.value.args[0].startswith(f"{path}: is damaged")


def test_images_and_labels_that_differ_in_number_are_refused(idx_root: Path) -> None:
    path = idx_root / "FashionMNIST" / "raw" / "train-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(labels(N_TRAIN - 1)))
    with pytest.raises(ConfigError, match=r"idx"):
        load("data.name=fashion_mnist", f"data.root={idx_root}")


@pytest.mark.parametrize(("part", "is_train"), [(0, True), (2, False)])
def test_mnist_is_what_torchvision_reads(mnist_root: Path, part: int, is_train: bool) -> None:
    from torchvision.datasets import MNIST

    expected = MNIST(mnist_root, train=is_train, download=False)
    found = load("data.name=mnist", f"data.root={mnist_root}")[part]
    assert isinstance(found, Examples)
    assert torch.equal(found.inputs, expected.data)
    assert torch.equal(found.targets, expected.targets)


def test_normalised_mnist_has_mean_0_and_deviation_1(mnist_root: Path) -> None:
    train, _, _ = load("data.name=mnist", f"data.root={mnist_root}")
    inputs = inputs_of(train)
    assert (inputs.mean().item(), inputs.std().item()) == pytest.approx((0.0, 1.0), abs=5e-3)


def test_mnist_is_normalised_with_0_1307_and_0_3081(mnist_root: Path) -> None:
    train, _, _ = load("data.name=mnist", f"data.root={mnist_root}", "data.limit=5")
    expected = (train.inputs.unsqueeze(1) / 255 - 0.1307) / 0.3081
    torch.testing.assert_close(inputs_of(train), expected, check_stride=False)


# Data that cannot be had


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw")])
def test_data_that_cannot_be_had_gives_one_sentence_with_the_folder_and_the_way_out(
    tmp_path: Path, name: str, folder: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare_data(load_config(None, [f"data.name={name}", f"data.root={tmp_path}"]))
    (fault,) = caught.value.faults
    assert fault.startswith(f"data {name}: no {folder} under {tmp_path}, and it cannot be downloaded (")
    assert fault.endswith(f"set data.root or SWEEPLINE_DATA to a folder that holds {folder}, or use data.name=digits")
    assert "\n" not in fault


@pytest.mark.usefixtures("no_network")
def test_data_that_cannot_be_had_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Connection refused"):
        prepare_data(load_config(None, ["data.name=mnist", f"data.root={tmp_path}"]))


def test_a_data_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "file"
    root.write_text("")
    with pytest.raises(ConfigError, match=r"NotADirectoryError|FileExistsError"):
        prepare_data(load_config(None, ["data.name=mnist", f"data.root={root}"]))


def test_data_that_is_there_is_not_fetched_again(idx_root: Path) -> None:
    before = sorted(idx_root.rglob("*"))
    prepare_data(load_config(None, ["data.name=fashion_mnist", f"data.root={idx_root}"]))
    assert sorted(idx_root.rglob("*")) == before
