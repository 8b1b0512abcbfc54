"""Our trainer on a GPU: it repeats itself to the last bit, and goes on exactly after a kill."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sweepline.training.config.loading import load_config
from sweepline.training.optim.optimization import Optimization
from tests.conftest import Project
from tests.training.runs import TRAINER

ARGUMENTS = (
    "data.name=digits",
    "epochs=3",
    "wandb.mode=disabled",
    "device=cuda",
    "run_numbers=always",
    "deterministic=true",
    "evaluate.every=1",
    "checkpoint.interval_s=0.05",
    "seed=3",
)


LEARNERS = {
    "sgd": ("batch_size=16", "learner.opt=sgd", "learner.momentum=0.9"),
    "adam": ("batch_size=16", "learner.opt=adam", "learner.step_size=0.001"),
    "16-mixed within warm restarts": (
        *("batch_size=16", "learner.opt=adam", "learner.step_size=0.001"),
        *("precision=16-mixed", "gradient_clip=1.0"),
        *("schedule.name=cosine_warm_restarts", "schedule.T_0=50", "schedule.unit=step"),
    ),
}


def start(project: Project, run_dir: Path, *overrides: str) -> subprocess.Popen[str]:
    """Start the trainer on the GPU."""
    return subprocess.Popen(
        [sys.executable, str(TRAINER), "--", *ARGUMENTS, f"output_dir={run_dir}.outputs", *overrides],
        cwd=project.path,
        env=project.environment({"SWEEPLINE_RUN_DIR": str(run_dir)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _wait_for_checkpoint(process: subprocess.Popen[str], run_dir: Path) -> bool:
    """Return when the run has saved another checkpoint; False where it ends before."""
    known = {path.name for path in run_dir.glob("ckpt/ckpt_*.pt")}
    while process.poll() is None:
        if {path.name for path in run_dir.glob("ckpt/ckpt_*.pt")} - known:
            return True
        time.sleep(0.005)
    return False


def metrics_of(text: str) -> list[str]:
    """Return the METRIC lines."""
    return [line for line in text.splitlines() if line.startswith("METRIC")]


def _weights(outputs: Path) -> dict[str, torch.Tensor]:
    """Return the weights that a run has ended with."""
    found: dict[str, torch.Tensor] = torch.load(next(outputs.rglob("*_run_001.pth")), weights_only=True)
    return found


def go_on_after_kills(project: Project, *overrides: str) -> str:
    """Run the trainer, and again with kills: lines and weights must be the same; return what it printed."""
    whole = project.path / "whole"
    process = start(project, whole, *overrides)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    killed = project.path / "killed"
    n_kills = 0
    process = start(project, killed, *overrides)
    while n_kills < 3 and _wait_for_checkpoint(process, killed):
        process.kill()
        process.communicate()
        n_kills += 1
        process = start(project, killed, *overrides)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert n_kills, "it was never killed"
    assert "goes on from" in text
    assert metrics_of(text) == metrics_of(out)
    one, other = (_weights(Path(f"{folder}.outputs")) for folder in (whole, killed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    return out


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("learner", LEARNERS)
def test_a_deterministic_run_goes_on_exactly_after_kills(project: Project, learner: str) -> None:
    go_on_after_kills(project, *LEARNERS[learner])


@pytest.mark.usefixtures("gpu")
def test_the_tuner_finds_what_fits_within_a_budget(project: Project) -> None:
    process = start(
        project,
        project.path / "run",
        "batch_size_config.optimize_batch_size=true",
        "deterministic=false",
        "batch_size_config.memory_budget_gib=0.4",
        "model.width=256",
        "epochs=1",
        "batch_size_config.safety_factor=1.0",
        "batch_size_config.granularity=32",
    )
    out, _ = process.communicate(timeout=280)
    assert process.returncode == 0, out
    largest = re.search(r"Largest batch size that fits: (\d+)", out)
    assert largest, out
    assert "out of memory" in out
    assert 0 < int(largest[1]) < 1797


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_mixed_precision_trains_within_the_noise_of_single(project: Project, precision: str) -> None:
    losses = {}
    for name in (precision, "32"):
        words = (f"precision={name}", "batch_size=16", "epochs=5", "gradient_clip=1.0", "learner.momentum=0.9")
        process = start(project, project.path / name, *words)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out
        losses[name] = [float(found) for found in re.findall(r"epoch=\d+ .*test_loss=(\S+)", out)]
    assert len(losses["32"]) == 5
    assert losses[precision] != losses["32"]
    assert losses[precision] == pytest.approx(losses["32"], rel=0.1, abs=0.03)


def _scaled_step(gradient: float, clip: float | None) -> tuple[bool, float]:
    """Return whether a step of SGD with rate 1 from a gradient of this size was done, and how far it went."""
    config = load_config(None, ["precision=16-mixed", "schedule.name=cosine", "schedule.unit=step"])
    config = config.model_copy(update={"gradient_clip": clip})
    model = torch.nn.Linear(1, 1, bias=False).cuda()
    before = model.weight.item()
    optimization = Optimization(torch.optim.SGD(model.parameters(), lr=1.0), config)
    optimization.backward((model.weight * gradient).sum())
    return optimization.apply(model), before - model.weight.item()


@pytest.mark.usefixtures("gpu")
def test_gradients_are_clipped_as_they_are_not_as_they_are_scaled() -> None:
    assert _scaled_step(0.25, 1.0) == (True, pytest.approx(0.25, rel=1e-3))
    assert _scaled_step(8.0, 1.0) == (True, pytest.approx(1.0, rel=1e-3))


@pytest.mark.usefixtures("gpu")
def test_a_step_that_the_scaler_leaves_out_is_told() -> None:
    assert _scaled_step(float("inf"), None) == (False, 0.0)
