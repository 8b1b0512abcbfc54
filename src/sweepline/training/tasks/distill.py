"""Knowledge distillation: a task whose network learns from the scores of a trained one too.

After Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network": the Kullback-Leibler divergence of
softened scores, times the square of the temperature so that its gradients keep their size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from sweepline.training.tasks.base import Outcome, WrappedTask
from sweepline.training.tasks.losses import in_single
from sweepline.training.tasks.supervised import Classify

TEACHER, PROJECTION = "teacher", "distillation_projection"


class Distilled(WrappedTask):
    """A classification with a teacher; the loss is ``alpha`` of the teacher's and the rest of the labels'.

    With a ``feature_weight`` the difference between the teacher's last features and a projection of the student's is
    added; the projection is part of the model, as ``distillation_projection``. Evaluation is that of the student alone.
    """

    task: Classify

    def __init__(
        self, task: Classify, teacher: nn.Module, *, temperature: float, alpha: float, feature_weight: float = 0.0
    ) -> None:
        super().__init__(task)
        self.temperature, self.alpha, self.feature_weight = temperature, alpha, feature_weight
        self.frozen[TEACHER] = teacher

    def loss(self, index: torch.Tensor) -> Outcome:
        """See :meth:`Task.loss`."""
        task, teacher = self.task, self.frozen[TEACHER]
        inputs, targets = task.training.batch(index)
        with last_features(task.model, self.feature_weight > 0) as own:
            outputs = task.outputs(inputs)
        with torch.no_grad(), last_features(teacher, self.feature_weight > 0) as others:
            taught = teacher(inputs)
        of_labels = task.criterion(outputs, targets, reduction="mean")
        loss = (1 - self.alpha) * of_labels + self.alpha * self._divergence(outputs, taught)
        if self.feature_weight > 0:
            projected = getattr(task.model, PROJECTION)(own[-1])
            loss = loss + self.feature_weight * functional.mse_loss(projected, others[-1])
        return Outcome(loss, len(index), task.sums(outputs.detach(), targets, loss.detach() * len(index)))

    def _divergence(self, outputs: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
        student = functional.log_softmax(in_single(outputs) / self.temperature, dim=1)
        teacher = functional.log_softmax(in_single(taught) / self.temperature, dim=1)
        divergence = functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
        return divergence * self.temperature**2


def last_linear(model: nn.Module) -> nn.Linear | None:
    """Return the last linear layer of a network, as its modules stand, which makes its scores; None without."""
    layers = [m for name, m in model.named_modules() if isinstance(m, nn.Linear) and name != PROJECTION]
    return layers[-1] if layers else None


@contextmanager
def last_features(model: nn.Module, is_wanted: bool) -> Iterator[list[torch.Tensor]]:
    """Collect what enters a network's last linear layer while this is open."""
    found: list[torch.Tensor] = []
    layer = last_linear(model) if is_wanted else None
    hook = layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0])) if layer is not None else None
    try:
        yield found
    finally:
        if hook is not None:
            hook.remove()
