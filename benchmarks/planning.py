"""A million combinations with a set rule and merging: counted, and the first run under way."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, run

SWEEP = """
program: first.py
name: million
method: grid
metric: {name: loss}
parameters:
  opt: [sgd, adam, adamw, rmsprop, a, b, c, d, e, f]
  momentum: [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
  lr: {min: 1, max: 100}
  width: {min: 1, max: 100}
constraints:
  - {when: {opt: adam}, set: {momentum: 0.0}}
devices: cpu
max_concurrent: 1
"""
COUNT = """
import sys
from pathlib import Path
from sweepline.config.sweepfile import load_sweep
from sweepline.space.plan import Plan, count_all
tally = count_all(Plan(load_sweep(Path("sweep.yaml")).space))
print(f"{tally.n_walked} combinations, {tally.n_kept} after merging")
"""
FIRST_RUN = "import time\nopen('started', 'w').write(str(time.time()))\ntime.sleep(60)\n"


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sweep.yaml").write_text(SWEEP)
        (folder / "first.py").write_text(FIRST_RUN)
        costs = [run([sys.executable, "-c", COUNT], cwd=folder) for _ in range(n)]
        yield Figure("what is planned", note=costs[0].output.strip())
        yield Figure("planning a million combinations", [cost.wall_s for cost in costs], key="plan_s")
        yield Figure("peak memory of planning", [cost.peak_mb for cost in costs], "MB", key="plan_mb")
        yield Figure("command to first run started", [first_start(folder) for _ in range(n)], key="first_run")


def first_start(folder: Path) -> float:
    """Return the seconds from the command to the first line of the first run's program."""
    mark = folder / "started"
    mark.unlink(missing_ok=True)
    begin = time.time()
    argv = [sys.executable, "-m", "sweepline.cli.main", "run", "--fresh"]
    process = subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL)
    while not (mark.exists() and mark.read_text()):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    process.wait()
    return float(mark.read_text()) - begin
