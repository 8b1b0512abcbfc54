"""Faults, done for real. A tenth of every count runs with the other tests; ``make soak`` runs all of it."""

import os

IS_SOAK = os.environ.get("SWEEPLINE_SOAK") == "1"
SEED = int(os.environ.get("SWEEPLINE_TEST_SEED", "20261121"))


def scaled(full: int) -> int:
    """Return the whole count in a soak, else a tenth of it."""
    return full if IS_SOAK else max(1, full // 10)
