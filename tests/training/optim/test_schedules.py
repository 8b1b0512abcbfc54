"""Step sizes over time: those of torch's own schedulers, and what a run trains with."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from sweepline.training.config.schema import ScheduleConfig, TrainConfig
from sweepline.training.optim.optimization import Optimization
from sweepline.training.optim.schedules import step_size_at

BASE = 0.0018498849832733245
TRIAL_69 = [0.00184988, 0.00172608, 0.00138783, 0.00092578, 0.00046373, 0.00012549, 0.00184988]
Builder = Callable[[torch.optim.Optimizer], Any]
PEERS: dict[str, tuple[dict[str, Any], Builder]] = {
    "step": ({"name": "step", "every": 3, "gamma": 0.5}, lambda o: lr_scheduler.StepLR(o, 3, 0.5)),
    "cosine": (
        {"name": "cosine", "T_max": 24, "eta_min": 1e-4},
        lambda o: lr_scheduler.CosineAnnealingLR(o, 24, eta_min=1e-4),
    ),
    "cosine over all epochs": ({"name": "cosine"}, lambda o: lr_scheduler.CosineAnnealingLR(o, 25)),
    "restarts": (
        {"name": "cosine_warm_restarts", "T_0": 6, "eta_min": 1e-6},
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 6, eta_min=1e-6),
    ),
    "ever longer periods": (
        {"name": "cosine_warm_restarts", "T_0": 2, "T_mult": 2},
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, T_mult=2),
    ),
    "constant": ({}, lambda o: lr_scheduler.ConstantLR(o, 1.0, 0)),
}


def rates(schedule: dict[str, Any], n: int, *, unit: str = "epoch") -> list[float]:
    config = ScheduleConfig.model_validate({**schedule, "unit": unit})
    at = [{"epoch": i, "step": 10 * i} if unit == "epoch" else {"epoch": 0, "step": i} for i in range(n)]
    n_steps = 10 if unit == "epoch" else 1
    return [step_size_at(config, BASE, **place, n_epochs=25, n_steps=n_steps) for place in at]


@pytest.mark.parametrize("unit", ["epoch", "step"])
@pytest.mark.parametrize("name", PEERS)
def test_step_sizes_are_those_of_torch(name: str, unit: str) -> None:
    schedule, build = PEERS[name]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no step is done
        peer = build(optimizer)
        expected = []
        for _ in range(25):
            expected.append(optimizer.param_groups[0]["lr"])
            peer.step()
    assert rates(schedule, 25, unit=unit) == pytest.approx(expected, rel=1e-9, abs=1e-18)


def test_a_cosine_stays_at_its_lowest() -> None:
    assert rates({"name": "cosine", "T_max": 3, "eta_min": 1e-4}, 7)[3:] == pytest.approx([1e-4] * 4)


def test_warm_up_counts_optimizer_steps_whatever_the_unit() -> None:
    config = ScheduleConfig(name="step", every=1, gamma=0.5, warmup_steps=4)
    place = [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (2, 5)]
    found = [step_size_at(config, 1.0, epoch=e, step=s, n_epochs=3, n_steps=2) for e, s in place]
    assert found == [0.25, 0.5, 0.75, 0.5, 0.5, 0.25]


def test_the_rates_of_trial_69_are_those_of_the_note_on_the_built_optimizer() -> None:
    config = TrainConfig.model_validate(
        {
            "learner": {"opt": "adam", "step_size": BASE, "beta1": 0.95, "beta2": 0.999},
            "schedule": {"name": "cosine_warm_restarts", "T_0": 6, "T_mult": 1, "eta_min": 1.6816632143867157e-06},
            "epochs": 100,
        }
    )
    built = Optimization(torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=BASE), config)
    found = []
    for epoch in range(7):
        built.set_step_size(epoch=epoch, step=epoch * 9, n_steps=9)
        found.append(built.optimizer.param_groups[0]["lr"])
    assert [round(rate, 8) for rate in found] == TRIAL_69


def test_a_late_epoch_of_long_periods_is_found_at_once() -> None:
    config = ScheduleConfig(name="cosine_warm_restarts", T_0=1)
    assert step_size_at(config, 1.0, epoch=10**9, step=0, n_epochs=1, n_steps=1) == 1.0
    longer = ScheduleConfig(name="cosine_warm_restarts", T_0=1, T_mult=3)
    assert math.isfinite(step_size_at(longer, 1.0, epoch=10**9, step=0, n_epochs=1, n_steps=1))
