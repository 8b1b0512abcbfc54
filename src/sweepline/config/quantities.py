"""Numbers, times and commands as a sweep file writes them, for all of its blocks."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

Count = Annotated[int, Field(strict=True, ge=1)]


_NUMBER = r"(\d+(?:\.\d+)?)\s*"
_DURATION = re.compile(
    rf"(?:{_NUMBER}d(?:ays?)?)?\s*(?:{_NUMBER}h(?:ours?)?)?\s*(?:{_NUMBER}m(?:in(?:utes?)?)?)?\s*(?:{_NUMBER}s(?:ec(?:onds?)?)?)?"
)


def parse_duration(value: Any) -> float:
    """Return seconds from ``90``, ``"90s"``, ``"2h"`` or ``"1h 30m"``.

    Raises:
        ValueError: the text is no duration, or not above zero.
    """
    seconds = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())) and any(match.groups()):
        parts = [float(part or 0) for part in match.groups()]
        seconds = parts[0] * 86400 + parts[1] * 3600 + parts[2] * 60 + parts[3]
    if seconds is None or not 0 < seconds < float("inf"):
        raise ValueError(f"needs a time above zero such as 90s, 30m or 2h, got {value!r}")
    return seconds


def _split_words(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is no command: {error}") from None
    if isinstance(value, list) and value and all(isinstance(word, (str, int, float)) for word in value):
        return [str(word) for word in value]
    raise ValueError(f"needs a command, its words as a list or as one text, got {value!r}")


Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema({"type": ["string", "number"]})]
Words = Annotated[
    list[str],
    BeforeValidator(_split_words),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number"]}}]}),
]
