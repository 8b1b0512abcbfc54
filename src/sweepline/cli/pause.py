"""``sweepline pause``: launch nothing more until resume; runs under way go on."""

from __future__ import annotations

from sweepline.cli.steer import asking

HELP = "launch nothing more until resume; runs under way go on"
DESCRIPTION = (
    "Lets a sweep launch nothing more until it is resumed. Runs under way go on to their ends, and the sweep "
    "itself waits."
)
EXAMPLES = (
    ("sweepline pause", "the sweep of ./sweep.yaml"),
    ("sweepline pause outputs/lr", "of a sweep that lies elsewhere"),
)

add_arguments, run = asking("pause")
