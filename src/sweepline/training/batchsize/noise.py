"""The gradient noise scale: the batch size from which on more examples per step hardly help.

McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", appendix A: from the squared gradient norms at two
batch sizes at the same point, the squared true gradient and the trace of its covariance, each without bias; their ratio
is the noise scale. Both are averaged before they are divided.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from sweepline.training.data import Examples

WINDOW = 8  # measurements that are averaged for an estimate of the start, the end, and between


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


class NoiseMeter:
    """Measures every so many steps, on the two halves of what the next step uses; training itself is not changed."""

    def __init__(
        self, model: nn.Module, examples: Examples, *, every: int, kept: list[list[float]] | None = None
    ) -> None:
        """Keep what is measured in ``kept`` as plain numbers, which a checkpoint can hold."""
        self._model, self._examples, self._every = model, examples, every
        self._kept = kept if kept is not None else []

    @property
    def measurements(self) -> list[Measurement]:
        """What was measured so far."""
        return [Measurement(int(small), small_sq, int(big), big_sq) for small, small_sq, big, big_sq in self._kept]

    def measure(self, step: int, index: torch.Tensor, *, n_at_once: int) -> None:
        """Measure before this step if it is time; ``n_at_once`` examples fit into memory."""
        half = min(len(index) // 2, max(1, n_at_once // 2))  # two sets of gradients take memory too
        if self._every == 0 or step % self._every or half < 1:
            return
        first = self._gradients(index[:half])
        second = self._gradients(index[half : 2 * half])
        small_sq = sum((a.square().sum() + b.square().sum()) / 2 for a, b in zip(first, second, strict=True))
        big_sq = sum(((a + b) / 2).square().sum() for a, b in zip(first, second, strict=True))
        self._kept.append([half, float(small_sq), 2 * half, float(big_sq)])

    def _gradients(self, index: torch.Tensor) -> Sequence[torch.Tensor]:
        inputs, labels = self._examples.batch(index)
        loss = functional.cross_entropy(self._model(inputs), labels)
        return torch.autograd.grad(loss, [p for p in self._model.parameters() if p.requires_grad])

    def report(self, say: Callable[[str], None]) -> dict[str, float]:
        """Return the noise scale at the start, in the median and at the end; say where it is not identifiable."""
        if not self._kept:
            return {}
        parts = summarize(self.measurements)
        for name, value in parts.items():
            if value is None:
                say(f"the gradient noise scale is not identifiable ({name}, {len(self._kept)} measurements)")
        return {f"noise_scale_{name}": value for name, value in parts.items() if value is not None}


def summarize(measurements: Sequence[Measurement]) -> dict[str, float | None]:
    """Return the noise scale of the first and the last measurements, and the median over all windows between."""
    if not measurements:
        return {"start": None, "median": None, "end": None}
    windows = [measurements[i : i + WINDOW] for i in range(max(1, len(measurements) - WINDOW + 1))]
    found = [noise_scale(window) for window in windows]
    median = statistics.median(math.inf if value is None else value for value in found)  # hidden: larger than any
    return {
        "start": noise_scale(windows[0]),
        "median": median if math.isfinite(median) and noise_scale(measurements) is not None else None,
        "end": noise_scale(windows[-1]),
    }
