"""The body of train_single.py, which ends itself with SIGKILL at the moment that KILL_AT names: PLACE:COUNT."""

import itertools
import os
import signal
import sys

from sweepline.training import checkpoints, commandline, loop, trainer
from sweepline.training.reporting import metrics
from sweepline.training.tasks import supervised

PLACES = {
    "part": (supervised.Classify, "loss"),  # within a step: gradients of some parts are there, others are not
    "step": (loop, "take_step"),  # a step is done, and nothing knows of it yet
    "evaluated": (loop, "evaluate_that_fits"),
    "told": (metrics.Reporter, "epoch"),
    "saved": (checkpoints.Checkpoints, "save"),
    "saving": (checkpoints, "write_durably"),
    "best": (trainer.BestWeights, "save"),
}


def kill_after(place, count):
    owner, name = PLACES[place]
    original, calls = getattr(owner, name), itertools.count(1)

    def patched(*args, **kwargs):
        result = original(*args, **kwargs)
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, patched)


if os.environ.get("KILL_AT"):
    place, _, count = os.environ["KILL_AT"].partition(":")
    kill_after(place, int(count))
sys.exit(commandline.main())
