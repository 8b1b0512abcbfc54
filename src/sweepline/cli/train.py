"""``sweepline train``: one run of our trainer, which takes the place of this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

HELP = "one run of the built-in trainer: sweepline train -- key=value ..."
DESCRIPTION = (
    "Trains once with the built-in trainer: one run, tracked and numbered, with METRIC lines at its end. What comes "
    "after -- overrides keys of config.yaml. It needs the extra 'training' (torch)."
)
EXAMPLES = (
    (
        "sweepline train -- learner.opt=adam learner.step_size=0.001 seed=3",
        "one training with three keys of its config given",
    ),
    ("sweepline train --resume outputs/single/20261126_061500_s0", "go on with a run from its checkpoint"),
    (
        "sweepline train --frozen-config outputs/experimentruns/configs/frozen_config_run_001.json --seed 7",
        "repeat a run by the config that it has frozen, with another seed",
    ),
)
EXIT_CODES = {
    0: "the run has finished",
    1: "the run failed",
    2: "nothing could start",
}


USAGE = "sweepline train [options] -- key=value ..."


def print_program_help() -> int:
    """Become the trainer, to say what it takes."""
    run_with_words(["--help"])


def run_with_words(words: Sequence[str]) -> NoReturn:
    """Become the trainer, with these arguments of its own."""
    os.execv(sys.executable, [sys.executable, "-m", "sweepline.training", *words])
