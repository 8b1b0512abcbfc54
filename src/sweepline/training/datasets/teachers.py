"""Data drawn from a teacher that is known: a power of a projection, or a network. N examples of D numbers.

Which teacher and which examples depends on the seeds in ``data.args`` alone, so that runs with other seeds of their own
meet the same ones. With ``fresh`` every epoch draws examples that no other has seen: training goes on for a time, and
nothing can be learned by heart.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from sweepline.errors import ConfigError
from sweepline.training.datasets.examples import Examples, Split

if TYPE_CHECKING:
    import torch
    from torch import nn


class _Teacher(ABC):
    """See :class:`~sweepline.training.datasets.examples.Dataset`; inputs are drawn from N(0, I)."""

    def __init__(
        self, *, dim: int, n_examples: int, n_test: int, fresh: bool, teacher_seed: int, data_seed: int
    ) -> None:
        for name, value in (("dim", dim), ("n_examples", n_examples), ("n_test", n_test)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"data.args.{name} must be a whole number above zero, got {value!r}")
        self.dim, self.n_examples, self.n_test, self.fresh = dim, n_examples, n_test, fresh
        self.teacher_seed, self.data_seed = teacher_seed, data_seed

    def prepare(self) -> None:
        """Nothing need be prepared, and what is asked for was checked."""
        return

    def load(self, split: Split) -> Examples:
        """Return one of its portions; of the training portion the first epoch's."""
        if split == "test":
            return self._draw("test", self.n_test)
        return self._epoch(1) if self.fresh else self._draw("train", self.n_examples)

    def _epoch(self, epoch: int) -> Examples:
        from dataclasses import replace

        return replace(self._draw(f"epoch {epoch}", self.n_examples), draw=self._epoch)

    def _draw(self, which: str, n: int) -> Examples:
        import torch

        inputs = torch.randn(n, self.dim, generator=_generator("examples", self.data_seed, which))
        with torch.no_grad():
            targets = self.targets(inputs)
        return Examples(inputs, targets)

    @abstractmethod
    def targets(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what the teacher says of inputs (N, D), (N, 1)."""


class PolyTeacher(_Teacher):
    """y = (x w)^K with w drawn from N(0, I) / sqrt(D)."""

    def __init__(
        self,
        *,
        dim: int = 20,
        power: int = 2,
        n_examples: int = 10_000,
        n_test: int = 2_000,
        fresh: bool = False,
        teacher_seed: int = 0,
        data_seed: int = 0,
    ) -> None:
        super().__init__(
            dim=dim, n_examples=n_examples, n_test=n_test, fresh=fresh, teacher_seed=teacher_seed, data_seed=data_seed
        )
        self.power = power

    def targets(self, inputs: torch.Tensor) -> torch.Tensor:
        """See :meth:`_Teacher.targets`."""
        import torch

        direction = torch.randn(self.dim, 1, generator=_generator("teacher", self.teacher_seed)) / self.dim**0.5
        found: torch.Tensor = (inputs @ direction) ** self.power
        return found


class MlpTeacher(_Teacher):
    """A network of the students' class, in maximal-update parametrization, that was never trained."""

    def __init__(
        self,
        *,
        dim: int = 20,
        width: int = 64,
        depth: int = 3,
        gamma: float = 0.125,
        n_examples: int = 10_000,
        n_test: int = 2_000,
        fresh: bool = False,
        teacher_seed: int = 0,
        data_seed: int = 0,
    ) -> None:
        super().__init__(
            dim=dim, n_examples=n_examples, n_test=n_test, fresh=fresh, teacher_seed=teacher_seed, data_seed=data_seed
        )
        self.width, self.depth, self.gamma = width, depth, gamma
        self._network: nn.Module | None = None

    def targets(self, inputs: torch.Tensor) -> torch.Tensor:
        """See :meth:`_Teacher.targets`."""
        found: torch.Tensor = self._build()(inputs)
        return found

    def _build(self) -> nn.Module:
        import torch

        from sweepline.training.models.mlp import ScaledMlp

        if self._network is None:
            units = [self.dim, *[self.width] * (self.depth - 1), 1]
            network = ScaledMlp(units, parametrization="mup", gamma=self.gamma)
            generator = _generator("teacher", self.teacher_seed)
            with torch.no_grad():
                for weight in network.weights:
                    weight.copy_(torch.randn(weight.shape, generator=generator))
            self._network = network
        return self._network


def _generator(*key: object) -> torch.Generator:
    import torch

    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
