"""How soon a slot that has become free is in use again: from one program's last line to the first of the next."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, run

SWEEP = """
program: PROGRAM
name: refill
method: grid
metric: {name: loss}
parameters: {a: {min: 1, max: 300}}
devices: cpu
max_concurrent: 1
"""
SHELL = "#!/bin/bash\nbegan=$EPOCHREALTIME\necho METRIC loss=1\necho $began $EPOCHREALTIME >> times\n"
PYTHON = (
    "import time\nbegan = time.time()\nprint('METRIC loss=1')\nopen('times', 'a').write(f'{began} {time.time()}\\n')\n"
)


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "program.sh").write_text(SHELL)
        (folder / "program.sh").chmod(0o755)
        (folder / "program.py").write_text(PYTHON)
        for title, program, start in (
            ("a shell script", "program.sh", "cold"),
            ("a Python program, warm", "program.py", "warm"),
        ):
            (folder / "sweep.yaml").write_text(SWEEP.replace("PROGRAM", program))
            gaps = [gap_ms(folder, start) for _ in range(n)]
            yield Figure(f"last line to the next first line, {title}", gaps, "ms", key=f"refill_{start}")
        alone = subprocess.run(["bash", "-c", "type -p bash"], stdout=subprocess.PIPE, text=True, check=True)
        yield Figure("of which bash itself, from nothing to its first line", [bash_ms(alone.stdout.strip(), n)], "ms")


def gap_ms(folder: Path, start: str) -> float:
    """Return the median over the runs of a sweep with one slot."""
    (folder / "times").unlink(missing_ok=True)
    run([sys.executable, "-m", "sweepline.cli.main", "run", "--fresh", "--start", start], cwd=folder)
    times = sorted(tuple(map(float, line.split())) for line in (folder / "times").read_text().splitlines())
    return statistics.median((after[0] - before[1]) * 1000 for before, after in itertools.pairwise(times))


def bash_ms(bash: str, n: int) -> float:
    """Return how long bash takes until it can tell the time."""
    script = "import subprocess, sys, time\nt = time.time()\n"
    script += "print((float(subprocess.run([sys.argv[1], '-c', 'echo $EPOCHREALTIME'], stdout=-1).stdout) - t) * 1000)"
    found = [float(run([sys.executable, "-c", script, bash], cwd=Path.cwd()).output) for _ in range(10 * n)]
    return statistics.median(found)
