"""How parameter values become words of a command line: W&B's spellings, and what common parsers want. Never a shell."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sweepline.contract.values import flatten
from sweepline.errors import ConfigError
from sweepline.programs.hydra import format_override

Arguments = Mapping[str, Any]
_PYTHON_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class ArgumentStyle:
    """How ``${args}`` writes what is neither a text nor a number.

    ``nulls`` is ``omit`` or ``text``; ``lists`` is ``words`` (``--k 5 6``), ``repeat`` (``--k=5 --k=6``), ``comma``
    (``--k=5,6``) or ``text``; ``booleans`` is ``flag`` (``--k`` or nothing), ``no_flag`` (``--k`` or ``--no-k``) or
    ``text``. A ``literal`` style quotes text as Python does; ``hyphens`` turns ``_`` in names into ``-``.
    """

    nulls: str = "text"
    lists: str = "text"
    booleans: str = "text"
    is_dotted: bool = True
    is_literal: bool = False
    has_hyphens: bool = False

    def words(self, arguments: Arguments) -> list[str]:
        """Return the words of all arguments.

        Raises:
            ConfigError: a value cannot be written in this style.
        """
        flat = flatten(arguments) if self.is_dotted else arguments
        return [word for name, value in flat.items() for word in self._words(self._option(name), value)]

    def _option(self, name: str) -> str:
        return name.replace("_", "-") if self.has_hyphens else name

    def _words(self, name: str, value: Any) -> Iterator[str]:
        if value is None and self.nulls == "omit":
            return
        if isinstance(value, bool) and self.booleans != "text":
            if value or self.booleans == "no_flag":
                yield f"--{name}" if value else f"--no-{name}"
        elif isinstance(value, list) and self.lists != "text":
            yield from self._list(name, value)
        else:
            yield f"--{name}={self._text(value)}"

    def _list(self, name: str, items: list[Any]) -> Iterator[str]:
        if self.lists == "repeat":
            yield from (f"--{name}={self._text(item)}" for item in items)
        elif self.lists == "comma":
            texts = list(map(self._text, items))
            if any(set(',"\n') & set(text) for text in texts):
                raise ConfigError(f"{name}: a list whose items hold commas or quotes cannot be written with commas")
            yield f"--{name}={','.join(texts)}"
        else:
            yield f"--{name}"
            yield from (_word(name, item) for item in items)

    def _text(self, value: Any) -> str:
        is_plain = isinstance(value, str) and not (self.is_literal and _needs_quotes(value))
        return value if is_plain else repr(value)


WANDB = ArgumentStyle(is_dotted=False)
STYLES = {
    "wandb": WANDB,
    "argparse": ArgumentStyle(nulls="omit", lists="words", booleans="no_flag"),
    "click": ArgumentStyle(nulls="omit", lists="repeat", booleans="no_flag"),
    "typer": ArgumentStyle(nulls="omit", lists="repeat", booleans="no_flag", has_hyphens=True),
    "tyro": ArgumentStyle(nulls="omit", lists="words", booleans="no_flag"),
    "absl": ArgumentStyle(nulls="omit", lists="comma"),
    "fire": ArgumentStyle(is_dotted=False, is_literal=True),
}


def choose_style(style: str, changes: Mapping[str, str | None]) -> ArgumentStyle:
    """Return a named style with single rules changed; a change of None changes nothing."""
    changed: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    return replace(STYLES[style], **changed)


def _needs_quotes(text: str) -> bool:
    return not _PYTHON_WORD.fullmatch(text) or text in ("True", "False", "None")


def _word(name: str, value: Any) -> str:
    """Return an item of a list as a word of its own, which no parser may take for an option."""
    if isinstance(value, float) and value < 0 and "e" in repr(value):
        from decimal import Decimal

        return f"{Decimal(repr(value)):f}"  # argparse takes -1e-05 for an option
    text = format_python(value)
    if isinstance(value, str) and text.startswith("-"):
        raise ConfigError(f"{name}: {text!r} in a list of words would be read as an option; use lists: repeat or comma")
    return text


def format_python(value: Any) -> str:
    """Write a value as W&B does on a command line: text as it is, everything else in Python's spelling."""
    return value if isinstance(value, str) else repr(value)


def _flags_without_booleans(arguments: Arguments) -> Iterator[str]:
    for key, value in arguments.items():
        if value is True:
            yield f"--{key}"
        elif value is not False:
            yield f"--{key}={format_python(value)}"


WRITERS: dict[str, Callable[[Arguments], list[str]]] = {
    "args": WANDB.words,
    "args_no_hyphens": lambda a: [f"{k}={format_python(v)}" for k, v in a.items()],
    "args_no_boolean_flags": lambda a: list(_flags_without_booleans(a)),
    "args_no_equals": lambda a: [text for k, v in a.items() for text in (f"--{k}", format_python(v))],
    "args_append_hydra": lambda a: [format_override("+", k, v) for k, v in a.items()],
    "args_override_hydra": lambda a: [format_override("++", k, v) for k, v in a.items()],
    "args_json": lambda a: [json.dumps(a)],
}
"""W&B's macros that hand over all arguments."""

HYDRA_MACROS = ("args_append_hydra", "args_override_hydra")


def choose_writers(style: ArgumentStyle, *, speaks_hydra: bool) -> dict[str, Callable[[Arguments], list[str]]]:
    """Return what the macros of all arguments write for a program with this style, or one that uses Hydra."""
    writers = {**WRITERS, "args": style.words}
    if speaks_hydra:
        writers["args_no_hyphens"] = lambda a: [format_override("", k, v) for k, v in a.items()]
    return writers
