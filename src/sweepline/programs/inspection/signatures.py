"""Flags that are a function's parameters or a dataclass's fields, as typer, tyro, fire and others make them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sweepline.programs.inspection.facts import UNKNOWN, Flag
from sweepline.programs.inspection.literals import (
    called,
    item_kind,
    keywords,
    kind_of_annotation,
    kind_of_value,
    last_name,
    literal,
    text_of,
)
from sweepline.programs.inspection.reading import Definition, Source, first_line

_MAX_NESTING = 4
_NOT_GIVEN = ("self", "cls")
_FIELD_MAKERS = ("field", "arg", "Field", "Option", "Argument")


@dataclass(frozen=True, slots=True)
class Given:
    """One parameter or field as it is written; ``maker`` is a call around its default, as ``field(default=...)``."""

    name: str
    annotation: ast.expr | None
    default: ast.expr | None
    maker: ast.Call | None
    node: ast.AST


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Given]:
    """Yield the parameters of a function, but for self, ``*args`` and ``**kwargs``."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(arguments.defaults)), *arguments.defaults]
    pairs = [*zip(plain, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    for argument, default in pairs:
        if argument.arg not in _NOT_GIVEN:
            maker = _maker(default) or _annotated_maker(argument.annotation)
            yield Given(argument.arg, argument.annotation, default, maker, argument)


def fields_of(source: Source, cls: ast.ClassDef) -> Iterator[Given]:
    """Yield the fields of a dataclass, those of its bases first, each once."""
    found: dict[str, Given] = {}
    for base in cls.bases:
        definition = source.definitions.get(last_name(base))
        if isinstance(definition, ast.ClassDef) and definition is not cls:
            found |= {given.name: given for given in fields_of(source, definition)}
    for node in cls.body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and "ClassVar" not in ast.dump(node.annotation)
        ):
            found[node.target.id] = Given(
                node.target.id,
                node.annotation,
                node.value,
                _maker(node.value) or _annotated_maker(node.annotation),
                node,
            )
    yield from found.values()


def _maker(node: ast.expr | None) -> ast.Call | None:
    return node if isinstance(node, ast.Call) and called(node) in _FIELD_MAKERS else None


def _annotated_maker(node: ast.expr | None) -> ast.Call | None:
    """Return ``Option(...)`` of ``Annotated[int, Option(...)]``."""
    if isinstance(node, ast.Subscript) and last_name(node.value) == "Annotated" and isinstance(node.slice, ast.Tuple):
        return next((found for part in node.slice.elts[1:] if (found := _maker(part))), None)
    return None


def flag_of(source: Source, given: Given, *, label: str, prefix: str = "") -> Flag:
    """Return a parameter or a field as a flag."""
    default = default_of(source, given)
    kind, choices, items = kind_of_annotation(given.annotation)
    if kind == "unknown" and (enum := enum_of(source, given.annotation)):
        kind, choices = "str", enum
        default = getattr(given.default, "attr", default) if default is UNKNOWN else default
    if kind == "unknown":
        kind, items = kind_of_value(default), item_kind(default)
    if kind == "float" and isinstance(default, int) and not isinstance(default, bool):
        default = float(default)
    metadata = literal(keywords(given.maker).get("metadata"), source.names) if given.maker else None
    told = metadata if isinstance(metadata, dict) else {}
    has_none = given.default is None or (default == UNKNOWN and _is_ellipsis(given))
    return Flag(
        name=f"{prefix}{given.name}",
        kind=kind,
        item_kind=items,
        default=None if has_none else default,
        choices=choices or (told.get("choices") if isinstance(told.get("choices"), list) else ()) or (),
        help=first_line(str(told.get("help") or text_of(keywords(given.maker).get("help") if given.maker else None))),
        where=f"{label}:{getattr(given.node, 'lineno', 1)}",
        is_required=has_none,
    )


def default_of(source: Source, given: Given) -> Any:
    """Return a default that stands there, or in ``field(default=...)``; None where there is none."""
    maker = _maker(given.default)
    if maker is None:
        return None if given.default is None else literal(given.default, source.names)
    named = keywords(maker)
    if "default" in named:
        return literal(named["default"], source.names)
    factory = named.get("default_factory")
    if isinstance(factory, ast.Lambda):
        return literal(factory.body, source.names)
    if last_name(factory) in ("list", "tuple"):
        return []
    is_positional = called(maker) in ("Option", "Argument", "Field") and maker.args
    return literal(maker.args[0], source.names) if is_positional else UNKNOWN


def _is_ellipsis(given: Given) -> bool:
    """Whether it is required in spite of a maker: ``Option(...)``, ``field()``."""
    maker = _maker(given.default)
    if maker is None:
        return False
    named = keywords(maker)
    if maker.args and called(maker) != "field":
        return isinstance(maker.args[0], ast.Constant) and maker.args[0].value is ...
    return not {"default", "default_factory", "factory"} & named.keys()


def enum_of(source: Source, annotation: ast.expr | None) -> list[Any]:
    """Return the values of an Enum that an annotation names, or none."""
    definition = source.definitions.get(last_name(annotation))
    if not isinstance(definition, ast.ClassDef) or not any("Enum" in last_name(base) for base in definition.bases):
        return []
    bound = [node for node in definition.body if isinstance(node, ast.Assign)]
    return [value for node in bound if (value := literal(node.value, source.names)) is not UNKNOWN]


def nested_class(source: Source, given: Given) -> ast.ClassDef | None:
    """Return the dataclass that a field holds, where it is one of the script's own."""
    node = given.annotation
    if isinstance(node, ast.Subscript) and last_name(node.value) in ("Optional", "Annotated"):
        node = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
    definition = source.definitions.get(last_name(node))
    return definition if isinstance(definition, ast.ClassDef) and is_dataclass(definition) else None


def is_dataclass(cls: ast.ClassDef) -> bool:
    """Whether a class is a dataclass, by its decorator or its base."""
    names = [last_name(node.func if isinstance(node, ast.Call) else node) for node in cls.decorator_list]
    bases = [last_name(base) for base in cls.bases]
    return any("dataclass" in name or name in ("define", "frozen", "wrap") for name in names) or "BaseModel" in bases


def flags_of_class(
    source: Source, cls: ast.ClassDef, *, label: str, prefix: str = "", depth: int = 0, boolean: str = "no_flag"
) -> Iterator[Flag]:
    """Yield the flags of a dataclass, nested ones with dotted names."""
    for given in fields_of(source, cls):
        nested = nested_class(source, given)
        is_off = literal(keywords(given.maker).get("init"), source.names) is False if given.maker else False
        if nested is not None and depth < _MAX_NESTING:
            below = f"{prefix}{given.name}."
            yield from flags_of_class(source, nested, label=label, prefix=below, depth=depth + 1, boolean=boolean)
        elif not is_off:
            yield with_boolean(flag_of(source, given, label=label, prefix=prefix), boolean)


def flags_of_function(
    source: Source, function: Definition, *, label: str, prefix: str = "", boolean: str = "no_flag"
) -> list[Flag]:
    """Return the flags of a function, or of what a class is made with."""
    if isinstance(function, ast.ClassDef):
        init = initializer_of(source, function)
        if init is None:
            return list(flags_of_class(source, function, label=label, prefix=prefix, boolean=boolean))
        function = init
    found: list[Flag] = []
    for given in parameters_of(function):
        nested = nested_class(source, given)
        if nested is not None:
            below = f"{prefix}{given.name}."
            found += flags_of_class(source, nested, label=label, prefix=below, boolean=boolean)
        else:
            found.append(with_boolean(flag_of(source, given, label=label, prefix=prefix), boolean))
    return found


def initializer_of(source: Source, cls: ast.ClassDef) -> ast.FunctionDef | None:
    """Return a class's ``__init__``, or that of its nearest base that is among the files."""
    own = next((node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None)
    if own is not None:
        return own
    bases = [source.definitions.get(last_name(base)) for base in cls.bases]
    found = (initializer_of(source, base) for base in bases if isinstance(base, ast.ClassDef) and base is not cls)
    return next((init for init in found if init is not None), None)


def with_boolean(flag: Flag, boolean: str) -> Flag:
    """Return a flag that says how its parser writes it where it is true or false."""
    return replace(flag, boolean=boolean) if flag.kind == "bool" else flag


def resolve(source: Source, node: ast.expr | None) -> Definition | None:
    """Return the function or class of the script's files that an expression names."""
    definition = source.definitions.get(last_name(node))
    if definition is None and isinstance(node, ast.Name) and isinstance(source.names.get(node.id), ast.Name):
        definition = source.definitions.get(last_name(source.names[node.id]))
    return definition


def label_of(source: Source, definition: Definition) -> str:
    """Return the name of the file in which a definition stands."""
    for file in source.files:
        if file.definitions.get(definition.name) is definition:
            return file.path.name
    return source.path.name
