#!/usr/bin/env python
"""Train exactly once: ``train_single.py [--config F] -- learner.step_size=0.1 seed=3``. Knows nothing of sweeps."""

import sys
from pathlib import Path

from sweepline.training.single import main

if __name__ == "__main__":
    sys.exit(main(default_config=Path(__file__).parent / "cfg" / "config.yaml"))
