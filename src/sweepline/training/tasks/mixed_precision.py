"""A task whose network computes in half precision, its weights and its loss in single."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from sweepline.training.tasks.base import Outcome, Task


class MixedPrecision(Task):
    """Another task within torch's autocast, so that training, evaluation and probes all compute alike."""

    def __init__(self, task: Task, dtype: torch.dtype) -> None:
        super().__init__(task.model, task.training, task.held_out, seed=task.seed)
        self._task, self._dtype = task, dtype

    def loss(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.loss`."""
        with torch.autocast(self.device.type, self._dtype):
            return self._task.loss(index)

    def evaluate(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.evaluate`."""
        with torch.autocast(self.device.type, self._dtype):
            return self._task.evaluate(index)

    def zero_sums(self) -> dict[str, torch.Tensor]:
        """See :meth:`Task.zero_sums`."""
        return self._task.zero_sums()

    def metrics(self, sums: Mapping[str, float], n: int) -> dict[str, float]:
        """See :meth:`Task.metrics`."""
        return self._task.metrics(sums, n)

    def order(self, epoch: int) -> torch.Tensor:
        """See :meth:`Task.order`."""
        return self._task.order(epoch)

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Task.state_dict`."""
        return self._task.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Task.load_state_dict`."""
        self._task.load_state_dict(state)
