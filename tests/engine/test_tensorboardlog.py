"""A folder of event files as one run: their order, restarts, writers side by side, settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.analysis.series import STEP, TIME, RunHistory
from sweepline.engine.tensorboardlog import read_tensorboard_log
from sweepline.errors import ConfigError
from tests.eventlogs import BEGIN_S, write_log

LATER_S = BEGIN_S + 1000


def read(run: RunHistory, tag: str = "loss") -> list[tuple[float, float]]:
    return list(zip(run.series[tag].places[STEP], run.series[tag].values, strict=True))


def test_files_are_read_in_the_order_of_their_times_not_of_their_names(tmp_path: Path) -> None:
    write_log(tmp_path, {"loss": [(30, 3.0)]}, begin_s=LATER_S).rename(tmp_path / "a.tfevents.1")
    write_log(tmp_path, {"loss": [(10, 1.0), (20, 2.0)]}).rename(tmp_path / "b.tfevents.2")
    run = read_tensorboard_log(tmp_path)
    assert (read(run), run.source) == ([(10, 1.0), (20, 2.0), (30, 3.0)], "2 event files")


def test_of_a_restart_that_overlaps_the_later_file_counts_tag_by_tag(tmp_path: Path) -> None:
    write_log(tmp_path, {"loss": [(10, 1.0), (20, 2.0), (30, 3.0)], "eval": [(30, 9.0)]}, name=".1")
    write_log(tmp_path, {"loss": [(20, 8.0), (40, 7.0)]}, begin_s=LATER_S, name=".2")
    run = read_tensorboard_log(tmp_path)
    assert (read(run), read(run, "eval")) == ([(10, 1.0), (20, 8.0), (40, 7.0)], [(30, 9.0)])
    assert "2 points that a restart has gone over again are left out" in run.notes


def test_a_writer_that_says_where_it_goes_on_makes_what_lies_behind_void_for_all_tags(tmp_path: Path) -> None:
    write_log(tmp_path, {"loss": [(10, 1.0), (20, 2.0)], "eval": [(15, 9.0), (25, 8.0)]}, name=".1")
    write_log(tmp_path, {"loss": [(22, 7.0)]}, begin_s=LATER_S, restart_step=21, name=".2")
    run = read_tensorboard_log(tmp_path)
    assert (read(run), read(run, "eval")) == ([(10, 1.0), (20, 2.0), (22, 7.0)], [(15, 9.0)])


def test_what_two_writers_say_at_the_same_time_is_all_kept(tmp_path: Path) -> None:
    write_log(tmp_path, {"loss": [(10, 1.0), (30, 3.0)]}, name=".1")
    write_log(tmp_path, {"loss": [(20, 2.0), (40, 4.0)]}, name=".2", begin_s=BEGIN_S + 0.05)
    assert read(read_tensorboard_log(tmp_path)) == [(10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0)]


def test_time_begins_with_the_run_and_a_long_pause_between_files_is_told(tmp_path: Path) -> None:
    write_log(tmp_path, {"loss": [(0, 1.0), (1000, 1.0)]}, name=".1")
    write_log(tmp_path, {"loss": [(2000, 1.0)]}, begin_s=LATER_S, name=".2")
    run = read_tensorboard_log(tmp_path)
    assert list(run.series["loss"].places[TIME]) == [0.0, 10.0, 1020.0]
    assert run.notes == ["990 s of its 1,020 s lie between event files, and count as time of the run"]


def test_a_log_that_was_told_no_steps_has_none(tmp_path: Path) -> None:
    write_log(tmp_path, {"loss": [(0, 1.0), (0, 2.0)]})
    assert set(read_tensorboard_log(tmp_path).series["loss"].places) == {TIME}


def test_a_torn_end_is_said_once_of_each_file(tmp_path: Path) -> None:
    path = write_log(tmp_path, {"loss": [(1, 1.0), (2, 2.0)]})
    path.write_bytes(path.read_bytes()[:-3])
    run = read_tensorboard_log(tmp_path)
    assert (read(run), len(run.notes)) == ([(1, 1.0)], 1)
    assert "ends within a record (still written, or cut off)" in run.notes[0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "holds no TensorBoard event files"), (b"", "its event files hold no scalars .yet.")],
)
def test_a_folder_without_points_is_a_sentence(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "events.out.tfevents.1").write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        read_tensorboard_log(tmp_path)
