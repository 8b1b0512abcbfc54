"""Reads the ``parameters`` of a sweep file: W&B's forms, nested ones, short lists, conditional and computed ones."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sweepline.config.faults import Faults
from sweepline.config.schema import FitsModel
from sweepline.contract.yamlfile import KeyPath
from sweepline.errors import ConfigError, did_you_mean
from sweepline.space import distributions as dist
from sweepline.space.constraints import Condition, parse_conditions
from sweepline.space.dependent import Alternative, Clause, Computed, Conditional, Fits
from sweepline.space.expressions import parse_expression
from sweepline.space.parameters import Categorical, Constant, IntUniform, Parameter, WeightedCategorical

PARAMETER_KEYS = (
    "value",
    "values",
    "probabilities",
    "distribution",
    "min",
    "max",
    "q",
    "mu",
    "sigma",
    "a",
    "b",
    "parameters",
    "when",
    "expr",
    "fits",
    "pass",
)
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
_CHOICE = {"value", "parameters"}
_ODD_NAME = re.compile(r"^$|^[-\s]|[\s=$]|[^\x20-\x7e]")
_LOOKS_LIKE_FLOAT = re.compile(r"\s*[-+]?[\dlIO.]+[eE][-+]?[\dlIO]+\s*")


@dataclass(frozen=True, slots=True)
class NamedParameter:
    """A parameter and where it stands: ``path`` has one part per level of nesting."""

    path: tuple[str, ...]
    parameter: Parameter
    is_passed: bool = True
    """Whether the program is handed it; one that is not decides on others."""

    @property
    def name(self) -> str:
        """The dotted name."""
        return ".".join(self.path)


def read_parameters(
    raw: Mapping[Any, Any], faults: Faults, at: KeyPath, path: tuple[str, ...] = ()
) -> list[NamedParameter]:
    """Return the parameters of a mapping, nested ones in place; what cannot be read goes to ``faults``.

    One that is given under several choices is one parameter, as the choice says.
    """
    return _join_alternatives(_Reader(faults, parameter_names(raw, path)).read(raw, at, path, ()))


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads mappings of parameters; ``names`` are all that there are."""

    faults: Faults
    names: Sequence[str]

    def read(
        self, raw: Mapping[Any, Any], at: KeyPath, path: tuple[str, ...], when: tuple[Clause, ...]
    ) -> Iterator[NamedParameter]:
        """Yield the parameters of a mapping; ``when`` are the choices under which it stands."""
        faults = self.faults
        for key, spec in raw.items():
            name, here = str(key), (*at, key if isinstance(key, int) else str(key))
            if _ODD_NAME.search(name):
                faults.warn(here, "odd parameter name: spaces, '=', '$' or a leading '-' rarely survive a command line")
            if not (isinstance(spec, Mapping) and "parameters" in spec):
                yield from self._read_one(spec, here, (*path, name), when)
            elif len(spec) > 1 or not isinstance(spec["parameters"], Mapping):
                faults.error(
                    here,
                    "a nested parameter holds 'parameters:' with a mapping, and nothing beside it; those of a choice "
                    "stand as values: {CHOICE: {parameters: ...}}",
                )
            else:
                yield from self.read(spec["parameters"], (*here, "parameters"), (*path, name), when)

    def _read_one(
        self, spec: Any, at: KeyPath, path: tuple[str, ...], when: tuple[Clause, ...]
    ) -> Iterator[NamedParameter]:
        children: list[tuple[str | int, Any, Any]] = []
        with self.faults.at(at):
            without, clauses = _split_when(spec, self.names)
            without, is_passed = _split_pass(without)
            plain, children = _split_choices(without)
            when = (*when, *clauses)
            parameter = _read_parameter(plain, self.faults, at, self.names)
            found = Conditional((Alternative(when, parameter),)) if when else parameter
            yield NamedParameter(path, found, is_passed)
        for where, value, below in children:
            place = (*at, "values", where)
            if isinstance(below, Mapping):
                inner = (*when, Condition(".".join(path), value))
                yield from self.read(below, (*place, "parameters"), path[:-1], inner)
            else:
                self.faults.error(place, f"'parameters:' needs a mapping, got {below!r}")


def _split_when(spec: Any, names: Sequence[str]) -> tuple[Any, tuple[Clause, ...]]:
    """Return a parameter's mapping without ``when``, and what that says."""
    if not isinstance(spec, Mapping) or "when" not in spec:
        return spec, ()
    when = spec["when"]
    if isinstance(when, str):
        clauses: tuple[Clause, ...] = (parse_expression(when, names),)
    elif isinstance(when, Mapping) and when:
        clauses = parse_conditions(when)
    else:
        raise ConfigError(f"when must be {{parameter: value}} or a text such as \"opt == 'sgd'\", got {when!r}")
    return {key: value for key, value in spec.items() if key != "when"}, clauses


def _split_pass(spec: Any) -> tuple[Any, bool]:
    """Return a parameter's mapping without ``pass``, and what that says."""
    if not isinstance(spec, Mapping) or "pass" not in spec:
        return spec, True
    if not isinstance(spec["pass"], bool):
        raise ConfigError(f"pass must be true or false, got {spec['pass']!r}")
    return {key: value for key, value in spec.items() if key != "pass"}, spec["pass"]


def _split_choices(spec: Any) -> tuple[Any, list[tuple[str | int, Any, Any]]]:
    """Return a parameter's mapping with plain values, and of each choice with parameters its place, value and them.

    Such a choice is ``values: {sgd: {parameters: ...}}``, or an item ``{value: sgd, parameters: ...}`` of a list.
    """
    values = spec.get("values") if isinstance(spec, Mapping) else spec
    if isinstance(values, Mapping) and isinstance(spec, Mapping):
        odd = [k for k, v in values.items() if v and not (isinstance(v, Mapping) and set(v) == {"parameters"})]
        if odd or not values:
            raise ConfigError("values is a list, or a mapping {CHOICE: {parameters: {...}}}; {CHOICE: } without any")
        children = [(key, key, below["parameters"]) for key, below in values.items() if below]
        return {**spec, "values": list(values)}, children
    if not isinstance(values, list) or not any(isinstance(v, Mapping) and set(v) == _CHOICE for v in values):
        return spec, []
    plain = [v["value"] if isinstance(v, Mapping) and set(v) == _CHOICE else v for v in values]
    children = [
        (i, v["value"], v["parameters"]) for i, v in enumerate(values) if isinstance(v, Mapping) and set(v) == _CHOICE
    ]
    return ({**spec, "values": plain} if isinstance(spec, Mapping) else plain), children


def _join_alternatives(found: Iterable[NamedParameter]) -> list[NamedParameter]:
    """Return parameters with those of one name that are all conditional as one."""
    joined: list[NamedParameter] = []
    place: dict[str, int] = {}
    for named in found:
        at = place.setdefault(named.name, len(joined))
        known = joined[at].parameter if at < len(joined) else None
        if isinstance(known, Conditional) and isinstance(named.parameter, Conditional):
            both = Conditional((*known.alternatives, *named.parameter.alternatives))
            joined[at] = NamedParameter(named.path, both, named.is_passed)
        else:
            joined.append(named)
    return joined


def parameter_names(raw: Mapping[Any, Any], path: tuple[str, ...] = ()) -> list[str]:
    """Return the dotted names that a mapping defines, readable or not."""
    names: list[str] = []
    for key, spec in raw.items():
        nested = spec.get("parameters") if isinstance(spec, Mapping) else None
        if isinstance(nested, Mapping):
            names += parameter_names(nested, (*path, str(key)))
            continue
        names.append(".".join((*path, str(key))))
        try:
            children = _split_choices(spec)[1]
        except ConfigError:
            continue  # said where it is read
        for _, _, below in children:
            names += parameter_names(below, path) if isinstance(below, Mapping) else []
    return list(dict.fromkeys(names))


def _read_parameter(spec: Any, faults: Faults, at: KeyPath, names: Sequence[str]) -> Parameter:
    if spec is None:
        raise ConfigError("is empty; write value:, values: or a distribution (check the indentation of the next line)")
    if isinstance(spec, list):
        return Categorical(tuple(spec))
    if not isinstance(spec, Mapping):
        return Constant(spec)
    unknown = [str(key) for key in spec if key not in PARAMETER_KEYS]
    if unknown:
        hint = f"; a parameter may have {', '.join(PARAMETER_KEYS)}"
        raise ConfigError(*(f"unknown key {key!r}{did_you_mean(key, PARAMETER_KEYS) or hint}" for key in unknown))
    if not spec:
        raise ConfigError("is empty; write value:, values: or a distribution")
    if "fits" in spec:
        if len(spec) > 1:
            raise ConfigError("fits stands alone: the size is measured")
        return _read_fits(spec["fits"])
    if "expr" in spec:
        if len(spec) > 1 or not isinstance(spec["expr"], str):
            raise ConfigError("expr is a text such as 'a / 2', and stands alone or beside when")
        return Computed(parse_expression(spec["expr"], names))
    return _BUILDERS[_distribution_of(spec, faults, at)](_Spec(spec, at, faults))


def _read_fits(raw: Any) -> Computed:
    try:
        fits = FitsModel.model_validate({} if raw is None else raw)
    except ValidationError as error:
        known = tuple(FitsModel.model_fields)
        detail = error.errors()[0]
        key = ".".join(map(str, detail["loc"])) or "fits"
        if detail["type"] == "extra_forbidden":
            raise ConfigError(
                f"fits: unknown key {key!r}{did_you_mean(key, known) or '; there are ' + ', '.join(known)}"
            ) from None
        message = str(detail["msg"]).removeprefix("Value error, ").replace("Input should be", "should be")
        raise ConfigError(f"fits.{key}: {message}, got {detail.get('input')!r}") from None
    return Computed(Fits(fits.first, fits.model_dump(mode="json"), names=fits.per or ()))


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
