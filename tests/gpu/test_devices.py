"""Which GPU a run sees, warm and cold, and that nothing of a sweep keeps one busy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from sweepline.executors.local.gpus import Gpu
from tests.conftest import Project, wait_until
from tests.gpu.conftest import free_mib

LOOK = """
    import argparse, os
    import torch
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=float)
    x = parser.parse_known_args()[0].x
    print(f"METRIC before={int(torch.cuda.is_initialized())} n={torch.cuda.device_count()}")
    torch.manual_seed(int(x))
    net = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1)).cuda()
    step = torch.optim.SGD(net.parameters(), lr=0.01)
    inputs = torch.randn(512, 64).cuda()
    for _ in range(20):
        step.zero_grad()
        loss = (net(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        loss.backward()
        step.step()
    print(f"uuid GPU-{torch.cuda.get_device_properties(0).uuid}; current {torch.cuda.current_device()}")
    print(f"METRIC loss={loss.item()!r}")
"""
HOLD = """
    import time
    import torch
    block = torch.zeros(2 << 30, dtype=torch.uint8, device="cuda")
    print("METRIC loss=1", flush=True)
    open("holding", "a").write("x")
    time.sleep(600)
"""


def sweep(
    project: Project, *, devices: object, values: Iterable[int] = (1, 2), program: str = "look.py", extra: str = ""
) -> None:
    project.write(
        "sweep.yaml",
        f"program: {program}\nname: small\nmethod: grid\nmetric: {{name: loss}}\n"
        f"parameters: {{x: {list(values)}}}\ndevices: {devices}\nreport: never\n" + extra,
    )


def _outputs(project: Project) -> list[str]:
    return [path.read_text() for path in sorted(project.sweep_dir.glob("runs/*/stdout.log"))]


@pytest.mark.parametrize("start", ["cold", "warm"])
@pytest.mark.parametrize("way", ["auto", "index", "uuid", "inherited", "inherited uuid"])
def test_a_run_sees_the_gpu_that_its_slot_names(lab: Project, gpu: Gpu, way: str, start: str) -> None:
    lab.write("look.py", LOOK)
    sweep(lab, devices={"index": "[0]", "uuid": f"['{gpu.uuid}']"}.get(way, "auto"))
    if way.startswith("inherited"):
        lab.environ["CUDA_VISIBLE_DEVICES"] = gpu.uuid if "uuid" in way else "0"
    process = lab.start("run", "--start", start, **lab.environ)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    rows = lab.rows()
    assert list(rows.n) == [1, 1]
    assert list(rows.before) == [0, 0]
    assert all(f"uuid {gpu.uuid}; current 0" in text for text in _outputs(lab))
    assert not any(str(device).startswith("cpu") for device in rows.device)


def test_devices_cpu_hides_the_gpu(lab: Project) -> None:
    lab.write("look.py", "import torch\nprint(f'METRIC loss={int(torch.cuda.is_available())}')\n")
    sweep(lab, devices="cpu")
    assert lab.run().returncode == 0
    assert list(lab.rows().loss) == [0, 0]


def test_sixteen_warm_runs_have_the_bits_of_cold_ones(lab: Project) -> None:
    lab.write("look.py", LOOK)
    found = {}
    for start in ("cold", "warm"):
        sweep(lab, devices="auto", values=range(16), extra="runs_per_device: 4\n")
        result = lab.run("--start", start, "--fresh")
        assert result.returncode == 0, result.stdout + result.stderr
        assert ("warm starts" in result.stdout) == (start == "warm")
        found[start] = lab.rows().set_index("x").loss.sort_index()
    assert found["warm"].nunique() == 16
    assert found["warm"].equals(found["cold"])


@pytest.mark.parametrize("victim", ["sweep", "keeper"])
@pytest.mark.parametrize("start", ["cold", "warm"])
def test_what_is_killed_gives_the_memory_of_the_gpu_back(lab: Project, gpu: Gpu, start: str, victim: str) -> None:
    lab.write("hold.py", HOLD)
    sweep(lab, devices="auto", values=range(4), program="hold.py", extra="runs_per_device: 2\n")
    before = free_mib(gpu)
    process = lab.start("run", "--start", start)
    try:
        wait_until((lab.path / "holding").exists and (lab.path / "holding").read_text() == "xx", "both hold")
        assert free_mib(gpu) < before - 4000
        pid = process.pid if victim == "sweep" else _keeper_of(process.pid)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: free_mib(gpu) > before - 500, "the memory is back")
    finally:
        process.kill()
        process.communicate()
    wait_until(lambda: not lab.survivors(), "nothing lives")


def _keeper_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next(int(c) for c in children if b"keeper" in Path(f"/proc/{c}/cmdline").read_bytes())


def test_a_sweep_waits_for_memory_that_a_stranger_holds(lab: Project, gpu: Gpu) -> None:
    lab.write("look.py", LOOK)
    lab.write("stranger.py", HOLD)
    with subprocess.Popen([sys.executable, "stranger.py"], cwd=lab.path, stdout=subprocess.DEVNULL) as stranger:
        wait_until((lab.path / "holding").exists, "the stranger holds")
        sweep(lab, devices="auto", extra=f"gpu_free_mib: {free_mib(gpu) + 1000}\n")
        process = lab.start("run")
        assert process.stdout is not None
        line = ""
        while "waiting" not in line:
            line = process.stdout.readline()
            assert line, "it did not wait"
        stranger.kill()
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, out + err
    assert f"GPU {gpu.id}: " in line


def test_two_sweeps_take_turns(lab: Project) -> None:
    lab.write("look.py", LOOK)
    sweep(lab, devices="auto", values=range(3))
    text = (lab.path / "sweep.yaml").read_text()
    lab.write("other.yaml", text.replace("name: small", "name: other"))
    both = [lab.start("run", name, "--start", "cold") for name in ("sweep.yaml", "other.yaml")]
    outs = [process.communicate(timeout=110) for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    assert any("is in use by sweep" in out for out, _ in outs)
