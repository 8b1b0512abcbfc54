"""What a program prints, as templates: pieces of text, and the expressions between them whose values are filled in."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sweepline.programs.inspection.literals import called, keywords

_PERCENT = re.compile(r"%(?:\((\w+)\))?[#0\- +]*(?:\d+|\*)?(?:\.(?:\d+|\*))?[hlL]?([diouxXeEfFgGcrsa%])")
_NUMERIC = re.compile(r"[.\d,+<>^ -]*[eEfFgG%]$|.*\.\d+")
_FLOAT_CONVERSIONS = "eEfFgG"
_WIDTH = re.compile(r"[^.\d]*[1-9]")


@dataclass(frozen=True, slots=True)
class Hole:
    """A place that is filled in: the expression, whether its format is one of numbers with a point, and is padded."""

    expression: str
    is_float: bool = False
    is_padded: bool = False


Piece = str | Hole


def template_of(node: ast.expr, names: Mapping[str, ast.expr], depth: int = 0) -> list[Piece] | None:
    """Return what an expression makes as text: an f-string, ``format``, ``%``, sums; None for anything else."""
    if depth > 8:
        return None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return list(_of_fstring(node, names, depth))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        left = template_of(node.left, names, depth + 1)
        return None if left is None else list(_of_percent(_joined(left), _operands(node.right)))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _of_sum(node, names, depth)
    if isinstance(node, ast.Call):
        return _of_call(node, names, depth)
    if isinstance(node, ast.Name) and node.id in names:
        return template_of(names[node.id], names, depth + 1)
    return None


def _of_sum(node: ast.BinOp, names: Mapping[str, ast.expr], depth: int) -> list[Piece] | None:
    sides = [template_of(side, names, depth + 1) for side in (node.left, node.right)]
    if sides[0] is None and sides[1] is None:
        return None
    filled = [
        s if s is not None else [Hole(ast.unparse(n))] for s, n in zip(sides, (node.left, node.right), strict=True)
    ]
    return [*filled[0], *filled[1]]


def _of_call(node: ast.Call, names: Mapping[str, ast.expr], depth: int) -> list[Piece] | None:
    name = called(node)
    if name == "format" and isinstance(node.func, ast.Attribute):
        base = template_of(node.func.value, names, depth + 1)
        return None if base is None else list(_of_format(_joined(base), node))
    if name in ("str", "repr", "round") and len(node.args) >= 1:
        return [Hole(ast.unparse(node.args[0]), is_float=name == "round")]
    if name in ("join", "strip", "rstrip", "ljust") and isinstance(node.func, ast.Attribute):
        return template_of(node.func.value, names, depth + 1) if name != "join" else None
    return None


def _joined(pieces: Sequence[Piece]) -> str:
    return "".join(piece if isinstance(piece, str) else "\0" for piece in pieces)


def _of_fstring(node: ast.JoinedStr, names: Mapping[str, ast.expr], depth: int) -> Iterator[Piece]:
    for value in node.values:
        inner = value.value if isinstance(value, ast.FormattedValue) and isinstance(value.value, ast.Name) else None
        made = template_of(inner, names, depth + 1) if inner is not None else None
        if made is not None:
            yield from made
        elif isinstance(value, ast.Constant):
            yield str(value.value)
        elif isinstance(value, ast.FormattedValue) and isinstance(value.value, ast.Constant):
            yield str(value.value.value)
        elif isinstance(value, ast.FormattedValue):
            spec = "".join(
                str(v.value) for v in getattr(value.format_spec, "values", []) if isinstance(v, ast.Constant)
            )
            yield _hole(ast.unparse(value.value), spec)


def _hole(expression: str, spec: str) -> Hole:
    """Return the place of a value that is written by a format such as ``>8.3f``."""
    return Hole(expression, bool(spec and _NUMERIC.match(spec)), _WIDTH.match(spec) is not None)


def _of_percent(text: str, operands: Sequence[ast.expr]) -> Iterator[Piece]:
    at, n = 0, 0
    named = operands[0] if len(operands) == 1 and isinstance(operands[0], ast.Dict) else None
    for match in _PERCENT.finditer(text):
        yield text[at : match.start()]
        at = match.end()
        if match[2] == "%":
            yield "%"
            continue
        n += match[0].count("*")
        expression = match[1] or (ast.unparse(operands[n]) if n < len(operands) and named is None else "")
        is_padded = _WIDTH.match(re.sub(r"^%(?:\(\w+\))?", "", match[0])) is not None
        yield Hole(expression, match[2] in _FLOAT_CONVERSIONS, is_padded)
        n += 1
    yield text[at:]


def _operands(node: ast.expr) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.Tuple) else [node]


def _of_format(text: str, call: ast.Call) -> Iterator[Piece]:
    named = keywords(call)
    n = 0
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError:
        yield text
        return
    for before, field, spec, _ in parsed:
        yield before
        if field is None:
            continue
        head = re.split(r"[.\[]", field)[0]
        at = int(head) if head.isdigit() else n if not head else -1
        n += not head
        base = call.args[at] if 0 <= at < len(call.args) else named.get(head)
        expression = (ast.unparse(base) if base is not None else head) + field[len(head) :]
        yield _hole(expression, spec or "")


def printed_template(call: ast.Call, names: Mapping[str, ast.expr]) -> list[Piece]:
    """Return what ``print(a, b)`` or ``logger.info(text, a, b)`` writes."""
    args = call.args
    text = args[0].value if isinstance(args[0], ast.Constant) else None
    if len(args) > 1 and called(call) != "print" and isinstance(text, str) and _PERCENT.search(text):
        return list(_of_percent(text, args[1:]))
    pieces: list[Piece] = []
    for i, arg in enumerate(args):
        made = template_of(arg, names)
        pieces += [" "] if i else []
        pieces += made if made is not None else [Hole(ast.unparse(arg))]
    return _merge(pieces)


def _merge(pieces: Sequence[Piece]) -> list[Piece]:
    """Return pieces with neighbouring texts as one."""
    found: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and found and isinstance(found[-1], str):
            found[-1] += piece
        elif piece != "":
            found.append(piece)
    return found
