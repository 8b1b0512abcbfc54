"""How soon a run is stopped that says something bad, from its line to the signal; eight runs talk all along."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, run

N_SLOTS, N_RUNS = 8, 32
PROGRAM = """
import os, random, signal, time
bad_at = 0.0

def stop(number, frame):
    print(f"METRIC waited={time.time() - bad_at}", flush=True)
    os._exit(0)

signal.signal(signal.SIGTERM, stop)
random.seed(os.environ["SWEEPLINE_RUN_ID"])
until = time.time() + random.uniform(1, 3)
step = 0
while not bad_at or time.time() < bad_at + 10:
    step += 1
    is_bad = time.time() > until
    if is_bad and not bad_at:
        bad_at = time.time()
    print(f"METRIC step={step} loss={100 if is_bad else 1}", flush=True)
    time.sleep(0.01)
"""
SWEEP = f"""
program: program.py
name: stopping
metric: {{name: loss}}
parameters: {{a: {{min: 1, max: {N_RUNS}}}}}
early_terminate: {{type: threshold, worse_than: 10, after: 1}}
devices: cpu
max_concurrent: {N_SLOTS}
threads: 1
report: never
"""


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured, over ``n`` sweeps."""
    waited: list[float] = []
    for _ in range(n):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "program.py").write_text(PROGRAM)
            (folder / "sweep.yaml").write_text(SWEEP)
            run([sys.executable, "-m", "sweepline.cli.main", "run"], cwd=folder)
            logs = folder.glob("outputs/stopping/runs/*/stdout.log")
            lines = [line for log in logs for line in log.read_text().splitlines() if "waited=" in line]
            waited += [float(line.partition("waited=")[2]) for line in lines]
    percentile = statistics.quantiles(waited, n=100)[98]
    title = f"from a line to the signal, {N_SLOTS} runs that talk"
    yield Figure(f"{title}, median of {len(waited)}", [statistics.median(waited)])
    yield Figure(f"{title}, 99th percentile", [percentile])


def main() -> None:
    """Print the figures."""
    for figure in figures(3):
        sys.stdout.write(f"{figure.title}: {figure}\n")


if __name__ == "__main__":
    main()
