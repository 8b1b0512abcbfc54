"""The networks: their size, their shapes, and that pooling before ReLU changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sweepline.training.building import build_model
from sweepline.training.config.schema import ModelConfig
from sweepline.training.models.simple_cnn import SimpleCNN


def build(*, width: int = 32, size: int = 28) -> SimpleCNN:
    model = build_model(ModelConfig(width=width), input_shape=(1, size, size), n_outputs=10)
    assert isinstance(model, SimpleCNN)
    return model


def relu_before_pool(model: SimpleCNN, inputs: torch.Tensor) -> torch.Tensor:
    """Return the logits as the network is described: convolution, ReLU, then pooling."""
    hidden = functional.max_pool2d(functional.relu(model.conv1(inputs)), 2)
    hidden = functional.max_pool2d(functional.relu(model.conv2(hidden)), 2)
    logits: torch.Tensor = model.fc2(functional.relu(model.fc1(hidden.flatten(1))))
    return logits


def gradients(model: SimpleCNN, logits: torch.Tensor) -> list[torch.Tensor]:
    labels = torch.arange(len(logits)) % 10
    return list(torch.autograd.grad(functional.cross_entropy(logits, labels), list(model.parameters())))


@pytest.fixture
def inputs() -> torch.Tensor:
    """(20, 1, 28, 28) normal noise, the same each time."""
    return torch.randn(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def test_simple_cnn_has_421642_parameters_on_28x28_images() -> None:
    assert sum(parameter.numel() for parameter in build().parameters()) == 421_642


def test_the_layers_have_the_sizes_of_the_description() -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in build().named_parameters() if "weight" in name}
    assert shapes == {
        "conv1.weight": (32, 1, 3, 3),
        "conv2.weight": (64, 32, 3, 3),
        "fc1.weight": (128, 3136),
        "fc2.weight": (10, 128),
    }


@pytest.mark.parametrize(("size", "width", "n"), [(28, 32, 1), (28, 32, 5), (8, 32, 3), (28, 1, 2), (9, 4, 2)])
def test_logits_have_one_row_per_image_and_one_column_per_class(size: int, width: int, n: int) -> None:
    logits = build(width=width, size=size)(torch.zeros(n, 1, size, size))
    assert logits.shape == (n, 10)


def test_relu_after_pooling_gives_the_values_of_relu_before_it(inputs: torch.Tensor) -> None:
    model = build()
    torch.testing.assert_close(model(inputs), relu_before_pool(model, inputs))


def test_relu_after_pooling_gives_the_gradients_of_relu_before_it(inputs: torch.Tensor) -> None:
    model = build()
    torch.testing.assert_close(gradients(model, model(inputs)), gradients(model, relu_before_pool(model, inputs)))


def test_the_same_seed_gives_the_same_weights() -> None:
    torch.manual_seed(3)
    first = build().state_dict()
    torch.manual_seed(3)
    torch.testing.assert_close(build().state_dict(), first, rtol=0, atol=0)
