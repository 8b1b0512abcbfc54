"""Digits: scikit-learn's, read without it."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sweepline.errors import ConfigError
from sweepline.training.config.loading import load_config
from sweepline.training.datasets.examples import Examples
from sweepline.training.datasets.splits import load_data

N_TRAIN, N_TEST = 6, 4


def load(*overrides: str) -> tuple[Examples, Examples | None, Examples]:
    return load_data(load_config(None, overrides))


def images(n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)


def labels(n: int) -> NDArray[np.uint8]:
    return np.arange(n, dtype=np.uint8) % 10


def test_digits_are_1500_training_and_297_test_images_of_8x8() -> None:
    train, valid, test = load("data.name=digits")
    assert (train.inputs.shape, valid, test.inputs.shape) == ((1500, 8, 8), None, (297, 8, 8))


def test_digits_are_bytes_with_integer_labels() -> None:
    train, _, _ = load("data.name=digits")
    assert (train.inputs.dtype, train.targets.dtype) == (torch.uint8, torch.int64)


def test_digits_use_the_whole_range_of_pixels() -> None:
    train, _, _ = load("data.name=digits")
    assert (int(train.inputs.min()), int(train.inputs.max())) == (0, 16)


@pytest.mark.parametrize("part", [0, 2])
def test_digits_have_all_ten_classes_in_both_portions(part: int) -> None:
    examples = load("data.name=digits")[part]
    assert isinstance(examples, Examples)
    assert examples.targets.unique().tolist() == list(range(10))


def test_digits_are_those_of_scikit_learn() -> None:
    with warnings.catch_warnings(action="ignore"):
        from sklearn.datasets import load_digits
    expected = load_digits()
    train, _, test = load("data.name=digits")
    found = torch.cat([train.inputs, test.inputs]).numpy(), torch.cat([train.targets, test.targets]).numpy()
    np.testing.assert_array_equal(found[0], expected.images)
    np.testing.assert_array_equal(found[1], expected.target)


def test_loading_digits_imports_neither_scikit_learn_nor_torchvision() -> None:
    code = (
        "import sys; from sweepline.training.config.loading import load_config; "
        "from sweepline.training.datasets.splits import load_data; "
        "load_data(load_config(None, ['data.name=digits'])); "
        "print(sorted({'sklearn', 'torchvision'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_examples_at_the_beginning_are_left_out_before_any_are_counted() -> None:
    whole, _, _ = load("data.name=digits")
    train, _, test = load("data.name=digits", "data.skip=300", "data.limit=200")
    assert torch.equal(train.inputs, whole.inputs[300:500])
    assert len(test) == 297
    train, valid, _ = load("data.name=digits", "data.skip=1000", "data.valid_fraction=0.2")
    assert (len(train), len(valid or ())) == (400, 100)


def test_leaving_out_all_examples_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"data\.skip=1500 leaves none of the 1500 training examples"):
        load("data.name=digits", "data.skip=1500")


def test_a_part_in_a_row_is_no_copy() -> None:
    """Arrays that are mapped would be read and held by each run otherwise."""
    whole, _, _ = load("data.name=digits")
    part = whole.between(300).between(0, 200)
    assert part.inputs.data_ptr() == whole.inputs[300:].data_ptr()
    assert len(part) == 200
