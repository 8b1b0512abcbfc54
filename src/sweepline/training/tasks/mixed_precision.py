"""A task whose network computes in half precision, its weights and its loss in single."""

from __future__ import annotations

import torch

from sweepline.training.tasks.base import Outcome, Task, WrappedTask


class MixedPrecision(WrappedTask):
    """Another task within torch's autocast, so that training, evaluation and probes all compute alike."""

    def __init__(self, task: Task, dtype: torch.dtype) -> None:
        super().__init__(task)
        self._dtype = dtype

    def loss(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.loss`."""
        with torch.autocast(self.device.type, self._dtype):
            return self.task.loss(index)

    def evaluate(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.evaluate`."""
        with torch.autocast(self.device.type, self._dtype):
            return self.task.evaluate(index)
