"""What an optimizer step consists of beside the gradients: loss scaling, clipping, the step itself, its step size."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sweepline.training.config.schema import TrainConfig
from sweepline.training.optim.optimizers import FACTOR
from sweepline.training.optim.schedules import step_size_at


class Optimization:
    """An optimizer with the step size of its schedule and, with 16-mixed, a scaler of losses."""

    def __init__(self, optimizer: torch.optim.Optimizer, config: TrainConfig) -> None:
        self.optimizer, self._config = optimizer, config
        self._base = [group["lr"] for group in optimizer.param_groups]
        self._scaler = torch.amp.GradScaler("cuda") if config.precision == "16-mixed" else None

    @property
    def step_size(self) -> float:
        """The step size of the latest step, or of the next one where it was set since."""
        group = self.optimizer.param_groups[0]
        return float(group["lr"]) / float(group.get(FACTOR, 1.0))

    def set_step_size(self, *, epoch: int, step: int, n_steps: int) -> None:
        """Set the step size of the step that comes next; see :func:`step_size_at`."""
        schedule = self._config.schedule
        if not schedule.is_used:
            return
        place = {"epoch": epoch, "step": step, "n_epochs": self._config.epochs, "n_steps": n_steps}
        for group, base in zip(self.optimizer.param_groups, self._base, strict=True):
            group["lr"] = step_size_at(schedule, base, **place)

    def zero_grad(self) -> None:
        """Drop all gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss to those that are there."""
        scaled = loss if self._scaler is None else self._scaler.scale(loss)
        scaled.backward()  # type: ignore[no-untyped-call]

    def apply(self, model: nn.Module) -> bool:
        """Do the step, its gradients clipped together; return False where the scaler has skipped it.

        A step is skipped when the gradients of a scaled loss are not finite. Clipping sees them unscaled.
        """
        clip = self._config.gradient_clip
        if self._scaler is None:
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            self.optimizer.step()
            return True
        self._scaler.unscale_(self.optimizer)
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        self._scaler.step(self.optimizer)
        if not self._counts_steps:
            self._scaler.update()
            return True
        scale = self._scaler.get_scale()  # reading it waits for the GPU
        self._scaler.update()
        return self._scaler.get_scale() >= scale

    @property
    def _counts_steps(self) -> bool:
        """Whether it matters how many steps were skipped."""
        schedule = self._config.schedule
        return schedule.warmup_steps > 0 or (schedule.is_used and schedule.unit == "step")

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold: the optimizer's state, and the scaler's where there is one."""
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict()}
        return state if self._scaler is None else {**state, "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state_dict`."""
        self.optimizer.load_state_dict(state["optimizer"])
        if self._scaler is not None and "scaler" in state:
            self._scaler.load_state_dict(state["scaler"])
