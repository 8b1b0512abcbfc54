"""Going on with a sweep of 100,000 recorded runs, and looking at it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, run

N = 100_000
SWEEP = """
program: first.py
name: large
method: grid
metric: {name: loss}
parameters: {a: {min: 1, max: MAX}}
devices: cpu
max_concurrent: 1
report: never
"""
COMMANDS = (
    ("run",),
    ("status",),
    ("best",),
    ("ls", "--sort", "loss", "-m", "10"),
    ("ls", "--filter", "a < 100 and state == 'finished'"),
    ("show", f"a{N + 1}"),
    ("log", f"a{N + 1}"),
)
LOAD = """
import time
import pandas
import sweepline
begin = time.perf_counter()
sweepline.load_runs("sweep.yaml")
print(time.perf_counter() - begin)
"""
FILL = """
from pathlib import Path
from sweepline.config.sweepfile import load_sweep
from sweepline.engine.recovery import start_fields
from sweepline.recording.book import RecordBook
from sweepline.recording.folders import SweepFolder
from sweepline.runs import RunOutcome, State
from sweepline.space.plan import Plan

settings = load_sweep(Path("sweep.yaml"))
folder = SweepFolder(settings.sweep_dir)
folder.lock()
book = RecordBook(folder, csv=folder.csv, sweep="large", params=["a"], metrics=["loss"])
book.open_table()
for i, run in enumerate(Plan(settings.space).runs()):
    book.start(start_fields(run, attempt=1, device="cpu"))
    book.end(run.run_id, 1, RunOutcome(state=State.FINISHED, exit_code=0, duration_s=0.1, metrics={"loss": i / 7}))
    if i % 1000 == 0:
        book.commit()
book.commit()
book.close()
folder.unlock()
"""


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sweep.yaml").write_text(SWEEP.replace("MAX", str(N)))
        (folder / "first.py").write_text("print('METRIC loss=0.5')\n")
        run([sys.executable, "-c", FILL], cwd=folder)
        walls: dict[str, list[float]] = {}
        for i in range(1, n + 1):
            (folder / "sweep.yaml").write_text(SWEEP.replace("MAX", str(N + i)))
            for words in COMMANDS:
                cost = run([sys.executable, "-m", "sweepline.cli.main", *words], cwd=folder)
                walls.setdefault(" ".join(words), []).append(cost.wall_s)
            loaded = subprocess.run(
                [sys.executable, "-c", LOAD], cwd=folder, check=True, capture_output=True, text=True
            )
            walls.setdefault("load_runs", []).append(float(loaded.stdout))
        yield Figure(f"resume with {N:,} recorded runs, one more run, summary", walls["run"])
        for words in COMMANDS[1:]:
            yield Figure(f"sweepline {' '.join(words)} of it", walls[" ".join(words)])
        yield Figure("load_runs of it, beyond the import of pandas", walls["load_runs"])
