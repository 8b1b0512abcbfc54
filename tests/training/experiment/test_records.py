"""The tuning log: writers at the same time, runs that were killed, old records, recommendations."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sweepline.training.experiment.records import (
    KILLED,
    TuningRecord,
    finish_record,
    mark_killed,
    this_process,
    write_record,
)
from tests.conftest import DEADLINE_S
from tests.training.experiment.reading import read_records

IS_SOAK = bool(os.environ.get("SWEEPLINE_SOAK"))
N_WRITERS, N_RECORDS = 16, 200 if IS_SOAK else 15
WRITER = """
import sys
from pathlib import Path
from sweepline.training.experiment.records import TuningRecord, write_record
folder, first, n = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + n):
    write_record(folder, TuningRecord(run_number=number, timestamp="now", config_key="k", default_batch_size=64,
        tuned_batch_size_previous=None, optimize_batch_size=False, safety_factor=0.5, run_batch_size=number))
"""


def record(number: int = 1, **fields: object) -> TuningRecord:
    base = TuningRecord(
        run_number=number,
        timestamp="2026-01-27T13:11:00",
        config_key="digits_simple_cnn_normal",
        default_batch_size=64,
        tuned_batch_size_previous=None,
        optimize_batch_size=True,
        safety_factor=0.5,
        run_batch_size=100,
        tuning_key="a",
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def test_many_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(1 + i * N_RECORDS), str(N_RECORDS)])
        for i in range(N_WRITERS)
    ]
    assert [writer.wait(20 * DEADLINE_S) for writer in writers] == [0] * N_WRITERS
    records = read_records(tmp_path)
    assert list(records) == list(range(1, N_WRITERS * N_RECORDS + 1))
    assert all(known.run_batch_size == number for number, known in records.items())


def test_a_log_is_whole_for_readers_at_any_moment(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), "1", "60"])
    seen = set()
    while writer.poll() is None:
        seen.add(len(read_records(tmp_path)))
    assert writer.returncode == 0
    assert len(seen) > 1


def test_a_success_recommends_what_it_used(tmp_path: Path) -> None:
    assert finish_record(tmp_path, record()).recommended_batch_size == 100
    told = json.loads((tmp_path / "batch_size_tuning.json").read_text())
    assert told["records"]["1"]["training_succeeded"] is True
    assert "last_updated" in told


def test_after_memory_ran_out_an_earlier_smaller_success_is_recommended(tmp_path: Path) -> None:
    for number, size in ((1, 48), (2, 80), (3, 100), (4, 100)):
        finish_record(tmp_path, record(number, run_batch_size=size))
    finish_record(tmp_path, record(5, run_batch_size=60, tuning_key="another set-up"))
    ended = finish_record(tmp_path, record(6), error="out of memory: so it is", ran_out_at=100)
    assert (ended.recommended_batch_size, ended.training_succeeded) == (80, False)


def test_after_memory_ran_out_without_any_success_four_fifths_are_recommended(tmp_path: Path) -> None:
    assert finish_record(tmp_path, record(), error="out of memory", ran_out_at=101).recommended_batch_size == 80
    assert finish_record(tmp_path, record(2), error="out of memory", ran_out_at=1).recommended_batch_size == 1


def test_another_error_recommends_no_size(tmp_path: Path) -> None:
    ended = finish_record(tmp_path, record(), error="ValueError: no")
    assert (ended.recommended_batch_size, ended.training_error) == (None, "ValueError: no")


def test_a_run_that_was_killed_is_known_at_the_next_start(tmp_path: Path) -> None:
    script = WRITER.replace("run_batch_size=number", "run_batch_size=number, process=this_process()").replace(
        "import TuningRecord", "import this_process, TuningRecord"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", f"{script}\nimport time\ntime.sleep(600)", str(tmp_path), "1", "1"]
    )
    while 1 not in read_records(tmp_path):
        assert killed.poll() is None
    write_record(tmp_path, record(2, process=this_process()))
    assert mark_killed(tmp_path) == []
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert mark_killed(tmp_path) == [1]
    assert mark_killed(tmp_path) == []
    records = read_records(tmp_path)
    assert (records[1].training_error, records[1].process) == (KILLED, None)
    assert records[2].training_error is None


@pytest.mark.parametrize(
    ("process", "is_killed"),
    [
        ({"host": "another", "boot": "x", "pid": 1, "started": 1}, False),
        ({**this_process(), "boot": "before"}, True),
        ({**this_process(), "started": 1}, True),
        ({**this_process(), "pid": 2**22 + 1}, True),
    ],
)
def test_a_process_is_told_from_others_of_its_number(
    tmp_path: Path, process: dict[str, object], is_killed: bool
) -> None:
    write_record(tmp_path, record(process=process))
    assert mark_killed(tmp_path) == ([1] if is_killed else [])


@pytest.mark.parametrize("meanwhile", ["it ends well", "it goes on"])
def test_what_a_run_writes_before_it_is_called_killed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    write_record(tmp_path, record(process={**this_process(), "pid": 2**22 + 1}))

    def boot() -> str:  # asked once the record has been read
        monkeypatch.undo()
        if meanwhile == "it ends well":
            finish_record(tmp_path, record())
        else:
            write_record(tmp_path, record(process=this_process()))
        return str(this_process()["boot"])

    monkeypatch.setattr("sweepline.training.experiment.records._boot", boot)
    assert mark_killed(tmp_path) == []
    known = read_records(tmp_path)[1]
    assert (known.training_succeeded, known.training_error) == (meanwhile == "it ends well", None)


def test_old_records_are_read_silently(tmp_path: Path) -> None:
    old = {"run_number": 1, "run_batch_size": 105, "training_succeeded": True, "lightning_version": "2.1"}
    (tmp_path / "batch_size_tuning.json").write_text(json.dumps({"records": {"1": old}, "last_updated": "then"}))
    known = read_records(tmp_path)[1]
    assert (known.run_batch_size, known.default_batch_size, known.probes) == (105, 64, [])
    write_record(tmp_path, record(2))
    assert list(read_records(tmp_path)) == [1, 2]


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("", None),
        ("[]", None),
        ("{}", None),
        ('{"records": [1]}', None),
        ('{"rec', None),
        ('{"records": {"x": {}}}', set()),
        ('{"records": {"1": 2, "3": {}}}', {3}),
    ],
)
@pytest.mark.parametrize("is_old", [True, False])
def test_a_damaged_log_is_moved_away_once_and_hinders_no_run(
    tmp_path: Path, text: str, readable: set[int] | None, is_old: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """An old log is all that there is of its runs; a later one says what their own files say, and is made anew.

    ``readable`` are the runs that the log tells of; None: it is no log.
    """
    if not is_old:
        finish_record(tmp_path, record(7))
    path = tmp_path / "batch_size_tuning.json"
    path.write_text(text)
    finish_record(tmp_path, record(8))
    kept = [known.read_text() for known in tmp_path.glob("batch_size_tuning.json.damaged-*")]
    assert kept == ([text] if is_old or readable is None else [])
    assert capsys.readouterr().err.count("damaged-1") == len(kept)
    assert set(read_records(tmp_path)) == {8} | ((readable or set()) if is_old else {7})
    assert set(json.loads(path.read_text())["records"]) == {str(number) for number in read_records(tmp_path)}


def test_one_damaged_record_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2, 3):
        finish_record(tmp_path, record(number))
    (tmp_path / "tuning" / "run_002.json").write_text("{")
    (tmp_path / "tuning" / "run_003.json").write_text('{"run_number": 3, "run_batch_size": "many"}')
    assert list(read_records(tmp_path)) == list(read_records(tmp_path)) == [1]
    assert capsys.readouterr().err.count("moved to") == 2


def test_what_a_run_writes_does_not_grow_with_the_number_of_runs(tmp_path: Path) -> None:
    log = tmp_path / "batch_size_tuning.json"
    finish_record(tmp_path, record(1))
    inode = log.stat().st_ino
    write_record(tmp_path, record(2, process=this_process()))
    finish_record(tmp_path, record(2))
    assert log.stat().st_ino == inode, "the log was written anew"
    assert list(json.loads(log.read_text())["records"]) == ["1", "2"]


@pytest.mark.parametrize("n_others", [0, 1])
def test_a_run_that_was_stopped_and_goes_on_stands_once_in_the_log(tmp_path: Path, n_others: int) -> None:
    for _ in range(n_others):
        finish_record(tmp_path, record(1))
    write_record(tmp_path, record(2, training_error="stopped"))
    write_record(tmp_path, record(2, process=this_process()))
    finish_record(tmp_path, record(2))
    text = (tmp_path / "batch_size_tuning.json").read_text()
    assert text.count('"2": {') == 1
    assert json.loads(text)["records"]["2"]["training_succeeded"] is True


def test_a_success_is_never_made_a_failure(tmp_path: Path) -> None:
    finish_record(tmp_path, record())
    assert finish_record(tmp_path, record(), error="BrokenPipeError").training_succeeded
    assert read_records(tmp_path)[1].training_error is None
