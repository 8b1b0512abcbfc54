"""One ``Event`` of TensorBoard (tensorflow/core/util/event.proto), read by hand: scalars, restarts, settings.

Takes any order and any number of fields; what repeats is read faster by ``engine/eventfile.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_WALL_TIME, _STEP, _SUMMARY, _SESSION_LOG = 1, 2, 5, 7  # fields of Event
_TAG, _SIMPLE_VALUE, _TENSOR, _METADATA = 1, 2, 8, 9  # of Summary.Value
_DTYPE, _SHAPE, _CONTENT, _HALF = 1, 2, 4, 13  # of TensorProto
_BFLOAT16 = 14  # of DataType
_START = 1  # of SessionLog.SessionStatus
_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")
_BY_DTYPE = {
    1: _FLOAT,
    2: _DOUBLE,
    3: struct.Struct("<i"),
    4: struct.Struct("<B"),
    5: struct.Struct("<h"),
    6: struct.Struct("<b"),
    9: struct.Struct("<q"),
    10: struct.Struct("<?"),
    17: struct.Struct("<H"),
    19: struct.Struct("<e"),
    22: struct.Struct("<I"),
    23: struct.Struct("<Q"),
}
_FIXED = {5: _FLOAT, 6: _DOUBLE}  # fields of TensorProto that hold values of this form
_VARINTS = (7, 10, 11, 16, 17)  # int_val, int64_val, bool_val, uint32_val, uint64_val

Field = tuple[int, int, int, int]
"""A field's number, its value where that is a varint, and where its bytes begin and end."""


@dataclass(slots=True)
class Scalar:
    """A value of a tag. ``form`` is how it stands at ``at`` in the data; None where it has no fixed width."""

    tag: str
    value: float
    at: int = 0
    form: struct.Struct | None = None


@dataclass(slots=True)
class Event:
    """What an event says.

    ``plugins`` names the owner of a tag's values; ``is_restart``: a writer goes on from this step. Behind its time and
    its step, which come first, what is left begins at ``rest_at``.
    """

    rest_at: int
    time_s: float = 0.0
    step: int = 0
    scalars: list[Scalar] = field(default_factory=list)
    plugins: dict[str, str] = field(default_factory=dict)
    hparams: dict[str, Any] = field(default_factory=dict)
    n_values: int = 0
    is_restart: bool = False


def read_event(data: bytes, start: int, stop: int) -> Event:
    """Return the event between two places in ``data``.

    Raises:
        ValueError: there is none.
    """
    event = Event(start)
    for number, value, begin, end in fields(data, start, stop):
        if number in (_WALL_TIME, _STEP) and begin == event.rest_at + 1:
            event.rest_at = end
        if number == _WALL_TIME and end - begin == 8:
            event.time_s = _DOUBLE.unpack_from(data, begin)[0]
        elif number == _STEP:
            event.step = _signed(value)
        elif number == _SUMMARY:
            for inner, _, first, last in fields(data, begin, end):
                if inner == 1:
                    event.n_values += 1
                    _read_value(event, data, first, last)
        elif number == _SESSION_LOG:
            event.is_restart = (1, _START) in ((n, v) for n, v, *_ in fields(data, begin, end))
    return event


def fields(data: bytes, position: int, stop: int) -> Iterator[Field]:
    """Yield the fields of a protobuf message (protobuf.dev, Encoding).

    Raises:
        ValueError: it is none.
    """
    while position < stop:
        key, position = _varint(data, position, stop)
        kind, value, begin = key & 7, 0, position
        if kind == 0:
            value, position = _varint(data, position, stop)
        elif kind == 2:
            length, begin = _varint(data, position, stop)
            position = begin + length
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise ValueError("a field of no kind")
        if position > stop:
            raise ValueError("a field that is cut off")
        yield key >> 3, value, begin, position


def _varint(data: bytes, position: int, stop: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and where it ends."""
    value = shift = 0
    while position < stop and shift < 70:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        shift, position = shift + 7, position + 1
        if byte < 0x80:
            return value, position
    raise ValueError("a number that does not end")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _read_value(event: Event, data: bytes, start: int, stop: int) -> None:
    tag, scalar = "", None
    for number, _, begin, end in fields(data, start, stop):
        if number == _TAG:
            tag = data[begin:end].decode("utf-8", "replace")
        elif number == _SIMPLE_VALUE and end - begin == 4:
            scalar = Scalar("", _FLOAT.unpack_from(data, begin)[0], begin, _FLOAT)
        elif number == _TENSOR:
            scalar = _read_tensor(data, begin, end)
        elif number == _METADATA:
            _read_metadata(event, tag, data, begin, end)
    if scalar is not None and tag:
        scalar.tag = tag
        event.scalars.append(scalar)


def _read_metadata(event: Event, tag: str, data: bytes, start: int, stop: int) -> None:
    for number, _, begin, end in fields(data, start, stop):
        if number != 1:  # plugin_data
            continue
        name, content = "", (0, 0)
        for inner, _, first, last in fields(data, begin, end):
            if inner == 1:
                name = data[first:last].decode("utf-8", "replace")
            elif inner == 2:
                content = (first, last)
        event.plugins[tag] = name
        if name == "hparams":
            event.hparams |= _read_hparams(data, *content)


def _read_tensor(data: bytes, start: int, stop: int) -> Scalar | None:
    """Return the value of a tensor without dimensions; None of another, or of one of texts."""
    dtype, found = 0, []
    for number, value, begin, end in fields(data, start, stop):
        if number == _DTYPE:
            dtype = value
        elif number == _SHAPE and begin < end:
            return None
        elif number in _FIXED and end - begin == _FIXED[number].size:
            found.append(Scalar("", _FIXED[number].unpack_from(data, begin)[0], begin, _FIXED[number]))
        elif number == _CONTENT and dtype == _BFLOAT16 and end - begin == 2:
            found.append(Scalar("", _FLOAT.unpack(bytes(2) + data[begin:end])[0]))
        elif number == _CONTENT and dtype in _BY_DTYPE and end - begin == _BY_DTYPE[dtype].size:
            found.append(Scalar("", float(_BY_DTYPE[dtype].unpack_from(data, begin)[0]), begin, _BY_DTYPE[dtype]))
        elif number in (*_VARINTS, _HALF):
            found.append(Scalar("", _from_varint(data, value, begin, end, dtype)))
    return found[0] if len(found) == 1 else None


def _from_varint(data: bytes, value: int, begin: int, end: int, dtype: int) -> float:
    """Return the number that a field of varints holds, alone or packed; a half is the bits of one."""
    if begin < end and data[end - 1] < 0x80:
        value, _ = _varint(data, begin, end)
    if dtype in (_BFLOAT16, 19):
        bits = value.to_bytes(2, "little")
        return float(_FLOAT.unpack(bytes(2) + bits)[0] if dtype == _BFLOAT16 else struct.unpack("<e", bits)[0])
    return float(_signed(value))


def _read_hparams(data: bytes, start: int, stop: int) -> dict[str, Any]:
    """Return the settings in a HParamsPluginData (tensorboard/plugins/hparams/plugin_data.proto)."""
    found: dict[str, Any] = {}
    for number, _, begin, end in fields(data, start, stop):
        if number != 3:  # session_start_info
            continue
        for inner, _, first, last in fields(data, begin, end):
            if inner == 1:  # an entry of its map of hparams
                name, value = "", None
                for part, _, a, b in fields(data, first, last):
                    if part == 1:
                        name = data[a:b].decode("utf-8", "replace")
                    elif part == 2:
                        value = _read_json_value(data, a, b)
                found[name] = value
    return found


def _read_json_value(data: bytes, start: int, stop: int) -> Any:
    """Return a scalar google.protobuf.Value."""
    for number, value, begin, end in fields(data, start, stop):
        if number == 2:
            number_value = float(_DOUBLE.unpack_from(data, begin)[0])
            return int(number_value) if number_value.is_integer() else number_value
        if number == 3:
            return data[begin:end].decode("utf-8", "replace")
        if number == 4:
            return bool(value)
    return None
