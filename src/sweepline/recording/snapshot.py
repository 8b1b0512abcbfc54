"""``events.snapshot``: what the journal told up to some event, so that a long one is not read from its start.

It stands for so many bytes of the journal with such a checksum; where those are not what the journal begins with, it is
left aside. The values are kept by column: lists of equal kind are read at the speed of the JSON parser, and objects are
made of them a field at a time.
"""

from __future__ import annotations

import gc
import itertools
import json
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from sweepline.contract.files import CHUNK_BYTES, write_whole
from sweepline.recording.events import RECORDED, Replay, RunRecord, Values, shared_index
from sweepline.recording.journal import START, VERSION, Position, decode, encode, read_events
from sweepline.recording.table import TableState
from sweepline.runs import RunOutcome, State

SNAPSHOT = "events.snapshot"
MIN_EVENTS = 2_000
"""A journal with fewer is read in an instant."""
_SCALARS = frozenset({str, int, float, bool, type(None)})
_VALUES = ("params", "metrics")
_RECORD = tuple(f.name for f in fields(RunRecord) if f.name not in (*_VALUES, "outcome"))
_OUTCOME = tuple(name for name in RECORDED if name not in _VALUES)

_FORM = [1, VERSION, *_RECORD, *_OUTCOME]  # one of another version or with other fields is left aside

_T = TypeVar("_T")


@contextmanager
def collection_paused() -> Iterator[None]:
    """Keep the collector of cycles from looking through a million new objects again and again: they hold none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a journal told up to a position, and the table that was in step with it."""

    replay: Replay
    position: Position
    table: TableState | None = None


def replay_journal(journal: Path) -> Replay:
    """Return what a journal tells, with the help of its snapshot.

    Raises:
        RecordError: the journal cannot be read, see :func:`~sweepline.recording.journal.read_events`.
    """
    snapshot = load_snapshot(journal)
    with collection_paused():
        for event in read_events(journal, after=snapshot.position):
            snapshot.replay.apply(event)
    return snapshot.replay


def load_snapshot(journal: Path) -> Snapshot:
    """Return the snapshot of a journal; an empty one, at its start, where there is none that fits."""
    nothing = Snapshot(Replay(), START)
    try:
        crc32, _, body = journal.with_name(SNAPSHOT).read_bytes().partition(b"\n")
        if int(crc32) != zlib.crc32(body):
            return nothing
        with collection_paused():
            told = json.loads(body)
            position = Position(*told["position"])
            if told["form"] != _FORM or _checksum(journal, position.offset) != position.crc32:
                return nothing
            table = None if told["table"] is None else TableState(*told["table"])
            return Snapshot(_unpack(told), position, table)
    except (OSError, ValueError, LookupError, TypeError):  # it was never needed: the journal has everything
        return nothing


def save_snapshot(journal: Path, snapshot: Snapshot) -> None:
    """Write the snapshot of a journal, whose events are on disk up to the position.

    Raises:
        OSError: it cannot be written; an earlier one stays.
    """
    table = None if snapshot.table is None else astuple(snapshot.table)
    head = {"form": _FORM, "position": astuple(snapshot.position), "table": table}
    body = json.dumps(head | _pack(snapshot.replay), separators=(",", ":")).encode()
    write_whole(journal.with_name(SNAPSHOT), b"%d\n%s" % (zlib.crc32(body), body))


def _checksum(path: Path, n_bytes: int) -> int | None:
    """Return the checksum of the first bytes of a file; None where it has fewer."""
    found = 0
    with path.open("rb") as file:
        while n_bytes > 0:
            chunk = file.read(min(n_bytes, CHUNK_BYTES))
            if not chunk:
                return None
            found = zlib.crc32(chunk, found)
            n_bytes -= len(chunk)
    return found


# ---------------------------------------------------------------- to and from columns


def _pack(replay: Replay) -> dict[str, Any]:
    records = list(replay.records.values())
    outcomes = [record.outcome for record in records if record.outcome is not None]
    return {
        "records": {name: _pack_column([getattr(record, name) for record in records]) for name in _RECORD},
        "params": _pack_values([record.params for record in records]),
        "has_ended": _pack_column([record.outcome is not None for record in records]),
        "outcomes": {name: _pack_column([getattr(outcome, name) for outcome in outcomes]) for name in _OUTCOME},
        "metrics": _pack_values([outcome.metrics for outcome in outcomes]),
        "codes": {code: dict(files) for code, files in replay.codes.items()},
        "reread": sorted(replay.reread),
    }


def _unpack(told: Mapping[str, Any]) -> Replay:
    ended = list(_unpack_column(told["has_ended"]))
    outcomes, records = _build(RunOutcome, sum(ended)), _build(RunRecord, len(ended))
    of_outcome = {name: _unpack_column(column) for name, column in told["outcomes"].items()}
    of_outcome |= {"state": map(State, of_outcome["state"]), "metrics": _unpack_values(told["metrics"])}
    _fill(outcomes, of_outcome | {"log_tail": itertools.repeat(())})
    left = iter(outcomes)
    of_record = {name: _unpack_column(column) for name, column in told["records"].items()}
    of_record |= {"params": _unpack_values(told["params"]), "outcome": (next(left) if has else None for has in ended)}
    _fill(records, of_record)
    return Replay({record.run_id: record for record in records}, told["codes"], set(told["reread"]))


def _pack_column(values: Sequence[Any]) -> dict[str, Any]:
    """Return values as JSON holds them: a constant once, texts that come again by number, what nests with its tags."""
    first, n, kinds = values[0] if values else None, len(values), set(map(type, values))
    if kinds <= {str, int, bool, type(None)} and len(kinds) <= 1 and values.count(first) == n:
        return {"is": first, "n": n}
    if not kinds <= _SCALARS and kinds != {State}:
        return {"encoded": [encode(value) for value in values]}
    if kinds <= {str, State} and len(texts := dict.fromkeys(values)) <= n // 4:
        number = {text: i for i, text in enumerate(texts)}
        return {"texts": list(texts), "at": [number[value] for value in values]}
    return {"all": list(values)}


def _unpack_column(told: Mapping[str, Any]) -> Iterable[Any]:
    if "is" in told:
        return itertools.repeat(told["is"], told["n"])
    if "at" in told:
        return map(told["texts"].__getitem__, told["at"])
    return map(decode, told["encoded"]) if "encoded" in told else told["all"]


def _pack_values(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return values by name: those with the same names together, and for each row which names it has."""
    names_of_rows = list(map(tuple, rows))
    of_names: dict[tuple[str, ...], list[tuple[Any, ...]]] = {names: [] for names in names_of_rows}
    for names, row in zip(names_of_rows, rows, strict=True):
        of_names[names].append(tuple(row.values()))
    number = {names: i for i, names in enumerate(of_names)}
    return {
        "names": list(of_names),
        "columns": [[_pack_column(values) for values in zip(*kept, strict=True)] for kept in of_names.values()],
        "of": _pack_column(list(map(number.__getitem__, names_of_rows))),
    }


def _unpack_values(told: Mapping[str, Any]) -> list[Values]:
    kept: list[list[Values]] = []
    numbers = list(_unpack_column(told["of"]))
    counts = Counter(numbers)
    for number, (names, columns) in enumerate(zip(told["names"], told["columns"], strict=True)):
        n = counts[number]
        made = _build(Values, n)
        rows = zip(*map(_unpack_column, columns), strict=True) if columns else itertools.repeat((), n)
        _fill(made, {"_index": itertools.repeat(shared_index(tuple(names))), "_values": rows})
        kept.append(made)
    left = list(map(iter, kept))
    return kept[0] if len(kept) == 1 else [next(left[number]) for number in numbers]


def _build(kind: type[_T], n: int) -> list[_T]:
    """Return objects whose slots are still empty."""
    return list(map(object.__new__, itertools.repeat(kind, n)))


def _fill(objects: Sequence[Any], columns: Mapping[str, Iterable[Any]]) -> None:
    """Fill slots of objects, without a step of Python for each."""
    for name, column in columns.items():
        if objects:
            deque(map(getattr(type(objects[0]), name).__set__, objects, column), maxlen=0)
