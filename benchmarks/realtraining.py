"""How soon searches come to 99 % of the best known on real training: a small CNN on digits, or on a part of MNIST.

``python -m benchmarks.realtraining [--data digits|mnist] [--seeds N]``. Five parameters of our trainer, two runs at
once, at most as many epochs as 40 whole runs have. MNIST needs ``$SWEEPLINE_DATA``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Figure, run
from sweepline.recording.journal import JOURNAL
from sweepline.recording.snapshot import replay_journal

N_EPOCHS, N_WHOLE = 9, 40
DATA = {
    "digits": "data: {name: digits, valid_fraction: 0.2}",
    "mnist": "data: {name: mnist, limit: 5000, valid_fraction: 0.2}",
}
SWEEPS = {
    "random": "method: random",
    "tpe": "method: bayes",
    "mfgp + asha": f"method: bayes\nearly_terminate: {{type: asha, min: 1, max: {N_EPOCHS}, by: epochs}}",
}
SWEEP = """
program: train_single.py
config: config.yaml
name: real
HOW
samples: 1000
seed: SEED
metric: {name: valid_accuracy, goal: maximize}
parameters:
  learner.step_size: {distribution: log_uniform_values, min: 0.0001, max: 1.0}
  learner.momentum: {min: 0.0, max: 0.99}
  learner.weight_decay: {distribution: log_uniform_values, min: 0.000001, max: 0.1}
  batch_size: {distribution: q_log_uniform_values, min: 8, max: 256, q: 8}
  model.width: {values: [4, 8, 16, 32]}
stop_sweep: {STOP}
devices: cpu
max_concurrent: 2
report: never
"""


@dataclass(frozen=True)
class Outcome:
    """What a sweep took, and the best that it found."""

    n_epochs: int
    wall_s: float
    best: float


def search(data: str, how: str, seed: int, *, target: float | None = None) -> Outcome:
    """Run a sweep until it has a result as good as ``target``, or its epochs are used up."""
    stop = f"max_epochs: {N_EPOCHS * N_WHOLE}" + (f", target: {target}" if target is not None else "")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = SWEEP.replace("HOW", how).replace("SEED", str(seed)).replace("STOP", stop)
        (folder / "sweep.yaml").write_text(text)
        config = f"epochs: {N_EPOCHS}\n{DATA[data]}\nwandb: {{mode: disabled}}\nevaluate: {{every: 1, split: valid}}\n"
        (folder / "config.yaml").write_text(config)
        began = time.perf_counter()
        run([sys.executable, "-m", "sweepline.cli.main", "run"], cwd=folder)
        wall_s = time.perf_counter() - began
        records = list(replay_journal(folder / "outputs" / "real" / JOURNAL).records.values())
    n_epochs = sum((record.outcome.n_points if record.outcome else None) or 0 for record in records)
    results = [record.metrics["valid_accuracy"] for record in records if record.has_result]
    return Outcome(n_epochs, wall_s, max(results, default=0.0))


def figures(n: int, data: str = "digits") -> Iterator[Figure]:
    """Yield epochs and seconds of ``n`` sweeps each."""
    if data == "mnist" and not os.environ.get("SWEEPLINE_DATA"):
        yield Figure("searches on MNIST", note="not measured: SWEEPLINE_DATA is not set")
        return
    target = 0.99 * max(search(data, how, 1000).best for how in SWEEPS.values())
    for name, how in SWEEPS.items():
        found = [search(data, how, seed, target=target) for seed in range(n)]
        title = f"search on {data} to {target:.4f}, {name}"
        yield Figure(f"{title}: epochs", [one.n_epochs for one in found], "epochs")
        yield Figure(f"{title}: seconds", [one.wall_s for one in found])
        yield Figure(f"{title}: reached", [statistics.fmean(one.best >= target for one in found)], "of 1")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", choices=list(DATA), default="digits")
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    for figure in figures(args.seeds, args.data):
        sys.stdout.write(f"{figure.title}: {figure}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
