"""Paths in a program's text: what they begin with, and what is known of the rest."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sweepline.programs.inspection.facts import FilePlace
from sweepline.programs.inspection.literals import called, last_name
from sweepline.programs.inspection.reading import Source
from sweepline.programs.inspection.templates import Hole, Piece, template_of


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an expression stands: in which function of which script, and what that calls its flags."""

    source: Source
    function: ast.AST
    settings: Sequence[str] = ()


_MAX_DEPTH = 8
_SAME = ("Path", "PurePath", "str", "abspath", "fspath", "expanduser", "resolve", "absolute", "realpath", "normpath")
_HERE = ("cwd", "getcwd", "get_original_cwd")
_LAST_NAME = re.compile(r"(\w+)$")


def place_of_path(scope: Scope, node: ast.expr, where: str, call: str = "") -> FilePlace:
    """Return a path of a program, which begins with one of its ``settings``, where it was started, or elsewhere."""
    pieces = _pieces(scope, node, 0)
    pieces = [piece for piece in pieces if piece != ""]
    first = pieces[0] if pieces else ""
    if isinstance(first, Hole):
        name = _name(first)
        rest = _glob(pieces[1:]).lstrip("/")
        return FilePlace(path=rest, where=where, setting=name if name in scope.settings else "", call=call)
    text = _glob(pieces)
    is_relative = bool(text) and not re.match(r"/|~|\w+://|\w:", text)
    return FilePlace(
        path=text.removeprefix("./") if is_relative else text, where=where, is_relative=is_relative, call=call
    )


def _name(hole: Hole) -> str:
    found = _LAST_NAME.search(hole.expression)
    return found[1] if found else ""


def _glob(pieces: Sequence[Piece]) -> str:
    text = "".join(piece if isinstance(piece, str) else "*" for piece in pieces)
    return re.sub(r"\*+", "*", re.sub(r"/+", "/", text))


def _pieces(scope: Scope, node: ast.expr, depth: int) -> list[Piece]:
    """Return the texts of a path and what is filled in; what comes from where the program lies is one such."""
    expression = ast.unparse(node)
    unknown: list[Piece] = [Hole(expression)]
    if depth > _MAX_DEPTH or "__file__" in expression:
        return unknown
    if isinstance(node, ast.Call):
        return _of_call(scope, node, depth) or unknown
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        sides = [_pieces(scope, side, depth + 1) for side in (node.left, node.right)]
        return [*sides[0], "/" if sides[0] else "", *sides[1]]
    if isinstance(node, (ast.Name, ast.Attribute)):
        name = last_name(node)
        values = [] if name in scope.settings else scope.source.values_of(name, scope.function, node.lineno)
        if isinstance(node, ast.Attribute) and last_name(node.value) != "self":
            is_module = last_name(node.value) in scope.source.aliases and name in scope.source.names
            values = [scope.source.names[name]] if is_module else []  # args.out is not another's out
        return _pieces(scope, values[0], depth + 1) if values else unknown
    made = template_of(node, {})
    return unknown if made is None else _filled(scope, made, depth)


def _filled(scope: Scope, pieces: Sequence[Piece], depth: int) -> list[Piece]:
    """Return pieces with names that are known in place of what they stand for."""
    found: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, Hole) and re.fullmatch(r"(?:self\.)?\w+", piece.expression):
            found += _pieces(scope, ast.parse(piece.expression, mode="eval").body, depth + 1)
        else:
            found.append(piece)
    return found


def _of_call(scope: Scope, node: ast.Call, depth: int) -> list[Piece]:
    name = called(node)
    if name in _HERE:
        return ["."]
    if (name in ("join", "joinpath", "Path") and len(node.args) > 1) or (name == "joinpath" and node.args):
        base = [node.func.value] if name == "joinpath" and isinstance(node.func, ast.Attribute) else []
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Constant):
            return []  # "".join(...)
        parts = [_pieces(scope, arg, depth + 1) for arg in [*base, *node.args]]
        return [piece for i, part in enumerate(parts) for piece in (["/"] if i and parts[0] else []) + part]
    if name in _SAME:
        inner = node.args[0] if node.args else getattr(node.func, "value", None)
        return [] if inner is None else _pieces(scope, inner, depth + 1)
    made = template_of(node, {})
    return [] if made is None else _filled(scope, made, depth)
