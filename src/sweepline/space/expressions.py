"""Safe expressions over parameters: comparisons, and/or/not, arithmetic, a few functions. Never ``eval``.

Both what drops combinations (``exclude``) and what computes a parameter of others (``expr``) is one.
"""

from __future__ import annotations

import ast
import keyword
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sweepline.errors import ConfigError


class _Absent:
    """The value of a parameter that a combination does not have."""

    def __repr__(self) -> str:
        return "absent"

    def __bool__(self) -> bool:
        return False


class _NeedsAbsentError(Exception):
    """Something was to be computed of a parameter that is absent."""


ABSENT: Final = _Absent()


def _divide(left: float, right: float) -> float:
    """Divide; whole numbers that divide evenly stay whole, as programs that want such would refuse 64.0."""
    if isinstance(left, int) and isinstance(right, int) and right != 0 and left % right == 0:
        return left // right
    return left / right


def _power(base: float, exponent: float) -> float:
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * abs(base).bit_length() > 1000:
        raise OverflowError("number too large")
    result: float | complex = base**exponent
    if isinstance(result, complex):
        raise TypeError("a root of a negative number")
    return result


_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "min": min,
    "max": max,
    "round": round,
    "int": int,
    "float": float,
    "floor": math.floor,
    "ceil": math.ceil,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
}
_ALLOWED = f"use comparisons, and/or/not, if/else, + - * / // % **, and {', '.join(_FUNCTIONS)}"
_SIGN: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_LITERAL_NAMES = {"true": True, "false": False, "null": None, "none": None}
_MAX_LENGTH = 2000


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression; dotted names are parameters, ``params["a-b"]`` is one whose name is no identifier."""

    text: str
    tree: ast.expr = field(repr=False, compare=False)
    names: tuple[str, ...] = field(default=())

    def __call__(self, params: Mapping[str, Any]) -> bool:
        """Whether the expression holds for ``params``.

        A parameter that is absent equals null, and is neither less nor more than anything.

        Raises:
            ConfigError: values of different kinds are compared or computed with.
        """
        value = self._evaluate(params)
        return bool(value)

    def value(self, params: Mapping[str, Any]) -> Any:
        """Return what the expression comes to; :data:`ABSENT` where it needs a parameter that is absent.

        Raises:
            ConfigError: it cannot be computed, or comes to something that no parameter can be.
        """
        value = self._evaluate(params)
        if isinstance(value, list) and any(item is ABSENT for item in value):
            return ABSENT
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"expression {self.text!r} is {value} for {self._describe(params)}")
        return value

    def _evaluate(self, params: Mapping[str, Any]) -> Any:
        try:
            return _value(self.tree, params)
        except _NeedsAbsentError:
            return ABSENT
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ConfigError(f"expression {self.text!r} fails for {self._describe(params)}: {error}") from None

    def _describe(self, params: Mapping[str, Any]) -> str:
        return ", ".join(f"{name}={params.get(name, ABSENT)!r}" for name in self.names) or "any values"


def parse_expression(text: str, names: Sequence[str] = ()) -> Expression:
    """Check an expression; those of ``names`` that are no Python names may stand in it as they are.

    Raises:
        ConfigError: the text is no expression, or does more than compare and compute.
    """
    if len(text) > _MAX_LENGTH:
        raise ConfigError(f"expression is longer than {_MAX_LENGTH} characters")
    try:
        tree = ast.parse(_as_lookups(text.strip(), names), mode="eval").body
        found: dict[str, None] = {}
        _check(tree, text, found)
    except SyntaxError as error:
        raise ConfigError(f"expression {text!r} cannot be read at column {error.offset}: {error.msg}") from None
    except (RecursionError, MemoryError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"expression {text[:60]!r} cannot be read") from None
    return Expression(text, tree, tuple(found))


def _as_lookups(text: str, names: Sequence[str]) -> str:
    """Return an expression with ``params["a-b"]`` in place of a-b, outside of quotes; the longest name wins."""
    odd = sorted((name for name in names if not _is_python_name(name) and name in text), key=len, reverse=True)
    if not odd:
        return text
    pattern = re.compile(rf"""("[^"]*"|'[^']*')|(?<![\w.])({"|".join(map(re.escape, odd))})(?![\w.])""")
    return pattern.sub(lambda found: found[1] or f"params[{found[2]!r}]", text)


def _is_python_name(name: str) -> bool:
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split("."))


def _check(node: ast.expr, text: str, names: dict[str, None]) -> None:
    name = _parameter_name(node)
    if name is not None:
        if name not in _LITERAL_NAMES:
            names[name] = None
        return
    children = _operands(node)
    if children is None:
        what = type(node.op).__name__ if isinstance(node, (ast.BinOp, ast.UnaryOp)) else type(node).__name__
        raise ConfigError(f"expression {text!r}: {what} is not allowed; {_ALLOWED}")
    for child in children:
        _check(child, text, names)


def _operands(node: ast.expr) -> list[ast.expr] | None:
    """Return what an allowed operation is made of; None for any other."""
    if isinstance(node, ast.Constant):
        return [] if isinstance(node.value, (str, int, float, bool, type(None))) else None
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return node.elts
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.UnaryOp):
        return [node.operand] if isinstance(node.op, ast.Not) or type(node.op) in _SIGN else None
    if isinstance(node, ast.BinOp):
        return [node.left, node.right] if type(node.op) in _ARITHMETIC else None
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.IfExp):
        return [node.test, node.body, node.orelse]
    is_known = isinstance(node, ast.Call) and _function_name(node) in _FUNCTIONS and not node.keywords
    return node.args if is_known else None  # type: ignore[attr-defined]


def _function_name(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _parameter_name(node: ast.expr) -> str | None:
    """Return the dotted name that a node stands for, or None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = _parameter_name(node.value)
        return None if owner is None else f"{owner}.{node.attr}"
    is_lookup = isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "params"
    if is_lookup and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):  # type: ignore[attr-defined]
        return node.slice.value  # type: ignore[attr-defined]
    return None


def _value(node: ast.expr, params: Mapping[str, Any]) -> Any:
    name = _parameter_name(node)
    if name is not None:
        return params[name] if name in params else _LITERAL_NAMES.get(name, ABSENT)
    if isinstance(node, ast.Constant):
        return node.value
    kind = next((kind for kind in _EVALUATE if isinstance(node, kind)), None)
    assert kind is not None, "checked when it was read"
    return _EVALUATE[kind](node, params)


def _list(node: Any, params: Mapping[str, Any]) -> list[Any]:
    return [_value(item, params) for item in node.elts]


def _bool(node: Any, params: Mapping[str, Any]) -> Any:
    """Return the operand that decides, as Python does."""
    is_or, value = isinstance(node.op, ast.Or), None
    for operand in node.values:
        value = _value(operand, params)
        if bool(value) == is_or:
            break
    return value


def _unary(node: Any, params: Mapping[str, Any]) -> Any:
    value = _value(node.operand, params)
    return not value if isinstance(node.op, ast.Not) else _SIGN[type(node.op)](_number(value))


def _binary(node: Any, params: Mapping[str, Any]) -> Any:
    left, right = _value(node.left, params), _value(node.right, params)
    if left is ABSENT or right is ABSENT:
        raise _NeedsAbsentError
    if isinstance(node.op, ast.Add) and isinstance(left, str) and isinstance(right, str):
        return left + right
    return _ARITHMETIC[type(node.op)](_number(left), _number(right))


def _choice(node: Any, params: Mapping[str, Any]) -> Any:
    return _value(node.body if _value(node.test, params) else node.orelse, params)


def _call(node: Any, params: Mapping[str, Any]) -> Any:
    return _FUNCTIONS[_function_name(node)](*(_number(_value(argument, params)) for argument in node.args))


def _compare(node: ast.Compare, params: Mapping[str, Any]) -> bool:
    left = _value(node.left, params)
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        right = _value(comparator, params)
        if isinstance(op, _ORDER) and ABSENT in (left, right):
            return False
        if not _COMPARE[type(op)](_or_null(left), _or_null(right)):
            return False
        left = right
    return True


_EVALUATE: dict[Any, Callable[[Any, Mapping[str, Any]], Any]] = {
    (ast.List, ast.Tuple, ast.Set): _list,
    ast.BoolOp: _bool,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.IfExp: _choice,
    ast.Call: _call,
    ast.Compare: _compare,
}


def _or_null(value: Any) -> Any:
    return None if value is ABSENT else value


def _number(value: Any) -> Any:
    if value is ABSENT:
        raise _NeedsAbsentError
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a number")
    if isinstance(value, int) and abs(value) > 10**300:
        raise OverflowError("number too large")
    return value
