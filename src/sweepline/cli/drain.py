"""``sweepline drain``: launch nothing more, and end when the runs under way have ended."""

from __future__ import annotations

from sweepline.cli.steer import asking

HELP = "launch nothing more, and end when the runs under way have ended"

add_arguments, run = asking("drain")
