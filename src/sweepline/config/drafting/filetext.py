"""A sweep file's text from its keys: one line each, parameters one by one, and comments above."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweepline.config.drafting.yamltext import format_value, quote_pattern

_SHORT = {"values"}


def format_sweep(keys: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """Return the text of a sweep file."""
    return "\n".join([*(f"# {comment}" for comment in comments), *_lines(keys)]) + "\n"


def _lines(keys: Mapping[str, Any]) -> Iterator[str]:
    for key, value in keys.items():
        if key == "parameters" and isinstance(value, Mapping):
            yield "parameters:"
            yield from (f"  {format_value(name)}: {_parameter(spec)}" for name, spec in value.items())
        elif key == "metrics" and isinstance(value, Mapping):
            yield "metrics:"
            yield from (f"  {format_value(name)}: {quote_pattern(pattern)}" for name, pattern in value.items())
        else:
            yield f"{format_value(key)}: {format_value(value)}"


def _parameter(spec: Any) -> str:
    """Return a parameter in its shortest form: a list for values."""
    if isinstance(spec, Mapping) and set(spec) == _SHORT and isinstance(spec["values"], list):
        return format_value(spec["values"])
    return format_value(spec)
