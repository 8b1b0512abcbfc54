"""``sweepline pause``: launch nothing more until resume; runs under way go on."""

from __future__ import annotations

from sweepline.cli.steer import asking

HELP = "launch nothing more until resume; runs under way go on"

add_arguments, run = asking("pause")
