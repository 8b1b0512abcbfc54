"""Environment variables by which a sweep tells its runs what they are. A program may read them; ours does."""

from __future__ import annotations

SWEEP = "SWEEPLINE_SWEEP"
RUN_ID = "SWEEPLINE_RUN_ID"
RUN_DIR = "SWEEPLINE_RUN_DIR"
SEED = "SWEEPLINE_SEED"
RUNS_PER_DEVICE = "SWEEPLINE_RUNS_PER_DEVICE"
"""How many runs share the device of a run, itself among them."""

NODE = "SWEEPLINE_NODE"
"""The node of an allocation that a run executes on, where the sweep has chosen it."""

CODE = "SWEEPLINE_CODE"
"""The manifest of the code that the run's Python processes are served with."""

DATA = "SWEEPLINE_DATA"
"""The user's folder of data sets."""
