"""What the adapters share: the arguments they are started with, the command lines, the workload as a function."""

import importlib
import os
import sys
from pathlib import Path

WORKLOADS = Path(__file__).resolve().parents[1] / "workloads"
sys.path.insert(0, str(WORKLOADS))
import grid  # noqa: E402

WORKLOAD, N, JOBS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
VARIANT = sys.argv[4] if len(sys.argv) > 4 else ""
SCRIPT = str(WORKLOADS / f"{WORKLOAD}.py")
PYTHON = os.environ.get("BENCH_PYTHON", sys.executable)


def function():
    """Return the workload's function; importing it may import torch."""
    return importlib.import_module(WORKLOAD).run


def commands():
    """Return the command line of every run."""
    return [[PYTHON, SCRIPT, *grid.words(config)] for config in grid.configs(N)]


def loss_of(output):
    """Return the metric that a run has printed."""
    return float(output.rpartition("METRIC loss=")[2].split()[0])
