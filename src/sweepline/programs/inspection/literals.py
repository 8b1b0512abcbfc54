"""Values that stand in a program's text: constants, sums of them, names that are bound to them, annotations."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweepline.programs.inspection.facts import UNKNOWN

Names = Mapping[str, ast.expr]
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_MAX_POWER, _MAX_DEPTH = 64, 8
_PATH_MAKERS = ("Path", "PurePath", "str")
_KINDS = {"int": "int", "float": "float", "bool": "bool", "str": "str", "Path": "str", "PathLike": "str"}
_LISTS = ("list", "List", "tuple", "Tuple", "Sequence", "Iterable", "set", "Set")


def called(call: ast.Call) -> str:
    """Return the last name of what is called: ``c`` of ``a.b.c(...)``."""
    return last_name(call.func)


def last_name(node: ast.AST | None) -> str:
    """Return ``c`` of ``a.b.c``, or of ``c``; empty for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def keywords(call: ast.Call) -> dict[str, ast.expr]:
    """Return the keyword arguments of a call."""
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}


def text_of(node: ast.AST | None, names: Names | None = None) -> str:
    """Return a text that stands there, or is bound to the name that stands there; empty without one."""
    value = literal(node, names or {}) if node is not None else None
    return value if isinstance(value, str) else ""


def literal(node: ast.AST | None, names: Names, depth: int = 0) -> Any:
    """Return the value of an expression, as far as the text tells it; UNKNOWN for what is computed."""
    if node is None or depth > _MAX_DEPTH:
        return UNKNOWN
    if isinstance(node, ast.Constant):
        return UNKNOWN if isinstance(node.value, bytes | complex) or node.value is ... else node.value
    if isinstance(node, ast.Name):
        return literal(names[node.id], names, depth + 1) if node.id in names else UNKNOWN
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        items = [literal(item, names, depth + 1) for item in node.elts]
        return UNKNOWN if UNKNOWN in items else items
    if isinstance(node, ast.Dict):
        return _dict(node, names, depth)
    return _computed(node, names, depth)


def _dict(node: ast.Dict, names: Names, depth: int) -> Any:
    keys = [literal(key, names, depth + 1) for key in node.keys]
    values = [literal(value, names, depth + 1) for value in node.values]
    if UNKNOWN in keys or any(isinstance(key, (list, dict)) for key in keys):
        return UNKNOWN
    return dict(zip(keys, values, strict=True))


def _computed(node: ast.AST, names: Names, depth: int) -> Any:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = literal(node.operand, names, depth + 1)
        return UNKNOWN if not _is_number(value) else -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        return _binary(node, names, depth)
    if isinstance(node, ast.Call):
        return _call(node, names, depth)
    if isinstance(node, ast.Attribute) and node.attr == "inf":
        return float("inf")
    if isinstance(node, ast.Subscript):
        return UNKNOWN
    return UNKNOWN


def _binary(node: ast.BinOp, names: Names, depth: int) -> Any:
    left, right = literal(node.left, names, depth + 1), literal(node.right, names, depth + 1)
    if isinstance(left, str) and isinstance(right, str) and isinstance(node.op, ast.Add):
        return left + right
    if not _is_number(left) or not _is_number(right):
        return UNKNOWN
    if isinstance(node.op, ast.Pow):
        return left**right if abs(right) <= _MAX_POWER and abs(left) <= 1e6 else UNKNOWN
    apply = _OPERATORS.get(type(node.op))
    try:
        return UNKNOWN if apply is None else apply(left, right)
    except ZeroDivisionError:
        return UNKNOWN


def _call(node: ast.Call, names: Names, depth: int) -> Any:
    """Return the value of a call that only names another: ``Path("x")``, ``float("inf")``, ``os.environ.get(a, b)``."""
    name, args = called(node), [literal(arg, names, depth + 1) for arg in node.args]
    if name in _PATH_MAKERS and len(args) == 1 and isinstance(args[0], str):
        return args[0]
    if name in ("int", "float", "bool") and len(args) == 1 and isinstance(args[0], (int, float, str)):
        try:
            return {"int": int, "float": float, "bool": bool}[name](args[0])
        except (ValueError, OverflowError):
            return UNKNOWN
    is_environment = name == "getenv" or (name == "get" and last_name(getattr(node.func, "value", None)) == "environ")
    return args[1] if is_environment and len(args) > 1 else UNKNOWN


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def kind_of_value(value: Any) -> str:
    """Return the kind of a default; unknown for none and for what is computed."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (list, tuple)):
        return "list"
    return next((kind.__name__ for kind in (int, float, str) if isinstance(value, kind)), "unknown")


def item_kind(value: Any) -> str:
    """Return the kind of the items of a list."""
    kinds = {kind_of_value(item) for item in value} if isinstance(value, list) else set()
    return kinds.pop() if len(kinds) == 1 else "float" if kinds == {"int", "float"} else ""


def kind_of_annotation(node: ast.expr | None) -> tuple[str, Sequence[Any], str]:
    """Return what an annotation says: the kind, the choices of a Literal, and the kind of a list's items."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            node = ast.parse(node.value, mode="eval").body
        except SyntaxError:
            return "unknown", (), ""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides = [kind_of_annotation(side) for side in (node.left, node.right) if not _is_none(side)]
        return _common(sides)
    if isinstance(node, ast.Subscript):
        return _kind_of_generic(node)
    name = last_name(node)
    return ("list" if name in _LISTS else _KINDS.get(name, "unknown")), (), ""


def _kind_of_generic(node: ast.Subscript) -> tuple[str, Sequence[Any], str]:
    outer, inner = last_name(node.value), node.slice
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if outer == "Literal":
        values = [part.value for part in parts if isinstance(part, ast.Constant)]
        return (kind_of_value(values[0]) if values else "unknown"), values, ""
    if outer in ("Optional", "Union"):
        return _common([kind_of_annotation(part) for part in parts if not _is_none(part)])
    if outer in ("Annotated", "Final", "ClassVar", "Positional", "Suppress", "Fixed"):
        return kind_of_annotation(parts[0])
    if outer in _LISTS:
        return "list", (), kind_of_annotation(parts[0])[0]
    return "unknown", (), ""


def _common(sides: Sequence[tuple[str, Sequence[Any], str]]) -> tuple[str, Sequence[Any], str]:
    kinds = [kind for kind, _, _ in sides if kind != "unknown"]
    if set(kinds) == {"int", "float"}:
        return "float", (), ""
    return next((side for side in sides if side[0] != "unknown"), ("unknown", (), ""))


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def bound_names(body: Sequence[ast.stmt]) -> dict[str, ast.expr]:
    """Return what names are bound to by plain assignments in a body; the last one counts."""
    found: dict[str, ast.expr] = {}
    for statement in body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                _bind(target, statement.value, found)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            found[statement.target.id] = statement.value
    return found


def _bind(target: ast.expr, value: ast.expr, found: dict[str, ast.expr]) -> None:
    if isinstance(target, ast.Name):
        found[target.id] = value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, its in zip(target.elts, value.elts, strict=True):
            _bind(one, its, found)
