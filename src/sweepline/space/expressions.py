"""Safe expressions over parameters, for ``exclude``: comparisons, and/or/not, arithmetic on numbers. Never ``eval``."""

from __future__ import annotations

import ast
import keyword
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweepline.errors import ConfigError

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
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_SIGN: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_LITERAL_NAMES = {"true": True, "false": False, "null": None, "none": None}
_MAX_LENGTH = 2000


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression; dotted names are parameters, ``params["a-b"]`` is one whose name is no identifier."""

    text: str
    tree: ast.expr
    names: tuple[str, ...] = field(default=())

    def __call__(self, params: Mapping[str, Any]) -> bool:
        """Whether the expression holds for ``params``.

        Raises:
            ConfigError: values of different kinds are compared or computed with.
        """
        try:
            return bool(_value(self.tree, params))
        except (TypeError, ZeroDivisionError, OverflowError) as error:
            used = ", ".join(f"{name}={params.get(name)!r}" for name in self.names)
            raise ConfigError(f"expression {self.text!r} fails for {used}: {error}") from None


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
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float, bool, type(None))):
        return
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        children: list[ast.expr] = list(node.elts)
    elif isinstance(node, ast.BoolOp):
        children = list(node.values)
    elif isinstance(node, ast.UnaryOp) and (isinstance(node.op, ast.Not) or type(node.op) in _SIGN):
        children = [node.operand]
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        children = [node.left, node.right]
    elif isinstance(node, ast.Compare):
        children = [node.left, *node.comparators]
    else:
        what = type(node.op).__name__ if isinstance(node, (ast.BinOp, ast.UnaryOp)) else type(node).__name__
        raise ConfigError(f"expression {text!r}: {what} is not allowed; use comparisons, and/or/not, + - * / // %")
    for child in children:
        _check(child, text, names)


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
        return params[name] if name in params else _LITERAL_NAMES[name]
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return [_value(item, params) for item in node.elts]
    if isinstance(node, ast.BoolOp):
        wanted = isinstance(node.op, ast.Or)
        return (
            any(bool(_value(v, params)) for v in node.values)
            if wanted
            else all(bool(_value(v, params)) for v in node.values)
        )
    if isinstance(node, ast.UnaryOp):
        operand = _value(node.operand, params)
        return not operand if isinstance(node.op, ast.Not) else _SIGN[type(node.op)](_number(operand))
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, params), _value(node.right, params)
        return _ARITHMETIC[type(node.op)](_number(left), _number(right))
    assert isinstance(node, ast.Compare)
    left = _value(node.left, params)
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        right = _value(comparator, params)
        if not _COMPARE[type(op)](left, right):
            return False
        left = right
    return True


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a number")
    if isinstance(value, int) and abs(value) > 10**300:
        raise OverflowError("number too large")
    return value
