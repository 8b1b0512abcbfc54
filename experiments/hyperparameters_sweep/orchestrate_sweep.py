#!/usr/bin/env python
"""Run a sweep of ``train_single.py``: load the sweep file, run what is missing, choose the exit code."""

import sys
from pathlib import Path

from sweepline.cli.main import orchestrate

if __name__ == "__main__":
    sys.exit(orchestrate(None, default_sweep=Path(__file__).parent / "cfg" / "sweep.yaml"))
