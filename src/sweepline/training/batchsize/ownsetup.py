"""What a probe sets up for a training loop of a user's own."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from sweepline.errors import ConfigError
from sweepline.fits.freememory import SHARE_OF_FREE
from sweepline.training import memory


class OwnSetup:
    """What ``make(device)`` returned, as a probe wants it; see :class:`~sweepline.training.batchsize.probe.Setup`."""

    def __init__(
        self, make: Callable[..., Any], *, device: str, n_examples: int, memory_gib: float | None = None
    ) -> None:
        """Call ``make``.

        Raises:
            ConfigError: what it returns is nothing that a probe could call.
        """
        import torch

        random.seed(0)
        torch.manual_seed(0)
        self.device, self.n_examples = torch.device(device), n_examples
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device.index or 0)
            n_bytes = SHARE_OF_FREE * free / memory.runs_per_device()
            n_bytes = n_bytes if memory_gib is None else min(memory_gib * memory.GIB, total)
            torch.cuda.set_per_process_memory_fraction(n_bytes / total, self.device.index or 0)
        made = make(device)
        parts = made if isinstance(made, tuple) else (made,)
        if not 1 <= len(parts) <= 2 or not all(map(callable, parts)):
            got = (
                f"({', '.join(type(part).__name__ for part in made)})"
                if isinstance(made, tuple)
                else type(made).__name__
            )
            raise ConfigError(f"make(device) must return step(n), or step and evaluate; got {got}")
        self._step, self._evaluate = (*parts, None)[:2]
        self.n_evaluated = n_examples if self._evaluate is not None else 0

    def step(self, index: Any) -> None:
        """Do one step on so many examples."""
        self._step(len(index))

    def evaluate(self, index: Any) -> None:
        """Look at so many examples."""
        if self._evaluate is not None:
            self._evaluate(len(index))
