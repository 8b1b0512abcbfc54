"""``runs_per_device: auto`` on a real card: what a run takes is measured, and more get through in the same time."""

from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd
import pytest

from sweepline.executors.local.gpus import Gpu
from tests.conftest import Project
from tests.gpu.conftest import free_mib
from tests.gpu.test_devices import sweep

# Holds so much of the card while it takes steps that leave most of the card's time idle.
TRAIN = """
    import argparse, time
    import torch
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=float)
    x = parser.parse_known_args()[0].x
    total = torch.cuda.mem_get_info()[1]
    block = torch.zeros(int(total * SHARE), dtype=torch.uint8, device="cuda")
    torch.manual_seed(int(x))
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)).cuda()
    step = torch.optim.SGD(net.parameters(), lr=0.01)
    inputs = torch.randn(64, 64).cuda()
    for _ in range(3000):
        step.zero_grad()
        loss = (net(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        loss.backward()
        step.step()
    print(f"METRIC loss={loss.item()!r}")
"""


def _write(project: Project, share: str) -> None:
    project.write("train.py", TRAIN.replace("SHARE", share))


def _span_s(rows: pd.DataFrame) -> float:
    """Return the time from the first start to the last end."""
    starts = pd.to_datetime(rows.started_at)
    ends = starts + pd.to_timedelta(rows.duration_s, unit="s")
    return float((ends.max() - starts.min()).total_seconds())


@pytest.mark.parametrize("start", ["cold", "warm"])
def test_what_a_run_takes_is_measured_and_as_many_go_as_fit(lab: Project, gpu: Gpu, start: str) -> None:
    _write(lab, "0.2")
    sweep(lab, devices="[0]", values=range(9), program="train.py", extra="runs_per_device: auto\nmax_concurrent: 8\n")
    free_gib = free_mib(gpu) / 1024
    result = lab.run("--start", start)
    assert result.returncode == 0, result.stdout + result.stderr
    told = re.search(r"GPU 0: peak ([\d.]+) of ([\d.]+) GiB: (\d+) runs at a time", result.stdout)
    assert told, result.stdout
    total_gib = gpu.total_mib / 1024
    assert 0.2 * total_gib < float(told[1]) < 0.2 * total_gib + 2  # what CUDA itself takes, beside the block
    assert float(told[2]) == pytest.approx(free_gib, abs=2)
    assert int(told[3]) in (3, 4)
    assert "out_of_memory" not in result.stdout


def test_runs_that_turn_out_larger_than_the_first_all_finish(lab: Project) -> None:
    _write(lab, "(0.05 if x == 0 else 0.35)")
    sweep(lab, devices="[0]", values=range(7), program="train.py", extra="runs_per_device: auto\nmax_concurrent: 6\n")
    result = lab.run("--start", "cold")
    assert result.returncode == 0, result.stdout + result.stderr
    assert list(lab.rows().state) == ["finished"] * 7
    assert re.search(r"GPU 0: (peak .*|out of memory .*): [12] (runs? at a time|from here on)", result.stdout)


def test_more_runs_get_through_than_one_at_a_time_with_the_same_results(
    lab: Project, record_property: Callable[[str, object], None]
) -> None:
    _write(lab, "0.02")
    found, seconds = {}, {}
    for each in ("1", "auto"):
        sweep(lab, devices="[0]", values=range(24), program="train.py", extra=f"runs_per_device: {each}\n")
        result = lab.run("--start", "warm", "--fresh")
        assert result.returncode == 0, result.stdout + result.stderr
        found[each] = lab.rows().set_index("x").loss.sort_index()
        seconds[each] = _span_s(lab.rows())
    ratio = seconds["1"] / seconds["auto"]
    record_property("times as many runs a second", ratio)
    told = f"24 runs: {seconds['1']:.1f} s one at a time, {seconds['auto']:.1f} s packed"
    print(f"{told}: {ratio:.2f} times as many a second")
    assert found["auto"].equals(found["1"])
    assert ratio > 1
