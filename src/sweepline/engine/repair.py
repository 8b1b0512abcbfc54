"""Makes a journal anew: from what can still be read of the old one, and from the run folders for what cannot."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.contract.files import TEMPORARY
from sweepline.engine.recovery import read_start
from sweepline.recording.events import MEMBERSHIP, RUN_END, RUN_FORGET, RUN_REREAD, RUN_START, RUN_TAG
from sweepline.recording.folders import SweepFolder
from sweepline.recording.journal import Journal, quarantine, read_event, unused_path
from sweepline.runs import Run

_FIRST_OF_EACH = (RUN_START, RUN_END)
_NEEDS = {RUN_REREAD: RUN_END, RUN_TAG: RUN_START, RUN_FORGET: RUN_START}  # what must come before


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What became of a journal: ``old`` is where its last content is kept, None where there was none."""

    n_events: int
    n_lines_lost: int
    old: Path | None


def repair_journal(folder: SweepFolder, *, planned: Mapping[str, Run]) -> Repair:
    """Replace the journal by one of all its events that can be read, each once and in order.

    Attempts that it does not hold are taken from the run folders when the journal is next opened by a
    :class:`~sweepline.recording.book.RecordBook`. Call only with the folder locked.

    Raises:
        RecordError: the folder cannot be written.
    """
    events, n_lost = _salvage(folder.journal)
    kept = list(_consistent(events, folder, planned))
    temporary = folder.journal.with_name(f"{folder.journal.name}{TEMPORARY}")
    temporary.unlink(missing_ok=True)
    journal = Journal(temporary)
    for event in kept:
        fields = {name: value for name, value in event.items() if name not in ("v", "seq", "ev", "crc")}
        journal.append(event["ev"], **fields)
    journal.sync()
    old = None
    if folder.journal.exists():
        stamp = f"{datetime.now():%Y%m%d_%H%M%S}"
        old = unused_path(quarantine(folder.journal) / f"{folder.journal.name}.{stamp}")
        os.link(folder.journal, old, follow_symlinks=False)  # so that there is a journal of that name at any moment
    temporary.replace(folder.journal)
    journal.close()
    return Repair(n_events=len(kept), n_lines_lost=n_lost, old=old)


def _salvage(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the events that are whole, in the order in which they were written, and how many lines are not."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], 0
    events, n_lost = [], 0
    for line in lines:
        try:
            event = read_event(line) if line else None
        except (ValueError, KeyError, TypeError):
            n_lost += 1
            continue
        if event is not None and isinstance(event.get("ev"), str):
            events.append(event)
    return events, n_lost


def _consistent(
    events: list[dict[str, Any]], folder: SweepFolder, planned: Mapping[str, Run]
) -> Iterator[dict[str, Any]]:
    """Yield events with one start of each attempt before its one end; a start that is lost is told by its folder."""
    met: set[tuple[str, str, int]] = set()
    for event in events:
        kind, run, attempt = event["ev"], event.get("run", ""), event.get("attempt", 0)
        if kind == RUN_END and (RUN_START, run, attempt) not in met:
            start = read_start(folder.run_dir(run), planned)
            if start is None or start["attempt"] != attempt:
                continue  # its folder is taken in afterwards, with what it tells
            met.add((RUN_START, run, attempt))
            yield {"ev": RUN_START, "t_wall": event.get("t_wall"), **start}
        if kind in _FIRST_OF_EACH:
            if (kind, run, attempt) in met:
                continue
            met.add((kind, run, attempt))
        elif kind in _NEEDS and not any(key[:2] == (_NEEDS[kind], run) for key in met):
            continue
        elif kind == RUN_FORGET:
            met = {key for key in met if key[1] != run}
        elif kind == MEMBERSHIP:
            started = {key[1] for key in met}
            yield {**event, "runs": {run_id: s for run_id, s in event["runs"].items() if run_id in started}}
            continue
        yield event
