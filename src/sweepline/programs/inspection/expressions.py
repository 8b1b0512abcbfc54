"""Regular expressions for printed lines: one for all metrics of a line, with the step or the epoch that stands there.

Each is tried on a line as the program would print it before it is proposed, and on the other lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sweepline.contract.patterns import NUMBER as ANY_NUMBER
from sweepline.programs.inspection.facts import Expression, Told
from sweepline.programs.inspection.metricwords import split_of, words_of
from sweepline.programs.inspection.templates import Hole, Piece

NUMBER = "{number}"
"""How a sweep file writes what finds a number."""
WORD_BEFORE = r"(?<![A-Za-z_])(?<![A-Za-z] )"
_SEPARATORS = re.compile(r"^[\s,;|/*()\[\]\-–—:.>=%'\"]+")
_PLACES = {"epoch": "epoch", "step": "step", "iter": "step", "iteration": "step"}
_AROUND_PLACES = frozenset(
    {"global", "current", "num", "idx", "train", "training", "n", "i", "self", "state", "trainer"}
)
_MEAN_AFTER = re.compile(r"avg|mean|_m$|smooth|global")
_PIECES_OF_LINE = re.compile(r"[,;|()\[\]\t]")


def core_of(text: str) -> str:
    """Return the text before a number without what separates it from the one before."""
    cut = _SEPARATORS.sub("", text)
    return (cut or text.strip()).rstrip()


def escape(text: str) -> str:
    """Return a text as a regular expression that people can read: single blanks stay as they are."""
    escaped = re.sub(r"([\\.^$*+?{}\[\]()|])", r"\\\1", text)
    return re.sub(r"\s{2,}|\t", r"\\s+", escaped)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return an expression as a sweep reads it."""
    has_group = re.compile(pattern.replace(NUMBER, "")).groups > 0
    return re.compile(pattern.replace(NUMBER, f"(?:{ANY_NUMBER})" if has_group else f"({ANY_NUMBER})"))


def expressions_of(told: Sequence[Told], lines: Mapping[str, Sequence[Piece]]) -> list[Expression]:
    """Return the expressions that find what is printed, in the order of what is told.

    Args:
        told: the metrics, each under a name of its own.
        lines: the printed lines that they stand on, by :attr:`Told.line`.
    """
    groups: dict[str, list[Told]] = {}
    for one in told:
        if one.pattern:
            groups.setdefault(one.line or f"alone {one.name}", []).append(one)
    found: list[Expression] = []
    for line, members in groups.items():
        joint = _joint(line, members, lines) if line in lines else None
        found += [_single(one) for one in members] if joint is None else [joint]
    return list(_with_own_keys(found))


def _single(told: Told) -> Expression:
    return Expression(names=(told.name,), pattern=told.pattern, key=told.name, where=told.where, example=told.example)


def _with_own_keys(found: Sequence[Expression]) -> Iterator[Expression]:
    taken = {one.key for one in found if len(one.names) == 1}
    for one in found:
        key, n = one.key, 2
        while len(one.names) > 1 and key in taken:
            key, n = f"{one.key}_{n}", n + 1
        taken.add(key)
        yield replace(one, key=key)


def _joint(line: str, members: Sequence[Told], lines: Mapping[str, Sequence[Piece]]) -> Expression | None:
    """Return one expression for a line; None where it has one number alone, or none that finds what it should."""
    pieces = lines[line]
    names = {one.at: one.name for one in members}
    places = {at: name for at, name in _places(pieces) if at not in names}
    groups = dict(sorted({**names, **places}.items()))
    if len(groups) < 2 or not all(name.isidentifier() for name in groups.values()):
        return None
    pattern = _pattern(pieces, groups)
    others = [_rendered(other, {}) for key, other in lines.items() if key != line]
    for start in ("", WORD_BEFORE):
        if _finds(f"{start}{pattern}", pieces, groups):
            is_own = not any(compile_pattern(f"{start}{pattern}").search(other) for other in others)
            if is_own or start:
                told = members[0]
                return Expression(
                    names=tuple(names.values()) + tuple(places.values()),
                    pattern=f"{start}{pattern}",
                    key=_key(told),
                    where=told.where,
                    example=told.example,
                )
    return None


def _key(told: Told) -> str:
    """Return a word for a line: the part of the data, else the function that prints it, else where it stands."""
    function = told.context.partition(" ")[0]
    plain = function if function.isidentifier() and function != "main" else ""
    return split_of(words_of(told.context)) or plain or f"line {told.where.rpartition(':')[2]}"


def _places(pieces: Sequence[Piece]) -> Iterator[tuple[int, str]]:
    """Yield where on a line the step and the epoch stand, each once."""
    seen = set[str]()
    for at, piece in enumerate(pieces):
        before = pieces[at - 1] if at else ""
        if isinstance(piece, Hole) and isinstance(before, str) and not piece.is_float:
            name = _place(before, piece.expression)
            if name and name not in seen:
                seen.add(name)
                yield at, name


def _place(before: str, expression: str) -> str:
    """Return which place a number is, by its label, else by its expression; empty for any other number."""
    if before.rstrip().endswith(("/", "%")):
        return ""  # the second of 3/10 is how many there are
    label = words_of(_PIECES_OF_LINE.split(before.rstrip(" :=\t([{'\"#"))[-1])
    words = label or [word for word in words_of(expression) if not word.isdigit()]
    if not words or re.search(r"[*/(]", expression):
        return ""
    name = next((word for word in reversed(words) if word not in _AROUND_PLACES), "")
    return _PLACES.get(name, "")


def _pattern(pieces: Sequence[Piece], groups: Mapping[int, str]) -> str:
    """Return an expression in which each number that counts is a group named after it."""
    parts: list[str] = []
    last = -2
    for at, name in groups.items():
        before = pieces[at - 1] if at and isinstance(pieces[at - 1], str) else ""
        text = str(before)
        is_next = last == at - 2 and bool(text.strip())
        label = text if is_next else core_of(text)
        joint = "" if is_next or not parts else ".*?"
        parts.append(f"{joint}{escape(label.rstrip())}{_gap(label, text, pieces[at])}{_group(pieces, at, name)}")
        last = at
    return "".join(parts)


def _gap(label: str, before: str, hole: Piece) -> str:
    """Return what stands between a label and its number: blanks as they are, more where the number is padded."""
    if not label.strip() or (isinstance(hole, Hole) and hole.is_padded) or re.search(r"\s{2,}$|\t$", before):
        return r"\s*"
    return " " if before.endswith(" ") else ""


def _group(pieces: Sequence[Piece], at: int, name: str) -> str:
    if name in ("epoch", "step"):
        return rf"(?P<{name}>\d+)"
    mean = rf"{NUMBER}\s*\(\s*" if has_mean_after(pieces, at) else ""
    return f"{mean}(?P<{name}>{NUMBER})"


def has_mean_after(pieces: Sequence[Piece], at: int) -> bool:
    """Whether a number is followed by its mean in parentheses, as in ``0.5 (0.7)``."""
    between, mean = (pieces[at + 1], pieces[at + 2]) if at + 2 < len(pieces) else ("", "")
    is_mean = isinstance(mean, Hole) and _MEAN_AFTER.search(mean.expression) is not None
    return is_mean and isinstance(between, str) and between.strip() == "("


def _rendered(pieces: Sequence[Piece], values: Mapping[int, str]) -> str:
    """Return a line as the program might print it."""
    return "".join(p if isinstance(p, str) else values.get(at, "0.7") for at, p in enumerate(pieces))


def _finds(pattern: str, pieces: Sequence[Piece], groups: Mapping[int, str]) -> bool:
    """Whether an expression finds each number of its line under its name."""
    values, wanted = {}, {}
    for n, (at, name) in enumerate(groups.items()):
        text = str(n + 11) if name in ("epoch", "step") else f"0.{n + 11}"
        values[at + 2 if has_mean_after(pieces, at) else at] = text
        wanted[name] = text
    found = compile_pattern(pattern).search(_rendered(pieces, values))
    return found is not None and found.groupdict() == wanted
