"""The networks of the scaling studies: in maximal-update parametrization what is computed changes alike at any width.

The coordinate check of Yang and Hu: how much the values of each layer have changed after a few steps, against the
width, both as logarithms to base 2. In mup the slope is near 0 for every layer; each control, a rule with one thing
wrong, has slopes of its own that are not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn
from torch.nn import functional

from sweepline.errors import ConfigError
from sweepline.training.building import build_model
from sweepline.training.config.schema import LearnerConfig, ModelConfig
from sweepline.training.datasets.teachers import PolyTeacher
from sweepline.training.models.mlp import ScaledMlp
from sweepline.training.optim.optimizers import build_optimizer

WIDTHS = (64, 128, 256, 512, 1024)
SEEDS = range(3)
N_STEPS, N_EXAMPLES, DIM, DEPTH = 4, 32, 20, 3
STEP_SIZES = {"sgd": 0.1, "adam": 0.001}
Factors = Callable[[ScaledMlp, str], list[tuple[nn.Parameter, float]]]


def by_rule(model: ScaledMlp, optimizer: str) -> list[tuple[nn.Parameter, float]]:
    return model.step_factors(optimizer)


def without_width(model: ScaledMlp, optimizer: str) -> list[tuple[nn.Parameter, float]]:
    """SGD's step sizes without the factor N."""
    return [(weight, factor / model.width) for weight, factor in model.step_factors(optimizer)]


def all_by_the_root(model: ScaledMlp, optimizer: str) -> list[tuple[nn.Parameter, float]]:
    """Adam's step size divided by sqrt(N) in every layer instead of the hidden one alone."""
    return [(weight, 1 / math.sqrt(model.width)) for weight, _ in model.step_factors(optimizer)]


def change_of_layers(
    width: int, seed: int, optimizer: str, factors: Factors, *, parametrization: str, gamma: float
) -> list[float]:
    """Return by how much each layer's values, root mean square, have changed after a few steps."""
    torch.manual_seed(seed)
    config = ModelConfig(name="mlp", width=width, depth=DEPTH, parametrization=parametrization, gamma=gamma)
    model = build_model(config, input_shape=(DIM,), n_outputs=1)
    assert isinstance(model, ScaledMlp)
    examples = PolyTeacher(dim=DIM, n_examples=N_EXAMPLES, data_seed=seed).load("train")
    inputs, targets = examples.batch(torch.arange(N_EXAMPLES))
    groups = [{"params": [w], "lr": STEP_SIZES[optimizer] * factor} for w, factor in factors(model, optimizer)]
    steps = torch.optim.SGD(groups) if optimizer == "sgd" else torch.optim.Adam(groups)
    with torch.no_grad():
        before = [values.clone() for values in model.activations(inputs)]
    for _ in range(N_STEPS):
        steps.zero_grad()
        functional.mse_loss(model(inputs) - before[-1], targets).backward()
        steps.step()
    with torch.no_grad():
        after = list(model.activations(inputs))
    return [(b - a).square().mean().sqrt().item() for a, b in zip(before, after, strict=True)]


def slopes(
    optimizer: str, factors: Factors = by_rule, *, parametrization: str = "mup", gamma: float = 1.0
) -> list[float]:
    """Return for each layer the slope of log2 change over log2 width, fitted to the means over seeds."""
    changes = []
    for width in WIDTHS:
        options = {"parametrization": parametrization, "gamma": gamma}
        runs = [change_of_layers(width, seed, optimizer, factors, **options) for seed in SEEDS]  # type: ignore[arg-type]
        changes.append([math.log2(statistics.mean(layer)) for layer in zip(*runs, strict=True)])
    logs = [math.log2(width) for width in WIDTHS]
    return [statistics.linear_regression(logs, layer).slope for layer in zip(*changes, strict=True)]


@pytest.mark.parametrize("gamma", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("optimizer", STEP_SIZES)
def test_in_mup_every_layer_changes_alike_at_any_width(optimizer: str, gamma: float) -> None:
    assert slopes(optimizer, gamma=gamma) == pytest.approx([0.0] * DEPTH, abs=0.1)


CONTROLS = {
    "standard parametrization with Adam": ("adam", by_rule, "sp", [0.0, 0.4, 0.9]),
    "SGD without the factor N": ("sgd", without_width, "mup", [-1.0, -1.0, -1.0]),
    "Adam with one factor for all layers": ("adam", all_by_the_root, "mup", [-0.5, 0.0, -0.1]),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_rule_with_one_thing_wrong_fails_the_check_in_its_own_way(name: str) -> None:
    optimizer, factors, parametrization, expected = CONTROLS[name]
    found = slopes(optimizer, factors, parametrization=parametrization)
    assert max(map(abs, found)) > 0.4
    assert found == pytest.approx(expected, abs=0.1)


def test_the_optimizer_gets_the_step_size_of_each_layer() -> None:
    config = ModelConfig(name="mlp", width=100, depth=3, parametrization="mup", gamma=0.5)
    model = build_model(config, input_shape=(DIM,), n_outputs=1)
    adam, _ = build_optimizer(LearnerConfig(opt="adam", step_size=0.1), model)
    assert [group["lr"] for group in adam.param_groups] == pytest.approx([0.05, 0.005, 0.05])
    sgd, _ = build_optimizer(LearnerConfig(opt="sgd", step_size=0.1), model)
    assert [group["lr"] for group in sgd.param_groups] == pytest.approx([2.5] * 3)
    with pytest.raises(ConfigError, match="no rule for rmsprop"):
        build_optimizer(LearnerConfig(opt="rmsprop"), model)


@pytest.mark.parametrize(("gamma", "factor"), [(0.1, 0.01), (1.0, 1.0), (10.0, 10 ** (2 / 3))])
def test_gamma_scales_the_step_of_sgd(gamma: float, factor: float) -> None:
    model = ScaledMlp([DIM, 8, 8, 1], parametrization="sp", gamma=gamma)
    assert [f for _, f in model.step_factors("sgd")] == pytest.approx([factor] * 3)


def weights_of(model: ScaledMlp) -> Sequence[torch.Tensor]:
    return [weight.detach() for weight in model.weights]


def test_weights_are_standard_normal_and_outputs_shrink_with_the_readout() -> None:
    torch.manual_seed(0)
    model = ScaledMlp([DIM, 512, 512, 1], parametrization="mup", gamma=2.0)
    assert all(abs(float(w.std()) - 1) < 0.1 for w in weights_of(model))
    inputs = torch.randn(8, DIM)
    first, second, third = weights_of(model)
    hidden = functional.relu(inputs @ first.T / math.sqrt(DIM))
    hidden = functional.relu(hidden @ second.T / math.sqrt(512))
    assert torch.allclose(model(inputs), hidden @ third.T / (2.0 * 512), atol=1e-6)
