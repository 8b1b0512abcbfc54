"""TensorBoard logs as TensorBoard's own writer writes them, with the steps and times that a test says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

BEGIN_S = 1_700_000_000.0

Points = Sequence[tuple[int, float]]
"""Steps and values."""


def write_log(
    folder: Path,
    tags: Mapping[str, Points],
    *,
    seconds_a_step: float = 0.01,
    begin_s: float = BEGIN_S,
    restart_step: int | None = None,
    name: str = "",
) -> Path:
    """Write a log of scalars, an event for each point; return the file.

    Args:
        folder: of the run.
        tags: their points, in the order in which they are written.
        seconds_a_step: when a point was, by its step.
        begin_s: when the file was begun.
        restart_step: the writer says that it goes on from there.
        name: what stands at the end of the file's name.
    """
    before = set(folder.glob("*tfevents*"))
    writer = EventFileWriter(str(folder), max_queue_size=100_000, filename_suffix=name)
    writer.add_event(Event(wall_time=begin_s))
    if restart_step is not None:
        log = SessionLog(status=SessionLog.START)
        writer.add_event(Event(wall_time=begin_s, step=restart_step, session_log=log))
    for tag, points in tags.items():
        for step, value in points:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(wall_time=begin_s + step * seconds_a_step, step=step, summary=summary))
    writer.close()
    return next(iter(set(folder.glob("*tfevents*")) - before))


def write_events(folder: Path, events: Sequence[Any], *, name: str = "") -> None:
    """Write events as they are."""
    writer = EventFileWriter(str(folder), filename_suffix=name)
    for event in events:
        writer.add_event(event)
    writer.close()
