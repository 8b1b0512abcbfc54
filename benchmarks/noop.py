"""Runs that do nothing but print one METRIC line: what recording each of them in full costs beside a bare pool."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.measure import Figure, in_turn, run

N_RUNS, N_AT_A_TIME = 2000, 2
SWEEP = """
program: {program}
name: noop
method: grid
metric: {{name: loss}}
parameters: {{a: {{min: 1, max: {n}}}}}
devices: cpu
max_concurrent: {jobs}
"""


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured: whole ``sweepline run`` processes, start and summary included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "noop.py").write_text('print("METRIC loss=0.5")\n')
        (folder / "noop.sh").write_text('#!/bin/sh\necho "METRIC loss=0.5"\n')
        (folder / "noop.sh").chmod(0o755)
        for program, argv, start in (
            ("noop.py", [sys.executable, "noop.py"], "warm"),
            ("noop.py", [sys.executable, "noop.py"], "cold"),
            ("noop.sh", ["./noop.sh"], "cold"),
        ):
            (folder / "sweep.yaml").write_text(SWEEP.format(program=program, n=N_RUNS, jobs=N_AT_A_TIME))
            ours, pool = in_turn(
                lambda start=start: sweep_rate(folder, start), lambda argv=argv: pool_rate(argv, folder), n
            )
            key = f"noop_{start}" if program.endswith(".py") else ""
            yield Figure(f"no-op runs of {program}, {start}, {N_AT_A_TIME} at a time", ours, "runs/s", key=key)
            yield Figure("the same in a bare pool, nothing recorded", pool, "runs/s", key=key and f"{key}_pool")


def sweep_rate(folder: Path, start: str) -> float:
    """Return the runs per second of a sweep, every one of which is a row."""
    cost = run([sys.executable, "-m", "sweepline.cli.main", "run", "--fresh", "--start", start], cwd=folder)
    n_rows = len((folder / "outputs" / "noop" / "runs.csv").read_text().splitlines()) - 1
    assert n_rows == N_RUNS, n_rows
    return N_RUNS / cost.wall_s


def pool_rate(argv: list[str], folder: Path) -> float:
    """Return the runs per second of threads that start the same program and forget it."""
    started = time.perf_counter()
    with ThreadPoolExecutor(N_AT_A_TIME) as pool:
        list(pool.map(lambda _: subprocess.run(argv, cwd=folder, stdout=subprocess.PIPE, check=True), range(N_RUNS)))
    return N_RUNS / (time.perf_counter() - started)
