"""What a probe of our trainer sets up: the effective model, optimizer and data of a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from sweepline.training.batchsize.noise import NoiseMeter
from sweepline.training.building import build_training
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import accumulates
from sweepline.training.datasets.examples import Examples, Splits, load_data, pick_held_out
from sweepline.training.loop import gradients
from sweepline.training.seeding import set_up_process


class TrainerSetup:
    """One freshly initialised network, as a run with this config trains it."""

    def __init__(self, config: TrainConfig, training: Examples, held_out: Examples | None) -> None:
        self.config, self.device = config, torch.device(config.device)
        self.model, self.optimizer, _ = build_training(config, training)
        self.training = training.to(self.device)
        self.held_out = held_out.to(self.device) if held_out is not None else None
        self.meter = NoiseMeter(self.model, self.training, every=min(1, config.noise_every))
        self.n_examples, self.n_evaluated = len(training), len(held_out) if held_out is not None else 0

    def step(self, index: torch.Tensor) -> None:
        """Do one optimizer step on these examples, all of them at once."""
        self.model.train()
        if not accumulates(self.config):  # else a batch finds the gradients of the one before it
            self.optimizer.zero_grad(set_to_none=True)
        self.meter.measure(0, index, n_at_once=len(index))
        gradients(self.model, self.training, index, n_at_once=len(index))
        if self.config.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self.optimizer.step()

    @torch.no_grad()
    def evaluate(self, index: torch.Tensor) -> None:
        """Evaluate these held-out examples."""
        assert self.held_out is not None
        self.model.eval()
        inputs, labels = self.held_out.batch(index)
        functional.cross_entropy(self.model(inputs), labels, reduction="sum").item()


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
