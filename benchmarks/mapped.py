"""What a worker on a million images takes for itself: arrays that are mapped are in memory once for all of them.

The images are random bytes of the shape of MNIST-1M: what they show decides nothing about memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import Figure
from sweepline.training.datasets.mnist1m import FOLDER, SIDE, array_paths

N_IMAGES = {"train": 950_000, "test": 50_000}
N_WORKERS = (1, 2, 4)
TRAINING = (
    *("data.name=mnist1m", "model.name=mlp", "model.width=16", "batch_size=1024", "epochs=1", "evaluate.every=1"),
    *("device=cpu", "threads=1", "run_numbers=never", "checkpoint.enabled=false", "wandb.mode=disabled"),
)


def figures(n: int) -> Iterator[Figure]:
    """Yield the memory of each worker of so many, at its most: what is its own, and its share of what is shared."""
    with tempfile.TemporaryDirectory() as folder:
        _make_arrays(Path(folder))
        for n_workers in N_WORKERS:
            own, shares = [], []
            for i in range(n):
                peaks = _train(Path(folder), n_workers, i)
                own += [most["Anonymous"] / 1024 for most in peaks]
                shares += [most["Pss"] / 1024 for most in peaks]
            several = f"{n_workers} worker{'s' if n_workers > 1 else ''} on {sum(N_IMAGES.values()):,} images"
            yield Figure(f"{several}: private memory of each", own, unit="MiB")
            yield Figure(f"{several}: with its share of what is shared (PSS)", shares, unit="MiB")


def _make_arrays(root: Path) -> None:
    (root / FOLDER).mkdir()
    generator = np.random.default_rng(0)
    for split, n in N_IMAGES.items():
        images, labels = array_paths(root, split)
        np.save(images, generator.integers(0, 256, (n, SIDE, SIDE), dtype=np.uint8))
        np.save(labels, generator.integers(0, 10, n, dtype=np.uint8))


def _train(root: Path, n_workers: int, number: int) -> list[dict[str, int]]:
    """Return the most that each of several workers took, in KiB, as smaps_rollup calls it."""
    workers = []
    for i in range(n_workers):
        run_dir = root / f"run_{n_workers}_{number}_{i}"
        run_dir.mkdir()
        environ = {**os.environ, "SWEEPLINE_RUN_DIR": str(run_dir), "SWEEPLINE_DATA": str(root)}
        argv = [sys.executable, "-m", "sweepline.training", "--", *TRAINING]
        workers.append(subprocess.Popen(argv, cwd=root, env=environ, stdout=subprocess.DEVNULL))
    peaks = [{"Anonymous": 0, "Pss": 0} for _ in workers]
    while any(worker.poll() is None for worker in workers):
        for most, worker in zip(peaks, workers, strict=True):
            for name, size in _sizes(worker.pid).items():
                most[name] = max(most.get(name, 0), size)
        time.sleep(0.2)
    if any(worker.returncode for worker in workers):
        raise SystemExit("a worker failed")
    return peaks


def _sizes(pid: int) -> dict[str, int]:
    try:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:  # it has ended
        return {}
    return {row.partition(":")[0]: int(row.split()[1]) for row in rows}
