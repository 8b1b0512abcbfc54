"""The gradient noise scale: the batch size from which on more examples per step hardly help.

McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", appendix A: from the squared gradient norms at two
batch sizes at the same point, the squared true gradient and the trace of its covariance, each without bias; their ratio
is the noise scale. Both are averaged before they are divided.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from sweepline.training.seeding import unchanged_randomness
from sweepline.training.tasks.base import Task

WINDOW = 8  # measurements that an estimate of the start or the end is made of
N_RESAMPLINGS = 400  # the 20th from either end bounds the interval


@dataclass(frozen=True, slots=True)
class Measurement:
    """Squared gradient norms ``small_sq`` at ``small`` examples and ``big_sq`` at ``big``, at one point."""

    small: int
    small_sq: float
    big: int
    big_sq: float

    @property
    def gradient_sq(self) -> float:
        """The squared norm of the true gradient, without bias; a single one may well be negative."""
        return (self.big * self.big_sq - self.small * self.small_sq) / (self.big - self.small)

    @property
    def noise(self) -> float:
        """The trace of the covariance of one example's gradient, without bias."""
        return (self.small_sq - self.big_sq) / (1 / self.small - 1 / self.big)


def noise_scale(measurements: Sequence[Measurement]) -> float | None:
    """Return the noise scale in examples; None where it is not identifiable.

    It is not while the averaged squared gradient is not positive: noise hides the gradient altogether.
    """
    if not measurements:
        return None
    gradient_sq = statistics.fmean(m.gradient_sq for m in measurements)
    noise = statistics.fmean(m.noise for m in measurements)
    if not (math.isfinite(gradient_sq) and math.isfinite(noise)) or gradient_sq <= 0 or noise < 0:
        return None
    return noise / gradient_sq


@dataclass(frozen=True, slots=True)
class Estimate:
    """A noise scale in examples, and the interval that 90 of 100 resamplings of its measurements lie in."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:,.0f} ({self.low:,.0f}..{self.high:,.0f})"


def estimate(measurements: Sequence[Measurement]) -> Estimate | None:
    """Return the noise scale of all measurements with its interval; None where it is not identifiable.

    The upper end is infinite where noise hides the gradient in some resamplings. The same measurements always give the
    same interval.
    """
    value = noise_scale(measurements)
    if value is None:
        return None
    rng = random.Random(0)
    parts = [(m.noise, m.gradient_sq) for m in measurements]
    found = []
    for _ in range(N_RESAMPLINGS):
        drawn = rng.choices(parts, k=len(parts))
        noise, gradient_sq = sum(part[0] for part in drawn), sum(part[1] for part in drawn)
        found.append(max(0.0, noise) / gradient_sq if gradient_sq > 0 else math.inf)
    found.sort()
    return Estimate(value, min(value, found[N_RESAMPLINGS // 20]), max(value, found[-N_RESAMPLINGS // 20]))


@dataclass(frozen=True, slots=True)
class Course:
    """The noise scale of a whole training, of its first measurements and of its last; None: not identifiable."""

    pooled: Estimate | None
    start: Estimate | None
    end: Estimate | None


def summarize(measurements: Sequence[Measurement]) -> Course:
    """Return the noise scale over all measurements, at the start and at the end."""
    return Course(estimate(measurements), estimate(measurements[:WINDOW]), estimate(measurements[-WINDOW:]))


@contextmanager
def unchanged_buffers(model: nn.Module) -> Iterator[None]:
    """Have a model use copies of its buffers, such as running means: its own stay as they are."""
    held = [(part, name, buffer) for part in model.modules() for name, buffer in part.named_buffers(recurse=False)]
    copies = {id(buffer): buffer.clone() for _, _, buffer in held}  # one copy of a buffer that modules share
    for part, name, buffer in held:
        setattr(part, name, copies[id(buffer)])
    try:
        yield
    finally:
        for part, name, buffer in held:
            setattr(part, name, buffer)


class NoiseMeter:
    """Measures every so many steps, on the two halves of what the next step uses; training itself is not changed.

    Random generators, buffers (of batch normalisation) and gradients are afterwards what they were. Beside the model
    it takes one set of gradients, as a step does.
    """

    def __init__(self, task: Task, *, every: int, kept: list[list[float]] | None = None) -> None:
        """Keep what is measured in ``kept`` as plain numbers, which a checkpoint can hold."""
        self._task, self._model, self._every = task, task.model, every
        self._kept = kept if kept is not None else []

    @property
    def measurements(self) -> list[Measurement]:
        """What was measured so far."""
        return [Measurement(int(small), small_sq, int(big), big_sq) for small, small_sq, big, big_sq in self._kept]

    def measure(self, step: int, index: torch.Tensor, *, n_at_once: int) -> None:
        """Measure before this step if it is time; ``n_at_once`` examples fit into memory."""
        half = min(len(index) // 2, max(1, n_at_once // 2))
        if self._every == 0 or step % self._every or half < 1:
            return
        trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        held = [parameter.grad for parameter in trained]
        try:
            small_sq, big_sq = self._squared_norms(trained, index[:half], index[half : 2 * half])
        finally:
            for parameter, gradient in zip(trained, held, strict=True):
                parameter.grad = gradient
        self._kept.append([half, small_sq, 2 * half, big_sq])

    def _squared_norms(
        self, trained: Sequence[nn.Parameter], first: torch.Tensor, second: torch.Tensor
    ) -> tuple[float, float]:
        """Return the mean squared norm of the gradients of both halves, and that of the gradient of the whole."""
        norms: list[torch.Tensor] = []

        def add_norm(gradient: torch.Tensor) -> None:
            norms.append(gradient.square().sum())

        hooks = [parameter.register_hook(add_norm) for parameter in trained]  # type: ignore[no-untyped-call]
        try:
            for parameter in trained:
                parameter.grad = None
            for part in (first, second):  # the second adds to what the first has left
                self._backward(part)
        finally:
            for hook in hooks:
                hook.remove()
        both = sum(parameter.grad.square().sum() for parameter in trained if parameter.grad is not None)
        return float(sum(norms)) / 2, float(both) / 4

    def _backward(self, index: torch.Tensor) -> None:
        with unchanged_randomness(index.device), unchanged_buffers(self._model):
            self._task.loss(index).loss.backward()  # type: ignore[no-untyped-call]

    def report(self, say: Callable[[str], None]) -> dict[str, float]:
        """Return the noise scale over the training with its interval, at the start and the end, as metrics.

        Where it is not identifiable that is said.
        """
        if not self._kept:
            return {}
        course = summarize(self.measurements)
        parts = {"noise_scale": course.pooled, "noise_scale_start": course.start, "noise_scale_end": course.end}
        for name, found in parts.items():
            if found is None:
                place = name.removeprefix("noise_scale").strip("_") or "all"
                say(f"the gradient noise scale is not identifiable ({place}, {len(self._kept)} measurements)")
        metrics = {name: found.value for name, found in parts.items() if found is not None}
        if course.pooled is not None:
            metrics |= {"noise_scale_low": course.pooled.low, "noise_scale_high": course.pooled.high}
        return metrics
