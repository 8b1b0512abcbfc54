"""``sweepline train``: one run of our trainer, which takes the place of this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

HELP = "one run of the built-in trainer: sweepline train -- key=value ..."


def run_with_words(words: Sequence[str]) -> NoReturn:
    """Become the trainer, with these arguments of its own."""
    os.execv(sys.executable, [sys.executable, "-m", "sweepline.training", *words])
