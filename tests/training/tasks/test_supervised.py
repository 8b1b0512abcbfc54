"""What examples come to as a classification, and the seams of a task that has more to keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from sweepline.training.checkpoints import Checkpoints
from sweepline.training.config.schema import TrainConfig
from sweepline.training.datasets.examples import Examples
from sweepline.training.loop import LoopState
from sweepline.training.optim.optimization import Optimization
from sweepline.training.seeding import epoch_order
from sweepline.training.tasks.base import NAMES_OF_LOOP
from sweepline.training.tasks.supervised import Classify


def examples(n: int) -> Examples:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (n, 4, 4), dtype=torch.uint8, generator=generator)
    return Examples(images, torch.randint(0, 3, (n,), generator=generator), 1 / 255, 0.0, 3)


def classify(kind: type[Classify] = Classify) -> Classify:
    torch.manual_seed(0)
    return kind(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), examples(12), examples(5), seed=4)


def test_the_loss_is_the_mean_cross_entropy_and_its_sum_carries_no_graph() -> None:
    task = classify()
    index = torch.tensor([3, 1, 7])
    inputs, labels = task.training.batch(index)
    outcome = task.loss(index)
    assert torch.equal(outcome.loss, functional.cross_entropy(task.model(inputs), labels))
    assert outcome.loss.requires_grad
    assert not any(value.requires_grad for value in outcome.sums.values())
    assert outcome.sums["loss_sum"].item() == pytest.approx(3 * outcome.loss.item(), rel=1e-6)
    assert outcome.sums["n_right"].item() == (task.model(inputs).argmax(1) == labels).sum().item()


@torch.no_grad()
def test_evaluation_looks_at_what_is_held_out() -> None:
    task = classify()
    outcome = task.evaluate(torch.arange(5))
    inputs, labels = examples(5).batch(torch.arange(5))
    assert outcome.n == task.n_held_out == 5
    assert outcome.loss.item() == pytest.approx(functional.cross_entropy(task.model(inputs), labels).item())


def test_its_sums_are_those_that_it_begins_with() -> None:
    task = classify()
    zero, one = task.zero_sums(), task.loss(torch.arange(4)).sums
    assert {name: (value.dtype, value.shape) for name, value in zero.items()} == {
        name: (value.dtype, value.shape) for name, value in one.items()
    }


def test_the_order_of_an_epoch_follows_from_the_seed() -> None:
    assert torch.equal(classify().order(2), epoch_order(4, 2, 12))


class Counting(Classify):
    """A task that must keep something of its own."""

    n_seen = 0

    def state_dict(self) -> dict[str, Any]:
        return {"n_seen": self.n_seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.n_seen = state["n_seen"]


def test_a_checkpoint_holds_what_the_task_keeps_and_nothing_where_it_keeps_nothing(tmp_path: Path) -> None:
    task = classify(Counting)
    assert isinstance(task, Counting)
    task.n_seen = 7
    optimization = Optimization(torch.optim.SGD(task.model.parameters(), lr=0.1), TrainConfig())
    kept = Checkpoints(tmp_path, config_hash="x", keep=2, interval_s=0.0, say=lambda _: None)
    kept.save(task.model, optimization, LoopState(step=1), [], task=task)
    again = classify(Counting)
    assert isinstance(again, Counting)
    assert kept.restore(again.model, optimization, task=again) is not None
    assert again.n_seen == 7
    kept.save(task.model, optimization, LoopState(step=2), [], task=classify())
    assert "task" not in torch.load(tmp_path / "ckpt" / "ckpt_000002.pt", weights_only=True)


def test_a_state_is_written_flat_as_it_always_was() -> None:
    state = LoopState(epoch=2, batch=1, step=5, samples=9, sums=classify().zero_sums())
    own = {"epoch", "batch", "step", "samples", "n_splits", "n_skipped", "noise", "best", "initial_loss"}
    assert set(state.to_dict()) == own | {"loss_sum", "n_right"}
    assert own | {"sums"} == NAMES_OF_LOOP == {item.name for item in fields(LoopState)}
    assert LoopState.from_dict(state.to_dict()).to_dict() == state.to_dict()
