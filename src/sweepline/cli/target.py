"""Which sweep a command is about, and what its reader should know beside the answer."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sweepline.contract.text import display_path
from sweepline.engine.planfile import search_hash
from sweepline.engine.recorded import RecordedSweep
from sweepline.recording.events import EXTRA, REMOVED


def add_target(parser: argparse.ArgumentParser) -> None:
    """Declare which sweep is read."""
    parser.add_argument(
        "sweep",
        nargs="?",
        type=Path,
        default=Path("sweep.yaml"),
        metavar="SWEEP",
        help="a sweep file, or the folder of a sweep (default: sweep.yaml)",
    )


def describe_others(found: RecordedSweep) -> Iterator[str]:
    """Yield what a reader should know of runs that are not among those shown, and of a file edited since."""
    others = Counter(record.in_sweep for record in found.records.values() if not record.belongs)
    for standing, what in ((EXTRA, "outside the sweep file, as --set asked for"), (REMOVED, "no longer in the sweep")):
        n = others[standing]
        if n:
            yield f"and {n} run{'s' * (n > 1)} {what} (in_sweep: {standing} in the table)"
    if found.settings is not None and found.plan.get("search") not in (None, search_hash(found.settings)):
        yield f"{display_path(found.settings.path)} was edited since the last start; this is the sweep as it was then"
