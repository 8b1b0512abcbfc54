"""The data sets: shapes, splits, normalisation, the IDX reader against torchvision's, and data that cannot be had."""

from __future__ import annotations

import struct
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sweepline.errors import ConfigError
from sweepline.training.config import load_config
from sweepline.training.data import Examples, load_data, prepare_data

N_TRAIN, N_TEST = 6, 4
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def load(*overrides: str) -> tuple[Examples, Examples | None, Examples]:
    return load_data(load_config(None, overrides))


def load_with_held_out(*overrides: str) -> tuple[Examples, Examples]:
    """Return the training and the held-out examples."""
    train, valid, _ = load(*overrides)
    assert valid is not None
    return train, valid


def inputs_of(examples: Examples) -> torch.Tensor:
    return examples.batch(torch.arange(len(examples)))[0]


def rows(*parts: Examples) -> list[bytes]:
    """Return the examples of all parts as sorted strings of pixels and label."""
    return sorted(
        bytes(image) + bytes([label])
        for part in parts
        for image, label in zip(part.images.numpy(), part.labels.tolist(), strict=True)
    )


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


# Digits


def test_digits_are_1500_training_and_297_test_images_of_8x8() -> None:
    train, valid, test = load("data.name=digits")
    assert (train.images.shape, valid, test.images.shape) == ((1500, 8, 8), None, (297, 8, 8))


def test_digits_are_bytes_with_integer_labels() -> None:
    train, _, _ = load("data.name=digits")
    assert (train.images.dtype, train.labels.dtype) == (torch.uint8, torch.int64)


def test_digits_use_the_whole_range_of_pixels() -> None:
    train, _, _ = load("data.name=digits")
    assert (int(train.images.min()), int(train.images.max())) == (0, 16)


@pytest.mark.parametrize("part", [0, 2])
def test_digits_have_all_ten_classes_in_both_portions(part: int) -> None:
    examples = load("data.name=digits")[part]
    assert isinstance(examples, Examples)
    assert examples.labels.unique().tolist() == list(range(10))


def test_digits_are_those_of_scikit_learn() -> None:
    with warnings.catch_warnings(action="ignore"):
        from sklearn.datasets import load_digits
    expected = load_digits()
    train, _, test = load("data.name=digits")
    found = torch.cat([train.images, test.images]).numpy(), torch.cat([train.labels, test.labels]).numpy()
    np.testing.assert_array_equal(found[0], expected.images)
    np.testing.assert_array_equal(found[1], expected.target)


def test_loading_digits_imports_neither_scikit_learn_nor_torchvision() -> None:
    code = (
        "import sys; from sweepline.training.config import load_config; from sweepline.training.data import load_data; "
        "load_data(load_config(None, ['data.name=digits'])); "
        "print(sorted({'sklearn', 'torchvision'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


# Batches


def test_normalised_digits_have_mean_0_and_deviation_1() -> None:
    inputs = inputs_of(load("data.name=digits")[0])
    assert (inputs.mean().item(), inputs.std().item()) == pytest.approx((0.0, 1.0), abs=5e-3)


def test_a_batch_has_one_channel_and_the_asked_examples_in_the_asked_order() -> None:
    train, _, _ = load("data.name=digits")
    index = torch.tensor([5, 2, 2])
    inputs, found = train.batch(index)
    assert (inputs.shape, inputs.dtype, found.tolist()) == ((3, 1, 8, 8), torch.float32, train.labels[index].tolist())


def test_making_a_batch_leaves_the_stored_pixels_alone() -> None:
    train, _, _ = load("data.name=digits")
    before = train.images.clone()
    train.batch(torch.arange(10))
    assert torch.equal(train.images, before)


# Splits


def test_limit_keeps_the_first_examples_of_the_training_portion() -> None:
    everything = load("data.name=digits")[0]
    limited = load("data.name=digits", "data.limit=7")[0]
    assert torch.equal(limited.images, everything.images[:7])


def test_limit_leaves_the_test_portion_whole() -> None:
    _, _, test = load("data.name=digits", "data.limit=7")
    assert len(test) == 297


def test_a_limit_above_the_number_of_examples_keeps_all() -> None:
    train, _, _ = load("data.name=digits", "data.limit=100000")
    assert len(train) == 1500


@pytest.mark.parametrize(("fraction", "n_valid"), [(0.2, 300), (0.001, 2), (0.9, 1350)])
def test_valid_fraction_is_a_share_of_the_training_portion(fraction: float, n_valid: int) -> None:
    train, valid = load_with_held_out("data.name=digits", f"data.valid_fraction={fraction}")
    assert (len(train), len(valid)) == (1500 - n_valid, n_valid)


def test_valid_fraction_is_taken_from_what_limit_leaves() -> None:
    train, valid = load_with_held_out("data.name=digits", "data.limit=50", "data.valid_fraction=0.2")
    assert (len(train), len(valid)) == (40, 10)


def test_training_and_held_out_examples_are_disjoint_and_together_the_training_portion() -> None:
    everything = load("data.name=digits")[0]
    train, valid = load_with_held_out("data.name=digits", "data.valid_fraction=0.2")
    assert rows(train, valid) == rows(everything)


def test_the_held_out_examples_are_the_same_for_every_seed() -> None:
    _, first = load_with_held_out("data.name=digits", "data.valid_fraction=0.2", "seed=1")
    torch.manual_seed(12345)
    _, second = load_with_held_out("data.name=digits", "data.valid_fraction=0.2", "seed=2")
    assert torch.equal(first.images, second.images)


def test_the_held_out_examples_hold_every_class() -> None:
    _, valid = load_with_held_out("data.name=digits", "data.valid_fraction=0.2")
    assert valid.labels.unique().tolist() == list(range(10))


def test_a_held_out_part_that_takes_every_example_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"valid_fraction"):
        load("data.name=digits", "data.limit=1", "data.valid_fraction=0.9")


def test_a_held_out_part_without_examples_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"valid_fraction"):
        load("data.name=digits", "data.limit=10", "data.valid_fraction=0.01")


# IDX files


def test_idx_files_are_read_as_they_were_written(idx_root: Path) -> None:
    train, _, test = load("data.name=fashion_mnist", f"data.root={idx_root}")
    np.testing.assert_array_equal(train.images.numpy(), images(N_TRAIN))
    np.testing.assert_array_equal(test.labels.numpy(), labels(N_TEST))


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
    assert torch.equal(found.images, expected.data)
    assert torch.equal(found.labels, expected.targets)


def test_normalised_mnist_has_mean_0_and_deviation_1(mnist_root: Path) -> None:
    train, _, _ = load("data.name=mnist", f"data.root={mnist_root}")
    inputs = inputs_of(train)
    assert (inputs.mean().item(), inputs.std().item()) == pytest.approx((0.0, 1.0), abs=5e-3)


def test_mnist_is_normalised_with_0_1307_and_0_3081(mnist_root: Path) -> None:
    train, _, _ = load("data.name=mnist", f"data.root={mnist_root}", "data.limit=5")
    expected = (train.images.unsqueeze(1) / 255 - 0.1307) / 0.3081
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
