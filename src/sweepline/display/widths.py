"""Text in a given number of columns: how wide it is, shortened so that it can still be told apart, wrapped."""

from __future__ import annotations

import itertools
import re
import shutil
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TextIO

GAP = "…"
MIN_COLUMNS = 40
_PIECE = re.compile(r"[^\W\d_]+|\d[\d.]*(?:e[-+]?\d+)?|.", re.DOTALL)


def columns_of(stream: TextIO) -> int | None:
    """Return how many columns a terminal has; None for a pipe or a file, where nothing needs to be cut."""
    if not stream.isatty():
        return None
    return max(MIN_COLUMNS, shutil.get_terminal_size((80, 24)).columns)


def width_of(text: str) -> int:
    """Return how many columns a terminal needs for a text."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def pad(text: str, width: int, *, is_right: bool = False) -> str:
    """Return a text filled with spaces to a width: behind it, or before it."""
    spaces = " " * (width - width_of(text))
    return spaces + text if is_right else text + spaces


def shorten(text: str, width: int) -> str:
    """Return a text without its middle where it is too wide."""
    if width_of(text) <= width:
        return text
    n_left = width - 1
    end = _take(reversed(text), n_left // 2)[::-1]
    return _take(text, n_left - width_of(end)).rstrip(GAP) + GAP + end.lstrip(GAP)


def cut(text: str, width: int) -> str:
    """Return a text without its end where it is too wide."""
    return text if width_of(text) <= width else _take(text, width - 1) + GAP


def _take(letters: Iterable[str], width: int) -> str:
    taken, left = "", width
    for letter in letters:
        left -= width_of(letter)
        if left < 0:
            break
        taken += letter
    return taken


def shorten_apart(names: Sequence[str], width: int) -> list[str]:
    """Return names shortened so that no two look alike that differ: what they share goes first, its longest words.

    A name that fits stays whole where it can. What cannot be told apart in that width by its letters gets a number.
    """
    unique = list(dict.fromkeys(names))
    if all(width_of(name) <= width for name in unique):
        return list(names)
    short = dict(zip(unique, _without_shared(unique, width), strict=True))
    fitting = {name: shorten(text, width) for name, text in short.items()}
    if len(set(fitting.values())) < len(unique):
        fitting = dict(zip(unique, _without_ends(unique, width), strict=True))
    if len(set(fitting.values())) < len(unique):
        fitting = {name: _numbered(text, i, width) for i, (name, text) in enumerate(short.items(), 1)}
    return [fitting[name] for name in names]


def _without_ends(names: Sequence[str], width: int) -> list[str]:
    """Return of names what stands between the letters with which all begin and all end, as much more as fits."""
    n_before = _n_shared(names)
    n_behind = _n_shared([name[n_before:][::-1] for name in names])
    longest = max(width_of(name[n_before : len(name) - n_behind]) for name in names)
    n_before = max(0, n_before - max(0, width - longest - 2))
    return [
        shorten(GAP * (n_before > 0) + name[n_before : len(name) - n_behind] + GAP * (n_behind > 0), width)
        for name in names
    ]


def _n_shared(names: Sequence[str]) -> int:
    """Return with how many letters all begin."""
    columns = zip(*names, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda letters: len(set(letters)) == 1, columns))


def _numbered(text: str, number: int, width: int) -> str:
    mark = f"{GAP}{number}"
    return _take(text, max(0, width - len(mark))) + mark


def _without_shared(names: Sequence[str], width: int) -> list[str]:
    """Return names without as many of the pieces that all have as it takes for each to fit."""
    split = [_PIECE.findall(name) for name in names]
    n_least = min(map(len, split))
    if len(names) == 1:
        return list(names)
    if all(len(pieces) == n_least for pieces in split):
        shared = [i for i in range(n_least) if len({pieces[i] for pieces in split}) == 1]
    else:
        shared = _shared_ends(split, n_least)
    left_out: set[int] = set()
    shown = list(names)
    for i in sorted(shared, key=lambda i: (-len(split[0][i]), abs(i % n_least - n_least / 2))):
        if max(map(width_of, shown)) <= width:
            break
        left_out.add(i)
        left_out |= {j for j in shared if len(split[0][j]) == 1 and {j - 1, j + 1} <= left_out}  # a sign between two
        shown = [_join(pieces, left_out) for pieces in split]
    return shown


def _shared_ends(split: Sequence[Sequence[str]], n_least: int) -> list[int]:
    """Return the positions of what all begin with, and, counted from behind, of what all end with."""
    first = next((i for i in range(n_least) if len({pieces[i] for pieces in split}) > 1), n_least)
    n_behind = n_least - first
    last = next((i for i in range(1, n_behind + 1) if len({pieces[-i] for pieces in split}) > 1), n_behind + 1)
    return [*range(first), *range(-last + 1, 0)]


def _join(pieces: Sequence[str], left_out: set[int]) -> str:
    """Return the pieces as one text, a mark where some are left out."""
    text, n = "", len(pieces)
    for i, piece in enumerate(pieces):
        if i not in left_out and i - n not in left_out:
            text += piece
        elif not text.endswith(GAP):
            text += GAP
    return text


def wrap(text: str, width: int | None, *, indent: int = 0, first: str = "") -> list[str]:
    """Return a text as lines no wider than ``width``, as far as its words allow: a path or a number is never cut."""
    if width is None:
        return [first + text]
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]
