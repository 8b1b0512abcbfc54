"""The examples that a config trains on, holds out and tests on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sweepline.contract import variables
from sweepline.errors import ConfigError
from sweepline.training.config.schema import TrainConfig
from sweepline.training.datasets.examples import Dataset, Examples
from sweepline.training.registry import DATASETS

Splits = tuple[Examples, Examples | None, Examples]  # training, held out of it, test


def data_root(config: TrainConfig) -> Path:
    """Return the folder of data sets: ``data.root``, else ``$SWEEPLINE_DATA``, else ``./data``."""
    return Path(config.data.root or os.environ.get(variables.DATA) or "data").expanduser()


def find_dataset(config: TrainConfig) -> Dataset:
    """Return the data set that the config names."""
    build: Callable[[Path], Dataset] = DATASETS.load(config.data.name)
    return build(data_root(config))


def prepare_data(config: TrainConfig) -> None:
    """Make sure that the data set is on this machine; see :meth:`Dataset.prepare`."""
    find_dataset(config).prepare()


def load_data(config: TrainConfig) -> Splits:
    """Return the training, held-out (None without ``valid_fraction``) and test examples, on the CPU.

    Raises:
        ConfigError: the data set is not on this machine, or its files are damaged.
    """
    import torch

    dataset = find_dataset(config)
    dataset.prepare()
    train = dataset.load("train")
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
    return train, valid, dataset.load("test")


def pick_held_out(config: TrainConfig, data: Splits) -> Examples | None:
    """Return what of :func:`load_data` is evaluated; None where nothing is."""
    _, valid, test = data
    return (valid if config.evaluate.split == "valid" else test) if config.evaluate.every else None
