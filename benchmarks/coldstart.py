"""A cold start of our trainer beside that of the script which the peers run: 64 images each, so little is trained."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, in_turn, run

SCRIPT = Path(__file__).resolve().parent / "peers" / "workloads" / "train.py"


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured."""
    root = os.environ.get("SWEEPLINE_DATA", "")
    if not (Path(root) / "MNIST" / "raw").is_dir():
        yield Figure("cold start", note="not measured: SWEEPLINE_DATA names no folder with MNIST/raw")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environ = {"SWEEPLINE_DATA": str(Path(root).resolve()), "BENCH_IMAGES": "64"}
        theirs = [sys.executable, str(SCRIPT), "--lr=0.01", "--decay=0", "--momentum=0.9"]
        ours = [sys.executable, "-m", "sweepline.training", "--", "data.limit=64", "learner.momentum=0.9", "device=cpu"]
        ours += ["evaluate.every=0", "wandb.mode=disabled", "checkpoint.enabled=false"]
        for argv in (ours, theirs):
            run(argv, cwd=folder, environ=environ)  # its files are in memory from here on
        a, b = in_turn(
            lambda: run(ours, cwd=folder, environ=environ).wall_s,
            lambda: run(theirs, cwd=folder, environ=environ).wall_s,
            2 * n + 1,
        )
    yield Figure("cold start and end of our trainer", a)
    yield Figure("the same of a script with torchvision and torch.optim", b)
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    yield Figure("ours / theirs, pair by pair", ratios, "x", key="cold_start")
