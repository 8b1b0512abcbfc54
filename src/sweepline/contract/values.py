"""How typed values are written: in YAML files, and as ``key=value`` on an argument list.

Writer and reader stand together because a value must arrive as it left: 1e-4 a float, "1e-4" a string, -0.0 negative.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sweepline.contract.yamlfile import parse_yaml
from sweepline.errors import ConfigError

_PLAIN_WORD = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*", re.ASCII)


def is_number(value: Any) -> bool:
    """Whether a value is a number; a boolean is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def parse_value(text: str) -> Any:
    """Read one value as it stands right of ``=``: YAML, and plain text where it is no YAML."""
    if _PLAIN_WORD.fullmatch(text) and not _is_reserved(text):
        return text
    if text == "":
        return ""
    try:
        return parse_yaml(text, "value").value
    except ConfigError:
        return text


@functools.lru_cache(maxsize=4096)
def _is_reserved(word: str) -> bool:
    return word.lower() in {"y", "n", "yes", "no", "on", "off", "true", "false", "null", ".", ".."} or word.startswith(
        "."
    )


def format_value(value: Any) -> str:
    """Write one value so that :func:`parse_value` returns it, type and sign included."""
    if isinstance(value, str):
        return _format_str(value)
    return _format_nested(value)


@functools.lru_cache(maxsize=4096)
def _format_str(value: str) -> str:
    if _PLAIN_WORD.fullmatch(value) and not _is_reserved(value):
        return value
    plain = parse_value(value)
    is_safe = isinstance(plain, str) and plain == value and value != "" and value.isprintable() and "'" not in value
    return value if is_safe else _quote(value)


def _quote(value: str) -> str:
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escape(char) for char in quoted)


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _format_nested(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else {"inf": ".inf", "-inf": "-.inf"}.get(repr(value), ".nan")
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quote(str(k))}: {_format_nested(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_format_nested(item) for item in value) + "]"
    return str(value)


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``key=value``.

    Raises:
        ConfigError: there is no ``=``, or nothing before it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"override {text!r}: expected key=value, for example learner.step_size=0.1")
    return key.strip(), parse_value(value)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one mapping of dotted names; empty mappings stay values."""
    return dict(_leaves(tree, prefix))


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def same_value(asked: Any, got: Any) -> bool:
    """Whether two values are the same setting: 1 and 1.0 are, true and 1 are not, nan is itself."""
    if isinstance(asked, bool) or isinstance(got, bool):
        return asked is got
    if isinstance(asked, (int, float)) and isinstance(got, (int, float)):
        return asked == got or (math.isnan(asked) and math.isnan(got))
    if isinstance(asked, (list, tuple)) and isinstance(got, (list, tuple)):
        return len(asked) == len(got) and all(map(same_value, asked, got))
    if isinstance(asked, Mapping) and isinstance(got, Mapping):
        return asked.keys() == got.keys() and all(same_value(asked[key], got[key]) for key in asked)
    return type(asked) is type(got) and bool(asked == got)
