"""How long a user waits before anything happens: the dry run of the default sweep."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import run, spread

EXPERIMENT = Path(__file__).resolve().parents[1] / "experiments" / "hyperparameters_sweep"


def figures(n: int) -> Iterator[tuple[str, str]]:
    """Yield (figure, value)."""
    argv = [sys.executable, str(EXPERIMENT / "orchestrate_sweep.py"), "--dry-run"]
    run(argv, cwd=EXPERIMENT)
    yield "--dry-run of the default sweep", spread([run(argv, cwd=EXPERIMENT).wall_s for _ in range(2 * n + 1)])
