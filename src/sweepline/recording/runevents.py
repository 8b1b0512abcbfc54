"""What a journal has of each run, and how that stands to what another journal of the same sweep has. Reads alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from sweepline.recording.events import RUN_END, RUN_FORGET, RUN_REREAD, RUN_START, RUN_TAG, RunRecord
from sweepline.recording.journal import encode, read_events
from sweepline.runs import SETTLED

Event = Mapping[str, Any]

_OF_A_RUN = frozenset({RUN_START, RUN_END, RUN_REREAD, RUN_TAG})
_OF_A_JOURNAL = ("v", "seq", "in_sweep")
"""What an event has of the journal that it stands in: how a run stands to the sweep is written down anew there."""


class Standing(Enum):
    """How what another journal tells of a run stands to what ours does."""

    KNOWN = "ours has all of it"
    FURTHER = "it begins as ours and goes on, or ours has nothing"
    BETTER = "it went its own way, and has come further"
    OTHER = "it went its own way, and has not come further"


def read_run_events(journal: Path) -> dict[str, list[Event]]:
    """Return the events of each run since it was last forgotten, in the order of their latest ends.

    Raises:
        RecordError: see :func:`~sweepline.recording.journal.read_events`.
    """
    found: dict[str, list[Event]] = {}
    for event in read_events(journal):
        if event["ev"] == RUN_FORGET:
            found.pop(event["run"], None)
        elif event["ev"] in _OF_A_RUN:
            events = found.pop(event["run"], []) if event["ev"] == RUN_END else found.get(event["run"], [])
            found[event["run"]] = [*events, event]
    return found


def digests_of(events: Sequence[Event]) -> list[bytes]:
    """Return what tells events apart: those of one start, on one machine, are equal in every journal."""
    return [hashlib.blake2b(_text(event).encode("utf-8", "surrogatepass"), digest_size=8).digest() for event in events]


def _text(event: Event) -> str:
    own = {name: value for name, value in event.items() if name not in _OF_A_JOURNAL}
    return json.dumps(encode(own), sort_keys=True)


def compare_events(
    theirs: Sequence[bytes], ours: Sequence[bytes], their_record: RunRecord, our_record: RunRecord | None
) -> Standing:
    """Return how a run of another journal stands to ours, by digests of its events and by how it ended."""
    if list(ours[: len(theirs)]) == list(theirs):
        return Standing.KNOWN
    if our_record is None or list(theirs[: len(ours)]) == list(ours):
        return Standing.FURTHER
    return Standing.BETTER if _rank(their_record) > _rank(our_record) else Standing.OTHER


def _rank(record: RunRecord) -> int:
    """Return how far a run has come: it has a result, was stopped early, ended otherwise, or has not ended."""
    if record.has_result:
        return 3
    return 2 if record.state in SETTLED else int(record.is_ended)


def rename_code(events: Sequence[Event], rename: Callable[[str], str]) -> Iterator[Event]:
    """Yield events with the code that they name as it is called here."""
    for event in events:
        yield {**event, "code": rename(event["code"])} if event.get("code") else event
