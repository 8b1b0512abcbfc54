"""Rules that change or drop combinations: ``when/set``, ``when/skip``, ``exclude``, and the same as text."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweepline.contract.values import parse_value, same_value
from sweepline.errors import ConfigError
from sweepline.space.expressions import Expression, parse_expression

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": lambda a, b: not same_value(a, b),
    "==": same_value,
    ">": operator.gt,
    "<": operator.lt,
}
_COMPARISON = re.compile(r"\s*(>=|<=|!=|==|>|<)\s*(.+?)\s*", re.DOTALL)
_TEXT_CONDITION = re.compile(r"\s*([^\s=<>!]+)\s*(>=|<=|!=|==|=|>|<)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of one parameter: equal to a value, to one of a list, or compared with a number."""

    name: str
    wanted: Any
    operator: str = "=="

    def holds(self, value: Any) -> bool:
        """Whether ``value`` meets the condition; an ordering of unlike things never holds."""
        if isinstance(self.wanted, list) and not isinstance(value, (list, tuple)):
            is_one_of = any(same_value(value, item) for item in self.wanted)
            return is_one_of if self.operator == "==" else not is_one_of and self.operator == "!="
        if self.operator in (">=", "<=", ">", "<") and (isinstance(value, bool) or value is None):
            return False
        try:
            return bool(_OPERATORS[self.operator](value, self.wanted))
        except TypeError:
            return False

    def holds_in(self, params: Mapping[str, Any]) -> bool:
        """Whether a combination meets the condition; one without the parameter does not."""
        return self.name in params and self.holds(params[self.name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """One constraint. Exactly one of ``assign``, ``skip`` and ``exclude`` does something."""

    text: str
    when: tuple[Condition, ...] = ()
    assign: Mapping[str, Any] = field(default_factory=dict)
    skip: bool = False
    exclude: Expression | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every parameter that the constraint reads or writes."""
        read = [condition.name for condition in self.when]
        return tuple(dict.fromkeys([*read, *self.assign, *(self.exclude.names if self.exclude else ())]))

    def apply(self, params: dict[str, Any]) -> bool:
        """Change ``params`` in place; return False when the constraint drops them."""
        if self.exclude is not None:
            return not self.exclude(params)
        if all(condition.holds_in(params) for condition in self.when):
            if self.skip:
                return False
            params.update((name, value) for name, value in self.assign.items() if name in params)
        return True


def parse_constraint(raw: Any, names: Sequence[str] = ()) -> Constraint:
    """Read one entry of ``constraints``; ``names`` are the parameters, which an expression may name as they are.

    Raises:
        ConfigError: the entry has another shape; says which shapes there are.
    """
    if isinstance(raw, str):
        return _parse_text_constraint(raw)
    if not isinstance(raw, Mapping):
        raise ConfigError(f"a constraint is a mapping or a text such as 'opt=adam -> momentum=0.0', got {raw!r}")
    unknown = [str(key) for key in raw if key not in ("when", "set", "unset", "skip", "exclude")]
    if unknown:
        raise ConfigError(f"unknown key {unknown[0]!r} in a constraint; there are when, set, unset, skip, exclude")
    if "exclude" in raw:
        if len(raw) > 1 or not isinstance(raw["exclude"], str):
            raise ConfigError("exclude stands alone and is a text such as 'lr > 0.5 and opt == \"sgd\"'")
        return Constraint(text=f"exclude {raw['exclude']}", exclude=parse_expression(raw["exclude"], names))
    when = raw.get("when")
    if not isinstance(when, Mapping) or not when:
        raise ConfigError("a constraint needs when: {parameter: value} (or exclude: expression)")
    skip, values = raw.get("skip", False), _assigned(raw)
    if skip not in (True, False) or bool(skip) == bool(values):
        raise ConfigError("a constraint with when needs either set: {parameter: value} (or unset) or skip: true")
    conditions = parse_conditions(when)
    return Constraint(text=_describe(conditions, values), when=conditions, assign=values, skip=bool(skip))


def parse_conditions(when: Mapping[Any, Any]) -> tuple[Condition, ...]:
    """Read a mapping from parameters to what they must be: a value, a list of values, or a text such as ``>= 3``."""
    return tuple(_condition(str(name), value) for name, value in when.items())


def _assigned(raw: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what ``set`` and ``unset`` assign; what is unset is null."""
    assign, unset = raw.get("set"), raw.get("unset")
    if assign is not None and (not isinstance(assign, Mapping) or not assign):
        raise ConfigError(f"set must be a mapping {{parameter: value}}, got {assign!r}")
    names = [unset] if isinstance(unset, str) else unset or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"unset must be a parameter's name or a list of them, got {unset!r}")
    return {str(name): value for name, value in (assign or {}).items()} | dict.fromkeys(names)


def _condition(name: str, value: Any) -> Condition:
    match = _COMPARISON.fullmatch(value) if isinstance(value, str) else None
    return Condition(name, parse_value(match[2]), match[1]) if match else Condition(name, value)


def _parse_text_constraint(text: str) -> Constraint:
    left, arrow, right = text.partition("->")
    if not arrow or not left.strip() or not right.strip():
        raise ConfigError(
            f"constraint {text!r}: expected 'parameter=value -> parameter=value' or 'parameter=value -> skip'"
        )
    conditions = tuple(_text_condition(part, text) for part in re.split(r"\s+and\s+|,\s*(?![^\[]*\])", left.strip()))
    if right.strip() == "skip":
        return Constraint(text=_describe(conditions, {}), when=conditions, skip=True)
    targets = [_text_condition(part, text) for part in re.split(r"\s+and\s+|,\s*(?![^\[]*\])", right.strip())]
    if any(target.operator != "==" for target in targets):
        raise ConfigError(f"constraint {text!r}: right of '->' parameters are set with '='")
    assign = {target.name: target.wanted for target in targets}
    return Constraint(text=_describe(conditions, assign), when=conditions, assign=assign)


def _text_condition(part: str, text: str) -> Condition:
    match = _TEXT_CONDITION.fullmatch(part)
    if not match:
        raise ConfigError(f"constraint {text!r}: cannot read {part.strip()!r}; expected parameter=value")
    return Condition(match[1], parse_value(match[3]), "==" if match[2] == "=" else match[2])


def _describe(conditions: tuple[Condition, ...], assign: Mapping[str, Any]) -> str:
    left = " and ".join(f"{c.name}{'=' if c.operator == '==' else c.operator}{c.wanted}" for c in conditions)
    right = ", ".join(f"{name}={value}" for name, value in assign.items()) or "skip"
    return f"{left} -> {right}"
