"""Reads one parameter that is a value, a list of values or a distribution, by W&B's keys and names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sweepline.config.faults import Faults
from sweepline.contract.yamlfile import KeyPath
from sweepline.errors import ConfigError, did_you_mean
from sweepline.space import distributions as dist
from sweepline.space.parameters import Categorical, Constant, IntUniform, Parameter, WeightedCategorical

_OTHER_NAMES = {
    **dict.fromkeys(("loguniform", "loguniformvalues", "reciprocal", "log", "logfloat"), "log_uniform_values"),
    **dict.fromkeys(
        ("qloguniform", "qloguniformvalues", "logint", "lograndint", "intloguniform"), "q_log_uniform_values"
    ),
    **dict.fromkeys(("randint", "uniformint", "intuniform", "int", "integer"), "int_uniform"),
    **dict.fromkeys(("float", "double", "real"), "uniform"),
    **dict.fromkeys(("choice", "choices", "discrete", "enum"), "categorical"),
    "quniform": "q_uniform",
    "qnormal": "q_normal",
    "gaussian": "normal",
    "lognormal": "log_normal",
}
"""What other tools call a distribution, letters and digits alone."""
_LOOKS_LIKE_FLOAT = re.compile(r"\s*[-+]?[\dlIO.]+[eE][-+]?[\dlIO]+\s*")


def read_distribution(spec: Mapping[str, Any], faults: Faults, at: KeyPath) -> Parameter:
    """Return the parameter that a mapping describes, of which all keys are known.

    Raises:
        ConfigError: it lacks a key, or one does not go with another.
    """
    return _BUILDERS[_distribution_of(spec, faults, at)](_Spec(spec, at, faults))


def _distribution_of(spec: Mapping[str, Any], faults: Faults, at: KeyPath) -> str:
    named = spec.get("distribution")
    if named is not None and not isinstance(named, str):
        raise ConfigError(f"distribution must be a name, got {named!r}")
    if named is not None and named not in _BUILDERS:
        meant = _OTHER_NAMES.get(re.sub(r"[^a-z0-9]", "", named.lower()))
        hint = f"; did you mean {meant!r}?" if meant else did_you_mean(named, _BUILDERS)
        raise ConfigError(f"unknown distribution {named!r}{hint}; there are {', '.join(_BUILDERS)}")
    if "value" in spec:
        if named not in (None, "constant"):
            faults.warn(at, f"distribution {named} has a single value; read as constant")
        return "constant"
    if "values" in spec:
        if named not in (None, "categorical", "categorical_w_probabilities"):
            faults.warn(at, f"distribution {named} has values; read as categorical")
        return "categorical_w_probabilities" if "probabilities" in spec else "categorical"
    if named is not None:
        return named
    if "min" not in spec or "max" not in spec:
        missing = "max" if "min" in spec else "min" if "max" in spec else "values, value or min and max"
        raise ConfigError(f"needs {missing}")
    if "q" in spec:
        raise ConfigError("q needs a distribution that is rounded; did you mean distribution: q_uniform?")
    return "int_uniform" if _is_int(spec["min"]) and _is_int(spec["max"]) else "uniform"


@dataclass(frozen=True, slots=True)
class _Spec:
    """One parameter's mapping, read key by key."""

    raw: Mapping[str, Any]
    at: KeyPath
    faults: Faults

    def number(self, key: str, default: float | None = None) -> float:
        value = self.raw.get(key, default)
        if value is None:
            raise ConfigError(f"{self.raw.get('distribution', 'a range')} needs {key}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ConfigError(f"{key} must be a number, got {value!r}{_number_hint(value)}")
        return value

    def integer(self, key: str) -> int:
        value = self.number(key)
        if not isinstance(value, int):
            raise ConfigError(
                f"int_uniform needs whole numbers, got {key}={value!r}; write {key}: {value:g} as an integer"
            )
        return value

    def only(self, *keys: str) -> None:
        """Refuse keys that the distribution does not use."""
        extra = [key for key in self.raw if key not in (*keys, "distribution")]
        if extra:
            name = self.raw.get("distribution", "this parameter")
            hint = f"; did you mean distribution: q_{name}?" if extra == ["q"] and f"q_{name}" in _BUILDERS else ""
            raise ConfigError(f"{name} does not take {', '.join(extra)}{hint}")

    def sequence(self, key: str) -> tuple[Any, ...]:
        value = self.raw.get(key)
        if not isinstance(value, list):
            raise ConfigError(f"{key} must be a list, got {value!r}")
        if not value:
            raise ConfigError(f"{key} is empty; list at least one value")
        return tuple(value)


def _number_hint(value: Any) -> str:
    if isinstance(value, str) and _LOOKS_LIKE_FLOAT.fullmatch(value):
        fixed = value.strip().replace("l", "1").replace("I", "1").replace("O", "0")
        return f"; did you mean {fixed}?"
    return ""


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _constant(spec: _Spec) -> Parameter:
    if "value" not in spec.raw:
        raise ConfigError("constant needs value")
    spec.only("value")
    return Constant(spec.raw["value"])


def _categorical(spec: _Spec) -> Parameter:
    spec.only("values")
    return Categorical(spec.sequence("values"))


def _weighted(spec: _Spec) -> Parameter:
    spec.only("values", "probabilities")
    probabilities = spec.sequence("probabilities")
    for p in probabilities:
        if isinstance(p, bool) or not isinstance(p, (int, float)):
            raise ConfigError(f"probabilities must be numbers, got {p!r}")
    return WeightedCategorical(spec.sequence("values"), probabilities)


def _int_uniform(spec: _Spec) -> Parameter:
    spec.only("min", "max")
    return IntUniform(spec.integer("min"), spec.integer("max"))


def _ranged(kind: Callable[[float, float], Parameter]) -> Callable[[_Spec], Parameter]:
    def build(spec: _Spec) -> Parameter:
        spec.only("min", "max")
        low, high = spec.number("min"), spec.number("max")
        if kind is dist.LogUniform and low > 0:
            likely = f"{math.exp(low):.6g} .. {math.exp(high):.6g}" if high < 709 else "beyond a float"
            spec.faults.warn(
                spec.at, f"log_uniform bounds are exponents of e: this is {likely}; did you mean log_uniform_values?"
            )
        return kind(low, high)

    return build


def _normal(kind: Callable[[float, float], Parameter]) -> Callable[[_Spec], Parameter]:
    def build(spec: _Spec) -> Parameter:
        spec.only("mu", "sigma")
        return kind(spec.number("mu", 0.0), spec.number("sigma", 1.0))

    return build


def _beta(spec: _Spec) -> Parameter:
    spec.only("a", "b")
    return dist.Beta(spec.number("a", 1.0), spec.number("b", 1.0))


def _quantized(build_inner: Callable[[_Spec], Parameter]) -> Callable[[_Spec], Parameter]:
    def build(spec: _Spec) -> Parameter:
        inner = _Spec({key: value for key, value in spec.raw.items() if key != "q"}, spec.at, spec.faults)
        has_whole_bounds = _is_int(spec.raw.get("min")) and _is_int(spec.raw.get("max"))
        return dist.Quantized(build_inner(inner), spec.number("q", 1 if has_whole_bounds else 1.0))

    return build


def _inv_log_uniform_values(low: float, high: float) -> Parameter:
    return dist.LogUniformValues(low, high, "inv_log_uniform_values")


_BUILDERS: dict[str, Callable[[_Spec], Parameter]] = {
    "constant": _constant,
    "categorical": _categorical,
    "categorical_w_probabilities": _weighted,
    "int_uniform": _int_uniform,
    "uniform": _ranged(dist.Uniform),
    "q_uniform": _quantized(_ranged(dist.Uniform)),
    "log_uniform": _ranged(dist.LogUniform),
    "log_uniform_values": _ranged(dist.LogUniformValues),
    "q_log_uniform": _quantized(_ranged(dist.LogUniform)),
    "q_log_uniform_values": _quantized(_ranged(dist.LogUniformValues)),
    "inv_log_uniform": _ranged(dist.InvLogUniform),
    "inv_log_uniform_values": _ranged(_inv_log_uniform_values),
    "normal": _normal(dist.Normal),
    "q_normal": _quantized(_normal(dist.Normal)),
    "log_normal": _normal(dist.LogNormal),
    "q_log_normal": _quantized(_normal(dist.LogNormal)),
    "beta": _beta,
    "q_beta": _quantized(_beta),
}
DISTRIBUTIONS = tuple(_BUILDERS)
