"""Teachers: what they say of inputs, and which examples are the same for whom."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sweepline.errors import ConfigError
from sweepline.training.datasets.teachers import MlpTeacher, PolyTeacher

TEACHERS: list[type[Any]] = [PolyTeacher, MlpTeacher]


def weights_of(teacher: PolyTeacher) -> torch.Tensor:
    """Return w (D, 1) of a teacher of power 1: what it says of each axis."""
    assert teacher.power == 1
    return teacher.targets(torch.eye(teacher.dim))


@pytest.mark.parametrize("power", [1, 2, 3, 5])
def test_a_power_of_a_projection_is_what_the_poly_teacher_says(power: int) -> None:
    weights = weights_of(PolyTeacher(dim=12, power=1, teacher_seed=4))
    examples = PolyTeacher(dim=12, power=power, n_examples=50, teacher_seed=4).load("train")
    assert (examples.inputs.shape, examples.targets.shape, examples.n_classes) == ((50, 12), (50, 1), 0)
    torch.testing.assert_close(examples.targets, (examples.inputs @ weights) ** power, rtol=1e-3, atol=1e-5)


def test_its_weights_are_normal_with_a_variance_of_one_over_their_number() -> None:
    scaled = (
        torch.cat([weights_of(PolyTeacher(dim=1000, power=1, teacher_seed=seed)) for seed in range(20)]) * 1000**0.5
    )
    assert scaled.mean().item() == pytest.approx(0.0, abs=0.03)
    assert scaled.std().item() == pytest.approx(1.0, abs=0.03)
    assert (scaled.abs() < 1.0).double().mean().item() == pytest.approx(0.6827, abs=0.02)
    assert scaled.pow(4).mean().item() == pytest.approx(3.0, abs=0.3)


@pytest.mark.parametrize("kind", TEACHERS)
def test_inputs_are_normal(kind: type[Any]) -> None:
    inputs = kind(dim=5, n_examples=20_000).load("train").inputs
    torch.testing.assert_close(inputs.mean(0), torch.zeros(5), rtol=0, atol=0.03)
    torch.testing.assert_close(torch.cov(inputs.T), torch.eye(5), rtol=0, atol=0.04)


@pytest.mark.parametrize("kind", TEACHERS)
def test_every_epoch_of_fresh_examples_draws_others_from_the_same_teacher(kind: type[Any]) -> None:
    teacher = kind(dim=6, n_examples=30, fresh=True)
    first = teacher.load("train")
    epochs = [first.of_epoch(epoch) for epoch in (1, 2, 3)]
    for i, one in enumerate(epochs):
        assert torch.equal(one.targets, teacher.targets(one.inputs))
        assert not any(torch.equal(one.inputs, other.inputs) for other in epochs[:i])
    assert torch.equal(first.inputs, epochs[0].inputs)
    again = kind(dim=6, n_examples=30, fresh=True).load("train").of_epoch(3).of_epoch(2)
    assert torch.equal(again.inputs, epochs[1].inputs)
    assert torch.equal(again.targets, epochs[1].targets)


@pytest.mark.parametrize("kind", TEACHERS)
def test_without_fresh_ones_every_epoch_has_the_same_examples(kind: type[Any]) -> None:
    examples = kind(dim=6, n_examples=30).load("train")
    assert examples.of_epoch(2) is examples
    assert torch.equal(examples.inputs, kind(dim=6, n_examples=30).load("train").inputs)


@pytest.mark.parametrize("kind", TEACHERS)
def test_seeds_say_which_teacher_and_which_examples(kind: type[Any]) -> None:
    one = kind(dim=6, n_examples=30, n_test=10).load("train")
    of_another_teacher = kind(dim=6, n_examples=30, teacher_seed=1).load("train")
    others = kind(dim=6, n_examples=30, data_seed=1).load("train")
    held_out = kind(dim=6, n_examples=30, n_test=10).load("test")
    assert torch.equal(of_another_teacher.inputs, one.inputs)
    assert not torch.allclose(of_another_teacher.targets, one.targets)
    assert not torch.equal(others.inputs, one.inputs)
    assert len(held_out) == 10
    assert not torch.equal(held_out.inputs, one.inputs[:10])


@pytest.mark.parametrize("kind", TEACHERS)
@pytest.mark.parametrize("name", ["dim", "n_examples", "n_test"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "many"])
def test_a_number_that_is_none_is_refused(kind: type[Any], name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"data\.args\.{name} must be a whole number above zero, got {value!r}"):
        kind(**{name: value})
