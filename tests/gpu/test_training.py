"""Our trainer on a GPU: it repeats itself to the last bit, and goes on exactly after a kill."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import Project
from tests.training.runs import TRAINER

ARGUMENTS = (
    "data.name=digits",
    "batch_size=16",
    "epochs=3",
    "wandb.mode=disabled",
    "device=cuda",
    "deterministic=true",
    "evaluate.every=1",
    "checkpoint.interval_s=0.05",
    "seed=3",
)


def _start(project: Project, run_dir: Path, *overrides: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(TRAINER), "--", *ARGUMENTS, *overrides],
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


def _metrics(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("METRIC")]


def _weights(run_dir: Path) -> dict[str, torch.Tensor]:
    newest = max(run_dir.glob("ckpt/ckpt_*.pt"), key=lambda path: int(path.stem[5:]))
    return dict(torch.load(newest, weights_only=True, map_location="cpu")["model"])


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("learner", ["sgd", "adam"])
def test_a_deterministic_run_goes_on_exactly_after_kills(project: Project, learner: str) -> None:
    whole = project.path / "whole"
    process = _start(project, whole, f"learner.opt={learner}")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    killed = project.path / "killed"
    n_kills = 0
    process = _start(project, killed, f"learner.opt={learner}")
    while n_kills < 3 and _wait_for_checkpoint(process, killed):
        process.kill()
        process.communicate()
        n_kills += 1
        process = _start(project, killed, f"learner.opt={learner}")
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert n_kills, "it was never killed"
    assert "goes on from" in text
    assert _metrics(text) == _metrics(out)
    one, other = _weights(whole), _weights(killed)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("gpu")
def test_the_tuner_finds_what_fits_within_a_budget(project: Project) -> None:
    process = _start(
        project,
        project.path / "run",
        "batch_size_config.optimize_batch_size=true",
        "deterministic=false",
        "batch_size_config.memory_budget_gib=0.3",
        "model.width=64",
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
