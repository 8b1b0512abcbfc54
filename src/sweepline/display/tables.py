"""Tables of plain text: numbers aligned on their point, and never wider than they may be. Draws nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sweepline.display.widths import pad, shorten, shorten_apart, width_of, wrap

SPACE = 2
_LEAST = 8
_SPREAD = " ± "
_NUMBER = re.compile(r"([-+]?[\d,]*)((?:\.\d*)?(?:[eE][-+]?\d+)?)")
_NO_NUMBER = frozenset({"-", "", "nan", "inf", "-inf"})


def is_numeric(cells: Sequence[str]) -> bool:
    """Whether cells are numbers, with or without a spread, or stand for one that is missing."""
    told = [cell.strip() for cell in cells if cell.strip() not in _NO_NUMBER]
    return bool(told) and all(_is_number(part.strip()) for cell in told for part in cell.split(_SPREAD))


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and any(letter.isdigit() for letter in text)


def align_numbers(cells: Sequence[str]) -> list[str]:
    """Return cells of one width, their points below each other; behind a ``±`` once more."""
    if any(_SPREAD in cell for cell in cells):
        pairs = [cell.partition(_SPREAD) for cell in cells]
        spreads = align_numbers([spread for _, _, spread in pairs])
        means = align_numbers([mean for mean, _, _ in pairs])
        both = [
            mean + sign + spread if sign else mean
            for mean, (_, sign, _), spread in zip(means, pairs, spreads, strict=True)
        ]
    else:
        wholes = [_whole(cell) for cell in cells]
        before = max(map(len, wholes), default=0)
        both = [" " * (before - len(whole)) + cell for cell, whole in zip(cells, wholes, strict=True)]
    width = max(map(len, both), default=0)
    return [cell.ljust(width) for cell in both]


def _whole(cell: str) -> str:
    """Return what stands before the point: all of what is no number."""
    found = _NUMBER.fullmatch(cell)
    return cell if found is None else found[1]


def align_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines, its first row the header: text to the left, numbers on their point."""
    return _join(_columns(rows))


def fit_table(rows: Sequence[Sequence[str]], width: int | None, *, n_text: int = 0) -> list[str]:
    """Return a table as lines no wider than ``width``, its first row the header.

    Dotted headings lose their first parts, then text is shortened where that is enough; numbers never are. Else every
    row becomes a paragraph of names and values. The first ``n_text`` columns stand before those, and stay whole.
    """
    lines = try_table(rows, width, n_text=n_text)
    if lines is not None or width is None:
        return lines or []
    return _paragraphs([_short_headings(rows[0], n_text), *rows[1:]], width, n_text)


def try_table(rows: Sequence[Sequence[str]], width: int | None, *, n_text: int = 0) -> list[str] | None:
    """Return the table that :func:`fit_table` returns, None where it would have to be paragraphs."""
    columns = _columns(rows)
    if width is None or _total(columns) <= width:
        return _join(columns)
    names = _short_headings(rows[0], n_text)
    columns = _columns([names, *rows[1:]])
    wanted = [width_of(column[0]) for column in columns]
    least = [*wanted[:n_text], *map(_least_width, columns[n_text:])]
    room = width - SPACE * (len(columns) - 1)
    if sum(least) <= room:
        while sum(wanted) > room:
            wanted[max((i for i in range(len(wanted)) if wanted[i] > least[i]), key=lambda i: wanted[i])] -= 1
    headings = [shorten(name, n) for name, n in zip(names, wanted, strict=True)]
    if sum(wanted) > room or len(set(headings)) < len(headings):
        return None
    return _join([_column(cells, n, name) for cells, n, name in zip(columns, wanted, headings, strict=True)])


def _short_headings(headings: Sequence[str], n_text: int) -> list[str]:
    return [*headings[:n_text], *shorten_dotted(headings[n_text:])]


def shorten_dotted(names: Sequence[str]) -> list[str]:
    """Return for each name the least of its last dotted parts that no other ends with."""
    return [_least_end(name, [other for other in names if other != name]) for name in names]


def _least_end(name: str, others: Sequence[str]) -> str:
    parts = name.split(".")
    ends = (".".join(parts[i:]) for i in range(len(parts) - 1, 0, -1))
    return next((end for end in ends if not any(f".{other}".endswith(f".{end}") for other in others)), name)


def _least_width(column: Sequence[str]) -> int:
    """Return the width below which a column may not be cut: numbers stay whole, headings can be guessed."""
    heading, *cells = (cell.rstrip() for cell in column)
    widest = max(map(width_of, cells), default=0)
    return max(min(width_of(heading), _LEAST), widest if is_numeric(cells) else min(widest, _LEAST))


def _columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the columns of a table, the cells of each equally wide."""
    found = []
    for heading, *cells in zip(*rows, strict=True):
        told = align_numbers(cells) if is_numeric(cells) else cells
        width = max(map(width_of, (heading, *told)))
        found.append([pad(cell, width) for cell in (heading, *told)])
    return found


def _column(cells: Sequence[str], width: int, heading: str) -> list[str]:
    told = [cell.rstrip() for cell in cells[1:]]
    return [pad(cell, width) for cell in (heading, *shorten_apart(told, width))]


def _total(columns: Sequence[Sequence[str]]) -> int:
    return max(map(width_of, _join(columns)), default=0)


def _join(columns: Sequence[Sequence[str]]) -> list[str]:
    return [(" " * SPACE).join(row).rstrip() for row in zip(*columns, strict=True)]


def _paragraphs(rows: Sequence[Sequence[str]], width: int, n_text: int) -> list[str]:
    """Return every row as ``name=value`` after its first cells, wrapped between them."""
    header, *others = rows
    lines = []
    for row in others:
        first = "".join(f"{cell}  " for cell in row[:n_text])
        indent = min(width_of(first), 4)
        pairs = [f"{name}={value}" for name, value in zip(header[n_text:], row[n_text:], strict=True)]
        lines += _wrap_pairs([shorten(pair, width - indent) for pair in pairs], width, first, indent)
    return lines


def _wrap_pairs(pairs: Sequence[str], width: int, first: str, indent: int) -> list[str]:
    """Return pairs in lines; the spaces inside a pair are none to break at."""
    kept = [pair.replace(" ", "\x00") for pair in pairs]
    return [line.replace("\x00", " ") for line in wrap("  ".join(kept), width, indent=indent, first=first)]
