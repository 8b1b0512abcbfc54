"""How what users bring is called: with what it and its bases name; and whose line it is where that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.errors import ConfigError
from sweepline.training.building import build_training
from sweepline.training.config.loading import load_config
from sweepline.training.datasets.splits import load_data

OWN = """
import json
import numpy as np
from torch import nn

class Base(nn.Module):
    def __init__(self, n_inputs, n_outputs, hidden=8):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(n_inputs, hidden), nn.ReLU(), nn.Linear(hidden, n_outputs))

    def forward(self, x):
        return self.net(x)

class Middle(Base):
    pass

class Passes(Middle):
    def __init__(self, extra=3, **kwargs):
        super().__init__(**kwargs)

class PassesAll(Base):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)

class GivesItself(Base):
    def __init__(self, **kwargs):
        super().__init__(4, n_outputs=2, **kwargs)

class Takes(Base):
    def __init__(self, **kwargs):
        super().__init__(n_inputs=kwargs.pop("size"), **kwargs)

class Anything(nn.Module):
    def __init__(self, **kwargs):
        super().__init__()
        self.net = nn.Linear(kwargs["n_inputs"], kwargs["n_outputs"])

def fixed(n_inputs, **kwargs):
    return nn.Linear(4, kwargs.get("n", 2))

def data(split):
    return np.ones((4, 4)), np.array([0, 1, 0, 1])

def reads(split):
    return json.loads("{")

def compiled(split):
    return np.random.default_rng(0).integers(5, 1), None

class Shapes(Base):
    def forward(self, x):
        return self.net(x.flatten())

made = nn.Linear(4, 2)
"""
COMMON = ("model.name=own.py:Base", "data.name=own.py:data", "device=cpu", "batch_size=2")


@pytest.fixture(autouse=True)
def folder(own_folder: Path) -> Path:
    (own_folder / "own.py").write_text(OWN)
    return own_folder


def n_parameters(*words: str) -> int:
    config = load_config(None, [*COMMON, *words])
    model, _, _ = build_training(config, load_data(config)[0])
    return sum(parameter.numel() for parameter in model.parameters())


def fault(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        n_parameters(*words)
    (found,) = caught.value.faults
    assert "\n" not in found
    return str(found)


def of_hidden(n: int) -> int:
    return 5 * n + 2 * (n + 1)


@pytest.mark.parametrize("name", ["Passes", "PassesAll", "GivesItself"])
def test_a_class_that_passes_arguments_on_is_given_what_its_bases_name(name: str) -> None:
    assert n_parameters(f"model.name=own.py:{name}") == of_hidden(8)
    assert n_parameters(f"model.name=own.py:{name}", "model.args.hidden=3") == of_hidden(3)
    assert f"model own.py:{name}: takes no args.hiden; did you mean 'hidden'?" in fault(
        f"model.name=own.py:{name}", "model.args.hiden=3"
    )


def test_what_a_class_takes_out_of_its_arguments_is_its_own() -> None:
    assert n_parameters("model.name=own.py:Takes", "model.args.size=4") == of_hidden(8)
    assert n_parameters("model.name=own.py:fixed", "model.args.n=2") == 10


def test_arguments_of_no_name_are_given_nothing() -> None:
    found = fault("model.name=own.py:Anything")
    assert "KeyError: 'n_inputs'; its **kwargs are given nothing but args: name what it needs of input_shape, " in found


def test_what_the_trainer_gives_cannot_be_set() -> None:
    for name in ("Base", "Passes"):
        found = fault(f"model.name=own.py:{name}", "model.args.n_inputs=4")
        assert "args.n_inputs cannot be set, the trainer gives n_inputs itself; an argument of your own" in found


def test_a_network_that_is_made_already_is_no_name_for_one() -> None:
    found = fault("model.name=own.py:made")
    assert "is a Linear, not a class or a function; name the class, or a function that returns one" in found


def test_a_file_of_a_package_is_named_as_a_module(folder: Path) -> None:
    (folder / "pack" / "inner").mkdir(parents=True)
    for name in ("pack/__init__.py", "pack/inner/__init__.py"):
        (folder / name).touch()
    (folder / "pack/inner/nets.py").write_text("from ..base import Base\nclass Net(Base):\n    pass\n")
    (folder / "pack/base.py").write_text(OWN)
    assert fault("model.name=pack/inner/nets.py:Net").endswith("; write pack.inner.nets:Net")
    assert n_parameters("model.name=pack.inner.nets:Net") == of_hidden(8)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data.name=own.py:reads"], 'return json.loads("{")'),
        (["data.name=own.py:compiled"], "return np.random.default_rng(0).integers(5, 1), None"),
        (["model.name=own.py:Shapes"], "return self.net(x.flatten())"),
    ],
)
def test_the_line_is_the_users_own(folder: Path, words: list[str], line: str) -> None:
    (nth,) = [i for i, own in enumerate(OWN.splitlines(), 1) if own.strip() == line]
    assert f": {folder / 'own.py'}:{nth}: " in fault(*words)


def test_a_folder_may_be_called_as_a_library_is(folder: Path) -> None:
    (folder / "torch").mkdir()
    (folder / "torch" / "nets.py").write_text("def net():\n    return 1 / 0\n")
    assert f"{folder / 'torch' / 'nets.py'}:2: ZeroDivisionError" in fault("model.name=torch/nets.py:net")


def test_a_line_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "odd.py").write_text("x = 1\ndef net(:\n")
    assert f"{folder / 'odd.py'}:2: SyntaxError: " in fault("model.name=odd.py:net")
