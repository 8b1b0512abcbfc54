"""``sweepline data``: makes data sets that cannot be downloaded ready; the training side does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from sweepline.errors import ConfigError

HELP = "make a data set ready: sweepline data mnist1m RAW_DIR"
DESCRIPTION = (
    "Makes a data set ready that cannot be downloaded as it is. Others are downloaded when they are first used. It "
    "needs the extra 'training'."
)
EXAMPLES = (
    ("sweepline data mnist1m ~/downloads/mnist1m", "make MNIST-1M ready from the folder of its raw files"),
    ("sweepline data mnist1m --help", "what this data set takes"),
)
USAGE = "sweepline data NAME ..."
_END_S = 5.0
_MODULES = {"mnist1m": "sweepline.training.datasets.mnist1m"}


def run_with_words(words: Sequence[str]) -> int:
    """Make the data set that is named first; return the exit code.

    Raises:
        ConfigError: there is none of this name.
    """
    if not words or words[0] not in _MODULES:
        raise ConfigError(f"data: name a data set: {', '.join(_MODULES)}; others are downloaded when they are used")
    process = subprocess.Popen([sys.executable, "-m", _MODULES[words[0]], *words[1:]])
    try:
        return process.wait()
    except KeyboardInterrupt:  # which a terminal sends to both: it removes what is half made
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        raise
