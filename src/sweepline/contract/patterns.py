r"""Numbers that regular expressions find in the output of scripts without METRIC lines: each is read whole, or refused.

``([\d.]+)`` stops inside ``7.5e-05`` and does not match ``nan``; what stands there in the text decides, not the group.
"""

from __future__ import annotations

import bisect
import functools
import math
import re
from collections.abc import Iterator

NUMBER = r"[+-]?(?:(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?|(?i:nan|inf(?:inity)?+))"

_MAX_NUMBER_CHARS = 64
_ONE_NUMBER = re.compile(NUMBER, re.ASCII)
_IN_NUMBERS = frozenset("0123456789.,+-\u2212eE_#'\u2019\u00a0\u202f\u2009xX")
_NOT_FINITE = r"(?:(?i:nan|inf(?:inity)?+)(?![^\W\d_])|1\.#(?:IND|INF|QNAN|SNAN)\d*)"
_ODD = rf"[+\-\u2212]?(?:{_NOT_FINITE}|(?:\d{{1,64}}(?:\.\d{{0,64}})?|\.\d{{1,64}})(?:[eE][+-]?\d{{1,9}})?)"
_TOKEN = re.compile(
    rf"""(?:(?<![\w.,)\]])[+\-\u2212])?
    (?: {_NOT_FINITE.replace("#", "[#]")}
    | 0[xX][0-9a-fA-F]+
    | (?: (?<![\d,])\d{{1,3}}(?:,\d{{3}})+(?![\d,])(?:\.\d*)?    # 1,234.5
        | (?<![\d,.])\d+,\d+(?![\d,.])                          # 0,95 is 0.95 somewhere; read as nothing
        | \d+(?:[._'\u2019\u00a0\u202f\u2009]\d+)*\.?
        | \.\d+ )
      (?:[eE][+-]?\d+)? )""",
    re.VERBOSE | re.ASCII,
)
_OPEN, _CLOSE = r"(?:[A-Za-z_][\w.]{0,40}\(|[<(\[{'\"*]{1,3})", r"[\])}>'\"*]{1,3}"
_NO_VALUE = rf"{_OPEN}?(?:(?-i:None|null|N/A|n/a)|{_NOT_FINITE})(?![^\W_])(?:{_CLOSE})?"
_WRAPPED = rf"{_OPEN}{_ODD}{_CLOSE}"  # np.float64(0.5)
_GOES_ON = re.compile(r"[eE][+-]?(?![A-Za-z])\d*|[._'\u2019]\d+")  # 1e5e5, 1e5_0, 1e
_IN_THREES = re.compile(
    r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3})++(?:\.\d*+)?+(?![\w/:%]| [\d.+-])",  # 1 234, but no columns of numbers
    re.ASCII,
)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?(?:[eE][+-]?\d+)?", re.ASCII)
_NOT_WORDS = re.compile(r"\\.|\[[^\]]*\]|\(\?(?:\w+[):-]|P<\w+>)", re.DOTALL)
_LITERAL = re.compile(r"[^\\.^$*+?{}\[\]()]*")


def place_of(name: str) -> str:
    """Return which place the expression of a name tells: ``step`` of ``step 2``, the second that does."""
    return name.partition(" ")[0]


def parse_number(text: str) -> float | None:
    """Return the number that a text is; None for everything in doubt, such as ``0,95`` and ``95%``."""
    text = text.replace("\u2212", "-")
    if _ONE_NUMBER.fullmatch(text):
        return float(text)
    if _THOUSANDS.fullmatch(text):
        return float(text.replace(",", ""))
    unsigned = text.lstrip("+-")
    if unsigned.startswith("1.#") and re.fullmatch(_NOT_FINITE, unsigned):
        is_infinite = unsigned[3:6] == "INF"
        return math.copysign(math.inf if is_infinite else math.nan, -1.0 if text.startswith("-") else 1.0)
    return None


class NumberPattern:
    """An expression with one group, and what is needed to read numbers whole where it matches."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        before, after = _around_group(pattern.pattern)
        self._has_minus = before.endswith(("-", "\u2212"))
        self._after = after
        self._has_comma = after.startswith(",")
        self._has_blank = after.startswith((" ", "\\s", "[ "))
        self._has_words = re.search(r"[^\W\d_]{2}", _NOT_WORDS.sub(" ", before)) is not None
        self._literal = _literal_start(pattern)
        self._odd = (
            _compile(f"{before}({_WRAPPED}|{_NO_VALUE}|{_ODD}){after}", pattern.flags) if before or after else None
        )

    def find(self, line: str) -> Iterator[tuple[float | None, str]]:
        """Yield each number on a line with its text; None for one that cannot be read without doubt."""
        if self._literal not in line:
            return
        found = [(match.span(), *self._read(line, match)) for match in self._pattern.finditer(line)]
        if self._odd is not None and (not self._literal or line.count(self._literal) > len(found)):
            spans = [entry[0] for entry in found]
            for match in self._odd.finditer(line):
                n_before = bisect.bisect_left(spans, (match.end(), 0))
                if n_before == 0 or spans[n_before - 1][1] <= match.start():
                    found += [(match.span(), *odd) for odd in self._read_odd(line, match)]
            found.sort(key=lambda entry: entry[0])
        for _, value, text in found:
            yield value, text

    def _read_odd(self, line: str, match: re.Match[str]) -> Iterator[tuple[float | None, str]]:
        """Yield what stands where the expression has its words, and a number that it does not take."""
        value, text = self._read(line, match)
        if value is not None and (not math.isfinite(value) or self._wants_unsigned(line, match)):
            yield value, text
        elif self._has_words or self._literal:
            yield None, text

    def _wants_unsigned(self, line: str, match: re.Match[str]) -> bool:
        """Whether a sign is all for which the expression does not take a number."""
        at = match.start(1)
        if line[at] not in "+-\u2212" or self._has_minus or re.match(r"[\w.,)\]]", line[at - 1 : at]):
            return False
        unsigned = self._pattern.match(line[:at] + line[at + 1 :], match.start())
        return unsigned is not None and unsigned.start(1) == at

    def _read(self, line: str, match: re.Match[str]) -> tuple[float | None, str]:
        text = match.group(1) or ""
        bare = text.strip().rstrip(",;:")
        start = match.start(1) + text.find(bare)
        end = start + len(bare)
        if not bare:
            return None, match.group()
        if line[start - 1 : start] in _IN_NUMBERS or line[end : end + 1] in _IN_NUMBERS:
            start, end = self._whole(line, start, end)
        if not self._has_blank and (spaced := _IN_THREES.match(line, start)) is not None:
            end = max(end, spaced.end())
        bare = line[start:end]
        value = parse_number(bare)
        if value is None:
            value = parse_number(bare.removesuffix("."))  # the end of a sentence
        return value, line[match.start() : max(match.end(), end)]

    def _whole(self, line: str, start: int, end: int) -> tuple[int, int]:
        """Return where the number begins and ends of which a group took a part."""
        at = start
        while at > 0 and start - at < _MAX_NUMBER_CHARS and line[at - 1] in _IN_NUMBERS:
            at -= 1
        for token in _TOKEN.finditer(line, at):
            if token.start() >= end:
                break
            if token.end() > start:
                text = token.group()
                first = token.start() + (self._has_minus and token.start() == start - 1)
                last = token.end()
                if self._has_comma and "," in text and line[end : end + 1] == ",":
                    last = end
                elif (more := _GOES_ON.match(line, last)) is not None and not self._after.startswith(line[last]):
                    last = more.end()
                if last > end and line[last - 1] == ".":
                    last -= 1
                return min(start, first), max(end, last)
        return start, end


@functools.lru_cache(maxsize=1024)
def number_pattern(pattern: re.Pattern[str]) -> NumberPattern:
    """Return the reader of an expression's numbers; equal expressions share one."""
    return NumberPattern(pattern)


def _compile(source: str, flags: int) -> re.Pattern[str] | None:
    try:
        return re.compile(source, flags)
    except re.error:  # the group stands inside another one
        return None


def _literal_start(pattern: re.Pattern[str]) -> str:
    """Return the characters with which every match begins."""
    source = pattern.pattern
    if "|" in source or pattern.flags & (re.IGNORECASE | re.VERBOSE):
        return ""
    match = _LITERAL.match(source)
    literal = match.group() if match else ""
    return literal[:-1] if source[len(literal) : len(literal) + 1] in ("*", "?", "{") else literal


def _around_group(source: str) -> tuple[str, str]:
    """Return the source of an expression before and after its only capturing group."""
    depth, at, start, depth_inside = 0, 0, -1, -1
    while at < len(source):
        char = source[at]
        if char == "\\":
            at += 1
        elif char == "[":
            at = _end_of_class(source, at)
        elif char == "(":
            depth += 1
            if start < 0 and (source[at + 1 : at + 2] != "?" or source[at + 1 : at + 4] == "?P<"):
                start, depth_inside = at, depth
        elif char == ")":
            if depth == depth_inside:
                return source[:start], source[at + 1 :]
            depth -= 1
        at += 1
    return "", ""


def _end_of_class(source: str, at: int) -> int:
    """Return where a character class ends that begins at ``at``; a bracket at its start belongs to it."""
    at += 2 if source[at + 1 : at + 2] == "^" else 1
    at += source[at : at + 1] == "]"
    while at < len(source) and source[at] != "]":
        at += 2 if source[at] == "\\" else 1
    return at
