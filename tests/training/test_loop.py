"""The training loop: what its numbers mean, that it repeats bit for bit, and that its losses stay as recorded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from sweepline.training.building import build_model
from sweepline.training.config.loading import load_config
from sweepline.training.config.schema import EvaluateConfig, TrainConfig
from sweepline.training.datasets.examples import Examples
from sweepline.training.datasets.splits import load_data
from sweepline.training.loop import EpochResult, evaluate, train
from sweepline.training.optim.optimization import Optimization
from sweepline.training.optim.optimizers import build_optimizer
from sweepline.training.seeding import epoch_order, seed_everything
from sweepline.training.tasks.supervised import Classify

SMALL = ("data.name=digits", "data.limit=48", "batch_size=32", "learner.step_size=0.05", "learner.momentum=0.9")
STANDING_STILL = "learner.step_size=1e-30"
RECORDED_LOSSES = [
    2.29626735051473,
    2.2743043899536133,
    2.2412592569986978,
    2.198542277018229,
    2.1521387100219727,
    2.079713980356852,
    2.0005210240681968,
    1.8742575645446777,
    1.6699368158976238,
    1.414122740427653,
    1.051415205001831,
    0.7126030921936035,
    0.5016665856043497,
    0.41669615109761554,
    0.3718382517496745,
    0.3369523286819458,
    0.37148813406626385,
    0.218858540058136,
    0.128841370344162,
    0.1268215278784434,
]


class Training:
    """A small training on digits, set up as one run is."""

    def __init__(self, *overrides: str) -> None:
        self.config: TrainConfig = load_config(None, [*SMALL, *overrides])
        self.examples, _, self.test = load_data(self.config)
        seed_everything(self.config.seed)
        self.model = build_model(self.config.model, input_shape=(1, 8, 8), n_outputs=10)
        self.optimizer, _ = build_optimizer(self.config.learner, self.model)
        self.optimization = Optimization(self.optimizer, self.config)

    def epochs(self) -> Iterator[EpochResult]:
        """Train, epoch by epoch."""
        held_out = self.test if self.config.evaluate.every else None
        task = Classify(self.model, self.examples, held_out, seed=self.config.seed)
        return train(task, self.optimization, self.config)

    def evaluate(self, examples: Examples) -> tuple[float, float]:
        """Return loss and accuracy over some examples."""
        metrics = evaluate(Classify(self.model, examples, examples, seed=0), n_together=1000)
        return metrics["loss"], metrics["accuracy"]

    def run(self) -> list[EpochResult]:
        """Train to the end."""
        return list(self.epochs())

    def weights(self) -> torch.Tensor:
        """Return all weights in one row."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.model.parameters()])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@torch.no_grad()
def losses_by_hand(model: nn.Module, examples: Examples) -> torch.Tensor:
    """Return the loss of each example, (N,)."""
    inputs, labels = examples.batch(torch.arange(len(examples)))
    return functional.cross_entropy(model(inputs), labels, reduction="none")


@torch.no_grad()
def accuracy_by_hand(model: nn.Module, examples: Examples) -> float:
    inputs, labels = examples.batch(torch.arange(len(examples)))
    return (model(inputs).argmax(1) == labels).double().mean().item()


def metric(results: list[EpochResult], name: str) -> list[Any]:
    return [result.metrics[name] for result in results]


# Repeatability


@pytest.mark.parametrize("opt", ["sgd", "adam"])
def test_two_runs_with_one_config_end_with_the_same_bits(opt: str) -> None:
    first, second = (Training(f"learner.opt={opt}", "epochs=3", "seed=7") for _ in range(2))
    first_results = first.run()
    second_results = second.run()
    assert first_results == second_results
    assert torch.equal(first.weights(), second.weights())


def test_another_seed_starts_from_other_weights() -> None:
    assert not torch.equal(Training("seed=7").weights(), Training("seed=8").weights())


def test_another_seed_gives_other_losses() -> None:
    first, second = Training("seed=7").run(), Training("seed=8").run()
    assert metric(first, "epoch_loss") != metric(second, "epoch_loss")


def test_a_refactor_reproduces_the_recorded_losses() -> None:
    results = Training("epochs=20", "seed=7").run()
    assert metric(results, "epoch_loss") == pytest.approx(RECORDED_LOSSES, rel=1e-4)


def test_evaluation_changes_nothing_of_the_training() -> None:
    without, with_evaluation = Training("epochs=3"), Training("epochs=3", "evaluate.every=1")
    without.run()
    with_evaluation.run()
    assert torch.equal(without.weights(), with_evaluation.weights())


def test_random_numbers_drawn_between_epochs_change_nothing() -> None:
    undisturbed, disturbed = Training("epochs=2"), Training("epochs=2")
    undisturbed.run()
    epochs = disturbed.epochs()
    next(epochs)
    torch.rand(100)
    next(epochs)
    assert torch.equal(undisturbed.weights(), disturbed.weights())


# The order of an epoch


def test_the_order_of_an_epoch_is_a_permutation() -> None:
    assert epoch_order(3, 1, 1000).sort().values.tolist() == list(range(1000))


def test_the_order_of_an_epoch_ignores_the_global_generator() -> None:
    torch.manual_seed(1)
    first = epoch_order(3, 1, 1000)
    torch.manual_seed(2)
    assert torch.equal(epoch_order(3, 1, 1000), first)


def test_drawing_an_order_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    epoch_order(3, 1, 1000)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("seed", "epoch"), [(4, 1), (3, 2), (31, 1), (2**63 - 1, 1)])
def test_the_order_differs_with_seed_and_with_epoch(seed: int, epoch: int) -> None:
    assert not torch.equal(epoch_order(seed, epoch, 1000), epoch_order(3, 1, 1000))


def test_the_training_visits_the_examples_in_the_epochs_order() -> None:
    training = Training("epochs=2", "seed=5")
    visited: list[torch.Tensor] = []
    training.model.register_forward_pre_hook(lambda _, inputs: visited.append(inputs[0].clone()))
    training.run()
    order = torch.cat([epoch_order(5, 1, 48), epoch_order(5, 2, 48)])
    assert torch.equal(torch.cat(visited), training.examples.batch(order)[0])


# What the numbers mean


@pytest.mark.parametrize("batch_size", [1, 32, 47, 48, 500])
def test_epoch_loss_is_a_mean_over_examples_with_an_uneven_last_batch_too(batch_size: int) -> None:
    training = Training(STANDING_STILL, f"batch_size={batch_size}")
    expected = losses_by_hand(training.model, training.examples).double().mean().item()
    (result,) = training.run()
    assert result.metrics["epoch_loss"] == pytest.approx(expected, rel=1e-6)


def test_epoch_loss_is_no_mean_of_batch_means() -> None:
    training = Training(STANDING_STILL, "batch_size=47")
    losses = losses_by_hand(training.model, training.examples)[epoch_order(0, 1, 48)].double()
    mean_of_means = (losses[:47].mean() + losses[47:].mean()) / 2
    (result,) = training.run()
    assert result.metrics["epoch_loss"] != pytest.approx(mean_of_means.item(), rel=1e-3)


def test_epoch_accuracy_is_the_share_of_examples_that_were_right() -> None:
    training = Training(STANDING_STILL)
    expected = accuracy_by_hand(training.model, training.examples)
    (result,) = training.run()
    assert result.metrics["epoch_accuracy"] == pytest.approx(expected, abs=1e-12)


def test_epoch_loss_is_measured_before_each_step() -> None:
    training = Training("batch_size=48")
    expected = losses_by_hand(training.model, training.examples).double().mean().item()
    (result,) = training.run()
    assert result.metrics["epoch_loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("batch_size", "steps"), [(32, [2, 4, 6]), (48, [1, 2, 3]), (1, [48, 96, 144]), (500, [1, 2, 3])]
)
def test_steps_are_counted_from_the_start_of_the_run(batch_size: int, steps: list[int]) -> None:
    results = Training("epochs=3", f"batch_size={batch_size}").run()
    assert [result.step for result in results] == steps


def test_samples_and_epochs_are_counted_from_the_start_of_the_run() -> None:
    results = Training("epochs=3").run()
    assert [(result.epoch, result.samples) for result in results] == [(1, 48), (2, 96), (3, 144)]


def test_training_lowers_the_loss() -> None:
    losses = metric(Training("epochs=20", "seed=7").run(), "epoch_loss")
    assert losses[-1] < losses[0] / 2


def test_the_gradient_clip_bounds_a_step() -> None:
    training = Training("gradient_clip=0.001", "learner.step_size=1.0", "learner.momentum=0.0", "batch_size=48")
    before = training.weights()
    training.run()
    assert (training.weights() - before).norm().item() == pytest.approx(0.001, rel=1e-2)


# Evaluation


def test_evaluate_returns_means_over_examples_across_uneven_batches() -> None:
    training = Training("data.limit=1500")
    expected = losses_by_hand(training.model, training.examples).double().mean().item()
    loss, accuracy = training.evaluate(training.examples)
    assert EvaluateConfig().batch_size < 1500
    assert loss == pytest.approx(expected, rel=1e-6)
    assert accuracy == pytest.approx(accuracy_by_hand(training.model, training.examples), abs=1e-12)


@pytest.mark.parametrize("n_together", [1, 7, 48])
def test_sums_of_an_evaluation_are_added_in_double_precision_and_read_at_its_end(
    n_together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training()
    task = Classify(training.model, training.examples, training.examples, seed=0)
    with torch.no_grad():
        parts = [task.evaluate(index).sums for index in torch.split(torch.arange(48), n_together)]
    loss_sum = 0.0
    for part in parts:
        loss_sum += part["loss_sum"].item()
    n_right = sum(int(part["n_right"].item()) for part in parts)
    read: list[float] = []
    item = torch.Tensor.item

    def counted(value: torch.Tensor) -> float:
        read.append(item(value))
        return read[-1]

    monkeypatch.setattr(torch.Tensor, "item", counted)
    assert evaluate(task, n_together=n_together) == {"loss": loss_sum / 48, "accuracy": n_right / 48}
    assert read == [loss_sum, n_right]


def test_held_out_metrics_are_those_of_the_weights_at_the_end_of_the_epoch() -> None:
    training = Training("epochs=1", "evaluate.every=1")
    (result,) = training.run()
    loss, accuracy = training.evaluate(training.test)
    assert (result.metrics["test_loss"], result.metrics["test_accuracy"]) == (loss, accuracy)


def test_held_out_metrics_come_every_so_many_epochs() -> None:
    results = Training("epochs=5", "evaluate.every=2").run()
    assert ["test_loss" in result.metrics for result in results] == [False, True, False, True, False]


def test_held_out_metrics_are_named_after_their_split() -> None:
    results = Training("evaluate.every=1", "evaluate.split=valid", "data.valid_fraction=0.5").run()
    assert set(results[0].metrics) == {"epoch_loss", "epoch_accuracy", "valid_loss", "valid_accuracy"}


def test_a_run_diverges_where_its_loss_is_no_number_or_far_above_that_of_the_new_network() -> None:
    words = ("stop_diverged=true", "epochs=3", "learner.opt=sgd", "learner.momentum=0")
    found = {rate: Training(*words, f"learner.step_size={rate}").run() for rate in (1e-9, 0.05, 10.0, 1e9)}
    assert [metric(found[rate], "diverged")[-1] for rate in found] == [0.0, 0.0, 1.0, 1.0]
    assert all(map(math.isfinite, metric(found[10.0], "epoch_loss")))
    assert len(found[1e9]) < 3  # nothing more is to be learned
    plain = Training("epochs=3", "learner.opt=sgd", "learner.momentum=0", "learner.step_size=0.05").run()
    assert metric(plain, "epoch_loss") == metric(found[0.05], "epoch_loss")
