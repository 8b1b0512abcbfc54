"""Every mode, and networks of a user's own, on a GPU: they train, and go on exactly after a kill."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.gpu.test_training import go_on_after_kills, start

SHORT = ("data.limit=600", "epochs=2", "batch_size=32", "learner.opt=adam", "learner.step_size=0.003")
KEPT = ("checkpoint.interval_s=0", "deterministic=false")
MINE = '''
"""A network, data and an optimizer that sweepline knows nothing of."""
import numpy as np
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, n_inputs, n_outputs, hidden=16):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(n_inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(hidden, n_outputs),
        )
    def forward(self, x):
        return self.net(x)

def moons(split, n=400):
    rng = np.random.default_rng(0 if split == "train" else 1)
    y, t = rng.integers(0, 2, n), rng.uniform(0, np.pi, n)
    return np.stack([np.cos(t) + y, np.sin(t) * (1 - 2 * y) + 0.5 * y], 1), y

class Signs(torch.optim.Optimizer):
    def __init__(self, params, lr=0.01):
        super().__init__(params, {"lr": lr})
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(group["lr"] * parameter.grad.sign())
'''
OWN = ("model.name=mine.py:Net", "data.name=mine.py:moons", "learner.opt=mine.py:Signs", "learner.step_size=0.003")
TEACHER = ("training.use_knowledge_distillation=true", "training.teacher={simple_cnn}", "training.feature_weight=0.5")
FUSION = ("training.mode=fusion", "model.name=dqn", "training.experts=[{simple_cnn},{mlp}]", "training.feedback=taken")
POLY = ("data.name=poly_teacher", "data.args={{dim: 20, power: 2, n_examples: 1024, fresh: true}}")
MUP = ("model.name=mlp", "model.parametrization=mup", "training.centered=true", "learner.opt=adam")
MODES = {
    "distillation": (*SHORT, "model.name=mlp", *TEACHER),
    "curriculum": (*SHORT, "epochs=4", "training.mode=curriculum", "training.difficulty={mlp}"),
    "autoencoder": (*SHORT, "training.mode=autoencoder", "model.name=conv_autoencoder"),
    "curriculum by an autoencoder": (*SHORT, "epochs=4", "training.mode=curriculum", "training.difficulty={auto}"),
    "fusion": (*SHORT, "epochs=8", *FUSION),
    "encoder_decoder, 16-mixed": (*SHORT, "model.name=encoder_decoder", "precision=16-mixed", "gradient_clip=1.0"),
    "decoder_only, bf16-mixed": (*SHORT, "model.name=decoder_only", "precision=bf16-mixed"),
    "mup, centered, examples drawn anew": (*POLY, *MUP, "batch_size=64"),
    "a user's own": (*OWN, "batch_size=8", "epochs=20"),
}
HELPERS = {
    "simple_cnn": ("model.name=simple_cnn",),
    "mlp": ("model.name=mlp",),
    "auto": ("training.mode=autoencoder", "model.name=conv_autoencoder"),
}


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("mode", MODES)
def test_a_mode_goes_on_exactly_after_kills(project: Project, mode: str) -> None:
    project.write("mine.py", MINE)
    helpers = {name: _trained(project, name) for name in HELPERS if f"{{{name}}}" in " ".join(MODES[mode])}
    overrides = [word.format(**helpers) for word in MODES[mode]]
    out = go_on_after_kills(project, *overrides)
    losses = [float(loss) for loss in re.findall(r"METRIC epoch=\d+ .*epoch_loss=(\S+)", out)]
    assert len(losses) > 1
    assert min(losses[1:]) < losses[0]


def _trained(project: Project, name: str) -> Path:
    """Return the folder of a network that was trained on the GPU."""
    folder = project.path / name
    process = start(project, folder, *SHORT, *KEPT, *HELPERS[name])
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    return folder


@pytest.mark.usefixtures("gpu")
def test_the_network_of_a_gpu_is_gone_on_with_on_the_cpu(project: Project) -> None:
    folder = _trained(project, "mlp")
    words = [*SHORT, *HELPERS["mlp"], f"model.weights={folder}", "device=cpu"]
    process = start(project, project.path / "on the cpu", *words)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
