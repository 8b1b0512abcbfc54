"""Continuous distributions and their quantized forms, with W&B's exact rules (bounds, rounding, defaults)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweepline.contract.values import is_number
from sweepline.errors import ConfigError
from sweepline.space.parameters import BELOW_ONE, Parameter, as_quantile

_SMALLEST_QUANTILE = 2.0**-54
_MAX_EXPONENT = 709.0  # exp() of more is beyond a float


@dataclass(frozen=True, slots=True)
class Uniform:
    """Floats between min and max."""

    min: float
    max: float
    grid = None
    is_finite = False

    def __post_init__(self) -> None:
        _check_bounds("uniform", self.min, self.max)

    def at(self, quantile: float) -> float:
        return self.min + quantile * (self.max - self.min)

    def quantile(self, value: Any) -> float | None:
        return as_quantile((value - self.min) / (self.max - self.min)) if is_number(value) else None


@dataclass(frozen=True, slots=True)
class LogUniform:
    """exp(x), x uniform: the bounds are exponents of e."""

    min: float
    max: float
    grid = None
    is_finite = False

    def __post_init__(self) -> None:
        _check_bounds("log_uniform", self.min, self.max)
        if self.max > _MAX_EXPONENT:
            raise ConfigError(
                f"log_uniform takes exponents of e, and exp({self.max:g}) is beyond a float; "
                "did you mean log_uniform_values?"
            )

    def at(self, quantile: float) -> float:
        return math.exp(self.min + quantile * (self.max - self.min))

    def quantile(self, value: Any) -> float | None:
        exponent = _log(value)
        return None if exponent is None else as_quantile((exponent - self.min) / (self.max - self.min))


@dataclass(frozen=True, slots=True)
class LogUniformValues:
    """Positive floats whose logarithm is uniform between the logarithms of min and max."""

    min: float
    max: float
    name: str = "log_uniform_values"
    grid = None
    is_finite = False

    def __post_init__(self) -> None:
        if not 0 < self.min < self.max:
            raise ConfigError(
                f"{self.name} needs 0 < min < max, got min={self.min} and max={self.max}; use uniform, or raise min"
            )

    def at(self, quantile: float) -> float:
        low, high = math.log(self.min), math.log(self.max)
        return math.exp(low + quantile * (high - low))

    def quantile(self, value: Any) -> float | None:
        low, high, exponent = math.log(self.min), math.log(self.max), _log(value)
        return None if exponent is None else as_quantile((exponent - low) / (high - low))


@dataclass(frozen=True, slots=True)
class InvLogUniform:
    """exp(-x), x uniform between min and max, rising with the quantile."""

    min: float
    max: float
    grid = None
    is_finite = False

    def __post_init__(self) -> None:
        _check_bounds("inv_log_uniform", self.min, self.max)
        if -self.min > _MAX_EXPONENT:
            raise ConfigError(f"inv_log_uniform: exp({-self.min:g}) is beyond a float; raise min")

    def at(self, quantile: float) -> float:
        return math.exp(-(self.min + (1.0 - quantile) * (self.max - self.min)))

    def quantile(self, value: Any) -> float | None:
        exponent = _log(value)
        return None if exponent is None else as_quantile(1.0 + (exponent + self.min) / (self.max - self.min))


@dataclass(frozen=True, slots=True)
class Normal:
    """Floats with mean mu and standard deviation sigma."""

    mu: float = 0.0
    sigma: float = 1.0
    grid = None
    is_finite = False

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ConfigError(f"needs sigma > 0, got sigma={self.sigma}")

    def at(self, quantile: float) -> float:
        return statistics.NormalDist(self.mu, self.sigma).inv_cdf(max(quantile, _SMALLEST_QUANTILE))

    def quantile(self, value: Any) -> float | None:
        return as_quantile(statistics.NormalDist(self.mu, self.sigma).cdf(value)) if is_number(value) else None


@dataclass(frozen=True, slots=True)
class LogNormal:
    """exp(x), x normal."""

    mu: float = 0.0
    sigma: float = 1.0
    grid = None
    is_finite = False

    def __post_init__(self) -> None:
        Normal(self.mu, self.sigma)

    def at(self, quantile: float) -> float:
        return math.exp(min(Normal(self.mu, self.sigma).at(quantile), _MAX_EXPONENT))

    def quantile(self, value: Any) -> float | None:
        exponent = _log(value)
        return None if exponent is None else Normal(self.mu, self.sigma).quantile(exponent)


@dataclass(frozen=True, slots=True)
class Beta:
    """Floats in (0, 1) with density x^(a-1) (1-x)^(b-1)."""

    a: float = 1.0
    b: float = 1.0
    grid = None
    is_finite = False

    def __post_init__(self) -> None:
        if not (self.a > 0 and self.b > 0):
            raise ConfigError(f"beta needs a > 0 and b > 0, got a={self.a} and b={self.b}")

    def at(self, quantile: float) -> float:
        return float(_scipy_special().betaincinv(self.a, self.b, quantile))

    def quantile(self, value: Any) -> float | None:
        is_inside = is_number(value) and 0.0 <= value <= 1.0
        return as_quantile(float(_scipy_special().betainc(self.a, self.b, value))) if is_inside else None


@dataclass(frozen=True, slots=True)
class Quantized:
    """A continuous distribution rounded (half to even) to multiples of q; may leave the bounds.

    The values are integers if and only if q is one.
    """

    inner: Parameter
    q: float = 1.0

    def __post_init__(self) -> None:
        if not self.q > 0:
            raise ConfigError(f"needs q > 0, got q={self.q}")

    @property
    def is_finite(self) -> bool:
        return isinstance(self.inner, (Uniform, LogUniformValues, LogUniform, Beta))

    @property
    def grid(self) -> Sequence[Any] | None:
        """Multiples of q from min up to but without max, for q_uniform alone (as numpy's arange)."""
        if not isinstance(self.inner, Uniform):
            return None
        low, n_values = self.inner.min, math.ceil((self.inner.max - self.inner.min) / self.q)
        if isinstance(low, int) and isinstance(self.q, int):
            return range(low, low + n_values * self.q, self.q)
        if n_values > 10**7:
            raise ConfigError(f"q_uniform has {n_values:,} values in a grid; raise q")
        return tuple(_multiple(i, self.q, start=low) for i in range(n_values))

    def at(self, quantile: float) -> float:
        n = round(self.inner.at(quantile) / self.q)
        return n * self.q if isinstance(self.q, int) else _multiple(n, self.q)

    def quantile(self, value: Any) -> float | None:
        """Return that of the inner value which is nearest: what is rounded to a multiple may lie outside."""
        if not is_number(value) or not math.isclose(value / self.q, round(value / self.q), rel_tol=1e-9, abs_tol=1e-9):
            return None
        low, high = self.inner.at(0.0), self.inner.at(BELOW_ONE)
        nearest = min(max(value, low), high)
        is_rounded = abs(nearest - value) <= self.q / 2 * (1 + 1e-9)
        return self.inner.quantile(nearest) if is_rounded else None


def _multiple(n: int, q: float, *, start: float = 0) -> float:
    """Return start + n q as it is written in decimals: 0.3 for three times 0.1, not 0.30000000000000004."""
    from decimal import Decimal

    return float(Decimal(repr(start)) + n * Decimal(repr(q)))


def _log(value: Any) -> float | None:
    return math.log(value) if is_number(value) and value > 0 and math.isfinite(value) else None


def _scipy_special() -> Any:
    try:
        import scipy.special
    except ImportError:
        raise ConfigError("distribution beta needs scipy: pip install 'sweepline[beta]'") from None
    return scipy.special


def _check_bounds(name: str, low: float, high: float) -> None:
    if not low < high:
        raise ConfigError(f"{name} needs min < max, got min={low} and max={high}")
