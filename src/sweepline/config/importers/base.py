"""What an importer returns, and the distributions that all tools have, in a sweep file's words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepline.errors import ConfigError

REPLACE_ME = "REPLACE_ME"
DEFAULT_SAMPLES = 20
_MAX_POINTS = 10_000


@dataclass(kw_only=True)
class Imported:
    """A sweep file in the making: its keys in order, and a sentence for each key that could not be carried over."""

    keys: dict[str, Any] = field(default_factory=dict)
    notes: list[tuple[str, str]] = field(default_factory=list)

    def note(self, key: str, sentence: str) -> None:
        """Say what became of a key."""
        self.notes.append((key, sentence))

    def put(self, key: str, value: Any) -> None:
        """Set a key of the sweep file, where there is a value for it."""
        if value is not None and value not in ("", [], {}):
            self.keys[key] = value

    def leave(self, block: Mapping[Any, Any], known: Iterable[str], *, at: str = "", why: str = "") -> None:
        """Say of every key of a block that is not known that it was not carried over."""
        for key in block:
            if str(key) not in known:
                self.note(f"{at}{key}", why or "has no counterpart here")


@dataclass(frozen=True, slots=True)
class Config:
    """A file that was read: its path and its value."""

    path: Path
    value: Any

    def block(self, key: str) -> Mapping[Any, Any]:
        """Return a mapping of the file; an empty one where there is none."""
        found = self.value.get(key) if isinstance(self.value, Mapping) else None
        return found if isinstance(found, Mapping) else {}


def mapping(value: Any) -> Mapping[Any, Any]:
    """Return a value where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def number(value: Any, what: str) -> int | float:
    """Return a number, also one that is written as text.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, str):
        for kind in (int, float):
            try:
                value = kind(value)
                break
            except ValueError:
                continue
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"{what} must be a number, got {value!r}")
    return value


def choice(values: Iterable[Any]) -> dict[str, Any]:
    """Return a parameter with listed values."""
    return {"values": list(values)}


def uniform(low: Any, high: Any, *, q: Any = None) -> dict[str, Any]:
    """Return evenly drawn floats, in steps of ``q`` where one is given."""
    low, high = float(number(low, "the lower bound")), float(number(high, "the upper bound"))
    if q is not None:
        return {"distribution": "q_uniform", "min": low, "max": high, "q": number(q, "the step")}
    return {"distribution": "uniform", "min": low, "max": high}


def log_uniform(low: Any, high: Any, *, q: Any = None) -> dict[str, Any]:
    """Return floats whose logarithm is drawn evenly, between two values."""
    low, high = float(number(low, "the lower bound")), float(number(high, "the upper bound"))
    if q is not None:
        return {"distribution": "q_log_uniform_values", "min": low, "max": high, "q": number(q, "the step")}
    return {"distribution": "log_uniform_values", "min": low, "max": high}


def integers(low: Any, high: Any, *, step: Any = None) -> dict[str, Any]:
    """Return whole numbers, both ends among them; with a step those that it leads to."""
    first, last = (int(number(bound, "a bound")) for bound in (low, high))
    if step is not None and (by := int(number(step, "the step"))) > 1:
        return choice(points(first, last, by))
    return {"distribution": "int_uniform", "min": first, "max": last}


def log_integers(low: Any, high: Any) -> dict[str, Any]:
    """Return whole numbers whose logarithm is drawn evenly."""
    return {
        "distribution": "q_log_uniform_values",
        "min": int(number(low, "a bound")),
        "max": int(number(high, "a bound")),
        "q": 1,
    }


def normal(mu: Any, sigma: Any, *, q: Any = None, is_log: bool = False) -> dict[str, Any]:
    """Return normally distributed numbers, or ``exp`` of them."""
    name = f"{'q_' if q is not None else ''}{'log_' if is_log else ''}normal"
    found = {"distribution": name, "mu": number(mu, "mu"), "sigma": number(sigma, "sigma")}
    return found if q is None else {**found, "q": number(q, "the step")}


def points(first: float, last: float, step: float) -> list[Any]:
    """Return evenly stepped numbers, the last bound among them where a step leads to it.

    Raises:
        ConfigError: the step leads nowhere, or there are too many.
    """
    n = (last - first) / step if step else math.inf
    if not 0 <= n <= _MAX_POINTS:
        raise ConfigError(
            f"steps of {step!r} from {first!r} to {last!r} give no list of at most {_MAX_POINTS:,} values"
        )
    return [tidy(first + i * step) for i in range(math.floor(n + 1e-9) + 1)]


def spaced(first: float, last: float, n: int, *, is_log: bool = False) -> list[Any]:
    """Return ``n`` numbers from the first to the last, evenly, or evenly in ratio."""
    if n < 2:
        return [first]
    if is_log:
        ratio = math.log(last / first) / (n - 1)
        return [tidy(first * math.exp(i * ratio)) for i in range(n)]
    return [tidy(first + (last - first) * i / (n - 1)) for i in range(n)]


def tidy(value: float) -> int | float:
    """Return a number without the last digits that floats add up to: 0.3 for 0.30000000000000004."""
    return value if isinstance(value, int) else float(f"{value:.12g}")


def is_whole(values: Sequence[Any]) -> bool:
    """Whether all are whole numbers."""
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)
