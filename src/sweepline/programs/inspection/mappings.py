"""The keys of the dictionaries in which a script keeps its metrics, followed through its text."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from sweepline.programs.inspection.literals import called, keywords, last_name, literal, text_of
from sweepline.programs.inspection.reading import Source, nodes_within

_MAX_DEPTH = 6
_WRAPPERS = ("DataFrame", "from_dict", "from_records", "OrderedDict", "defaultdict", "deepcopy", "copy", "tree_map")


def keys_of(source: Source, node: ast.AST | None, function: ast.AST, depth: int = 0) -> list[str]:
    """Return the keys of what an expression is: a dictionary, a list of such, a call that returns one, a name."""
    return list(dict.fromkeys(_keys(source, node, function, depth)))


def strings_of(source: Source, node: ast.AST | None, function: ast.AST, depth: int = 0) -> list[str]:
    """Return the texts of a list, or of what a name is bound to; of a sum or of ``*names`` those of its parts."""
    if depth > _MAX_DEPTH or node is None:
        return []
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        parts = [item.value if isinstance(item, ast.Starred) else item for item in node.elts]
        return [
            text for part in parts for text in ([text_of(part)] if text_of(part) else _inner(source, part, function))
        ]
    if isinstance(node, ast.Call) and called(node) in ("list", "tuple", "sorted") and node.args:
        return strings_of(source, node.args[0], function, depth + 1)
    if isinstance(node, ast.Call) and called(node) == "keys" and isinstance(node.func, ast.Attribute):
        return keys_of(source, node.func.value, function, depth + 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [text for side in (node.left, node.right) for text in strings_of(source, side, function, depth + 1)]
    if isinstance(node, (ast.Name, ast.Attribute)):
        values = source.values_of(last_name(node), function)
        return next((found for v in values if (found := strings_of(source, v, function, depth + 1))), [])
    return []


def _inner(source: Source, node: ast.expr, function: ast.AST) -> list[str]:
    return strings_of(source, node, function, _MAX_DEPTH - 1) if isinstance(node, (ast.Name, ast.Attribute)) else []


def _keys(source: Source, node: ast.AST | None, function: ast.AST, depth: int) -> Iterator[str]:
    if node is None or depth > _MAX_DEPTH:
        return
    if isinstance(node, ast.Dict):
        yield from _of_dictionary(source, node, function, depth)
    elif isinstance(node, ast.DictComp):
        yield from _of_comprehension(source, node, function, depth)
    elif isinstance(node, ast.Call):
        yield from _of_call(source, node, function, depth)
    elif isinstance(node, (ast.Name, ast.Attribute)):
        yield from _of_name(source, node, function, depth)
    else:
        yield from (name for part in _parts(node) for name in _keys(source, part, function, depth + 1))


def _parts(node: ast.AST) -> Sequence[ast.expr]:
    """Return the parts of an expression all of whose keys count."""
    if isinstance(node, (ast.List, ast.Tuple)):
        return node.elts
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return (node.left, node.right)
    return (node.body, node.orelse) if isinstance(node, ast.IfExp) else ()


def _of_dictionary(source: Source, node: ast.Dict, function: ast.AST, depth: int) -> Iterator[str]:
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            yield from _keys(source, value, function, depth + 1)
        elif isinstance(name := literal(key, source.names), str):
            yield name


def _of_comprehension(source: Source, node: ast.DictComp, function: ast.AST, depth: int) -> Iterator[str]:
    """Yield the keys of ``{f"val_{k}": v for k, v in stats.items()}``."""
    over = iterated_mapping(node.generators[0].iter)
    names = [] if over is None else keys_of(source, over, function, depth + 1)
    variable = first_variable(node.generators[0].target)
    yield from (made for name in names if (made := fill_name(node.key, variable, name)))


def iterated_mapping(node: ast.expr) -> ast.expr | None:
    """Return the dictionary of ``stats.items()``, or of ``stats``."""
    is_items = isinstance(node, ast.Call) and called(node) in ("items", "iteritems")
    return getattr(node.func, "value", None) if is_items and isinstance(node, ast.Call) else node


def first_variable(target: ast.expr) -> str:
    """Return ``k`` of ``for k, v in ...``."""
    return last_name(target.elts[0] if isinstance(target, ast.Tuple) and target.elts else target)


def fill_name(node: ast.expr, variable: str, name: str) -> str:
    """Return what ``f"val_{k}"`` or ``"val_" + k`` is for a key; empty where more than the key is unknown."""
    if isinstance(node, ast.Name) and node.id == variable:
        return name
    if isinstance(node, ast.JoinedStr):
        parts = [value.value if isinstance(value, ast.FormattedValue) else value for value in node.values]
        made = [fill_name(part, variable, name) for part in parts]
        return "".join(made) if all(made) else ""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = [fill_name(side, variable, name) for side in (node.left, node.right)]
        return "".join(sides) if all(sides) else ""
    return text_of(node)


def _of_call(source: Source, node: ast.Call, function: ast.AST, depth: int) -> Iterator[str]:
    name, first = called(node), node.args[0] if node.args else None
    if name == "dict":
        is_zip = isinstance(first, ast.Call) and called(first) == "zip" and bool(first.args)
        if is_zip and isinstance(first, ast.Call):
            yield from strings_of(source, first.args[0], function)
        else:
            yield from _keys(source, first, function, depth + 1)
        yield from keywords(node)
    elif name in _WRAPPERS:
        yield from _keys(source, first, function, depth + 1)
    elif name == "evaluate" and name not in source.definitions:
        yield from _of_metric_functions(source, depth)
    elif isinstance(definition := source.definitions.get(name), ast.FunctionDef):
        yield from _returned(source, definition, depth)


def _returned(source: Source, definition: ast.FunctionDef, depth: int) -> Iterator[str]:
    for function, node in nodes_within(definition):
        if isinstance(node, ast.Return) and function is definition:
            yield from _keys(source, node.value, definition, depth + 1)


def _of_metric_functions(source: Source, depth: int) -> Iterator[str]:
    """Yield what functions return that an estimator of TensorFlow's calls for its metrics."""
    for _, part in source.parts:
        for node in ast.walk(part):
            if isinstance(node, ast.FunctionDef) and node.name.endswith(("metric_fn", "metrics_fn", "eval_metrics")):
                yield from _returned(source, node, depth)


def _of_name(source: Source, node: ast.Name | ast.Attribute, function: ast.AST, depth: int) -> Iterator[str]:
    """Yield the keys that a name is given: where it is bound, and by ``x[k] =``, ``x.update``, ``x[k].append``."""
    name = last_name(node)
    for value in source.values_of(name, function):
        if last_name(value) != name:
            yield from _keys(source, value, function, depth + 1)
    scope = _scope(source, name, function)
    for at, one in scope:
        if isinstance(one, ast.Assign):
            for target in one.targets:
                if isinstance(target, ast.Subscript) and last_name(target.value) == name:
                    yield from filter(None, [text_of(target.slice, source.names)])
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
            owner, what = one.func.value, one.func.attr
            if what in ("append", "update") and last_name(owner) == name and one.args:
                yield from _keys(source, one.args[0], at, depth + 1)
                yield from keywords(one)
            elif what in ("append", "extend") and isinstance(owner, ast.Subscript) and last_name(owner.value) == name:
                yield from filter(None, [text_of(owner.slice)])


def _scope(source: Source, name: str, function: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield the nodes of a function where it binds a name, else those of all files."""
    is_local = any(at is function for at, _ in source.stored.get(name, ()))
    for part in [function] if is_local else [part for _, part in source.parts]:
        yield from nodes_within(part)
