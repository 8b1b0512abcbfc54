#!/usr/bin/env python
"""Train exactly once: ``train_single.py [--config F] -- learner.step_size=0.1 seed=3``. Knows nothing of sweeps."""

from pathlib import Path

from sweepline.training.commandline import leave, main

if __name__ == "__main__":
    leave(main(default_config=Path(__file__).parent / "cfg" / "config.yaml"))
