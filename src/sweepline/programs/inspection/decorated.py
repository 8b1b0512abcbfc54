"""Flags of click and of typer: options declared by decorators, or by the parameters of a command's function."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sweepline.programs.inspection.facts import UNKNOWN, Flag, Interface
from sweepline.programs.inspection.literals import (
    called,
    item_kind,
    keywords,
    kind_of_value,
    last_name,
    literal,
    text_of,
)
from sweepline.programs.inspection.reading import Source, SourceFile, first_line, where
from sweepline.programs.inspection.signatures import flag_of, label_of, parameters_of, resolve, with_boolean

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_CLICK_TYPES = {
    "INT": "int",
    "IntRange": "int",
    "int": "int",
    "FLOAT": "float",
    "FloatRange": "float",
    "float": "float",
}
_CLICK_TEXT = ("STRING", "Path", "File", "str", "UUID")
_TRAINING_WORDS = ("train", "fit", "main", "run")


def read_click(source: Source) -> Interface | None:
    """Return what a script takes through click's decorators; None without any."""
    found = list(_click_commands(source))
    if not found:
        return None
    chosen, notes = _choose([function.name for _, function in found])
    file, function = next(pair for pair in found if pair[1].name == chosen)
    flags = [flag for node in function.decorator_list if (flag := _click_flag(source, file, node))]
    is_group = any(_decorated_by(function, "group") for _, function in _functions(source))
    style: dict[str, str] = {"style": "click"}
    kinds = [flag.boolean for flag in flags if flag.boolean]
    if kinds:
        style["booleans"] = max(("flag", "no_flag", "text"), key=kinds.count)
    word = chosen.replace("_", "-")
    return Interface(parser="click", flags=flags, style=style, before=[word] if is_group else [], notes=notes)


def _functions(source: Source) -> Iterator[tuple[SourceFile, _Function]]:
    for file, part in source.parts:
        for node in ast.walk(part):
            if isinstance(node, _Function):
                yield file, node


def _decorated_by(function: _Function, name: str) -> bool:
    return any(last_name(node.func if isinstance(node, ast.Call) else node) == name for node in function.decorator_list)


def _click_commands(source: Source) -> Iterator[tuple[SourceFile, _Function]]:
    if source.imports("click", "rich_click"):
        for file, function in _functions(source):
            if _decorated_by(function, "option") or (
                _decorated_by(function, "command") and _decorated_by(function, "argument")
            ):
                yield file, function


def _choose(names: Sequence[str]) -> tuple[str, list[str]]:
    chosen = next((name for wanted in _TRAINING_WORDS for name in names if wanted in name.lower()), names[0])
    return chosen, [f"its commands are {', '.join(names)}; this file runs {chosen}"] if len(names) > 1 else []


def _click_flag(source: Source, file: SourceFile, node: ast.expr) -> Flag | None:
    """Return the flag of ``@click.option(...)`` or ``@click.argument(...)``."""
    if not isinstance(node, ast.Call) or called(node) not in ("option", "argument"):
        return None
    names = [name for arg in node.args if (name := text_of(arg, source.names))]
    if not names:
        return None
    given = keywords(node)
    long = next((name for name in names if name.startswith("--")), "")
    dest = next((name for name in names if not name.startswith("-")), "")
    on, _, off = long.partition("/")
    name = on.removeprefix("--").strip() or dest or names[0].lstrip("-")
    is_argument = called(node) == "argument"
    default = literal(given["default"], source.names) if "default" in given else None
    flag = Flag(
        name=name,
        dest=dest if dest and dest != name else "",
        default=default,
        is_positional=is_argument,
        is_required=literal(given.get("required"), source.names) is True or (is_argument and "default" not in given),
        short_only="" if long or is_argument else names[0],
        help=first_line(text_of(given.get("help"), source.names)),
        where=where(file, node),
    )
    if off or literal(given.get("is_flag"), source.names) is True:
        return replace(flag, kind="bool", boolean="no_flag" if off else "flag", default=bool(default))
    return _click_valued(source, flag, given)


def _click_valued(source: Source, flag: Flag, given: dict[str, ast.expr]) -> Flag:
    kind, choices = _click_type(source, given.get("type"), flag.default)
    default = flag.default
    if kind == "float" and isinstance(default, int) and not isinstance(default, bool):
        default = float(default)
    nargs = literal(given.get("nargs"), source.names)
    is_list = literal(given.get("multiple"), source.names) is True or (isinstance(nargs, int) and nargs != 1)
    return replace(
        flag,
        kind="list" if is_list else kind,
        item_kind=kind if is_list else "",
        default=default,
        choices=choices,
        boolean="text" if kind == "bool" else "",
    )


def _click_type(source: Source, node: ast.expr | None, default: Any) -> tuple[str, Sequence[Any]]:
    if node is None:
        kind = kind_of_value(default)
        return ("str" if default is None else kind), ()
    name = last_name(node) or (called(node) if isinstance(node, ast.Call) else "")
    if name == "Choice" and isinstance(node, ast.Call) and node.args:
        choices = literal(node.args[0], source.names)
        return "str", choices if isinstance(choices, list) else ()
    if name in ("BOOL", "bool"):
        return "bool", ()
    kind = _CLICK_TYPES.get(name) or ("str" if name in _CLICK_TEXT else kind_of_value(default))
    return ("list" if kind == "unknown" and "list" in name.lower() else kind), ()


def read_typer(source: Source) -> Interface | None:
    """Return what a script takes through typer; None where it does not use that."""
    if not source.imports("typer"):
        return None
    found = [pair for pair in _functions(source) if _decorated_by(pair[1], "command")]
    for file, call in source.calls():
        if called(call) == "run" and last_name(getattr(call.func, "value", None)) == "typer" and call.args:
            definition = resolve(source, call.args[0])
            found += [(file, definition)] if isinstance(definition, _Function) else []
    if not found:
        return None
    words = {function.name: _typer_word(source, function) for _, function in found}
    chosen, notes = _choose(list(words))
    function = next(function for _, function in found if function.name == chosen)
    flags = [_typer_flag(source, given, label_of(source, function)) for given in parameters_of(function)]
    known = [flag for flag in flags if flag.kind != "context"]
    is_several = len(words) > 1 or any(_decorated_by(function, "callback") for _, function in _functions(source))
    has_underscores = any("_" in flag.name and flag.dest for flag in known)
    style = {"style": "click" if has_underscores else "typer"}
    named = [replace(flag, name=flag.name if flag.dest else flag.name.replace("_", "-")) for flag in known]
    return Interface(
        parser="typer",
        flags=named if has_underscores else known,
        style=style,
        before=[words[chosen]] if is_several else [],
        notes=notes,
    )


def _typer_word(source: Source, function: _Function) -> str:
    for node in function.decorator_list:
        if isinstance(node, ast.Call) and called(node) == "command":
            name = text_of(keywords(node).get("name") or (node.args[0] if node.args else None), source.names)
            if name:
                return name
    return function.name.replace("_", "-")


def _typer_flag(source: Source, given: Any, label: str) -> Flag:
    flag = flag_of(source, given, label=label)
    if last_name(given.annotation) == "Context":
        return replace(flag, kind="context")
    names = [text_of(arg, source.names) for arg in (given.maker.args if given.maker else ())]
    long = next((name for name in names if name.startswith("--")), "")
    is_annotated = given.maker is not None and given.maker is not given.default
    if is_annotated:
        flag = replace(flag, is_required=given.default is None)
    is_argument = (given.maker is not None and called(given.maker) == "Argument") or (
        given.maker is None and given.default is None
    )
    on, _, off = long.partition("/")
    if on:
        plain = on.removeprefix("--").strip()
        flag = replace(
            flag, name=plain, dest=given.name if plain.replace("-", "_") == plain or plain != given.name else ""
        )
    flag = replace(flag, is_positional=is_argument)
    if flag.kind == "list":
        flag = replace(flag, item_kind=flag.item_kind or item_kind(flag.default))
    return with_boolean(flag, "flag" if on and not off else "no_flag") if flag.default is not UNKNOWN else flag
