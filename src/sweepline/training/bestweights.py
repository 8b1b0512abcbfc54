"""The weights of a run's best epoch, beside the checkpoints: those are for going on, these for using."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from sweepline.contract.runfolder import BEST_WEIGHTS
from sweepline.training.checkpoints import write_durably
from sweepline.training.config.monitor import monitor_of
from sweepline.training.config.schema import TrainConfig
from sweepline.training.loop import EpochResult


def keeps_best(config: TrainConfig) -> bool:
    """Whether a run has a best epoch whose weights are kept."""
    is_asked = config.checkpoint.enabled and config.checkpoint.best
    return monitor_of(config) is not None and (is_asked or config.evaluate.final_test == "best")


class BestWeights:
    """One file, ``best.pt``: a state dict, which a better epoch replaces. ``say`` takes sentences for the user.

    A run that goes on after a kill does the epochs since its checkpoint again, and so comes to the same file.
    """

    def __init__(self, run_dir: Path, *, say: Callable[[str], None]) -> None:
        self.path, self._say = run_dir / BEST_WEIGHTS, say

    def save(self, model: nn.Module, result: EpochResult) -> None:
        """Keep the weights as they are now; one that the disk does not take is said and left out."""
        try:
            write_durably(self.path, model.state_dict())
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            with suppress(OSError):
                self.path.with_suffix(".tmp").unlink()
            self._say(f"the weights of epoch {result.epoch}, the best so far, could not be kept: {error}")

    def discard(self) -> None:
        """Remove what another run has left: this one begins, and has no best epoch yet."""
        self.path.unlink(missing_ok=True)

    def restore(self, model: nn.Module) -> None:
        """Put the best weights into the model; where they cannot be read that is said, and the model stays as it is."""
        own = {name: value.clone() for name, value in model.state_dict().items()}
        try:
            model.load_state_dict(torch.load(self.path, map_location="cpu", weights_only=True))
        except Exception as error:  # whatever a damaged file makes of the reader
            model.load_state_dict(own)
            self._say(f"{self.path.name} cannot be used, the last weights are: {error}")
