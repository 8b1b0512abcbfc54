"""Flags that are declared with ``add_argument``: argparse, and parsers that are built on it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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

_NO_VALUE = ("help", "version", "count")
_BOOLEAN_WORDS = ("bool", "yes", "true")
_TRAINING_WORDS = ("train", "fit", "run")
_CONSTANT_ACTIONS = {"store_true": False, "store_false": True}


@dataclass(frozen=True, slots=True)
class _Declared:
    """A flag and the name of what it was added to: a parser, a group, the parser of a subcommand."""

    flag: Flag
    owner: str


def read_argparse(source: Source) -> Interface | None:
    """Return what a script takes through ``add_argument``; None where it declares nothing so."""
    declared = list(_declared(source))
    if not declared:
        return None
    commands = dict(_subcommands(source))
    chosen, notes = _choose_command(commands)
    of_others = {owner for owner, command in commands.items() if command != chosen}
    flags = _with_set_defaults(source, [one.flag for one in declared if one.owner not in of_others])
    n_unread = sum(_is_unread(source, call) for _, call in source.calls())
    if n_unread:
        notes.append(f"{n_unread} calls of add_argument have names that are computed, which the text does not tell")
    if chosen and any(one.owner not in commands for one in declared):
        notes.append(f"flags of the main parser stand left of {chosen}: move them there in command if you sweep one")
    is_json = source.imports("jsonargparse")
    return Interface(
        parser="jsonargparse" if is_json else "argparse",
        flags=flags,
        style=_JSON_STYLE if is_json else _style(flags),
        before=[chosen] if chosen else [],
        notes=notes,
    )


_JSON_STYLE = {"style": "argparse", "lists": "text", "booleans": "text"}


def _style(flags: Sequence[Flag]) -> dict[str, str]:
    """Return how values are written: one rule for all booleans, by the commonest of their kinds."""
    kinds = [flag.boolean for flag in flags if flag.boolean]
    commonest = max(("flag", "no_flag", "text"), key=kinds.count) if kinds else ""
    return {"style": "argparse", **({} if commonest in ("", "no_flag") else {"booleans": commonest})}


def _declared(source: Source) -> Iterator[_Declared]:
    met: set[str] = set()
    for file, call in source.calls():
        if _adds_argument(source, call):
            flag = _flag(source, file, call)
            owner = last_name(getattr(call.func, "value", None))
            key = flag.dest or flag.name if flag is not None else ""
            if flag is not None and (owner, key) not in [(owner, name) for name in met]:
                met.add(key)
                yield _Declared(flag, owner)


def _adds_argument(source: Source, call: ast.Call) -> bool:
    if called(call) == "add_argument" and call.args:
        return True
    bound = source.names.get(called(call)) if isinstance(call.func, ast.Name) else None
    return bound is not None and last_name(bound) == "add_argument" and bool(call.args)


def _is_unread(source: Source, call: ast.Call) -> bool:
    return _adds_argument(source, call) and not any(text_of(arg, source.names) for arg in call.args)


def _flag(source: Source, file: SourceFile, call: ast.Call) -> Flag | None:
    """Return one flag; None for one that is no setting, such as ``--version``."""
    names = [name for arg in call.args if (name := text_of(arg, source.names))]
    given = keywords(call)
    action = text_of(given.get("action")) or last_name(given.get("action"))
    if not names or action in _NO_VALUE:
        return None
    long = [name[2:] for name in names if name.startswith("--")]
    is_positional = not names[0].startswith("-")
    dest = text_of(given.get("dest")) or (long or [names[0].lstrip("-")])[0].replace("-", "_")
    name = (long or [dest])[0]
    flag = Flag(
        name=name,
        dest=dest if dest.replace("-", "_") != name.replace("-", "_") else "",
        is_positional=is_positional,
        short_only="" if long or is_positional else names[0],
        help=first_line(text_of(given.get("help"), source.names)),
        where=where(file, call),
    )
    if action in _CONSTANT_ACTIONS:
        return replace(flag, kind="bool", default=_CONSTANT_ACTIONS[action], boolean="flag")
    if action == "BooleanOptionalAction":
        return replace(flag, kind="bool", default=_default(source, given), boolean="no_flag")
    return _valued(source, flag, given, action)


def _valued(source: Source, flag: Flag, given: dict[str, ast.expr], action: str) -> Flag:
    """Return a flag that takes a value, with its type, default and choices."""
    default, nargs = _default(source, given), literal(given.get("nargs"), source.names)
    choices = literal(given.get("choices"), source.names)
    choices = choices if isinstance(choices, list) else list(choices) if isinstance(choices, dict) else []
    kind = _kind(given.get("type"), default, choices)
    is_list = (
        nargs in ("+", "*")
        or (isinstance(nargs, int) and not isinstance(nargs, bool))
        or action
        in (
            "append",
            "extend",
        )
    )
    if isinstance(default, str) and kind in ("int", "float"):
        default = _number(default, kind)  # as argparse turns texts
    if kind == "float" and isinstance(default, int) and not isinstance(default, bool):
        default = float(default)
    is_required = literal(given.get("required"), source.names) is True
    return replace(
        flag,
        kind="list" if is_list else kind,
        item_kind=(kind if kind != "list" else item_kind(default)) if is_list or kind == "list" else "",
        default=default,
        choices=choices,
        boolean="text" if kind == "bool" else "",
        is_required=is_required or (flag.is_positional and nargs not in ("?", "*") and "default" not in given),
    )


def _default(source: Source, given: dict[str, ast.expr]) -> Any:
    return literal(given["default"], source.names) if "default" in given else None


def _number(text: str, kind: str) -> Any:
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError:
        return text


def _kind(node: ast.expr | None, default: Any, choices: Sequence[Any]) -> str:
    if node is None:  # text, whatever the default looks like
        known = [kind for kind in {kind_of_value(value) for value in choices} if kind != "unknown"]
        kind = kind_of_value(default)
        return "str" if kind in ("unknown", "str") and not known else known[0] if known else kind
    name = last_name(node) or (called(node) if isinstance(node, ast.Call) else "")
    if name in ("int", "float", "str"):
        return name
    if any(word in name.lower() for word in _BOOLEAN_WORDS):
        return "bool"
    kind = kind_of_value(default)
    if "float" in name.lower():
        return "float"
    if "int" in name.lower().replace("print", ""):
        return "int"
    return "bool" if isinstance(node, ast.Lambda) and kind == "bool" else kind if kind != "unknown" else "str"


def _subcommands(source: Source) -> Iterator[tuple[str, str]]:
    """Yield the variable and the word of each ``x = subparsers.add_parser("word")``."""
    for _, part in source.parts:
        for node in ast.walk(part):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                call = node.value
                if called(call) == "add_parser" and call.args and (word := text_of(call.args[0], source.names)):
                    yield last_name(node.targets[0]), word


def _choose_command(commands: dict[str, str]) -> tuple[str, list[str]]:
    words = list(dict.fromkeys(commands.values()))
    if not words:
        return "", []
    chosen = next((word for wanted in _TRAINING_WORDS for word in words if wanted in word.lower()), words[0])
    return chosen, [f"its subcommands are {', '.join(words)}; this file runs {chosen}"] if len(words) > 1 else []


def _with_set_defaults(source: Source, flags: Sequence[Flag]) -> list[Flag]:
    """Return the flags with what ``parser.set_defaults`` says last."""
    changed: dict[str, Any] = {}
    for _, call in source.calls():
        if called(call) == "set_defaults":
            changed |= {name: literal(node, source.names) for name, node in keywords(call).items()}
    found = []
    for flag in flags:
        default = changed.get(flag.dest or flag.name.replace("-", "_"), UNKNOWN)
        found.append(flag if default is UNKNOWN else replace(flag, default=default))
    return found
