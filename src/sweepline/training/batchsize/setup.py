"""What a probe of our trainer sets up: the effective model, optimizer and data of a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sweepline.training.batchsize.noise import NoiseMeter
from sweepline.training.building import build_task, build_training
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import accumulates
from sweepline.training.datasets.examples import Examples
from sweepline.training.datasets.splits import Splits, load_data, pick_held_out
from sweepline.training.seeding import set_up_process
from sweepline.training.stepping import add_gradients


class TrainerSetup:
    """One freshly initialised network, as a run with this config trains it."""

    def __init__(self, config: TrainConfig, training: Examples, held_out: Examples | None) -> None:
        self.config, self.device = config, torch.device(config.device)
        model, self.optimization, _ = build_training(config, training)
        self.task = build_task(config, model, training, held_out)
        self.meter = NoiseMeter(self.task, every=min(1, config.noise_every))
        self.n_examples, self.n_evaluated = self.task.n_examples, self.task.n_held_out

    def step(self, index: torch.Tensor) -> None:
        """Do one optimizer step on these examples, all of them at once."""
        self.task.model.train()
        if not accumulates(self.config):  # else a batch finds the gradients of the one before it
            self.optimization.zero_grad()
        self.meter.measure(0, index, n_at_once=len(index))
        add_gradients(self.task, self.optimization, index, n_together=len(index))
        self.optimization.apply(self.task.model)

    @torch.no_grad()
    def evaluate(self, index: torch.Tensor) -> None:
        """Evaluate these held-out examples."""
        self.task.model.eval()
        self.task.evaluate(index)


def load_setup(config: TrainConfig) -> SetupBuilder:
    """Set up the process and load the data of a run; return what builds the rest, on which a memory limit is set."""
    set_up_process(config)
    return SetupBuilder(config, load_data(config))


@dataclass(frozen=True)
class SetupBuilder:
    """Builds the set-up of a run from its data. A process from nothing needs the config alone."""

    config: TrainConfig
    data: Splits

    def __call__(self) -> TrainerSetup:
        """Return a fresh set-up."""
        return TrainerSetup(self.config, self.data[0], pick_held_out(self.config, self.data))
