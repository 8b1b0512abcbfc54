"""Flags of absl, of TensorFlow's ``tf.app.flags``, and the config files of ml_collections."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

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

_KINDS = {
    "DEFINE_integer": "int",
    "DEFINE_float": "float",
    "DEFINE_bool": "bool",
    "DEFINE_boolean": "bool",
    "DEFINE_string": "str",
    "DEFINE_enum": "str",
    "DEFINE_enum_class": "str",
    "DEFINE_list": "list",
    "DEFINE_multi_integer": "list",
    "DEFINE_multi_float": "list",
    "DEFINE_multi_string": "list",
}
_ITEM_KINDS = {
    "DEFINE_list": "str",
    "DEFINE_multi_integer": "int",
    "DEFINE_multi_float": "float",
    "DEFINE_multi_string": "str",
}


def read_absl(source: Source) -> Interface | None:
    """Return what a script takes through ``flags.DEFINE_...``; None without any."""
    required = {name for _, call in source.calls() for name in _marked_required(source, call)}
    flags: list[Flag] = []
    notes: list[str] = []
    for file, call in source.calls():
        if called(call) in _KINDS and call.args:
            flag = _flag(source, file, call, required)
            if flag is not None and flag.name not in [known.name for known in flags]:
                flags.append(flag)
        elif called(call) in ("DEFINE_config_file", "DEFINE_config_dict"):
            found, note = _config_flags(source, call)
            flags += found
            notes += note
    return Interface(parser="absl", flags=flags, style={"style": "absl"}, notes=notes) if flags or notes else None


def _marked_required(source: Source, call: ast.Call) -> Iterator[str]:
    if called(call) in ("mark_flag_as_required", "mark_flags_as_required") and call.args:
        names = literal(call.args[0], source.names)
        yield from names if isinstance(names, list) else [names] if isinstance(names, str) else []


def _flag(source: Source, file: SourceFile, call: ast.Call, required: set[str]) -> Flag | None:
    maker, given = called(call), keywords(call)
    name = text_of(call.args[0], source.names)
    if not name:
        return None
    node = call.args[1] if len(call.args) > 1 else given.get("default")
    default = None if node is None else literal(node, source.names)
    kind = _KINDS[maker]
    if kind == "float" and isinstance(default, int) and not isinstance(default, bool):
        default = float(default)
    if kind == "list" and isinstance(default, str):
        default = default.split(",")
    at_choices = call.args[2] if maker == "DEFINE_enum" and len(call.args) > 2 else given.get("enum_values")
    choices = literal(at_choices, source.names) if at_choices is not None else []
    at_help = call.args[3 if maker.startswith("DEFINE_enum") else 2 :]
    return Flag(
        name=name,
        kind=kind,
        item_kind=_ITEM_KINDS.get(maker, ""),
        default=default,
        choices=choices if isinstance(choices, list) else (),
        boolean="text" if kind == "bool" else "",
        help=first_line(text_of(given.get("help") or (at_help[0] if at_help else None), source.names)),
        where=where(file, call),
        is_required=name in required or literal(given.get("required"), source.names) is True,
    )


def _config_flags(source: Source, call: ast.Call) -> tuple[list[Flag], list[str]]:
    """Return the settings of a config file of ml_collections, which are ``--config.NAME``, and what to say of it."""
    name = text_of(call.args[0], source.names) if call.args else "config"
    default = text_of(call.args[1] if len(call.args) > 1 else keywords(call).get("default"), source.names)
    path = source.path.parent / default.partition(":")[0]
    if not default or not path.is_file():
        return [], [
            f"its settings are in the config file that --{name} names; add {name}: {{value: FILE}} and {name}.KEY"
        ]
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return [], [f"{path.name} cannot be read, which --{name} names"]
    return [*_assigned(source.names, tree, name, path.name)], []


def _assigned(names: Mapping[str, ast.expr], tree: ast.Module, prefix: str, label: str) -> Iterator[Flag]:
    """Yield the settings of ``config.a.b = 0.1`` and of ``ConfigDict({"a": 0.1})``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            dotted = ast.unparse(node.targets[0]).partition(".")[2]
            value = literal(node.value, names)
            if value is not UNKNOWN:
                yield _setting(f"{prefix}.{dotted}", value, f"{label}:{node.lineno}")
        elif isinstance(node, ast.Call) and last_name(node.func) == "ConfigDict" and node.args:
            value = literal(node.args[0], names)
            for key, one in value.items() if isinstance(value, dict) else ():
                if not isinstance(one, dict):
                    yield _setting(f"{prefix}.{key}", one, f"{label}:{node.lineno}")


def _setting(name: str, value: object, place: str) -> Flag:
    kind = kind_of_value(value)
    return Flag(
        name=name,
        kind=kind,
        default=value,
        item_kind=item_kind(value),
        boolean="text" if kind == "bool" else "",
        where=place,
    )
