"""How long a user waits before anything happens: the dry run of the default sweep."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, run

EXPERIMENT = Path(__file__).resolve().parents[1] / "experiments" / "hyperparameters_sweep"


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured."""
    argv = [sys.executable, str(EXPERIMENT / "orchestrate_sweep.py"), "--dry-run"]
    run(argv, cwd=EXPERIMENT)
    walls = [run(argv, cwd=EXPERIMENT).wall_s for _ in range(2 * n + 1)]
    yield Figure("--dry-run of the default sweep", walls, key="dry_run")
