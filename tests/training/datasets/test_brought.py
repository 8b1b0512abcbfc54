"""What users return for a portion of data: taken as it is meant, or refused in a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from sweepline.errors import ConfigError
from sweepline.training.config.loading import load_config
from sweepline.training.datasets.splits import Splits, load_data, remarks_on_data

DATA = """
import numpy as np
import torch
from sweepline.training import Examples

X = np.random.default_rng(0).normal(size=(20, 5))
Y = np.arange(20) % 3
TWO = torch.tensor([0, 1, 0, 1])

def good(split, n=20): return X[:n], Y[:n]
def table(split): return (X * 10).astype(np.uint8), Y
def table_of_examples(split): return Examples(torch.ones(4, 3, dtype=torch.uint8), TWO, n_classes=2)
def photos(split): return np.zeros((20, 16, 12, 3), dtype=np.uint8), Y
def gray(split): return np.zeros((20, 9, 9, 1)), Y
def tall(split): return np.zeros((20, 64, 8, 1)), Y
def known(split): return Examples(torch.zeros(4, 16, 16, 3), TWO, n_classes=2)
def nan(split):
    x = X.copy(); x[3, 2] = np.nan; x[7] = np.inf
    return x, Y
def nan_targets(split):
    y = X[:, 0].copy(); y[4] = np.nan
    return X, y
def beyond_float32(split): return X * 1e300, Y
def huge(split): return X.astype(np.float32) * 1e37, Y
def far_classes(split): return X, np.array([0, 10**6, 10**9, 10**9] * 5)
def gaps(split): return X, np.array([0, 5, 9, 9] * 5)
def empty_test(split): return (X, Y) if split == "train" else (X[:0], Y[:0])
def none_test(split): return (X, Y) if split == "train" else None
def generator(split): yield X, Y
def tensor_dataset(split): return torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
def text(split): return X, np.array(["cat", "dog", "owl"])[Y]
def text_inputs(split): return np.array([["a", "b"]] * 20), Y
def from_minus_one(split): return X, Y - 1
def column(split): return X, Y[:, None]
def one_hot_integers(split): return X, np.eye(3, dtype=int)[Y]
def whole_floats(split): return X, Y.astype(float)
def one_hot(split): return X, np.eye(3)[Y]
def curve(split): return X, X[:, 0]
def takes_seed(split, seed, root=None): return X, Y
"""


@pytest.fixture(autouse=True)
def _data(own_folder: Path) -> None:
    (own_folder / "d.py").write_text(DATA)


def load(name: str, *words: str) -> Splits:
    return load_data(load_config(None, [f"data.name=d.py:{name}", "evaluate.every=1", *words]))


def remarks(name: str, *words: str) -> list[str]:
    config = load_config(None, [f"data.name=d.py:{name}", *words])
    return list(remarks_on_data(config, load_data(config)[0]))


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("photos", [], "(20, 16, 12, 3) look like (N, H, W, C); transpose them to (N, C, H, W)"),
        ("gray", [], "(20, 9, 9, 1) look like (N, H, W, C)"),
        ("nan", [], "inputs have 1 NaN and 5 infinite (as float32), first at example 3, split train"),
        ("nan_targets", [], "targets have 1 NaN, first at example 4, split train"),
        ("beyond_float32", [], "infinite (as float32), first at example 0"),
        ("far_classes", [], "classes go up to 1,000,000,000, but 20 examples have 3 of them; number them from 0 on"),
        ("empty_test", [], "split test is empty; return arrays or tensors"),
        ("empty_test", [], "evaluate.every=0, or evaluate.split=valid with data.valid_fraction"),
        ("none_test", [], "returns None for split test; return arrays or tensors"),
        ("generator", [], "returns a generator, not (inputs, targets); return arrays or tensors of all inputs"),
        ("tensor_dataset", [], "returns a TensorDataset, not (inputs, targets); return arrays or tensors"),
        ("text", [], "its targets hold text, as 'cat'; make them whole numbers from 0 on"),
        ("text_inputs", [], "its inputs hold text, as 'a'; make them numbers"),
        ("from_minus_one", [], "classes are whole numbers from 0 on, the least of split train is -1"),
        ("column", [], "targets[:, 0]"),
        ("one_hot_integers", [], "targets.argmax(1)"),
        ("good", ["data.args.split=test"], "args.split cannot be set, the trainer gives split itself"),
        (
            "takes_seed",
            ["data.args.seed=3"],
            "args.seed cannot be set, the trainer gives seed itself, as seed has it; an argument",
        ),
        (
            "takes_seed",
            ["data.args.root=x"],
            "args.root cannot be set, the trainer gives root itself, as data.root has it",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_said(name: str, words: Sequence[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(name, *words)
    (fault,) = caught.value.faults
    assert fault.startswith(f"data d.py:{name}: ")
    assert sentence in fault
    assert "\n" not in fault


@pytest.mark.parametrize("name", ["table", "table_of_examples"])
def test_bytes_that_are_no_images_are_numbers(name: str) -> None:
    inputs, _ = load(name)[0].batch(torch.arange(2))
    assert inputs.dtype == torch.float32
    assert inputs.max() >= 1


@pytest.mark.parametrize("name", ["tall", "known", "huge"])
def test_what_only_looks_odd_is_taken(name: str) -> None:
    assert load(name)[0].batch(torch.arange(2))[0].isfinite().all()


@pytest.mark.parametrize("name", ["empty_test", "none_test"])
@pytest.mark.parametrize(
    "words", [["evaluate.every=0"], ["evaluate.split=valid", "data.valid_fraction=0.25"]], ids=["never", "valid"]
)
def test_a_test_portion_on_which_nothing_is_measured_need_not_be_there(name: str, words: list[str]) -> None:
    train, _, test = load(name, *words)
    assert len(train) >= 15
    assert len(test) == 0


@pytest.mark.parametrize(
    ("name", "words", "remark"),
    [
        ("gaps", [], "3 of 10 classes occur in training; not 1, 2, 3, 4, 6, ..."),
        ("whole_floats", [], "targets are numbers (3 whole ones), trained with the squared error; make them integers"),
        ("one_hot", [], "targets are numbers (one-hot rows), trained with the squared error"),
        ("whole_floats", ["training.loss=mse"], None),
        ("curve", [], None),
        ("good", [], None),
    ],
)
def test_what_may_be_meant_otherwise_is_remarked(name: str, words: Sequence[str], remark: str | None) -> None:
    found = remarks(name, *words)
    assert [remark in text for text in found if remark] == ([True] if remark else [])
    assert bool(found) == bool(remark)
