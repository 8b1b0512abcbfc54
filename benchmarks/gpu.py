"""What a sweep of MNIST runs costs on one NVIDIA GPU: starts, packing, the tuner, deterministic bits, and fused runs.

Needs a GPU and the real MNIST ($SWEEPLINE_DATA).
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, run, run_json

EXPERIMENT = Path(__file__).resolve().parents[1] / "experiments" / "hyperparameters_sweep"
N_RUNS = 8
EPOCHS = (
    (),
    ("deterministic=true",),
    ("precision=bf16-mixed",),
    ("precision=16-mixed",),
    ("batch_size=1024",),
    ("batch_size=1024", "deterministic=true"),
    ("batch_size=1024", "precision=bf16-mixed"),
    ("batch_size=1024", "precision=16-mixed"),
)
TOUCH = "import torch\ntorch.zeros(1, device='cuda')\nprint('METRIC loss=1')\n"
SWEEP = """
program: {program}
{config}
name: bench
method: grid
metric: {{name: {metric}}}
parameters: {{{parameters}}}
devices: {devices}
max_concurrent: {slots}
runs_per_device: {slots}
report: never
logging: {{wandb: {{mode: disabled}}}}
"""
EPOCH = """
import json, sys, time
from pathlib import Path
import torch
from sweepline.training.building import build_task, build_training
from sweepline.training.config.loading import load_config
from sweepline.training.datasets.splits import load_data
from sweepline.training.loop import train
from sweepline.training.seeding import set_up_process

preset = Path(sys.argv.pop(1)) if ".yaml" in "".join(sys.argv[1:2]) else None
config = load_config(preset, ["device=cuda", "epochs=3", *(() if preset else ["batch_size=64"]), *sys.argv[1:]])
set_up_process(config)
examples, _, _ = load_data(config)
model, optimizer, _ = build_training(config, examples)
task = build_task(config, model, examples, None)
walls, begin = [], time.perf_counter()
for result in train(task, optimizer, config):
    torch.cuda.synchronize()
    walls.append(time.perf_counter() - begin)
    begin = time.perf_counter()
print(json.dumps({"wall_s": min(walls), "peak": torch.cuda.max_memory_allocated(), **result.metrics}))
"""
# k networks in one process: stacked weights, one vmapped step, the same examples in the same order for all.
FUSED = """
import json, sys, time
import torch
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional as F
from sweepline.training.building import build_model
from sweepline.training.config.loading import load_config
from sweepline.training.datasets.splits import load_data
from sweepline.training.seeding import seed_everything, set_up_process

k = int(sys.argv[1])
config = load_config(None, ["device=cuda"])
set_up_process(config)
examples, _, _ = load_data(config)
examples = examples.to(torch.device("cuda"))
models = []
for seed in range(k):
    seed_everything(seed)
    models.append(build_model(config.model, input_shape=(1, 28, 28), n_outputs=10).cuda())
params, _ = stack_module_state(models)
params = {name: value.detach() for name, value in params.items()}
base = build_model(config.model, input_shape=(1, 28, 28), n_outputs=10).to("meta")
rates = torch.logspace(-3, -1, k, device="cuda") if k > 1 else torch.tensor([0.01], device="cuda")

def loss_of(weights, inputs, labels):
    return F.cross_entropy(functional_call(base, weights, (inputs,)), labels)

def step(weights, rate, inputs, labels):
    gradients, loss = grad_and_value(loss_of)(weights, inputs, labels)
    return {name: weights[name] - rate * gradients[name] for name in weights}, loss

fused = vmap(step, in_dims=(0, 0, None, None))
def epoch(n_steps):
    global params
    order = torch.randperm(len(examples), device="cuda")
    for index in torch.split(order, 64)[:n_steps]:
        inputs, labels = examples.batch(index)
        params, loss = fused(params, rates, inputs, labels)
    torch.cuda.synchronize()
    return loss
epoch(50)
begin = time.perf_counter()
loss = epoch(938 if k < 16 else 300)
wall = (time.perf_counter() - begin) * (1 if k < 16 else 938 / 300)
print(json.dumps({"wall_s": wall, "per_s": k / wall, "peak": torch.cuda.max_memory_allocated()}))
"""


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured; ``n`` times where it is quick."""
    if shutil.which("nvidia-smi") is None:
        yield Figure("a sweep on a GPU", note="not measured: no NVIDIA GPU")
        return
    yield Figure("GPU", note=_smi("name,driver_version,memory.total,memory.used"))
    yield from _tuner()
    for start in ("cold", "warm"):
        walls = [_sweep_s(TOUCH, n_runs=N_RUNS, slots=1, start=start)[0] / N_RUNS for _ in range(n)]
        yield Figure(f"a run that touches the GPU once, {start} start, {N_RUNS} runs on one slot", walls)
    for start, slots in (("cold", 1), ("warm", 1), ("warm", 2), ("warm", 4), ("warm", 8), ("warm", "auto")):
        wall_s, use = _sweep_s(None, n_runs=N_RUNS, slots=slots, start=start)
        title = f"{N_RUNS} MNIST runs of an epoch, {start}, {slots} on the GPU at a time"
        yield Figure(title, [wall_s], note=f"{wall_s:.1f} s, {wall_s / N_RUNS:.2f} s a run, GPU in use {use}")
    wall_s, _ = _sweep_s(None, n_runs=N_RUNS, slots=8, start="warm", devices="cpu")
    yield Figure(f"{N_RUNS} MNIST runs of an epoch, 8 at a time on the CPU", [wall_s])
    for words in EPOCHS:
        found = [run_json(EPOCH, *words) for _ in range(n)]
        yield Figure(f"one MNIST epoch {' '.join(words)}", [result["wall_s"] for result in found])
        accuracies = " ".join(f"{result['epoch_accuracy']:.4f}" for result in found)
        yield Figure("  its accuracy in the third epoch", note=accuracies)
    yield from _preset(n)
    yield from _study()
    for k in (1, 4, 16, 64):
        result = run_json(FUSED, str(k))
        note = f"{result['per_s']:.2f} run-epochs/s ({result['peak'] / 2**20:.0f} MiB)"
        yield Figure(f"{k} networks fused in one process", note=note)


def _tuner() -> Iterator[Figure]:
    """Yield what the search finds beside what is found by running sizes by hand."""
    words = ["data.name=mnist", "epochs=1", "wandb.mode=disabled", "device=cuda", "model.width=64"]
    words += ["batch_size_config.memory_budget_gib=4", "checkpoint.enabled=false"]
    sizes = ["optimize_batch_size=true", "safety_factor=1.0", "granularity=64"]
    search = [f"batch_size_config.{word}" for word in sizes]
    begin = time.perf_counter()
    out = _train([*words, *search])
    wall_s = time.perf_counter() - begin
    told = re.search(r"Largest batch size that fits: (\d+) .*; (\d+) probes in ([\d.]+) s", out)
    yield Figure("the tuner, 4 GiB, width 64", note=(told[0] if told else out[-600:]) + f"; whole run {wall_s:.1f} s")
    for line in out.splitlines():
        if line.startswith(("Trying", "Confirming")):
            yield Figure("  ", note=line)
    if told is None:
        return
    low, high = int(told[1]), int(told[1])
    n_steps = 0
    while n_steps < 4:
        high += 256
        n_steps += 1
        if "out of memory" in _train([*words, f"batch_size_config.tuned_batch_size={high}"]):
            break
        low = high
    yield Figure("  by hand", note=f"{low} trains, {high} {'does not' if low != high else 'trains too'}")


def _preset(n: int) -> Iterator[Figure]:
    """Yield what an epoch takes of the networks that the champion of an earlier search is tried on."""
    for model in ("encoder_decoder", "decoder_only"):
        words = [
            str(EXPERIMENT / "cfg" / "presets" / "trial_69.yaml"),
            "data.name=mnist",
            f"model.name={model}",
            "epochs=1",
        ]
        found = [run_json(EPOCH, *words) for _ in range(n)]
        yield Figure(f"the first epoch of trial_69 on MNIST, {model}", [result["wall_s"] for result in found])
        told = ", ".join(f"{result['epoch_accuracy']:.4f} ({result['peak'] / 2**20:.0f} MiB)" for result in found)
        yield Figure("  its training accuracy, and memory", note=told)


def _study() -> Iterator[Figure]:
    """Yield what a study takes with one run at a time, and with as many as fit."""
    words = ["--study", "batch_size_lr", "--eta-range", "3", "-o", "epochs=1", "-o", "data.limit=12000"]
    for n_workers in (1, 8):
        argv = [sys.executable, "-m", "sweepline.cli.main", "run", *words, "--no-save", "--max-workers", str(n_workers)]
        cost = run(argv, cwd=EXPERIMENT)
        ended = [line for line in cost.output.splitlines() if "finished" in line]
        yield Figure(f"study batch_size_lr, --max-workers {n_workers}", [cost.wall_s])
        yield Figure("  ", note=(ended or [""])[-1])


def _train(words: list[str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, str(EXPERIMENT / "train_single.py"), "--", *words, f"output_dir={folder}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=200)
        return done.stdout + done.stderr


def _sweep_s(
    script: str | None, *, n_runs: int, slots: int | str, start: str, devices: str = "auto"
) -> tuple[float, str]:
    """Return the wall time of a sweep, and how busy the GPU was meanwhile; our trainer without a script."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if script:
            (folder / "touch.py").write_text(script)
            names = {"program": "touch.py", "config": "", "metric": "loss"}
            names["parameters"] = f"x: {list(range(n_runs))}"
        else:
            shutil.copy(EXPERIMENT / "train_single.py", folder)
            shutil.copy(EXPERIMENT / "cfg" / "config.yaml", folder)
            names = {"program": "train_single.py", "config": "config: config.yaml", "metric": "epoch_loss"}
            names["parameters"] = f"learner.step_size: {[0.01 * (i + 1) for i in range(n_runs)]}"
        text = SWEEP.format(devices=devices, slots=slots, **names)
        (folder / "sweep.yaml").write_text(text if devices != "cpu" else re.sub("runs_per_device.*\n", "", text))
        argv = [sys.executable, "-m", "sweepline.cli.main", "run", "--start", start]
        readings: list[int] = []
        is_over = threading.Event()
        thread = threading.Thread(target=_sample, args=(readings, is_over))
        thread.start()
        try:
            cost = run(argv, cwd=folder, environ={"WANDB_MODE": "disabled", "TMPDIR": name})
        finally:
            is_over.set()
            thread.join()
    busy = [reading for reading in readings if reading]
    use = f"{statistics.mean(readings):.0f} % on average, {max(busy, default=0)} % at most" if readings else "unknown"
    return cost.wall_s, use


def _sample(readings: list[int], is_over: threading.Event) -> None:
    while not is_over.wait(0.5):
        readings.append(int(_smi("utilization.gpu").split()[0]))


def _smi(fields: str) -> str:
    argv = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ})
    return done.stdout.strip().splitlines()[0]
