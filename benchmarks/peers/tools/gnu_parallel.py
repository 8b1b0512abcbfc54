"""GNU parallel over the three axes, with its job log."""

import os

from common import JOBS, N, PYTHON, SCRIPT, grid

axes = grid.axes(N)
pattern = " ".join([PYTHON, SCRIPT, *(f"--{name}={{{i}}}" for i, name in enumerate(axes, start=1))])
sources = [word for values in axes.values() for word in (":::", *map(str, values))]
os.execvp("parallel", ["parallel", "--will-cite", f"-j{JOBS}", "--joblog", "jobs.tsv", pattern, *sources])
