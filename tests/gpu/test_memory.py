"""Memory of a GPU that runs out, in every way that torch and its libraries have of saying so."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from tests.conftest import EXPERIMENT, Project, wait_until
from tests.gpu.test_devices import sweep

# Takes the card but for so many MiB, whoever else is on it.
FILL = """
import time
import torch

def fill(rest_mib):
    torch.zeros(1, device="cuda")
    held = []
    for size in (1 << 30, 64 << 20, 2 << 20):
        while torch.cuda.mem_get_info()[0] - size > rest_mib << 20:
            held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
    return held

"""
KINDS = {
    "more than the card": "torch.empty(4 << 40, dtype=torch.uint8, device='cuda')",
    "full card": "held = fill(64)\ntorch.empty(1 << 30, dtype=torch.uint8, device='cuda')",
    "share": "torch.cuda.set_per_process_memory_fraction(0.01)\ntorch.empty(4 << 30, device='cuda')",
    "error code": "torch.zeros(1, device='cuda')\ntorch.cuda.check_error(2)",
    "cublas": "a = fill(6).pop()[:1 << 20].view(torch.float32).view(512, 512)\nprint((a @ a).sum().item())",
}
CUDNN = """
held = fill(6)
image = held.pop()[: 1 << 16].view(torch.float32).view(1, 1, 128, 128)
weights = held.pop()[:36].view(torch.float32).view(1, 1, 3, 3)
print(torch.nn.functional.conv2d(image, weights).sum().item())
"""


@pytest.mark.parametrize("kind", KINDS)
def test_running_out_of_memory_is_told_from_other_failures(lab: Project, kind: str) -> None:
    (lab.path / "full.py").write_text(FILL + KINDS[kind])
    sweep(lab, devices="auto", values=[1], program="full.py")
    lab.run("--start", "cold")
    assert lab.rows().iloc[0].state == "out_of_memory", lab.rows().iloc[0].reason


def test_what_cudnn_says_on_a_full_card_is_told_with_a_doubt(lab: Project) -> None:
    (lab.path / "full.py").write_text(FILL + CUDNN)
    sweep(lab, devices="auto", values=[1], program="full.py")
    lab.run("--start", "cold")
    row = lab.rows().iloc[0]
    assert row.state == "out_of_memory" or "memory is full, too" in row.reason, row.reason


def test_memory_that_another_takes_is_waited_for_by_going_again_alone(lab: Project) -> None:
    lab.write(
        "big.py",
        """
        import time
        import torch
        total = torch.cuda.mem_get_info()[1]
        block = torch.empty(int(total * 0.6), dtype=torch.uint8, device="cuda")
        time.sleep(3)
        print("METRIC loss=1")
        """,
    )
    sweep(lab, devices="auto", values=[1, 2], program="big.py", extra="runs_per_device: 2\n")
    result = lab.run("--start", "cold")
    rows = lab.rows()
    assert result.returncode == 0, result.stdout + result.stderr
    assert list(rows.state) == ["finished", "finished"]


def test_a_run_of_the_trainer_goes_again_with_a_smaller_batch(lab: Project) -> None:
    lab.write("train_single.py", (EXPERIMENT / "train_single.py").read_text())
    lab.write(
        "config.yaml",
        yaml.safe_dump(
            {
                "epochs": 1,
                "batch_size": 1700,
                "data": {"name": "digits"},
                "model": {"width": 256},
                "batch_size_config": {"memory_budget_gib": 0.4},
                "wandb": {"mode": "disabled"},
            }
        ),
    )
    lab.write(
        "sweep.yaml",
        "program: train_single.py\nconfig: config.yaml\nname: small\nmethod: grid\nmetric: {name: epoch_loss}\n"
        "parameters: {learner.step_size: [0.01]}\ndevices: auto\non_oom: retry_smaller\nreport: never\n",
    )
    result = lab.run("--start", "cold")
    row = lab.rows().iloc[0]
    assert result.returncode == 0, result.stdout + result.stderr
    assert row.run_batch_size < 1700


def test_a_stranger_that_takes_the_card_ends_a_run_as_out_of_memory(lab: Project) -> None:
    lab.write(
        "grow.py",
        """
        import time
        import torch
        held = [torch.empty(1 << 30, dtype=torch.uint8, device="cuda")]
        open("growing", "w").close()
        print("METRIC loss=1", flush=True)
        while True:
            time.sleep(0.1)
            torch.cuda.empty_cache()
            held.append(torch.empty(1 << 30, dtype=torch.uint8, device="cuda"))
        """,
    )
    (lab.path / "stranger.py").write_text(FILL + "held = fill(300)\ntime.sleep(100)\n")
    sweep(lab, devices="auto", values=[1], program="grow.py")
    process = lab.start("run", "--start", "cold")
    wait_until((lab.path / "growing").exists, "the run grows")
    with subprocess.Popen([sys.executable, "stranger.py"], cwd=lab.path) as stranger:
        out, err = process.communicate(timeout=100)
        stranger.kill()
    assert lab.rows().iloc[0].state == "out_of_memory", out + err
