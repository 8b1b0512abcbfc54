"""The checks of ``sweepline smoke`` on our own models, and that each catches what was planted for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from sweepline.training.building import build_training
from sweepline.training.config.loading import load_config
from sweepline.training.config.schema import TrainConfig
from sweepline.training.datasets.examples import Examples
from sweepline.training.datasets.splits import find_dataset
from sweepline.training.models.settings import SimpleCNNSettings
from sweepline.training.models.simple_cnn import build
from sweepline.training.optim.optimization import Optimization
from sweepline.training.smoke import Check, Make, make_pair, smoke_pair
from sweepline.training.tasks.base import Outcome, Task
from sweepline.training.tasks.supervised import Classify

WORDS = ("data.name=digits", "device=cpu", "epochs=1", "learner.opt=adam", "learner.step_size=0.003", "batch_size=32")


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return load_config(None, [*WORDS])


@pytest.fixture(scope="module")
def parts(config: TrainConfig) -> tuple[Examples, Examples]:
    examples = find_dataset(config).load("train")
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0))
    return examples.part(order[:300]), examples.part(order[300:900])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def failed(checks: Iterator[Check]) -> list[str]:
    return [check.name for check in checks if not check.is_ok]


def makes(task: type[Task], change: type[nn.Module] | None = None) -> Make:
    """Return what makes this task, with its network changed."""

    def make(training: Examples, held_out: Examples | None, config: TrainConfig) -> tuple[Task, Optimization]:
        model, optimization, _ = build_training(config, training)
        if change is not None:
            model = change(model)
            optimization = Optimization(torch.optim.Adam(model.parameters(), lr=0.003), config)
        return task(model, training, held_out, seed=config.seed), optimization

    return make


class LeakingTask(Classify):
    """Writes the label into the first pixel of each batch, as a careless augmentation may."""

    def _leaky(self, examples: Examples, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, labels = examples.batch(index)
        inputs = inputs.clone()
        inputs[:, 0, 0] = nn.functional.one_hot(labels, 10)[:, :8].float() * 5
        inputs[:, 0, 1] = (labels.float()[:, None] - 4.5).expand(-1, 8)
        return inputs, labels

    def loss(self, index: torch.Tensor) -> Outcome:
        inputs, labels = self._leaky(self.training, index)
        loss = nn.functional.cross_entropy(self.model(inputs), labels)
        return Outcome(loss, len(index), self.zero_sums())

    def evaluate(self, index: torch.Tensor) -> Outcome:
        assert self.held_out is not None
        inputs, labels = self._leaky(self.held_out, index)
        n_right = (self.model(inputs).argmax(1) == labels).sum()
        return Outcome(torch.zeros(()), len(index), {"loss_sum": torch.zeros(()), "n_right": n_right})


class EvaluatingOnTraining(Classify):
    """Evaluates what it has trained on."""

    def evaluate(self, index: torch.Tensor) -> Outcome:
        held_out, self.held_out = self.held_out, self.training
        try:
            return super().evaluate(index % len(self.training))
        finally:
            self.held_out = held_out


class WithIdlePart(nn.Module):
    """Has a layer that nothing goes through."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.idle = model, nn.Linear(3, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.model(inputs)
        return found


class WithLargeLogits(WithIdlePart):
    """Begins far too sure of itself."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs) * 50 + self.idle(torch.ones(3)).sum()


class Deaf(WithIdlePart):
    """Does not look at its inputs."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.zeros_like(inputs)) + self.idle(torch.ones(3)).sum()


class Undefined(WithIdlePart):
    """Divides by zero."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs) / self.idle(torch.ones(3)).sum().mul(0)


class Unrepeatable(WithIdlePart):
    """Draws what no seed decides."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        noise = int.from_bytes(__import__("os").urandom(2), "big") / 65536
        return super().forward(inputs) + noise * self.idle(torch.ones(3)).sum()


def test_our_own_are_sound(config: TrainConfig, parts: tuple[Examples, Examples]) -> None:
    assert failed(smoke_pair(*parts, config)) == []


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (makes(LeakingTask), "shuffled labels stay at chance"),
        (makes(EvaluatingOnTraining), "shuffled labels stay at chance"),
        (makes(Classify, WithIdlePart), "gradients reach every parameter"),
        (makes(Classify, WithLargeLogits), "first loss near ln(classes)"),
        (makes(Classify, Deaf), "one batch can be overfitted"),
        (makes(Classify, Undefined), "finite"),
        (makes(Classify, Unrepeatable), "two runs are identical"),
    ],
)
def test_what_was_planted_is_caught(
    config: TrainConfig, parts: tuple[Examples, Examples], make: Make, name: str
) -> None:
    assert name in failed(smoke_pair(*parts, config, make))


def test_a_label_that_is_written_into_the_data_is_caught(config: TrainConfig, parts: tuple[Examples, Examples]) -> None:
    leaky = []
    for part in parts:
        images = part.inputs.clone()
        images[:, 3, 3] = (part.targets * 20).to(torch.uint8)
        leaky.append(replace(part, inputs=images))
    assert failed(smoke_pair(*leaky, config)) == ["no pixel tells the label"]


def test_examples_that_are_held_out_and_trained_on_are_caught(
    config: TrainConfig, parts: tuple[Examples, Examples]
) -> None:
    training, held_out = parts
    mixed = replace(
        held_out,
        inputs=torch.cat([held_out.inputs[:500], training.inputs[:100]]),
        targets=torch.cat([held_out.targets[:500], training.targets[:100]]),
    )
    assert "held-out examples are not trained on" in failed(smoke_pair(training, mixed, config))


class Forgetful(Optimization):
    """Keeps nothing of the optimizer in a checkpoint."""

    def load_state_dict(self, state: dict[str, object]) -> None:
        return


def test_a_checkpoint_that_forgets_the_optimizer_is_caught(
    config: TrainConfig, parts: tuple[Examples, Examples]
) -> None:
    def make(training: Examples, held_out: Examples | None, config: TrainConfig) -> tuple[Task, Optimization]:
        task, optimization = make_pair(training, held_out, config)
        return task, Forgetful(optimization.optimizer, config)

    assert failed(smoke_pair(*parts, config, make)) == ["a checkpoint is gone on from"]


def test_another_number_of_parameters_than_declared_is_caught(
    config: TrainConfig, parts: tuple[Examples, Examples]
) -> None:
    assert failed(smoke_pair(*parts, config, n_declared=1)) == ["parameters as declared"]


@pytest.mark.parametrize(("width", "image_size"), [(32, (28, 28)), (8, (8, 8)), (3, (13, 9))])
def test_the_declared_number_of_parameters_is_that_of_the_network(width: int, image_size: tuple[int, int]) -> None:
    settings = SimpleCNNSettings(width=width)
    shape = (1, *image_size)
    model = build(settings, input_shape=shape, n_outputs=10)
    assert settings.n_parameters(shape, 10) == sum(parameter.numel() for parameter in model.parameters())


def test_the_command_looks_at_all_that_is_registered() -> None:
    argv = [sys.executable, "-m", "sweepline.cli.main", "smoke", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["is_ok"] is True
    assert [found["name"] for found in told["found"]] == [
        *(f"{model}, normal" for model in ("simple_cnn", "mlp", "encoder_decoder", "decoder_only")),
        "conv_autoencoder, autoencoder",
        *(f"{model}, curriculum" for model in ("simple_cnn", "mlp", "encoder_decoder", "decoder_only")),
        "dqn, fusion",
        "simple_cnn, normal, distillation",
        "mlp, curriculum, distillation",
    ]
    assert len(told["found"][0]["checks"]) == 10
