"""How values stand in the cells of ``runs.csv``, and whether a cell still says what was written. No files here.

A cell is what a spreadsheet and ``pandas.read_csv`` make the right thing of without being told anything.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

NULL = "~"
"""A parameter that is null, in YAML's other spelling: pandas takes the word null for a missing value."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_LOOKS_LIKE_NUMBER = re.compile(r"\s*[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?\s*|\s*[+-]?(inf(inity)?|nan)\s*", re.I)
# What pandas reads as missing (pandas.read_csv, na_values) or as a boolean, in any case, and our own sign for null.
_READ_AS_SOMETHING_ELSE = frozenset(
    {"", "#n/a", "#n/a n/a", "#na", "1.#ind", "1.#qnan", "<na>", "n/a", "na", "null", "none", "true", "false", NULL}
)


def format_cell(value: Any) -> str:
    """Return a value as one cell: numbers with every digit, text that no spreadsheet runs, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple, Mapping)):
        value = json.dumps(value)
    return guard(value) if isinstance(value, str) else str(value)


def format_parameter(value: Any) -> str:
    """Return a parameter's value as one cell: null, and text that would be read as something else, stand apart."""
    if value is None:
        return NULL
    if isinstance(value, str):
        is_doubtful = value.lower() in _READ_AS_SOMETHING_ELSE or _LOOKS_LIKE_NUMBER.fullmatch(value)
        return on_one_line(f"'{value}") if is_doubtful or value.startswith("'") else guard(value)
    return format_cell(value)


def says(cell: str, kind: str, value: Any) -> bool:
    """Whether a cell holds a value, as it is written now or as earlier versions wrote it."""
    return cell == format_cell(value) or (kind == "param" and cell == format_parameter(value))


def guard(text: str) -> str:
    """Return text that no spreadsheet takes for a formula, on one line."""
    return on_one_line(f"'{text}" if text.startswith(_FORMULA_STARTS) else text)


def on_one_line(text: str) -> str:
    """Return text with its line ends written out."""
    return text.replace("\r", "\\r").replace("\n", "\\n")


def csv_line(cells: Iterable[str]) -> bytes:
    """Return one line of a CSV file."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue().encode("utf-8", "backslashreplace")


def read_rows(content: bytes) -> tuple[list[str], list[dict[str, str]]]:
    """Return the header of a table, and its rows by column.

    Raises:
        ValueError: it is no whole table: torn, not UTF-8, or with rows of another length than the header.
    """
    text = content.decode("utf-8")
    if "\r" in text:
        raise ValueError("its line ends were changed")
    if text and not text.endswith("\n"):
        raise ValueError("the last row is torn")
    try:
        header, *rows = list(csv.reader(io.StringIO(text, newline=""), strict=True)) or [[]]
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if len(set(header)) != len(header):
        raise ValueError("a column stands twice in the header")
    return header, [dict(zip(header, cells, strict=True)) for cells in rows]


def read_cell(cell: str) -> Any:
    """Return what a cell says: a number, a boolean, text; None for an empty one and for a parameter that is null."""
    if cell in ("", NULL):
        return None
    if cell.startswith("'"):
        return cell[1:]
    if cell in ("True", "False"):
        return cell == "True"
    try:
        return int(cell)
    except ValueError:
        pass
    try:
        return float(cell)
    except ValueError:
        return cell
