"""What outputs cost: single examples and their sum, and in which precision."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from sweepline.training.datasets.examples import Examples
from sweepline.training.tasks.distill import Distilled
from sweepline.training.tasks.losses import LOSSES, Reduction
from sweepline.training.tasks.supervised import Classify


@pytest.mark.parametrize("name", ["cross_entropy", "mse_one_hot"])
def test_losses_of_single_examples_add_up(name: str) -> None:
    outputs, targets = torch.randn(7, 10), torch.randint(10, (7,))
    each = LOSSES[name](outputs, targets, reduction="none")
    assert each.mean().item() == pytest.approx(LOSSES[name](outputs, targets, reduction="mean").item())
    assert each.sum().item() == pytest.approx(LOSSES[name](outputs, targets, reduction="sum").item())


def test_mse_one_hot_is_least_for_centered_scores_of_one() -> None:
    right = 1.0 * functional.one_hot(torch.tensor([3]), 10)
    loss = LOSSES["mse_one_hot"](right + 5, torch.tensor([3]), reduction="mean").item()
    assert loss == pytest.approx(0.1, abs=1e-5)  # what the mean of the scores takes away


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", list(LOSSES))
def test_outputs_in_half_precision_cost_what_they_cost_in_single(
    name: str, reduction: Reduction, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = (300 * torch.randn(1000, 10, generator=generator)).to(dtype)  # whose squares overflow float16
    targets = torch.randint(10, (1000,), generator=generator)
    wanted = outputs.new_zeros(1000, 10, dtype=torch.float32) if name == "mse" else targets
    with torch.autocast("cpu", torch.bfloat16):
        found = LOSSES[name](outputs, wanted, reduction=reduction)
    torch.testing.assert_close(found, LOSSES[name](outputs.float(), wanted, reduction=reduction), rtol=1e-5, atol=1e-5)


def test_double_precision_stays() -> None:
    outputs = torch.randn(7, 10, dtype=torch.float64)
    assert LOSSES["mse_one_hot"](outputs, torch.arange(7), reduction="mean").dtype == torch.float64


def test_what_a_teacher_says_in_half_precision_is_compared_in_single() -> None:
    torch.manual_seed(0)
    networks = [nn.Linear(6, 10).bfloat16(), nn.Linear(6, 10).bfloat16()]
    examples = Examples(torch.randn(50, 6).bfloat16(), torch.randint(10, (50,)), 1.0, 0.0, 10)
    task = Distilled(Classify(networks[0], examples, None, seed=0), networks[1], temperature=3, alpha=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        found = task.loss(torch.arange(50)).loss
    student, teacher = (functional.log_softmax(one(examples.inputs).float() / 3, 1) for one in networks)
    expected = 9 * (teacher.exp() * (teacher - student)).sum(1).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
