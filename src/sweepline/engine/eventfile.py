"""Reads the scalars of one TensorBoard event file: every record, checksums compared. Knows no folders and no runs.

A file is TFRecords (tensorflow/core/lib/io/record_writer.h) of ``Event`` messages (tensorflow/core/util/event.proto).
Their few fields are read by hand, in less time than protobuf's own classes take and without a package. Records of one
tag differ only in time, step and value: the rest of a record is looked up as a whole.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepline.contract.files import open_plain
from sweepline.contract.text import display_path
from sweepline.engine.crc32c import CHECKSUM_BYTES, find_damaged, masked_crc
from sweepline.engine.eventmessage import Event, read_event
from sweepline.errors import RecordError

_CHUNK_BYTES = 1 << 24
_HEAD_BYTES = 12  # a record's length and the checksum of that; then its data and the checksum of those
_STEP_AT = 10  # in an event: behind wall_time and the key of the step
_REST_AT = 9  # of an event at step 0, which is not written
_CHECKED_BYTES = 1 << 12  # of a longer record without a scalar the checksum is not compared: an image, a graph
_WALL_TIME_KEY, _STEP_KEY, _SUMMARY_KEY = 0x09, 0x10, 0x2A
_LENGTH, _CHECKSUM = struct.Struct("<Q").unpack_from, struct.Struct("<I").unpack_from
_TYPECODES = {"<f": "f", "<d": "d", "<i": "i", "<I": "I", "<q": "q", "<Q": "Q"}  # of arrays, by how a value is written
_LOW_SEVEN_BITS = bytes(value & 0x7F for value in range(256))
_TAG_AT = 6  # behind the keys and lengths of summary, value and tag, of one byte each but where a tag is very long
_VALUE_BYTES = 4 + CHECKSUM_BYTES  # of a float at the end of a record
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x78": "zlib"}
_SCALAR_PLUGINS = ("", "scalars")


@dataclass(slots=True)
class Column:
    """The points of one tag, in the order in which they were written; times are seconds since 1970."""

    times: array[float] = field(default_factory=lambda: array("d"))
    steps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def cut(self, step: float) -> int:
        """Remove the points from a step on; return how many those were."""
        kept = [i for i, found in enumerate(self.steps) if found < step]
        n_cut = len(self.steps) - len(kept)
        if n_cut:
            self.times, self.steps, self.values = (
                array("d", map(column.__getitem__, kept)) for column in (self.times, self.steps, self.values)
            )
        return n_cut


@dataclass(slots=True)
class EventFile:
    """What one file says. ``begun_at`` is the time of its earliest event, None where it has none.

    ``restart_steps``: a writer that goes on from a step says that what earlier files have from there on is void; what
    this file had is removed, ``n_void`` points. ``is_torn``: the file ends within a record.
    """

    path: Path
    columns: dict[str, Column] = field(default_factory=dict)
    begun_at: float | None = None
    restart_steps: list[int] = field(default_factory=list)
    n_void: int = 0
    hparams: dict[str, Any] = field(default_factory=dict)
    is_torn: bool = False


@dataclass(slots=True)
class _Layout:
    """How the records of one tag look from behind their step on: the same bytes, a value, the same bytes.

    ``records`` of equal ``length`` wait to be read together: without their heads, with their checksums.
    """

    tag: str
    before: bytes
    after: bytes
    typecode: str
    length: int = 0
    records: list[bytes] = field(default_factory=list)

    def fits(self, rest: bytes) -> bool:
        """Whether the rest of a record looks so."""
        n = len(self.before) + array(self.typecode).itemsize + len(self.after)
        return len(rest) == n and rest.startswith(self.before) and rest.endswith(self.after)


def read_event_file(path: Path) -> EventFile:
    """Return what an event file says, up to its last whole record.

    Raises:
        RecordError: it cannot be read, is no event file, or a record of it is damaged.
    """
    reader = _Reader(path)
    try:
        with open_plain(path) as file:
            rest = b""
            while chunk := file.read(_CHUNK_BYTES):
                data = rest + chunk
                rest = data[reader.take(data) :]
    except OSError as error:
        raise RecordError(f"{display_path(path)}: cannot be read: {error.strerror}") from None
    return reader.finish(is_torn=bool(rest))


class _Reader:
    """Takes a file in pieces, each of which begins with a whole record."""

    def __init__(self, path: Path) -> None:
        self.found = EventFile(path)
        self._data = b""  # the piece that is being taken
        self._offset = 0  # where it is in the file
        self._lengths: dict[bytes, int] = {}  # by a record's head
        self._layouts: dict[bytes, _Layout] = {}  # that end with a float, by all that is before it
        self._inner_layouts: dict[bytes, _Layout] = {}  # others, by what they begin with, up to their tag
        self._plugins: dict[str, str] = {}

    def finish(self, *, is_torn: bool) -> EventFile:
        """Return what was found: the tags that have scalars."""
        found = self.found
        found.columns = {
            tag: column
            for tag, column in found.columns.items()
            if column.values and self._plugins.get(tag, "") in _SCALAR_PLUGINS
        }
        if found.begun_at is not None:  # points may tell times that are not the clock's
            found.begun_at = min([found.begun_at, *(min(column.times) for column in found.columns.values())])
        found.is_torn = is_torn
        return found

    def take(self, data: bytes) -> int:
        """Read the whole records at the beginning of ``data``; return their size."""
        self._data, lengths, layouts = data, self._lengths, self._layouts
        position, end = 0, len(data)
        while end - position >= _HEAD_BYTES:
            start = position + _HEAD_BYTES
            length = lengths.get(data[position:start])
            if length is None:
                length = self._read_length(data, position)
                if length is None:
                    break
                lengths[data[position:start]] = length
            after = start + length + CHECKSUM_BYTES
            if after > end:
                break
            record = data[start:after]
            rest_at = _REST_AT
            if length > _STEP_AT and record[_REST_AT] == _STEP_KEY:
                rest_at = record.find(_SUMMARY_KEY, _STEP_AT)
                if rest_at == _STEP_AT or record[rest_at - 1] >= 0x80:
                    rest_at += 1  # that was the last byte of the step: the others have their highest bit set
            layout = layouts.get(record[rest_at:-_VALUE_BYTES])
            if layout is None and self._inner_layouts:
                layout = self._find_inner_layout(record, rest_at)
            if layout is None or record[0] != _WALL_TIME_KEY:
                self._take_other(data, position, length)
            else:
                if layout.length != length:
                    self._read_together(layout)
                    layout.length = length
                layout.records.append(record)
            position = after
        self._read_waiting()
        self._offset += position
        return position

    def _find_inner_layout(self, record: bytes, rest_at: int) -> _Layout | None:
        """Return the layout of a record that ends with something else than a float, by its tag."""
        if len(record) <= rest_at + _TAG_AT:
            return None
        layout = self._inner_layouts.get(record[rest_at : rest_at + _TAG_AT + record[rest_at + _TAG_AT - 1]])
        return layout if layout is not None and layout.fits(record[rest_at:-CHECKSUM_BYTES]) else None

    def _read_waiting(self) -> None:
        for layout in (*self._layouts.values(), *self._inner_layouts.values()):
            self._read_together(layout)

    def _read_together(self, layout: _Layout) -> None:
        """Read the records of a layout that wait, which have their fields at the same places."""
        if not layout.records:
            return
        data, whole = b"".join(layout.records), layout.length + CHECKSUM_BYTES
        damaged = find_damaged(data, layout.length)
        if damaged is not None:
            raise self._damaged(self._data, self._data.index(layout.records[damaged]) - _HEAD_BYTES)
        n_after = array(layout.typecode).itemsize + len(layout.after)
        rest_at = layout.length - n_after - len(layout.before)
        column = self.found.columns[layout.tag]
        column.times += _read_column(data, whole, 1, "d")
        column.steps += _read_steps(data, whole, rest_at)
        column.values += _read_column(data, whole, layout.length - n_after, layout.typecode)
        layout.records.clear()

    def _take_other(self, data: bytes, position: int, length: int) -> None:
        """Read a record of which no layout is known, and learn its layout where it has one."""
        start = position + _HEAD_BYTES
        stop = start + length
        try:
            event = read_event(data, start, stop)
        except ValueError:
            raise self._damaged(data, position) from None
        is_used = event.scalars or event.is_restart or event.hparams
        if (is_used or length <= _CHECKED_BYTES) and masked_crc(data[start:stop]) != _CHECKSUM(data, stop)[0]:
            raise self._damaged(data, position)
        found = self.found
        found.begun_at = event.time_s if found.begun_at is None else min(found.begun_at, event.time_s)
        if event.scalars or event.is_restart:
            self._read_waiting()  # points stay in their order
        if event.is_restart and event.step:
            found.n_void += sum(column.cut(event.step) for column in found.columns.values())
            found.restart_steps.append(event.step)
        found.hparams |= event.hparams
        for tag, plugin in event.plugins.items():
            self._plugins.setdefault(tag, plugin)
        for scalar in event.scalars:
            column = found.columns.setdefault(scalar.tag, Column())
            column.times.append(event.time_s)
            column.steps.append(event.step)
            column.values.append(scalar.value)
        if event.n_values == len(event.scalars) == 1:
            self._learn(event, data, start, stop)

    def _learn(self, event: Event, data: bytes, start: int, stop: int) -> None:
        """Remember how the records of a tag look, where they begin as all writers let them begin."""
        scalar, rest_at = event.scalars[0], event.rest_at
        typecode = _TYPECODES.get(scalar.form.format) if scalar.form is not None else None
        if typecode is None or data[start] != _WALL_TIME_KEY or scalar.at < rest_at + _TAG_AT:
            return
        width = array(typecode).itemsize
        before, after = data[rest_at : scalar.at], data[scalar.at + width : stop]
        layout = _Layout(scalar.tag, before, after, typecode)
        if not after and typecode == "f":
            self._layouts[before] = layout
        else:
            self._inner_layouts[data[rest_at : rest_at + _TAG_AT + data[rest_at + _TAG_AT - 1]]] = layout

    def _read_length(self, data: bytes, position: int) -> int | None:
        """Return the length that a record's head tells; None where all that follows is zeros, as a crash can leave."""
        head = data[position : position + _HEAD_BYTES]
        if masked_crc(head[:8]) == _CHECKSUM(head, 8)[0]:
            return int(_LENGTH(head)[0])
        if data.count(0, position) == len(data) - position:
            return None
        raise self._damaged(data, position)

    def _damaged(self, data: bytes, position: int) -> RecordError:
        name, offset = display_path(self.found.path), self._offset + position
        if offset:
            return RecordError(
                f"{name}: the record at byte {offset} is damaged, its checksum differs; copy the file again from where "
                f"it was written, or keep what is before: head -c {offset}"
            )
        packed = next((by for begin, by in _PACKED.items() if data.startswith(begin)), None)
        hint = f"it is compressed ({packed}); unpack it first" if packed else "its first record has no valid checksum"
        return RecordError(f"{name}: is no TensorBoard event file: {hint}")


def _read_column(records: bytes, whole: int, at: int, typecode: str) -> array[float]:
    """Return the numbers that stand ``at`` a place of each record, of ``whole`` bytes each."""
    width = array(typecode).itemsize
    numbers = bytearray(len(records) // whole * width)
    for byte in range(width):
        numbers[byte::width] = records[at + byte :: whole]
    found: array[float] = array(typecode, bytes(numbers))
    return found if typecode == "d" else array("d", found)


def _read_steps(records: bytes, whole: int, rest_at: int) -> array[float]:
    """Return the steps of records, whose seven bits a byte stand before ``rest_at``."""
    n = len(records) // whole
    numbers = 0
    for byte in range(rest_at - _STEP_AT):
        lanes = bytearray(8 * n)
        lanes[::8] = records[_STEP_AT + byte :: whole].translate(_LOW_SEVEN_BITS)
        numbers |= int.from_bytes(lanes, "little") << 7 * byte
    return array("d", array("q", numbers.to_bytes(8 * n + 8, "little")[: 8 * n]))
