"""How many epochs whole sweeps train until random search's end: the program itself, with processes for runs.

``python -m benchmarks.realsearch [--task ID] [--seeds N]``. A problem of LCBench in ``$SWEEPLINE_HPO_BENCH``, whose
script prints a line for each epoch; 0.1 s an epoch, four runs at once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, run
from benchmarks.search import BUDGET, METHODS, N_EPOCHS, N_SLOTS, search
from sweepline.recording.journal import JOURNAL
from sweepline.recording.snapshot import replay_journal

SWEEPS = {
    "random": "method: random",
    "tpe": "method: bayes",
    "mfgp + asha": f"method: bayes\nearly_terminate: {{type: asha, min: 3, max: {N_EPOCHS}, by: epochs}}",
}
SWEEP = """
program: lcbench.py
name: lcbench
HOW
samples: 2000
seed: SEED
metric: {name: val_accuracy, goal: maximize}
parameters:
  task: {value: TASK}
  seconds_per_epoch: {value: 0.1}
  batch_size: {distribution: q_log_uniform_values, min: 16, max: 512, q: 1}
  learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 0.1}
  momentum: {min: 0.1, max: 0.99}
  weight_decay: {min: 0.00001, max: 0.1}
  num_layers: {min: 1, max: 5}
  max_units: {distribution: q_log_uniform_values, min: 64, max: 1024, q: 1}
  max_dropout: {min: 0.0, max: 1.0}
stop_sweep: {target: GOAL, max_epochs: BUDGET}
devices: cpu
max_concurrent: SLOTS
threads: 1
report: never
"""


def count_epochs(how: str, task: int, seed: int, goal: float) -> int:
    """Return how many epochs a sweep trains until it has a result as good, or its budget is gone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for item in Path(os.environ["SWEEPLINE_HPO_BENCH"]).iterdir():
            (folder / item.name).symlink_to(item)
        words = {"HOW": how, "SEED": seed, "TASK": task, "GOAL": goal, "BUDGET": BUDGET, "SLOTS": N_SLOTS}
        text = SWEEP
        for word, value in words.items():
            text = text.replace(word, str(value))
        (folder / "sweep.yaml").write_text(text)
        run([sys.executable, "-m", "sweepline.cli.main", "run"], cwd=folder)
        records = replay_journal(folder / "outputs" / "lcbench" / JOURNAL).records.values()
        return sum((record.outcome.n_points if record.outcome else None) or 0 for record in records)


def figures(n: int, task: int = 7593) -> Iterator[Figure]:
    """Yield the epochs of ``n`` sweeps each."""
    if not os.environ.get("SWEEPLINE_HPO_BENCH"):
        yield Figure("whole sweeps on LCBench", note="not measured: SWEEPLINE_HPO_BENCH is not set")
        return
    goal = statistics.median(search(task, seed, METHODS["random"]).results[-1] for seed in range(10))
    for name, how in SWEEPS.items():
        epochs = [count_epochs(how, task, seed, goal) for seed in range(n)]
        yield Figure(f"whole sweeps on LCBench {task}, {name}: epochs to the end of random search", epochs, "epochs")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", type=int, default=7593)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    for figure in figures(args.seeds, args.task):
        sys.stdout.write(f"{figure.title}: {figure} {json.dumps(list(figure.values))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
