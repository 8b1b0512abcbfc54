"""``sweepline drain``: launch nothing more, and end when the runs under way have ended."""

from __future__ import annotations

from sweepline.cli.steer import asking

HELP = "launch nothing more, and end when the runs under way have ended"
DESCRIPTION = (
    "Lets a sweep end without cutting anything off: nothing more is launched, and it ends when the runs under way "
    "have ended. The same command goes on later."
)
EXAMPLES = (
    ("sweepline drain", "the sweep of ./sweep.yaml"),
    ("sweepline drain outputs/lr", "of a sweep that lies elsewhere"),
)

add_arguments, run = asking("drain")
