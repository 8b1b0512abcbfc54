"""The data sets: shapes, splits, normalisation, the IDX reader against torchvision's, and data that cannot be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sweepline.errors import ConfigError
from sweepline.training.config.loading import load_config
from sweepline.training.datasets.examples import Examples
from sweepline.training.datasets.splits import data_root, load_data

N_TRAIN, N_TEST = 6, 4


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
        for image, label in zip(part.inputs.numpy(), part.targets.tolist(), strict=True)
    )


def images(n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)


def labels(n: int) -> NDArray[np.uint8]:
    return np.arange(n, dtype=np.uint8) % 10


# Batches


def test_normalised_digits_have_mean_0_and_deviation_1() -> None:
    inputs = inputs_of(load("data.name=digits")[0])
    assert (inputs.mean().item(), inputs.std().item()) == pytest.approx((0.0, 1.0), abs=5e-3)


def test_a_batch_has_one_channel_and_the_asked_examples_in_the_asked_order() -> None:
    train, _, _ = load("data.name=digits")
    index = torch.tensor([5, 2, 2])
    inputs, found = train.batch(index)
    assert (inputs.shape, inputs.dtype, found.tolist()) == ((3, 1, 8, 8), torch.float32, train.targets[index].tolist())


def test_making_a_batch_leaves_the_stored_pixels_alone() -> None:
    train, _, _ = load("data.name=digits")
    before = train.inputs.clone()
    train.batch(torch.arange(10))
    assert torch.equal(train.inputs, before)


# Splits


def test_limit_keeps_the_first_examples_of_the_training_portion() -> None:
    everything = load("data.name=digits")[0]
    limited = load("data.name=digits", "data.limit=7")[0]
    assert torch.equal(limited.inputs, everything.inputs[:7])


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
    assert torch.equal(first.inputs, second.inputs)


def test_the_held_out_examples_hold_every_class() -> None:
    _, valid = load_with_held_out("data.name=digits", "data.valid_fraction=0.2")
    assert valid.targets.unique().tolist() == list(range(10))


def test_a_held_out_part_that_takes_every_example_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"valid_fraction"):
        load("data.name=digits", "data.limit=1", "data.valid_fraction=0.9")


def test_a_held_out_part_without_examples_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"valid_fraction"):
        load("data.name=digits", "data.limit=10", "data.valid_fraction=0.01")


# Where data sets are looked for


def test_data_root_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPLINE_DATA", "/of/the/machine")
    assert data_root(load_config(None, ["data.root=/of/the/run"])) == Path("/of/the/run")


def test_the_environment_tells_the_data_root_where_the_config_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPLINE_DATA", "/of/the/machine")
    assert data_root(load_config(None)) == Path("/of/the/machine")
