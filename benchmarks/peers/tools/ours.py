"""sweepline itself, ``--start`` as the variant says."""

import os
import sys
from pathlib import Path

from common import JOBS, N, SCRIPT, VARIANT, grid

lines = [f"  {name}: {values}" for name, values in grid.axes(N).items()]
Path("sweep.yaml").write_text(
    f"program: {SCRIPT}\nname: bench\nmethod: grid\nmetric: {{name: loss}}\ndevices: cpu\nmax_concurrent: {JOBS}\n"
    "parameters:\n" + "\n".join(lines) + "\n"
)
os.execv(sys.executable, [sys.executable, "-m", "sweepline.cli.main", "run", "sweep.yaml", "--start", VARIANT])
