"""``sweepline resume``: launch runs again after pause or drain."""

from __future__ import annotations

from sweepline.cli.steer import asking

HELP = "launch runs again after pause or drain"

add_arguments, run = asking("resume")
