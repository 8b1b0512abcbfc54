"""Optimizers by name: every one trains, gets its fields, and says which fields it ignores."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sweepline.errors import ConfigError
from sweepline.training.config.schema import LearnerConfig
from sweepline.training.optim.optimizers import build_optimizer
from sweepline.training.registry import OPTIMIZERS


def build(**fields: Any) -> tuple[torch.optim.Optimizer, list[str], torch.nn.Parameter]:
    """Return an optimizer of one (3, 2) weight, the ignored names and the weight."""
    weight = torch.nn.Parameter(torch.ones(3, 2))
    optimizer, ignored = build_optimizer(LearnerConfig(**fields), torch.nn.ParameterList([weight]))
    return optimizer, [name.removeprefix("learner.") for name in ignored], weight


@pytest.mark.parametrize("name", OPTIMIZERS.names)
def test_a_step_of_every_optimizer_changes_the_weights(name: str) -> None:
    optimizer, _, weight = build(opt=name)
    weight.square().sum().backward()
    optimizer.step()
    assert (weight != 1.0).all()


@pytest.mark.parametrize("name", OPTIMIZERS.names)
def test_the_step_size_reaches_every_optimizer(name: str) -> None:
    optimizer, _, _ = build(opt=name, step_size=0.125)
    assert optimizer.param_groups[0]["lr"] == 0.125


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sgd", torch.optim.SGD),
        ("SGD", torch.optim.SGD),
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("AdamW", torch.optim.AdamW),
        ("rmsprop", torch.optim.RMSprop),
    ],
)
def test_a_name_means_the_optimizer_that_torch_calls_so(name: str, kind: type[torch.optim.Optimizer]) -> None:
    optimizer, _, _ = build(opt=name)
    assert type(optimizer) is kind


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop", "adadelta", "adafactor"])
def test_weight_decay_reaches_the_optimizer(name: str) -> None:
    optimizer, _, _ = build(opt=name, weight_decay=0.25)
    assert optimizer.param_groups[0]["weight_decay"] == 0.25


@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
def test_momentum_reaches_the_optimizer(name: str) -> None:
    optimizer, _, _ = build(opt=name, momentum=0.75)
    assert optimizer.param_groups[0]["momentum"] == 0.75


@pytest.mark.parametrize("name", ["adam", "adamw", "adamax", "nadam", "radam"])
def test_betas_reach_the_optimizer(name: str) -> None:
    optimizer, _, _ = build(opt=name, beta1=0.75, beta2=0.875)
    assert optimizer.param_groups[0]["betas"] == (0.75, 0.875)


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "adadelta", "adagrad"])
def test_eps_reaches_the_optimizer(name: str) -> None:
    optimizer, _, _ = build(opt=name, eps=1e-5)
    assert optimizer.param_groups[0]["eps"] == 1e-5


def test_fields_left_null_take_the_optimizers_own_defaults() -> None:
    optimizer, _, weight = build(opt="adam")
    own = torch.optim.Adam([weight]).defaults
    assert (optimizer.defaults["betas"], optimizer.defaults["eps"]) == (own["betas"], own["eps"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"opt": "adam", "momentum": 0.9}, ["momentum"]),
        ({"opt": "adam", "momentum": 0.0}, []),
        ({"opt": "sgd", "momentum": 0.9, "weight_decay": 0.1}, []),
        ({"opt": "sgd", "eps": 1e-6}, ["eps"]),
        ({"opt": "sgd", "beta1": 0.9, "beta2": 0.99}, ["betas"]),
        ({"opt": "rprop", "momentum": 0.9, "weight_decay": 0.1}, ["weight_decay", "momentum"]),
    ],
)
def test_fields_that_the_optimizer_does_not_take_are_reported(fields: dict[str, Any], expected: list[str]) -> None:
    _, ignored, _ = build(**fields)
    assert ignored == expected


@pytest.mark.parametrize("name", OPTIMIZERS.names)
def test_every_field_of_the_learner_is_taken_or_reported_by_every_optimizer(name: str) -> None:
    optimizer, ignored, _ = build(opt=name, momentum=0.5, weight_decay=0.5, beta1=0.5, beta2=0.5, eps=0.5)
    assert {"momentum", "weight_decay", "betas", "eps"} <= {*ignored, *optimizer.param_groups[0]}


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown learner\.opt 'Adamm'; did you mean 'adam'\?"):
        build(opt="Adamm")


class Scaled(torch.nn.Module):
    """A network with a step size of its own for one of its layers, and another layer that somebody has added."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.added = torch.nn.Linear(3, 2, bias=False), torch.nn.Linear(2, 1, bias=False)

    def step_factors(self, optimizer: str) -> list[tuple[torch.nn.Parameter, float]]:
        assert optimizer == "sgd"
        return [(self.layer.weight, 4.0)]  # type: ignore[list-item]


def test_a_parameter_without_a_factor_is_trained_with_the_step_size_as_it_is() -> None:
    model = Scaled()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer, _ = build_optimizer(LearnerConfig(opt="sgd", step_size=0.125), model)
    model.added(model.layer(torch.ones(1, 3))).sum().backward()
    optimizer.step()
    for parameter, old, step_size in zip(model.parameters(), before, (0.5, 0.125), strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter, old - step_size * parameter.grad)
