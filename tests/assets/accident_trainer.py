"""Our trainer, with accidents in epoch 2: seed 1 fails, with a large step once; seed 0 waits for SIGTERM, once."""

import os
import signal
from pathlib import Path

from sweepline.training.commandline import leave, main
from sweepline.training.reporting.metrics import Reporter

report = Reporter.epoch


def report_or_fail(self, result):
    report(self, result)
    is_large, is_first = "0.1" in os.environ["WANDB_NAME"], os.environ["WANDB_RUN_ID"].endswith("-1")
    if result.epoch == 2 and os.environ["SWEEPLINE_SEED"] == "1" and (is_first or not is_large):
        raise RuntimeError("an accident")
    if result.epoch == 2 and os.environ["SWEEPLINE_SEED"] == "0" and not is_large and not Path("waiting").exists():
        Path("waiting").touch()
        signal.pause()


if __name__ == "__main__":
    Reporter.epoch = report_or_fail
    leave(main(default_config=Path(__file__).parent / "config.yaml"))
