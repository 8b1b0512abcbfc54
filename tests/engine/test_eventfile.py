"""Event files as TensorBoard's writer makes them: every point as TensorBoard itself reads it, damage a sentence."""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.hparams import plugin_data_pb2

from sweepline.engine import eventfile
from sweepline.engine.eventfile import EventFile, read_event_file
from sweepline.errors import RecordError
from tests.eventlogs import write_events, write_log

STEPS = [0, 1, 41, 42, 43, 127, 128, 5418, 16383, 16384, 2_097_151, 2_097_152, 2**40, 2**53 - 1, -1]
SCALARS = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
FLOAT, DOUBLE, INT32, INT64, BFLOAT16, HALF = 1, 2, 3, 9, 14, 19


def points(found: EventFile) -> dict[str, list[tuple[float, float, float]]]:
    return {
        tag: list(zip(column.times, column.steps, column.values, strict=True)) for tag, column in found.columns.items()
    }


def as_tensorboard_reads(path: Path) -> dict[str, list[tuple[float, float, float]]]:
    found: dict[str, list[tuple[float, float, float]]] = {}
    for raw in RawEventFileLoader(str(path)).Load():
        event = Event.FromString(raw)
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.wall_time, event.step, value.simple_value))
    return found


def log_of(folder: Path, events: Sequence[Any]) -> Path:
    write_events(folder, events)
    return next(folder.iterdir())


def tensor_event(step: int, tensor: TensorProto, *, metadata: SummaryMetadata | None = SCALARS) -> Event:
    value = Summary.Value(tag="t", tensor=tensor, metadata=metadata)
    return Event(wall_time=1.0 + step, step=step, summary=Summary(value=[value]))


@pytest.mark.parametrize("chunk_bytes", [1 << 24, 100])
def test_every_point_is_what_tensorboard_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(eventfile, "_CHUNK_BYTES", chunk_bytes)
    tags = {name: [(step, i * 0.1 - 1) for i, step in enumerate(STEPS)] for name in ("a", "b/*+*", "ä" * 150, "\x15*")}
    path = write_log(tmp_path, tags)

    assert points(read_event_file(path)) == as_tensorboard_reads(path)


def test_events_with_several_values_and_steps_that_were_not_given_are_read(tmp_path: Path) -> None:
    many = Summary(value=[Summary.Value(tag=tag, simple_value=i) for i, tag in enumerate("abc")])
    one = Summary(value=[Summary.Value(tag="a", simple_value=7.0)])
    path = log_of(tmp_path, [Event(wall_time=2.0 + i, summary=found) for i, found in enumerate([many, one, one, many])])

    assert points(read_event_file(path)) == as_tensorboard_reads(path)


@pytest.mark.parametrize(
    ("tensor", "value"),
    [
        (TensorProto(dtype=FLOAT, float_val=[0.5]), 0.5),
        (TensorProto(dtype=DOUBLE, double_val=[0.1]), 0.1),
        (TensorProto(dtype=FLOAT, tensor_content=struct.pack("<f", -2.5)), -2.5),
        (TensorProto(dtype=DOUBLE, tensor_content=struct.pack("<d", 0.1)), 0.1),
        (TensorProto(dtype=INT64, tensor_content=struct.pack("<q", -3)), -3.0),
        (TensorProto(dtype=INT64, int64_val=[-3]), -3.0),
        (TensorProto(dtype=INT32, int_val=[300]), 300.0),
        (TensorProto(dtype=HALF, half_val=[0x3800]), 0.5),
        (TensorProto(dtype=BFLOAT16, half_val=[0x3F00]), 0.5),
    ],
)
def test_scalars_of_tensorflow_2_are_read_whatever_their_type(
    tmp_path: Path, tensor: TensorProto, value: float
) -> None:
    path = log_of(tmp_path, [tensor_event(step, tensor) for step in (0, 1, 200, 201, 20_000)])

    (column,) = read_event_file(path).columns.values()
    assert (list(column.values), list(column.steps)) == ([value] * 5, [0, 1, 200, 201, 20_000])


@pytest.mark.parametrize(
    "event",
    [
        tensor_event(1, TensorProto(dtype=FLOAT, float_val=[1.0, 2.0])),
        tensor_event(1, TensorProto(dtype=7, string_val=[b"text"])),
        tensor_event(
            1,
            TensorProto(
                dtype=FLOAT, tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]), float_val=[1.0]
            ),
        ),
        tensor_event(
            1,
            TensorProto(dtype=FLOAT, float_val=[1.0]),
            metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="other")),
        ),
        Event(wall_time=1.0, step=1, summary=Summary(value=[Summary.Value(tag="i", image=Summary.Image(height=1))])),
    ],
)
def test_what_is_no_scalar_is_none(tmp_path: Path, event: Event) -> None:
    assert read_event_file(log_of(tmp_path, [event] * 3)).columns == {}


def test_nan_and_infinities_are_values(tmp_path: Path) -> None:
    path = write_log(tmp_path, {"loss": [(1, math.nan), (2, math.inf), (3, -math.inf)]})
    values = read_event_file(path).columns["loss"].values
    assert (math.isnan(values[0]), list(values[1:])) == (True, [math.inf, -math.inf])


def test_hparams_are_read(tmp_path: Path) -> None:
    info = plugin_data_pb2.SessionStartInfo()
    info.hparams["lr"].number_value = 0.1
    info.hparams["epochs"].number_value = 3
    info.hparams["opt"].string_value = "adam"
    info.hparams["nesterov"].bool_value = True
    content = plugin_data_pb2.HParamsPluginData(session_start_info=info).SerializeToString()
    data = SummaryMetadata.PluginData(plugin_name="hparams", content=content)
    value = Summary.Value(tag="_hparams_/session_start_info", metadata=SummaryMetadata(plugin_data=data))
    path = log_of(tmp_path, [Event(wall_time=1.0, summary=Summary(value=[value]))])

    assert read_event_file(path).hparams == {"lr": 0.1, "epochs": 3, "opt": "adam", "nesterov": True}


# damage


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of one tag; its first record, without a point, is 40 bytes long."""
    return write_log(tmp_path, {"loss": [(step, 1 / step) for step in range(1, 50)]})


def test_a_file_that_ends_within_a_record_is_read_up_to_there(log: Path) -> None:
    log.write_bytes(log.read_bytes()[:-5])
    found = read_event_file(log)
    assert (len(found.columns["loss"].values), found.is_torn) == (48, True)


def test_zeros_that_a_crash_has_left_at_the_end_are_no_damage(log: Path) -> None:
    log.write_bytes(log.read_bytes() + bytes(4096))
    found = read_event_file(log)
    assert (len(found.columns["loss"].values), found.is_torn) == (49, True)


@pytest.mark.parametrize("place", [0, 9, 12, 13, 20, 22, 24, 30, -6, -5, -1])
def test_a_byte_that_is_wrong_anywhere_in_a_record_is_a_sentence(log: Path, place: int) -> None:
    data = bytearray(log.read_bytes())
    begin = data.index(b"loss", data.index(b"loss") + 1) - 30  # somewhere in the second record of a point
    length = 0
    position = 0
    while position + length <= begin:
        position += length
        length = struct.unpack_from("<Q", data, position)[0] + 16
    data[position + place if place >= 0 else position + length + place] ^= 0x10
    log.write_bytes(data)

    with pytest.raises(RecordError, match=rf"the record at byte {position} is damaged.*head -c {position}"):
        read_event_file(log)


def test_what_is_left_by_the_command_of_the_sentence_is_read(log: Path) -> None:
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    with pytest.raises(RecordError) as error:
        read_event_file(log)
    log.write_bytes(data[: int(str(error.value).rsplit(" ", 1)[1])])
    assert 0 < len(read_event_file(log).columns["loss"].values) < 49


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (gzip.compress, "it is compressed [(]gzip[)]; unpack it first"),
        (lambda _: b"no event file, but some text of a few lines\n" * 3, "its first record has no valid checksum"),
    ],
)
def test_what_is_no_event_file_is_said(log: Path, content: Any, sentence: str) -> None:
    log.write_bytes(content(log.read_bytes()))
    with pytest.raises(RecordError, match=f"is no TensorBoard event file: .*{sentence}"):
        read_event_file(log)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"tfevents\.1: cannot be read: No such file"):
        read_event_file(tmp_path / "tfevents.1")
