"""A task around another: what it shows is what the other has now."""

from __future__ import annotations

import torch
from torch import nn

from sweepline.training.datasets.examples import Examples
from sweepline.training.datasets.teachers import PolyTeacher
from sweepline.training.loop import evaluate
from sweepline.training.tasks.distill import Distilled
from sweepline.training.tasks.losses import mse
from sweepline.training.tasks.mixed_precision import MixedPrecision
from sweepline.training.tasks.supervised import Classify, Regress


def test_examples_that_are_drawn_anew_are_seen_through_it() -> None:
    fresh = PolyTeacher(dim=6, n_examples=20, n_test=8, fresh=True)
    inner = Regress(nn.Linear(6, 1), fresh.load("train"), None, seed=0, criterion=mse)
    outer = MixedPrecision(inner, torch.bfloat16)
    outer.order(2)
    assert torch.equal(outer.training.inputs, inner.training.inputs)


def test_what_is_put_into_it_is_what_the_other_trains() -> None:
    teacher = PolyTeacher(dim=6, n_examples=20, n_test=8)
    inner = Regress(nn.Linear(6, 1), teacher.load("train"), None, seed=0, criterion=mse)
    outer = MixedPrecision(inner, torch.bfloat16)
    outer.model, outer.training, outer.held_out = nn.Linear(6, 1), teacher.load("test"), teacher.load("test")
    assert (inner.model, inner.training, inner.held_out) == (outer.model, outer.training, outer.held_out)
    assert (outer.n_examples, outer.n_held_out) == (8, 8)


def test_other_examples_to_evaluate_on_are_those_of_the_other_alone() -> None:
    torch.manual_seed(0)
    few, many = (Examples(torch.randn(n, 4), torch.randint(3, (n,)), n_classes=3) for n in (5, 9))
    inner = Classify(nn.Linear(4, 3), few, few, seed=0)
    task = Distilled(inner, nn.Linear(4, 3), temperature=2.0, alpha=0.5)
    other = task.evaluating(many)
    assert (task.held_out, other.held_out, other.task.held_out) == (few, other.task.held_out, other.held_out)
    assert (task.n_held_out, other.n_held_out) == (5, 9)
    assert evaluate(other, n_together=4) == evaluate(inner.evaluating(many), n_together=4)
