"""What a config can choose by name: that an entry is enough for the choice, the message and the building."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from sweepline.errors import ConfigError
from sweepline.training.building import build_model
from sweepline.training.config.loading import load_config
from sweepline.training.config.schema import ModelConfig
from sweepline.training.models.settings import MlpSettings, SimpleCNNSettings
from sweepline.training.registry import DATASETS, MODELS, OPTIMIZERS, TASKS, Entry, Registry

REGISTRIES = [MODELS, DATASETS, TASKS, OPTIMIZERS]


def build_line(settings: MlpSettings, *, input_shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    """Return a network that only these tests know."""
    assert settings.width == 32
    return nn.Linear(math.prod(input_shape), n_outputs)


@pytest.mark.parametrize(
    ("registry", "name"), [pytest.param(registry, name) for registry in REGISTRIES for name in registry.names]
)
def test_every_entry_can_be_imported(registry: Registry, name: str) -> None:
    assert callable(registry.load(name))


def test_registries_are_read_without_torch() -> None:
    code = "import sys, sweepline.training.registry; print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("data.name=minst", "unknown data.name 'minst'; did you mean 'mnist'?"),
        ("model.name=simplecnn", "unknown model.name 'simplecnn'; did you mean 'simple_cnn'?"),
        (
            "model.name=resnet",
            "unknown model.name 'resnet'; there are simple_cnn, mlp, encoder_decoder, decoder_only, "
            "conv_autoencoder, dqn, or file.py:Name of your own",
        ),
        ("model.name=net.py", "unknown model.name 'net.py'; write net.py:Name, for what is in that file"),
        (
            "model.name=a b:c d",
            "model.name 'a b:c d': write file.py:Name or package.module:Name for something of your own",
        ),
        ("learner.opt=adm", "unknown learner.opt 'adm'; did you mean 'adam'?"),
    ],
)
def test_an_unknown_name_is_a_sentence_with_the_nearest(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, [override])
    assert caught.value.faults == (f"override {override}: {sentence}",)


def test_the_network_is_the_one_that_the_config_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS._entries, "line", Entry(f"{__name__}:build_line", MlpSettings, ("normal",)))
    config = load_config(None, ["model.name=line"]).model
    model = build_model(config, input_shape=(1, 2, 2), n_outputs=7)
    assert model(torch.zeros(1, 4)).shape == (1, 7)


def test_a_name_that_no_config_was_checked_for_is_refused_where_it_is_built() -> None:
    with pytest.raises(ConfigError, match=r"unknown model\.name 'resnet'"):
        build_model(ModelConfig.model_construct(name="resnet"), input_shape=(1, 8, 8), n_outputs=10)


def test_an_entry_gets_its_own_keys_of_the_section() -> None:
    assert MODELS.settings_of("simple_cnn", ModelConfig(width=7)) == SimpleCNNSettings(width=7)


@pytest.mark.parametrize("name", MODELS.names)
def test_the_section_holds_the_keys_of_every_model(name: str) -> None:
    settings = MODELS._entries[name].settings
    assert settings is not None
    assert set(settings.model_fields) <= set(ModelConfig.model_fields)
