"""Text that others wrote, made fit for one line of a terminal or a table. Not for values that must stay as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def strip_escapes(text: str) -> str:
    """Return text without what moves a terminal's cursor, colours it or sets its title."""
    return _ESCAPE.sub("", text) if "\x1b" in text else text


def printable(text: str) -> str:
    """Return text that no terminal obeys: without escape sequences, each other control character replaced."""
    return _CONTROL.sub("\ufffd", strip_escapes(text))


def one_line(text: str, limit: int = 300) -> str:
    """Return printable text on one line, cut with a mark."""
    line = printable(" ".join(strip_escapes(text).split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def name_some(names: Sequence[str], n: int = 3) -> str:
    """Return the first names in a row, and how many more there are."""
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


def display_path(path: Path) -> str:
    """Return ``path`` relative to the working directory when that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except (ValueError, OSError):
        return str(path)
