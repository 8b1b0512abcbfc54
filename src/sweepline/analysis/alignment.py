"""Whether a configuration is the one that it should be: key by key, with a word for how it differs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sweepline.contract.values import same_value

ROUNDED = 0.01
"""Numbers whose relative difference is below this are the same number, written down with too few digits."""


class Alignment(StrEnum):
    """How a key of a configuration stands to the champion's."""

    MATCH = "match"
    ROUNDED = "rounded"
    MISMATCH = "mismatch"
    MISSING_HERE = "missing here"
    MISSING_IN_CHAMPION = "missing in champion"
    WAIVED = "waived"


ALIGNED = frozenset({Alignment.MATCH, Alignment.WAIVED})


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedKey:
    """A key with both values, None where a side lacks it; ``note`` is why it is waived, or how far it is off."""

    key: str
    champion: Any
    here: Any
    state: Alignment
    note: str = ""


def align(
    champion: Mapping[str, Any],
    here: Mapping[str, Any],
    *,
    waived: Mapping[str, str] | None = None,
    is_partial: bool = False,
) -> list[AlignedKey]:
    """Return how each key stands, in the champion's order, then in that of here.

    Args:
        champion: flat keys of the configuration that is the measure.
        here: flat keys of the one that is measured.
        waived: by key, or by the beginning of keys (``data.``), why a difference does not matter.
        is_partial: whether the champion asks for nothing that it does not name.
    """
    names = [*champion, *(() if is_partial else (name for name in here if name not in champion))]
    return [_align_key(name, champion, here, waived or {}) for name in names]


def _align_key(
    name: str, champion: Mapping[str, Any], here: Mapping[str, Any], waived: Mapping[str, str]
) -> AlignedKey:
    values: dict[str, Any] = {"champion": champion.get(name), "here": here.get(name)}
    state, note = _state_of(name, champion, here)
    if state != Alignment.MATCH:
        reason = waiver_of(name, waived)
        if reason is not None:
            state, note = Alignment.WAIVED, reason
    return AlignedKey(key=name, **values, state=state, note=note)


def waiver_of(name: str, waived: Mapping[str, str]) -> str | None:
    """Return why a difference in a key does not matter, by its own name or its section's; None where it does."""
    for key, reason in waived.items():
        section = key.rstrip(".")
        if name == section or name.startswith((f"{section}.", f"{section} ")):
            return reason
    return None


def _state_of(name: str, champion: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[Alignment, str]:
    if name not in here:
        return (Alignment.MATCH, "") if champion[name] is None else (Alignment.MISSING_HERE, "")
    if name not in champion:
        return (Alignment.MATCH, "") if here[name] is None else (Alignment.MISSING_IN_CHAMPION, "")
    ours, theirs = here[name], champion[name]
    if _is_same(ours, theirs):
        return Alignment.MATCH, ""
    off = _relative_difference(ours, theirs)
    return (Alignment.ROUNDED, f"{off:.2g} off") if off < ROUNDED else (Alignment.MISMATCH, "")


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Sequence) and isinstance(other, Sequence) and not isinstance(one, str):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return same_value(one, other)


def _relative_difference(one: Any, other: Any) -> float:
    """Return how far apart numbers are, the farthest pair of two lists of them; infinite where they are none."""
    pairs = list(_number_pairs(one, other))
    if not pairs or any(pair is None for pair in pairs):
        return math.inf
    return max(abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0 for a, b in filter(None, pairs))


def _number_pairs(one: Any, other: Any) -> Iterator[tuple[float, float] | None]:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        for a, b in zip(one, other, strict=True):
            yield from _number_pairs(a, b)
    elif _is_number(one) and _is_number(other):
        yield float(one), float(other)
    else:
        yield None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
