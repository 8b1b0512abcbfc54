"""Finite parameters, and what every parameter can do. The continuous ones are in ``distributions``.

Each class follows W&B's rule for the distribution of the same name: a quantile in [0, 1) gives one value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sweepline.contract.values import is_number, same_value
from sweepline.errors import ConfigError


class Parameter(Protocol):
    """One dimension of the search space."""

    @property
    def grid(self) -> Sequence[Any] | None:
        """The values a grid walks, each once; None where a grid cannot."""

    @property
    def is_finite(self) -> bool:
        """Whether draws come from a finite set."""

    def at(self, quantile: float) -> Any:
        """Return the value at ``quantile`` in [0, 1)."""

    def quantile(self, value: Any) -> float | None:
        """Return a quantile in [0, 1) at which this value is; None where it takes no such value."""


BELOW_ONE = 1.0 - 2.0**-53  # the greatest quantile


def as_quantile(share: float) -> float | None:
    """Return a share as a quantile; None where it lies outside, but for what rounding may add."""
    return min(max(share, 0.0), BELOW_ONE) if -_ROUNDING <= share <= 1.0 + _ROUNDING else None


_ROUNDING = 1e-9


def unique_values(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return values in order, equal ones once: 1 and 1.0 are equal, true and 1 are not."""
    seen: list[Any] = []
    hashed: set[Any] = set()
    for value in values:
        try:
            key = (isinstance(value, bool), value)
            if key in hashed:
                continue
            hashed.add(key)
        except TypeError:
            if any(same_value(value, other) for other in seen):
                continue
        seen.append(value)
    return tuple(seen)


def values_as_listed(parameter: Parameter) -> Sequence[Any]:
    """Return the values of a parameter as they were written, equal ones as often; none where there is no list."""
    return parameter.values if isinstance(parameter, Categorical) else parameter.grid or ()


@dataclass(frozen=True, slots=True)
class Constant:
    """One value of any type; not searched."""

    value: Any
    is_finite = True

    @property
    def grid(self) -> Sequence[Any]:
        return (self.value,)

    def at(self, quantile: float) -> Any:
        return self.value

    def quantile(self, value: Any) -> float | None:
        return 0.0 if same_value(value, self.value) else None


@dataclass(frozen=True, slots=True)
class Categorical:
    """Equally likely values, types kept; a value listed twice is twice as likely."""

    values: tuple[Any, ...]
    is_finite = True

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("values is empty; list at least one value")

    @property
    def grid(self) -> Sequence[Any]:
        return unique_values(self.values)

    def at(self, quantile: float) -> Any:
        return self.values[min(int(quantile * len(self.values)), len(self.values) - 1)]

    def quantile(self, value: Any) -> float | None:
        at = next((i for i, own in enumerate(self.values) if same_value(own, value)), None)
        return None if at is None else (at + 0.5) / len(self.values)


@dataclass(frozen=True, slots=True)
class WeightedCategorical:
    """Values with probabilities that sum to 1. A grid would ignore the probabilities, so it refuses."""

    values: tuple[Any, ...]
    probabilities: tuple[float, ...]
    is_finite = True

    def __post_init__(self) -> None:
        if len(self.values) != len(self.probabilities) or not self.values:
            raise ConfigError(
                f"needs one probability per value, got {len(self.values)} values "
                f"and {len(self.probabilities)} probabilities"
            )
        if min(self.probabilities) < 0 or not math.isclose(sum(self.probabilities), 1.0, abs_tol=1e-6):
            raise ConfigError(f"probabilities must be >= 0 and sum to 1, they sum to {sum(self.probabilities):g}")

    grid = None

    def at(self, quantile: float) -> Any:
        cumulative = 0.0
        for value, probability in zip(self.values, self.probabilities, strict=True):
            cumulative += probability
            if quantile < cumulative:
                return value
        return self.values[-1]

    def quantile(self, value: Any) -> float | None:
        below = 0.0
        for own, probability in zip(self.values, self.probabilities, strict=True):
            if probability > 0 and same_value(own, value):
                return as_quantile(below + probability / 2)
            below += probability
        return None


@dataclass(frozen=True, slots=True)
class IntUniform:
    """Integers from min to max, both included."""

    min: int
    max: int
    is_finite = True

    def __post_init__(self) -> None:
        if not self.min < self.max:
            raise ConfigError(f"int_uniform needs min < max, got min={self.min} and max={self.max}")

    @property
    def grid(self) -> Sequence[Any]:
        return range(self.min, self.max + 1)

    def at(self, quantile: float) -> int:
        n_values = self.max - self.min + 1
        return self.min + max(0, math.ceil(quantile * n_values) - 1)

    def quantile(self, value: Any) -> float | None:
        if not is_number(value) or not self.min <= value <= self.max or value != int(value):
            return None
        return float((value - self.min + 0.5) / (self.max - self.min + 1))
