"""Reads the ``parameters`` of a sweep file: W&B's forms, nested ones, short lists, conditional and computed ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sweepline.config.distributions import read_distribution
from sweepline.config.faults import Faults, describe_detail
from sweepline.config.schema import FitsModel
from sweepline.contract.yamlfile import KeyPath
from sweepline.errors import ConfigError, did_you_mean
from sweepline.space.constraints import Condition, parse_conditions
from sweepline.space.dependent import Alternative, Clause, Computed, Conditional, Fits
from sweepline.space.expressions import parse_expression
from sweepline.space.parameters import Categorical, Constant, Parameter

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
_CHOICE = {"value", "parameters"}
_ODD_NAME = re.compile(r"^$|^[-\s]|[\s=$]|[^\x20-\x7e]")


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
    return read_distribution(spec, faults, at)


def _read_fits(raw: Any) -> Computed:
    try:
        fits = FitsModel.model_validate({} if raw is None else raw)
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(["fits", *map(str, detail["loc"])])
        raise ConfigError(f"{key}: {describe_detail(detail, tuple(FitsModel.model_fields))}") from None
    return Computed(Fits(fits.first, fits.model_dump(mode="json"), names=fits.per or ()))
