"""``exit.json`` as a file: read back as written, believed only when it is whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from sweepline.executors.base import Exit, StopReason
from sweepline.executors.local.exits import read_exit
from sweepline.executors.local.keeper import exitfile

ENDED = Exit(exit_code=None, signal=15, duration_s=1.25, max_rss_kib=2048, stopped=StopReason.TIMEOUT)
RECORD = {"attempt": 2, "exit_code": None, "signal": 15, "duration_s": 1.25, "max_rss_kib": 2048, "stopped": "timeout"}


def write_exit(run_dir: Path, **fields: Any) -> None:
    exitfile.reserve(str(run_dir))
    exitfile.write(str(run_dir), RECORD | fields)


def read_torn(run_dir: Path, content: str) -> tuple[int, Exit] | None:
    (run_dir / "exit.json").write_text(content)
    return read_exit(run_dir)


def test_an_exit_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_exit(tmp_path, n_left_behind=3)
    assert read_exit(tmp_path) == (2, dataclasses.replace(ENDED, remarks=("left 3 processes behind, killed",)))


def test_an_exit_of_an_older_version_is_read(tmp_path: Path) -> None:
    write_exit(tmp_path)
    assert read_exit(tmp_path) == (2, ENDED)


def test_an_exit_file_torn_at_any_byte_tells_nothing(tmp_path: Path) -> None:
    write_exit(tmp_path)
    whole = (tmp_path / "exit.json").read_text().rstrip()
    assert {read_torn(tmp_path, whole[:n]) for n in range(len(whole))} == {None}


@pytest.mark.parametrize("content", ["null", "3", "[1]", "{}", '{"attempt": 1, "stopped": null}', '"text"', "\0" * 90])
def test_an_exit_file_that_is_no_exit_tells_nothing(tmp_path: Path, content: str) -> None:
    assert read_torn(tmp_path, content) is None


def test_an_exit_whose_log_lost_its_end_in_a_power_cut_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "stdout.log").write_bytes(b"METRIC loss=1\n")
    write_exit(tmp_path, n_log_bytes=14)
    whole = read_exit(tmp_path)
    (tmp_path / "stdout.log").write_bytes(b"METRIC l")
    assert (whole, read_exit(tmp_path)) == ((2, ENDED), None)


def test_an_exit_is_written_though_the_run_has_removed_its_room(tmp_path: Path) -> None:
    exitfile.reserve(str(tmp_path))
    (tmp_path / ".exit.json").unlink()
    exitfile.write(str(tmp_path), RECORD)
    assert (read_exit(tmp_path), (tmp_path / "exit.json").stat().st_size) == ((2, ENDED), 512)


def test_writing_an_exit_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_exit(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["exit.json"]


def test_an_exit_needs_no_room_that_was_not_taken_at_the_start(tmp_path: Path) -> None:
    exitfile.reserve(str(tmp_path))
    size = (tmp_path / ".exit.json").stat().st_size
    exitfile.write(str(tmp_path), RECORD)
    assert (tmp_path / "exit.json").stat().st_size == size
