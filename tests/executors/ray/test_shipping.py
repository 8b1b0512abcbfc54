"""Files of a run that go to its node and come back, where the two share no folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweepline.contract.runfolder import CHECKPOINTS, COMMAND, EXIT_FILE, JOB, METRICS, OUTPUT_FOLDER, STDOUT
from sweepline.executors.ray.shipping import FolderError, Shipment, pack_folder, unpack_folder, write_part


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder of the run as the sweep has it."""
    made = tmp_path / "here"
    made.mkdir()
    (made / COMMAND).write_text("train\n")
    return made


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The folder of the run as its node has it, nothing in it yet."""
    return tmp_path / "deep" / "there"


def send(shipment: Shipment, here: Path, messages: list[dict[str, Any]]) -> None:
    shipment.send_gains()
    while messages:
        write_part(here, messages.pop(0))


@pytest.fixture
def messages() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def shipment(there: Path, messages: list[dict[str, Any]]) -> Shipment:
    there.mkdir(parents=True)
    return Shipment(there, lambda **message: messages.append(message))


def test_what_the_sweep_has_written_is_there(here: Path, there: Path) -> None:
    (here / OUTPUT_FOLDER).mkdir()
    unpack_folder(there, pack_folder(here), sweep="abc")
    assert (there / COMMAND).read_text() == "train\n"
    assert (there / OUTPUT_FOLDER).is_dir()


@pytest.mark.parametrize(("sweep", "is_kept"), [("abc", True), ("another", False)])
def test_only_the_same_sweep_finds_its_checkpoints(here: Path, there: Path, sweep: str, is_kept: bool) -> None:
    unpack_folder(there, pack_folder(here), sweep="abc")
    (there / JOB).write_text(json.dumps({"sweep": "abc"}))
    for name in (EXIT_FILE, CHECKPOINTS, STDOUT):
        (there / name).touch()
    unpack_folder(there, pack_folder(here), sweep=sweep)
    assert sorted(path.name for path in there.iterdir()) == sorted([COMMAND, *([CHECKPOINTS] if is_kept else [])])


def test_a_folder_that_cannot_be_made_is_told(here: Path, there: Path) -> None:
    there.parent.write_text("no folder")
    with pytest.raises(FolderError, match="cannot be made on"):
        unpack_folder(there, pack_folder(here), sweep="abc")


def test_logs_come_as_they_grow(here: Path, there: Path, shipment: Shipment, messages: list[dict[str, Any]]) -> None:
    for part in (b"METRIC loss=1\n", b"", b"\xff\0 METRIC loss=2\n"):
        with (there / STDOUT).open("ab") as file:
            file.write(part)
        send(shipment, here, messages)
    assert (here / STDOUT).read_bytes() == b"METRIC loss=1\n\xff\0 METRIC loss=2\n"


def test_a_log_that_was_cut_comes_again(
    here: Path, there: Path, shipment: Shipment, messages: list[dict[str, Any]]
) -> None:
    for content in ("a long line\n", "short\n"):
        (there / STDOUT).write_text(content)
        send(shipment, here, messages)
    assert (here / STDOUT).read_text() == "short\n"


def test_a_long_log_comes_whole_at_the_end(
    here: Path, there: Path, shipment: Shipment, messages: list[dict[str, Any]]
) -> None:
    content = bytes(range(256)) * (20 << 12)  # 20 MiB, more than one look sends
    (there / STDOUT).write_bytes(content)
    (there / METRICS).write_text("epoch,loss\n")
    send(shipment, here, messages)
    shipment.send_rest()
    send(shipment, here, messages)
    assert ((here / STDOUT).read_bytes(), (here / METRICS).read_text()) == (content, "epoch,loss\n")


@pytest.mark.parametrize("name", ["../here/command.txt", COMMAND, "other"])
def test_only_records_are_written(here: Path, name: str) -> None:
    write_part(here, {"name": name, "offset": 0, "data": "eA=="})
    assert [(path.name, path.read_text()) for path in here.iterdir()] == [(COMMAND, "train\n")]
