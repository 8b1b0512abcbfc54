"""What differs between configurations or runs, and nothing else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sweepline.recording.events import RunRecord
from sweepline.runs import canonical_json


def differing(settings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names whose values are not the same in all mappings, in the order in which they are first met.

    Equal numbers are the same whatever their type; a name that one mapping lacks differs.
    """
    settings = list(settings)
    kinds = list(dict.fromkeys(map(tuple, settings)))  # many settings have the same names
    everywhere = set(kinds[0]).intersection(*kinds) if kinds else set()
    names = dict.fromkeys(itertools.chain.from_iterable(kinds))
    return [name for name in names if name not in everywhere or _varies(setting[name] for setting in settings)]


def _varies(values: Iterator[Any]) -> bool:
    first = comparable(next(values))
    return any(comparable(value) != first for value in values)


def describe_run(record: RunRecord) -> dict[str, Any]:
    """Return what can make a run different from others: its parameters and seed, the code, where it ran."""
    told = {"code": record.code, "device": record.device, "host": record.outcome.host if record.outcome else ""}
    seed = {} if record.seed is None else {"seed": record.seed}
    return {**record.params, **seed, **{name: value for name, value in told.items() if value}}


def differences(records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """Return by name the values of each run, in their order, for what differs; None where a run lacks it."""
    settings = [describe_run(record) for record in records]
    return {name: [setting.get(name) for setting in settings] for name in differing(settings)}


def comparable(value: Any) -> Any:
    """Return something hashable that is equal for values whose :func:`canonical_json` is, and quicker to make."""
    kind = type(value)
    if kind is str or kind is int or value is None or (kind is float and not math.isnan(value)):
        return value
    return str(value) if isinstance(value, str) else ("json", canonical_json(value))
