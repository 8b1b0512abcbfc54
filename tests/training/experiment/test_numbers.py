"""Run numbers: never twice, never lost."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from sweepline.errors import ConfigError
from sweepline.training.config.loading import load_config
from sweepline.training.experiment.folder import weights_path
from sweepline.training.experiment.frozen import freeze
from sweepline.training.experiment.numbers import reserve_run_number
from tests.conftest import DEADLINE_S

N_PROCESSES, N_NUMBERS = 16, 500 if os.environ.get("SWEEPLINE_SOAK") else 40
TAKER = """
import sys
from pathlib import Path
from sweepline.training.experiment.numbers import reserve_run_number
for _ in range(int(sys.argv[2])):
    print(reserve_run_number(Path(sys.argv[1])))
"""


def test_numbers_begin_with_one_and_the_counter_tells_the_next(tmp_path: Path) -> None:
    assert [reserve_run_number(tmp_path / "new") for _ in range(3)] == [1, 2, 3]
    assert (tmp_path / "new" / "run_counter.txt").read_text() == "4\n"


def test_many_processes_get_no_number_twice_and_lose_none(tmp_path: Path) -> None:
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", TAKER, str(tmp_path), str(N_NUMBERS)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(N_PROCESSES)
    ]
    taken = [int(line) for taker in takers for line in taker.communicate(timeout=20 * DEADLINE_S)[0].split()]
    assert sorted(taken) == list(range(1, N_PROCESSES * N_NUMBERS + 1))


@pytest.mark.parametrize("text", ["", "many", "-3", "0", "\0\0\0", None])
def test_an_unreadable_counter_goes_on_after_the_highest_number_found(tmp_path: Path, text: str | None) -> None:
    config = load_config(None)
    freeze(config, tmp_path, 3)
    weights = weights_path(tmp_path, config, 7)
    weights.parent.mkdir()
    weights.touch()
    (tmp_path / "batch_size_tuning.json").write_text('{"records": {"5": {"run_number": 5}}}')
    counter = tmp_path / "run_counter.txt"
    if text is not None:
        counter.write_text(text)
    with nullcontext() if text is None else pytest.warns(UserWarning, match="is damaged or was removed"):
        assert reserve_run_number(tmp_path) == 8
    assert counter.read_text() == "9\n"


@pytest.mark.parametrize("text", ["", "many", "2", None])
def test_numbers_that_left_no_other_file_are_not_given_again(tmp_path: Path, text: str | None) -> None:
    assert [reserve_run_number(tmp_path) for _ in range(12)][-1] == 12
    counter = tmp_path / "run_counter.txt"
    if text is None:
        counter.unlink()
    else:
        counter.write_text(text)
    with nullcontext() if text == "2" else pytest.warns(UserWarning, match=r"run_counter.txt: .* go on with 13"):
        assert reserve_run_number(tmp_path) == 13
    assert reserve_run_number(tmp_path) == 14  # that it was damaged is said once
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".run_number_14", "run_counter.txt"]


def test_a_process_that_was_killed_between_its_writes_leaves_no_number_to_others(tmp_path: Path) -> None:
    reserve_run_number(tmp_path)
    (tmp_path / ".run_number_2").touch()
    assert reserve_run_number(tmp_path) == 3
    assert [path.name for path in tmp_path.glob(".run_number_*")] == [".run_number_3"]


def test_a_counter_that_is_behind_gives_no_number_again(tmp_path: Path) -> None:
    for _ in range(3):
        freeze(load_config(None), tmp_path, reserve_run_number(tmp_path))
    (tmp_path / "run_counter.txt").write_text("2\n")
    assert reserve_run_number(tmp_path) == 4


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="runs of an experiment are numbered there: make it writable, set output_dir"):
        reserve_run_number(tmp_path / "file" / "experiment")
