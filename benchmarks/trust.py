"""What it costs that runs can be trusted: frozen code, checkpoints after every epoch, deterministic bits.

The training needs the real MNIST ($SWEEPLINE_DATA).
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, in_turn, run, run_json

N_FILES, N_RUNS = 200, 40
SWEEP = """
program: train.py
name: frozen
method: grid
metric: {{name: loss}}
parameters: {{x: {values}}}
devices: cpu
max_concurrent: 2
start: cold
report: never
code: {code}
"""
KEEP = """
import json, sys, time
from pathlib import Path
from sweepline.engine.codestore import CodeStore, tracked_files
from sweepline.programs.sourcecode import SourceCode
found = []
for i in range(5):
    began = time.perf_counter()
    source = SourceCode([Path("train.py")], roots=[Path.cwd()])
    state = source.digest()
    digest_s = time.perf_counter() - began
    files = dict.fromkeys([*source.paths, *tracked_files(Path.cwd(), "*.py")])
    CodeStore(Path(f"kept{i}")).keep(state, files, base=Path.cwd())
    found.append([time.perf_counter() - began, digest_s])
whole, digest = (sorted(f[i] for f in found)[2] for i in (0, 1))
print(json.dumps({"n": len(source.paths), "all_s": whole, "digest_s": digest}))
"""
EPOCHS = """
import json, sys, tempfile, time
from pathlib import Path
from sweepline.training.building import build_task, build_training
from sweepline.training.checkpoints import Checkpoints
from sweepline.training.config.loading import load_config
from sweepline.training.datasets.splits import load_data
from sweepline.training.loop import LoopState, train
from sweepline.training.seeding import set_up_process

saves = sys.argv[1] == "saves"
config = load_config(None, ["device=cpu", "epochs=2", "learner.momentum=0.9", *sys.argv[2:]])
set_up_process(config)
examples, _, _ = load_data(config)
model, optimization, _ = build_training(config, examples)
task, state, history = build_task(config, model, examples, None), LoopState(), []
with tempfile.TemporaryDirectory(dir=".") as folder:
    kept = Checkpoints(Path(folder), config_hash="x", keep=2, interval_s=0.0, say=print)
    began, saving = time.perf_counter(), 0.0
    for result in train(task, optimization, config, state=state):
        history.append(result)
        if saves:
            at = time.perf_counter()
            kept.save(model, optimization, state, history, task=task)
            saving += time.perf_counter() - at
    print(json.dumps({"wall_s": time.perf_counter() - began, "saving_s": saving}))
"""


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured."""
    yield from _frozen(n)
    if not (Path(os.environ.get("SWEEPLINE_DATA", "")) / "MNIST" / "raw").is_dir():
        yield Figure("checkpoints", note="not measured: SWEEPLINE_DATA names no folder with MNIST/raw")
        return
    shares = []
    for _ in range(n):
        found = run_json(EPOCHS, "saves")
        shares.append(100 * found["saving_s"] / (found["wall_s"] - found["saving_s"]))
    yield Figure("a checkpoint after every MNIST epoch, share of the training", shares, "%", key="checkpoint")
    plain, exact = in_turn(
        lambda: run_json(EPOCHS, "plain")["wall_s"],
        lambda: run_json(EPOCHS, "plain", "deterministic=true")["wall_s"],
        n,
    )
    ratios = [100 * (b / a - 1) for a, b in zip(plain, exact, strict=True)]
    yield Figure("deterministic: true, two MNIST epochs on a CPU, more time", ratios, "%", key="deterministic")


def _frozen(n: int) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i in range(N_FILES - 1):
            body = "\n".join(f"def f{k}(x):\n    return x * {k}\n" for k in range(40))
            (folder / f"module_{i}.py").write_text(body)
        imports = "\n".join(f"import module_{i}" for i in range(N_FILES - 1))
        (folder / "train.py").write_text(f"{imports}\nprint('METRIC loss=1')\n")
        run([sys.executable, "train.py"], cwd=folder)  # compiles them
        found = [run_json(KEEP, cwd=folder) for _ in range(n)]
        files = f"{found[0]['n']:.0f} files"
        yield Figure(f"keeping {files} at a start, reading them included", [1000 * f["all_s"] for f in found], "ms")
        more = [1000 * (f["all_s"] - f["digest_s"]) for f in found]
        yield Figure("  of that, what live code does not do", more, "ms", key="frozen_start")
        for n_runs in (1, N_RUNS):
            live, frozen = in_turn(
                lambda k=n_runs: _sweep(folder, "live", k), lambda k=n_runs: _sweep(folder, "frozen", k), n
            )
            extra = [1000 * (b - a) / n_runs for a, b in zip(live, frozen, strict=True)]
            title = f"a sweep of {n_runs} runs that import {files}: frozen beside live, a run"
            yield Figure(title, extra, "ms", key="frozen_run" if n_runs > 1 else "")
        yield Figure("  the same, live, a run", [1000 * statistics.median(live) / N_RUNS], "ms")


def _sweep(folder: Path, code: str, n_runs: int) -> float:
    (folder / "sweep.yaml").write_text(SWEEP.format(values=list(range(n_runs)), code=code))
    began = time.perf_counter()
    run([sys.executable, "-m", "sweepline.cli.main", "run", "--fresh"], cwd=folder)
    return time.perf_counter() - began
