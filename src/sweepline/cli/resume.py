"""``sweepline resume``: launch runs again after pause or drain."""

from __future__ import annotations

from sweepline.cli.steer import asking

HELP = "launch runs again after pause or drain"
DESCRIPTION = (
    "Lets a sweep that was paused or drained launch runs again. A sweep that has ended or was killed goes on by "
    "sweepline run."
)
EXAMPLES = (
    ("sweepline resume", "the sweep of ./sweep.yaml"),
    ("sweepline resume outputs/lr", "of a sweep that lies elsewhere"),
)

add_arguments, run = asking("resume")
