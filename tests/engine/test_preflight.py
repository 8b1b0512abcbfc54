"""What our trainer is asked before the first run: each run with its own overrides, as it will be started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweepline.config.sweepfile import load_sweep
from sweepline.engine.preflight import check_with_trainer
from sweepline.errors import ConfigError
from sweepline.space.plan import Plan

NETWORKS = """
from torch import nn

class Narrow(nn.Module):
    def __init__(self, n_inputs, n_outputs, hidden=4):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(n_inputs, hidden), nn.Linear(hidden, n_outputs))

    def forward(self, x):
        return self.net(x)

class Dropped(Narrow):
    def __init__(self, n_inputs, n_outputs, p=0.1):
        super().__init__(n_inputs, n_outputs)
        self.net.append(nn.Dropout(p))
"""
CONFIG = "data: {name: digits, limit: 64}\nepochs: 1\nwandb: {mode: disabled}\n"


def check(folder: Path, parameters: str, *, is_on_cpu: bool = True) -> None:
    """Ask the trainer what it says of a sweep."""
    (folder / "mine.py").write_text(NETWORKS)
    (folder / "config.yaml").write_text(CONFIG)
    text = "program: train_single.py\nconfig: config.yaml\nname: s\nmethod: grid\nmetric: {name: epoch_loss}\n"
    (folder / "sweep.yaml").write_text(f"{text}{parameters}\n")
    settings = load_sweep(folder / "sweep.yaml")
    check_with_trainer(settings, Plan(settings.space), os.environ, is_on_cpu=is_on_cpu)


@pytest.mark.parametrize(
    "parameters",
    [
        "parameters: {model.name: {values: {'mine.py:Narrow': {parameters: {model.args.hidden: [2, 4]}}, "
        "'mine.py:Dropped': {parameters: {model.args.p: [0.1]}}}}}",
        "parameters: {model.name: {values: {'mine.py:Narrow': {parameters: {model.args.hidden: [4]}}, mlp: {}}}}",
        "parameters: {model.name: ['mine.py:Narrow', 'mine.py:Dropped'], "
        "model.args.hidden: {values: [4], when: {model.name: 'mine.py:Narrow'}}}",
        "runs: [{model.name: 'mine.py:Narrow', model.args.hidden: 4}, {model.name: simple_cnn}]",
        "parameters: {learner.opt: {values: {sgd: {parameters: {learner.args.nesterov: [true]}}, adam: {}}}, "
        "learner.momentum: 0.9}",
    ],
)
def test_what_one_run_is_given_is_not_given_to_the_others(tmp_path: Path, parameters: str) -> None:
    check(tmp_path, parameters)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ("{model.name: mlp, model.parametrization: mup, learner.opt: [sgd, rmsprop]}", "no rule for rmsprop"),
        ("{model.name: mlp, model.parametrization: sp, model.depth: [1, 2]}", "sp and mup need a hidden layer"),
        ("{precision: 16-mixed, batch_size: [8, 16]}", "precision 16-mixed needs a GPU, the device is cpu"),
    ],
)
def test_set_ups_that_cannot_work_are_refused_before_the_first_run(
    tmp_path: Path, parameters: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check(tmp_path, f"parameters: {parameters}")


def test_where_there_may_be_a_gpu_half_precision_is_not_refused(tmp_path: Path) -> None:
    check(tmp_path, "parameters: {precision: 16-mixed, batch_size: [8, 16]}", is_on_cpu=False)


def test_data_of_a_users_own_is_loaded_once_for_all_sizes_that_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "import numpy as np\ndef numbers(split):\n    open('loads', 'a').write(f'{split}\\n')\n"
        "    return np.ones((64, 3), np.float32), np.arange(64) % 2\n"
    )
    names = "data.name: 'data.py:numbers', model.name: 'mine.py:Narrow'"
    check(tmp_path, f"parameters: {{{names}, batch_size: [8, 16, 32]}}")
    assert (tmp_path / "loads").read_text().split().count("train") == 1
