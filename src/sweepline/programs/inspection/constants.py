"""Settings without a parser: constants that a configurator overrides, and ``wandb.config``."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from sweepline.programs.inspection.facts import UNKNOWN, Flag, Interface
from sweepline.programs.inspection.literals import (
    bound_names,
    called,
    item_kind,
    keywords,
    kind_of_value,
    last_name,
    literal,
)
from sweepline.programs.inspection.reading import Source, SourceFile, where

_INTERPRETED = ("exec", "execfile")
_SIMPLE = ("int", "float", "bool", "str")


def read_configurator(source: Source) -> Interface | None:
    """Return the constants at a script's top that an ``exec(open(...).read())`` overrides, as nanoGPT's does."""
    body = source.script.tree.body
    at = next((i for i, node in enumerate(body) if _executes_file(node)), None)
    if at is None:
        return None
    flags = [
        flag for flag in _constants(source.script, body[:at]) if flag.kind in _SIMPLE and not flag.name.startswith("_")
    ]
    note = "values must have the type of their default: 0.0, not 0, for a number with a point"
    return Interface(parser="a configurator (--key=value)", flags=flags, notes=[note]) if flags else None


def _executes_file(node: ast.stmt) -> bool:
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and called(node.value) in _INTERPRETED
    return is_call and "open" in ast.dump(node)


def _constants(file: SourceFile, body: list[ast.stmt]) -> Iterator[Flag]:
    """Yield what is bound to plain values at the top of a file, each once."""
    names: dict[str, ast.expr] = {}
    found: dict[str, Flag] = {}
    for node in body:
        for name, expression in bound_names([node]).items():
            value = literal(expression, names)
            names[name] = expression
            if value is not UNKNOWN and value is not None and not isinstance(value, dict):
                found[name] = plain_flag(name, value, where(file, node))
    yield from found.values()


def plain_flag(name: str, value: Any, place: str) -> Flag:
    """Return a setting whose kind is that of its value."""
    kind = kind_of_value(value)
    boolean = "text" if kind == "bool" else ""
    return Flag(name=name, kind=kind, item_kind=item_kind(value), default=value, boolean=boolean, where=place)


def read_wandb_config(source: Source) -> Interface | None:
    """Return the settings that a script reads from ``wandb.config``; None where it does not."""
    if not source.imports("wandb"):
        return None
    found: dict[str, Flag] = {}
    notes: list[str] = []
    for file, call in source.calls():
        if called(call) == "init" and "config" in keywords(call):
            for name, value in _mapping(source, keywords(call)["config"]).items():
                found.setdefault(name, plain_flag(name, None if value is UNKNOWN else value, where(file, call)))
    for file, name, value, line in _uses(source):
        found.setdefault(name, plain_flag(name, value, f"{file.path.name}:{line}"))
    if not found:
        return None
    names = ", ".join(list(found)[:3])
    if not any(_reads(source)):
        notes.append(
            f"it hands {names} to wandb.init: only what it reads back from wandb.config changes with the sweep"
        )
    return Interface(parser="wandb.config", flags=list(found.values()), args_macro="", notes=notes)


def _mapping(source: Source, node: ast.expr) -> dict[str, Any]:
    """Return a dictionary that stands there, or is bound to the name that does, with the defaults that are told."""
    local: dict[str, ast.expr] = {}
    for _, part in source.parts:
        for one in ast.walk(part):
            if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name):
                local.setdefault(one.targets[0].id, one.value)
    if isinstance(node, ast.Name):
        node = local.get(node.id, node)
    names: Mapping[str, ast.expr] = {**local, **source.names}
    if isinstance(node, ast.Call) and called(node) == "dict":
        return {name: literal(value, names) for name, value in keywords(node).items()}
    if not isinstance(node, ast.Dict):
        return {}
    keys = [literal(key, {}) for key in node.keys]
    return {key: literal(value, names) for key, value in zip(keys, node.values, strict=True) if isinstance(key, str)}


def _config_names(source: Source) -> set[str]:
    """Return the variables that are ``wandb.config``."""
    found = set()
    for _, part in source.parts:
        for node in ast.walk(part):
            if isinstance(node, ast.Assign) and _is_config(node.value) and isinstance(node.targets[0], ast.Name):
                found.add(node.targets[0].id)
    return found


def _is_config(node: ast.expr) -> bool:
    is_attribute = isinstance(node, ast.Attribute) and node.attr == "config"
    return is_attribute and last_name(getattr(node, "value", None)) in ("wandb", "run", "wandb_run")


def _uses(source: Source) -> Iterator[tuple[SourceFile, str, Any, int]]:
    """Yield what is read from, or set in, ``wandb.config``: ``config.lr``, ``config["lr"]``."""
    names = _config_names(source)
    for file, part in source.parts:
        values = {
            node.targets[0]: literal(node.value, source.names)
            for node in ast.walk(part)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute)
        }
        for node in ast.walk(part):
            owner = getattr(node, "value", None)
            if not isinstance(owner, ast.expr) or not (
                _is_config(owner) or (last_name(owner) in names and isinstance(owner, ast.Name))
            ):
                continue
            if isinstance(node, ast.Attribute) and node.attr not in (
                "get",
                "update",
                "items",
                "keys",
                "setdefaults",
                "as_dict",
            ):
                value = values.get(node)
                yield file, node.attr, None if value is UNKNOWN else value, node.lineno
            elif isinstance(node, ast.Subscript) and isinstance(name := literal(node.slice, {}), str):
                yield file, name, None, node.lineno


def _reads(source: Source) -> Iterator[bool]:
    yield from (True for _ in _uses(source))


def plain_constants(source: Source) -> list[Flag]:
    """Return the constants at a script's top, or in its main function, that look like settings."""
    bodies = [source.script.tree.body]
    for name in ("main", "train", "run"):
        definition = source.script.definitions.get(name)
        bodies += [definition.body] if isinstance(definition, ast.FunctionDef) else []
    for node in source.script.tree.body:
        bodies += [node.body] if isinstance(node, ast.If) else []
    found = {flag.name: flag for body in bodies for flag in _constants(source.script, body)}
    return [flag for flag in found.values() if flag.kind in ("int", "float")]
