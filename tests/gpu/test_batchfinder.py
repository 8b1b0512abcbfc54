"""The batch size that fits any program, and a loop of one's own, on a GPU."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sweepline.executors.local.gpus import Gpu
from tests.conftest import Project, wait_until
from tests.gpu.conftest import free_mib
from tests.gpu.test_devices import HOLD

# Takes some 16 MiB an example, the inputs, what follows from them and their gradients, and prints as scripts do.
PROGRAM = """
    import argparse
    import torch
    from torch import nn
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--lr", type=float, default=0.1)
    args = parser.parse_args()
    net = nn.Sequential(nn.Linear(1 << 20, 4, bias=False), nn.ReLU(), nn.Linear(4, 1)).cuda()
    step = torch.optim.SGD(net.parameters(), lr=args.lr)
    for i in range(40):
        step.zero_grad()
        inputs = torch.rand(args.batch_size, 1 << 20, device="cuda", requires_grad=True)
        loss = net(inputs * 2).square().mean()
        loss.backward()
        step.step()
        print(f"step {i} loss {loss.item():.4f}", flush=True)
"""
OWN_LOOP = """
import torch
from sweepline.training import tune_batch_size

def make(device):
    weight = torch.nn.Parameter(torch.zeros(1 << 20, device=device))
    optimizer = torch.optim.Adam([weight])
    def step(n):
        optimizer.zero_grad()
        (torch.ones(n, 1 << 20, device=device) * weight).mean().backward()
        optimizer.step()
    return step

if __name__ == "__main__":
    found = tune_batch_size(make, first=64, cap=100000, memory_gib=2, device="cuda", tell=lambda _: None)
    print(found.batch_size, found.largest, sum(probe["status"] == "oom" for probe in found.probes))
"""


def _found(project: Project, *options: str) -> dict[str, object]:
    words = ["--flag", "batch-size", "--json", *options, "--", sys.executable, "train.py"]
    done = project.command("batch-size", *words)
    print(done.stderr)
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


def _runs(project: Project, size: int) -> bool:
    """Whether the program runs by itself with a size."""
    argv = [sys.executable, "train.py", f"--batch-size={size}"]
    done = subprocess.run(argv, cwd=project.path, env=project.environment(), capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("memory_gib", [None, 8])
def test_the_size_that_fits_any_program_is_near_what_the_gpu_holds(
    lab: Project, gpu: Gpu, memory_gib: int | None
) -> None:
    lab.write("train.py", PROGRAM)
    options = () if memory_gib is None else ("--memory-gib", str(memory_gib))
    told = _found(lab, *options)
    statuses = [probe["status"] for probe in told["probes"]]  # type: ignore[attr-defined]
    assert statuses.count("out of memory") <= 1
    limit_mib = 0.9 * free_mib(gpu) if memory_gib is None else memory_gib * 1024
    largest = int(str(told["largest"]))
    peak_mib = max(probe["peak_bytes"] for probe in told["probes"] if probe["status"] == "ok") / 2**20  # type: ignore[attr-defined]
    assert 0.85 * limit_mib < peak_mib <= 1.01 * limit_mib
    assert _runs(lab, largest)
    if memory_gib is None:
        assert not _runs(lab, int(1.3 * largest))


def test_what_a_stranger_holds_is_not_there_to_be_found(lab: Project, gpu: Gpu) -> None:
    lab.write("train.py", PROGRAM)
    lab.write("stranger.py", HOLD.replace("2 << 30", str(int(0.6 * gpu.total_mib) << 20)))
    with subprocess.Popen([sys.executable, "stranger.py"], cwd=lab.path, stdout=subprocess.DEVNULL) as stranger:
        try:
            wait_until((lab.path / "holding").exists, "the stranger holds")
            told = _found(lab)
        finally:
            stranger.kill()
    assert told["limit_bytes"] < (0.4 * gpu.total_mib) * 2**20  # type: ignore[operator]
    assert all(probe["status"] != "error" for probe in told["probes"])  # type: ignore[attr-defined]


def test_a_sweep_measures_the_size_for_the_runs_that_share_the_gpu(lab: Project, gpu: Gpu) -> None:
    lab.write("train.py", PROGRAM)
    lab.write(
        "sweep.yaml",
        "program: train.py\nname: small\nmethod: grid\nmetric: {name: loss}\ndevices: auto\nreport: never\n"
        "runs_per_device: 2\nparameters: {batch-size: {fits: {safety_factor: 0.9}}, lr: [0.1, 0.01]}\n"
        "metrics: {loss: 'loss ([0-9.]+)'}\n",
    )
    result = lab.run("--start", "cold")
    assert result.returncode == 0, result.stdout + result.stderr
    rows = lab.rows()
    assert list(rows.state) == ["finished", "finished"]
    assert rows["batch-size"].nunique() == 1
    (record,) = json.loads((lab.sweep_dir / "batch_size" / "batch_sizes.json").read_text())["records"].values()
    assert record["limit_bytes"] >> 20 == pytest.approx(0.45 * free_mib(gpu), rel=0.05)


@pytest.mark.usefixtures("gpu")
def test_a_loop_of_ones_own_is_tuned_within_its_share(lab: Project) -> None:
    (lab.path / "mine.py").write_text(OWN_LOOP)
    done = subprocess.run(
        [sys.executable, "mine.py"],
        cwd=lab.path,
        env=lab.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    size, largest, n_oom = map(int, done.stdout.split())
    assert size == largest // 2
    assert 100 <= largest < 512  # 4 MiB an example for the ones, as much for their product, and its gradient
    assert n_oom
