"""The noise scale against exact values, and the meter against training that it must not change."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from sweepline.training.batchsize.noise import Measurement, NoiseMeter, estimate, noise_scale, summarize
from sweepline.training.datasets.examples import Examples
from sweepline.training.tasks.supervised import Classify


def quadratic(generator: torch.Generator, *, gradient: torch.Tensor, deviations: torch.Tensor, n: int) -> torch.Tensor:
    """Return the mean gradient of ``n`` examples of a quadratic with known noise, (D,)."""
    noise = torch.randn(n, len(gradient), generator=generator) * deviations
    return (gradient + noise).mean(0)


@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_on_a_quadratic_with_known_noise_the_estimate_is_within_a_tenth(scale: float) -> None:
    generator = torch.Generator().manual_seed(1)
    gradient = torch.randn(50, generator=generator)
    deviations = scale * torch.rand(50, generator=generator)
    exact = (deviations.square().sum() / gradient.square().sum()).item()
    found = []
    for _ in range(4000):
        halves = [quadratic(generator, gradient=gradient, deviations=deviations, n=4) for _ in range(2)]
        small_sq = sum(half.square().sum().item() for half in halves) / 2
        found.append(Measurement(4, small_sq, 8, (sum(halves) / 2).square().sum().item()))
    assert noise_scale(found) == pytest.approx(exact, rel=0.1)


def test_without_noise_the_scale_is_zero() -> None:
    assert noise_scale([Measurement(4, 2.0, 8, 2.0)]) == 0.0


@pytest.mark.parametrize(
    "found",
    [[], [Measurement(4, 10.0, 8, 1.0)], [Measurement(4, math.nan, 8, 1.0)], [Measurement(4, math.inf, 8, math.inf)]],
)
def test_what_noise_hides_is_not_identifiable(found: list[Measurement]) -> None:
    assert noise_scale(found) is None


def test_a_single_negative_estimate_does_not_spoil_the_average() -> None:
    good, odd = Measurement(4, 2.0, 8, 1.5), Measurement(4, 2.0, 8, 0.9)
    assert odd.gradient_sq < 0
    assert noise_scale([good, good, good, odd]) == pytest.approx(
        (3 * good.noise + odd.noise) / (3 * good.gradient_sq + odd.gradient_sq)
    )


def test_the_course_has_a_start_an_end_and_all_of_it_between() -> None:
    course = summarize([Measurement(1, 1.0 + i, 2, 1.0 + i / 2) for i in range(40)])
    assert course.start is not None
    assert course.pooled is not None
    assert course.end is not None
    assert course.start.value < course.pooled.value < course.end.value


def test_the_interval_holds_the_estimate_and_is_the_same_every_time() -> None:
    rng = random.Random(3)
    found = [Measurement(4, rng.uniform(1.5, 2.5), 8, rng.uniform(1.2, 1.8)) for _ in range(30)]
    first, again = estimate(found), estimate(found)
    assert first == again
    assert first is not None
    assert first.low < first.value < first.high


def test_of_noise_that_hides_the_gradient_in_some_resamplings_the_interval_is_open() -> None:
    found = estimate([Measurement(4, 2.0, 8, 1.5), Measurement(4, 2.0, 8, 0.9)])
    assert found is not None
    assert found.high == math.inf


def test_a_few_windows_that_look_well_are_no_estimate_where_noise_hides_the_gradient() -> None:
    good, hidden = Measurement(4, 2.0, 8, 1.5), Measurement(4, 2.0, 8, 0.5)
    course = summarize([*[good] * 10, *[hidden] * 30])
    assert (course.pooled, course.end) == (None, None)
    assert course.start is not None


def make_examples(n: int) -> Examples:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (n, 4, 4), dtype=torch.uint8, generator=generator)
    return Examples(images, torch.randint(0, 3, (n,), generator=generator), 1 / 255, 0.0, 3)


def make_task() -> Classify:
    return Classify(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), make_examples(64), None, seed=0)


def test_the_meter_measures_the_model_and_leaves_it_alone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    before = [parameter.clone() for parameter in model.parameters()]
    examples = make_examples(64)
    meter = NoiseMeter(Classify(model, examples, None, seed=0), every=2)
    for step in range(4):
        meter.measure(step, torch.arange(64), n_at_once=64)
    assert [m.small for m in meter.measurements] == [32, 32]
    assert [len(kept) for kept in meter._kept] == [4, 4]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    inputs, labels = examples.batch(torch.arange(64))
    nn.functional.cross_entropy(model(inputs), labels).backward()
    exact = sum(parameter.grad.square().sum().item() for parameter in model.parameters() if parameter.grad is not None)
    assert meter.measurements[0].big_sq == pytest.approx(exact, rel=1e-5)


def test_the_meter_takes_no_more_at_once_than_fits() -> None:
    meter = NoiseMeter(make_task(), every=1)
    meter.measure(0, torch.arange(64), n_at_once=10)
    assert (meter.measurements[0].small, meter.measurements[0].big) == (5, 10)


@pytest.mark.parametrize(("every", "n"), [(0, 64), (1, 1)])
def test_the_meter_does_not_measure_when_switched_off_or_with_a_single_example(every: int, n: int) -> None:
    meter = NoiseMeter(make_task(), every=every)
    meter.measure(0, torch.arange(n), n_at_once=64)
    assert meter.report(lambda _: None) == {}


def test_what_is_not_identifiable_is_said_and_not_reported() -> None:
    meter = NoiseMeter(make_task(), every=1)
    meter._kept.append([4, 10.0, 8, 1.0])
    said: list[str] = []
    assert meter.report(said.append) == {}
    assert said[:2] == [
        "the gradient noise scale is not identifiable (all, 1 measurements)",
        "the gradient noise scale is not identifiable (start, 1 measurements)",
    ]


class Drawing(nn.Module):
    """RandomSampler from every generator and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("n_calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.n_calls += 1
        self.last = inputs.mean().reshape(1)
        return inputs * (1 + random.random() + np.random.rand() + torch.rand(1))


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm1d(16), nn.BatchNorm1d(16, momentum=None), nn.Dropout(0.5), nn.RReLU(), Drawing()]
)
def test_the_meter_changes_no_buffer_no_gradient_and_no_generator(layer: nn.Module) -> None:
    model = nn.Sequential(nn.Flatten(), layer, nn.Linear(16, 3)).train()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    NoiseMeter(Classify(model, make_examples(64), None, seed=0), every=1).measure(0, torch.arange(64), n_at_once=64)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is not None and bool((parameter.grad == 1).all()) for parameter in model.parameters())
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
