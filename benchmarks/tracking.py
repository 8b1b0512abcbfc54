"""What W&B offline adds to a run of our trainer that starts warm, and to one that starts cold."""

from __future__ import annotations

import csv
import importlib.util
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, in_turn, run

SWEEP = """
program: train_single.py
config: config.yaml
name: tracked
method: grid
metric: {name: epoch_loss}
parameters: {learner.step_size: [0.1, 0.05, 0.02, 0.01, 0.005, 0.002]}
seeds: [0]
devices: cpu
max_concurrent: 1
"""
TRAINER = "from pathlib import Path\nfrom sweepline.training.single import leave, main\nleave(main())\n"


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured."""
    if importlib.util.find_spec("wandb") is None:
        yield Figure("what W&B offline adds", note="not measured: wandb is not installed")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sweep.yaml").write_text(SWEEP)
        (folder / "config.yaml").write_text("data: {name: digits}\ncheckpoint: {enabled: false}\n")
        (folder / "train_single.py").write_text(TRAINER)
        for start in ("warm", "cold"):
            with_it, without = in_turn(
                lambda start=start: run_s(folder, start, "offline"),
                lambda start=start: run_s(folder, start, "disabled"),
                n,
            )
            yield Figure(f"a {start} run of our trainer without W&B", without)
            added = [a - b for a, b in zip(with_it, without, strict=True)]
            yield Figure(f"what W&B offline adds to a {start} run", added, key=f"wandb_{start}")


def run_s(folder: Path, start: str, mode: str) -> float:
    """Return the median seconds of a run in a sweep."""
    argv = [sys.executable, "-m", "sweepline.cli.main", "run", "--fresh", "--start", start]
    run([*argv, "--set", f"wandb.mode={mode}"], cwd=folder)
    with (folder / "outputs" / "tracked" / "runs.csv").open(newline="") as file:
        return statistics.median(float(row["duration_s"]) for row in csv.DictReader(file))
