"""The examples that a config trains on, holds out and tests on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweepline.contract import variables
from sweepline.errors import ConfigError
from sweepline.training import calling
from sweepline.training.config.schema import TrainConfig
from sweepline.training.datasets.brought import BroughtDataset, remarks_on
from sweepline.training.datasets.examples import Dataset, Examples
from sweepline.training.registry import DATASETS

Splits = tuple[Examples, Examples | None, Examples]  # training, held out of it, test


def data_root(config: TrainConfig) -> Path:
    """Return the folder of data sets: ``data.root``, else ``$SWEEPLINE_DATA``, else ``./data``."""
    return Path(config.data.root or os.environ.get(variables.DATA) or "data").expanduser()


def find_dataset(config: TrainConfig) -> Dataset:
    """Return the data set that the config names."""
    name, what = config.data.name, f"data {config.data.name}"
    build: Callable[..., Any] = DATASETS.load(name)
    offered = {"root": data_root(config)}
    if name in DATASETS:
        dataset: Dataset = calling.call(build, what, offered, config.data.args)
        return dataset
    return BroughtDataset(what, build, {**offered, "seed": config.seed}, config.data.args)


def prepare_data(config: TrainConfig) -> None:
    """Make sure that the data set is on this machine; see :meth:`Dataset.prepare`."""
    find_dataset(config).prepare()


def load_data(config: TrainConfig) -> Splits:
    """Return the training, held-out (None without ``valid_fraction``) and test examples, on the CPU.

    What a user brings need not have a test portion where nothing is measured on it; then there are none of those.

    Raises:
        ConfigError: the data set is not on this machine, its files are damaged, or nothing of it is left to train on.
    """
    dataset = find_dataset(config)
    dataset.prepare()
    train, valid = _load_training(config, dataset)
    if isinstance(dataset, BroughtDataset) and not uses_test(config):
        return train, valid, train.between(0, 0)
    return train, valid, _like(train, dataset.load("test"), config.data.name)


def load_training(config: TrainConfig) -> Examples:
    """Return the training examples of :func:`load_data` alone."""
    dataset = find_dataset(config)
    dataset.prepare()
    return _load_training(config, dataset)[0]


def _load_training(config: TrainConfig, dataset: Dataset) -> tuple[Examples, Examples | None]:
    import torch

    train = dataset.load("train")
    if train.draw is not None and (config.data.limit is not None or config.data.valid_fraction or config.data.skip):
        raise ConfigError(
            f"data {config.data.name}: draws its examples, so that data.skip, data.limit and data.valid_fraction mean "
            "nothing; use data.args.n_examples, and evaluate.split: test"
        )
    if config.data.skip >= len(train):
        raise ConfigError(f"data.skip={config.data.skip} leaves none of the {len(train)} training examples")
    if config.data.skip or config.data.limit is not None:
        train = train.between(config.data.skip).between(0, config.data.limit)
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
    return train, valid


def uses_test(config: TrainConfig) -> bool:
    """Whether anything is measured on the test portion."""
    is_evaluated = config.evaluate.every > 0 and config.evaluate.split == "test"
    return is_evaluated or config.evaluate.final_test != "never"


def _like(train: Examples, test: Examples, name: str) -> Examples:
    """Return the test portion with the classes of training.

    Raises:
        ConfigError: it has others, or other shapes.
    """
    if test.input_shape != train.input_shape or bool(test.n_classes) != bool(train.n_classes):
        raise ConfigError(f"data {name}: inputs are {train.input_shape} in training and {test.input_shape} in testing")
    if test.n_classes > train.n_classes:
        raise ConfigError(f"data {name}: there are {train.n_classes} classes in training, {test.n_classes} in testing")
    return replace(test, n_classes=train.n_classes)


def remarks_on_data(config: TrainConfig, training: Examples) -> Iterator[str]:
    """Yield what of the targets of a user's own data may be meant otherwise."""
    if DATASETS.is_brought(config.data.name):
        is_squared = config.training.loss == "auto" and config.training.mode in ("normal", "curriculum")
        yield from remarks_on(f"data {config.data.name}", training, is_error_squared=is_squared)


def pick_held_out(config: TrainConfig, data: Splits) -> Examples | None:
    """Return what of :func:`load_data` is evaluated; None where nothing is."""
    _, valid, test = data
    return (valid if config.evaluate.split == "valid" else test) if config.evaluate.every else None
