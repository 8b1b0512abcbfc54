"""``runs.csv``: whole rows that pandas reads at any moment, and nobody's edits lost."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweepline.engine.outcome import OutcomeReader
from sweepline.engine.recovery import recover, start_fields
from sweepline.executors.local.executor import LocalExecutor
from sweepline.recording.book import RecordBook
from sweepline.recording.columns import FIXED_COLUMNS
from sweepline.recording.events import RunRecord
from sweepline.recording.folders import SweepFolder
from sweepline.recording.table import RunTable
from sweepline.runs import Run, RunOutcome, State
from tests.fakes import recorded

HOSTILE = {
    "newline": "two\nlines",
    "carriage return": "over\rprinted\r\n",
    "comma": "a,b,,c",
    "quotes": 'he said "no", twice ""',
    "one quote": 'an open " quote',
    "other line ends": "a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g",
    "surrogate": "\ud800",
    "markup": "1+1; <b>ünï 😀</b>\t\\",
}


def record(
    i: int, *, state: State = State.FINISHED, reason: str = "", attempt: int = 1, host: str = "", **metrics: float
) -> RunRecord:
    """Return run ``i`` as it ended."""
    return recorded(
        f"{i:012x}",
        name=f"lr{i}",
        params={"lr": i / 10},
        seed=i,
        state=state,
        attempt=attempt,
        device="cpu",
        started_at="2026-01-01T10:00:00+00:00",
        duration_s=1.5,
        exit_code=0,
        reason=reason,
        host=host,
        metrics=metrics or {"loss": i / 4},
    )


@pytest.fixture
def table(tmp_path: Path) -> RunTable:
    """An open table with no rows, the metric ``loss`` known from the start."""
    made = RunTable(tmp_path / "runs.csv", sweep="toys", params=["lr"], metrics=["loss"])
    made.open({})
    return made


def put_and_read(table: RunTable, added: RunRecord) -> pd.DataFrame:
    put(table, added)
    return pd.read_csv(table.path)


def put(table: RunTable, added: RunRecord) -> None:
    """Put a row and write it, however soon after the last rebuild."""
    table.put(added)
    table.flush(is_last=True)


def cells_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# rows


def test_a_reserved_metric_finds_a_column_when_five_hundred_are_taken(tmp_path: Path) -> None:
    table = RunTable(tmp_path / "runs.csv", sweep="toys", params=[], reserved=["loss"])
    table.open({})
    for name, metrics in (("a", {f"m{i}": 1.0 for i in range(500)}), ("b", {"more": 1.0, "loss": 0.25})):
        table.put(recorded(name, name=name, state=State.FINISHED, attempt=1, metrics=metrics))
    table.close()

    assert ("loss" in table.header, "more" in table.header) == (True, False)


def test_the_file_can_be_read_before_the_first_row(table: RunTable) -> None:
    assert list(pd.read_csv(table.path).columns) == [*FIXED_COLUMNS, "lr", "loss"]


def test_the_folder_of_the_file_is_made(tmp_path: Path) -> None:
    RunTable(tmp_path / "new" / "cfg" / "runs.csv", sweep="toys", params=[]).open({})
    assert (tmp_path / "new" / "cfg" / "runs.csv").exists()


def test_pandas_reads_one_more_row_after_every_put(table: RunTable) -> None:
    added = [record(1), record(2), record(3, late=1.0), record(4), record(5, late=2.0, later=3.0)]
    assert [len(put_and_read(table, one)) for one in added] == [1, 2, 3, 4, 5]


def test_a_row_tells_everything_of_a_run(table: RunTable) -> None:
    ended = record(3, state=State.FAILED, reason="broke", attempt=2, host="lab7", loss=0.75)
    put(table, ended)
    (cells,) = cells_of(table.path)
    assert cells == {
        "sweep": "toys",
        "run_id": "000000000003",
        "run_name": "lr3",
        "state": "failed",
        "exit_code": "0",
        "reason": "broke",
        "attempt": "2",
        "seed": "3",
        "device": "cpu",
        "started_at": "2026-01-01T10:00:00+00:00",
        "duration_s": "1.5",
        "code": "",
        "in_sweep": "yes",
        "host": "lab7",
        "peak_memory_gib": "",
        "cpu_hours": "",
        "gpu_hours": "0.0",
        "lr": "0.3",
        "loss": "0.75",
    }


def test_a_run_without_an_end_has_no_row(table: RunTable) -> None:
    assert len(put_and_read(table, record(1, state=State.RUNNING))) == 0


@pytest.mark.parametrize("value", [-0.0, 1e-300, 0.1 + 0.2, 1e22, math.nan, math.inf, -math.inf], ids=repr)
def test_a_number_keeps_every_digit(table: RunTable, value: float) -> None:
    put(table, record(1, loss=value))
    (cells,) = cells_of(table.path)
    assert repr(float(cells["loss"])) == repr(value)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, "~"),
        (True, "True"),
        (7, "7"),
        ([1, 2.5], "[1, 2.5]"),
        ({"a": None}, '{"a": null}'),
        ("1e-4", "'1e-4"),
        ("007", "'007"),
        ("None", "'None"),
        ("NA", "'NA"),
        ("true", "'true"),
        ("~", "'~"),
        ("", "'"),
        ("'quoted'", "''quoted'"),
        ("adam", "adam"),
    ],
    ids=repr,
)
def test_a_parameter_of_any_type_is_one_cell(table: RunTable, value: object, cell: str) -> None:
    ended = record(1)
    ended.params = {"lr": value}
    put(table, ended)
    assert cells_of(table.path)[0]["lr"] == cell


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_row_stays_one_line_whatever_its_text(table: RunTable, text: str) -> None:
    put(table, record(1, reason=text))
    put(table, record(2))
    assert (table.path.read_bytes().count(b"\n"), len(pd.read_csv(table.path))) == (3, 2)


@pytest.mark.parametrize("name", ["comma", "quotes", "one quote", "markup"])
def test_text_without_line_ends_is_read_back_as_it_was(table: RunTable, name: str) -> None:
    put(table, record(1, reason=HOSTILE[name]))
    assert pd.read_csv(table.path).reason[0] == HOSTILE[name]


# appending and rebuilding


def test_a_row_is_appended_to_the_same_file(table: RunTable) -> None:
    put(table, record(1))
    inode = table.path.stat().st_ino
    put(table, record(2))
    assert table.path.stat().st_ino == inode


def test_a_new_metric_widens_the_file_by_a_rename(table: RunTable) -> None:
    put(table, record(1))
    inode = table.path.stat().st_ino
    put(table, record(2, loss=0.5, late=1.0))
    assert table.path.stat().st_ino != inode


def test_a_reader_of_the_old_file_keeps_the_old_file(table: RunTable) -> None:
    put(table, record(1))
    with table.path.open("rb") as reader:
        before = table.path.read_bytes()
        put(table, record(2, late=1.0))
        assert reader.read() == before


def test_rows_from_before_a_metric_are_blank_in_its_column(table: RunTable) -> None:
    put(table, record(1, loss=0.25))
    put(table, record(2, loss=0.5, late=1.0))
    assert [cells["late"] for cells in cells_of(table.path)] == ["", "1.0"]


def test_rows_after_a_metric_that_lack_it_are_blank_in_its_column(table: RunTable) -> None:
    put(table, record(1, late=1.0))
    put(table, record(2, loss=0.5))
    assert [cells["late"] for cells in cells_of(table.path)] == ["1.0", ""]


def test_a_new_parameter_widens_the_file(table: RunTable) -> None:
    put(table, record(1))
    wider = record(2)
    wider.params = {"lr": 0.2, "momentum": 0.9}
    put(table, wider)
    assert [cells["momentum"] for cells in cells_of(table.path)] == ["", "0.9"]


def test_a_rebuild_leaves_nothing_beside_the_file(table: RunTable) -> None:
    put(table, record(1, late=1.0))
    assert [path.name for path in table.path.parent.iterdir()] == ["runs.csv"]


def test_a_retried_run_gives_up_its_row_for_one_at_the_end(table: RunTable) -> None:
    put(table, record(1, state=State.FAILED, reason="broke"))
    put(table, record(2))
    put(table, record(1, attempt=2))
    rows = [(cells["run_name"], cells["state"], cells["attempt"]) for cells in cells_of(table.path)]
    assert rows == [("lr2", "finished", "1"), ("lr1", "finished", "2")]


def test_a_row_appended_after_a_rebuild_lands_in_the_new_file(table: RunTable) -> None:
    put(table, record(1, late=1.0))
    put(table, record(2))
    assert len(pd.read_csv(table.path)) == 2


def open_book(folder: SweepFolder) -> RecordBook:
    """Open the books of a sweep as a start of it does."""
    book = RecordBook(folder, csv=None, sweep="toys", params=["lr"], metrics=["loss"])
    recover(book, OutcomeReader(), LocalExecutor())
    book.open_table()
    return book


def end_run(book: RecordBook, run: Run, state: State, metrics: Mapping[str, float]) -> None:
    book.start(start_fields(run, attempt=1, device="cpu"))
    book.end(run.run_id, 1, RunOutcome(state=state, metrics=metrics))
    book.commit()


def test_a_row_stays_as_the_run_ended_while_the_run_is_tried_again(tmp_path: Path) -> None:
    failed, other = (Run(run_id=name * 12, name=name, params={"lr": 1}, seed=0, index=0) for name in "ab")
    folder = SweepFolder(tmp_path)
    folder.lock()
    first = open_book(folder)
    end_run(first, failed, State.FAILED, {"loss": 0.5})
    first.close()
    second = open_book(folder)
    second.start(start_fields(failed, attempt=2, device="cpu"))
    end_run(second, other, State.FINISHED, {"late": 1.0})
    second.close()
    folder.unlock()
    told = [(cells["run_name"], cells["state"], cells["loss"]) for cells in cells_of(folder.csv)]
    assert told == [("a", "failed", "0.5"), ("b", "finished", "")]


# names


@pytest.mark.parametrize(
    ("params", "metrics", "columns"),
    [
        (["lr", "seed"], ["loss"], ["lr", "loss"]),
        (["state"], ["loss"], ["param.state", "loss"]),
        (["lr"], ["lr", "device"], ["lr", "metric.lr", "metric.device"]),
        (["state"], ["state"], ["param.state", "metric.state"]),
        (["param.state"], ["metric.state"], ["param.state", "metric.state"]),
    ],
)
def test_a_taken_name_gets_a_prefix(tmp_path: Path, params: list[str], metrics: list[str], columns: list[str]) -> None:
    made = RunTable(tmp_path / "runs.csv", sweep="toys", params=params, metrics=metrics)
    assert made.header == [*FIXED_COLUMNS, *columns]


@pytest.mark.parametrize(("params", "metrics"), [(["state", "param.state"], []), (["lr"], ["lr", "metric.lr"])])
def test_no_two_columns_have_the_same_name(tmp_path: Path, params: list[str], metrics: list[str]) -> None:
    header = RunTable(tmp_path / "runs.csv", sweep="toys", params=params, metrics=metrics).header
    assert len(header) == len(set(header))


# opening what is there


@pytest.fixture
def written(table: RunTable) -> RunTable:
    """A closed table of three rows."""
    put(table, record(1))
    put(table, record(2, reason="commas, and so on"))
    put(table, record(3))
    table.close()
    return table


def reopen(path: Path, *records: RunRecord) -> str | None:
    """Open the file as the next start does, for the records that the journal knows."""
    again = RunTable(path, sweep="toys", params=["lr"], metrics=["loss"])
    note = again.open({record.run_id: record for record in records})
    again.close()
    return note


KNOWN = (record(1), record(2, reason="commas, and so on"), record(3))


def test_a_file_that_matches_the_journal_is_kept(written: RunTable) -> None:
    inode = written.path.stat().st_ino
    assert (reopen(written.path, *KNOWN), written.path.stat().st_ino) == (None, inode)


def test_a_file_that_is_merely_behind_is_completed_without_a_copy(written: RunTable) -> None:
    whole = written.path.read_bytes()
    written.path.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    note = reopen(written.path, *KNOWN)
    assert (note, written.path.read_bytes()) == (None, whole)
    assert list(written.path.parent.glob("*.bak-*")) == []


def complete_from(path: Path, found: bytes) -> tuple[bytes, int]:
    """Open a file of these bytes; return what it holds then, and how many copies were made."""
    path.parent.mkdir()
    path.write_bytes(found)
    reopen(path, *KNOWN)
    return path.read_bytes(), len(list(path.parent.glob("*.bak-*")))


def test_a_file_torn_at_any_byte_is_completed_without_a_copy(written: RunTable, tmp_path: Path) -> None:
    whole = written.path.read_bytes()
    found = {n: complete_from(tmp_path / str(n) / "runs.csv", whole[:n]) for n in range(0, len(whole), 5)}
    assert set(found.values()) == {(whole, 0)}


EDITS: dict[str, Callable[[bytes], bytes]] = {
    "a cell": lambda data: data.replace(b"0.75", b"0.01"),
    "a row gone": lambda data: b"".join(data.splitlines(keepends=True)[::2]),
    "sorted": lambda data: b"".join([*data.splitlines(keepends=True)[:1], *sorted(data.splitlines(True)[1:])[::-1]]),
    "a row more": lambda data: data + data.splitlines(keepends=True)[-1],
    "a note below": lambda data: data + b"my notes",
    "line ends": lambda data: data.replace(b"\n", b"\r\n"),
    "a column named": lambda data: data.replace(b"loss", b"final loss"),
    "a column's name damaged": lambda data: data.replace(b",code,", b",\0ode,"),
    "a code": lambda data: data.replace(b",,yes,", b",1a2b3c4d5e,yes,", 1),
    "a standing": lambda data: data.replace(b",yes,", b",\0es,", 1),
    "another encoding": lambda data: data.decode().encode("utf-16"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edited_file_is_kept_as_a_copy_and_rebuilt(written: RunTable, edit: Callable[[bytes], bytes]) -> None:
    whole = written.path.read_bytes()
    written.path.write_bytes(edit(whole))
    note = reopen(written.path, *KNOWN)
    (backup,) = written.path.parent.glob("runs.csv.bak-*")
    assert (written.path.read_bytes(), backup.read_bytes()) == (whole, edit(whole))
    assert note == f"runs.csv did not match the journal; rebuilt (old copy: {backup.name})"


def test_edits_found_shortly_after_each_other_are_all_kept(written: RunTable) -> None:
    whole = written.path.read_bytes()
    written.path.write_bytes(whole + b"first")
    reopen(written.path, *KNOWN)
    written.path.write_bytes(whole + b"second")
    reopen(written.path, *KNOWN)
    copies = {path.read_bytes() for path in written.path.parent.glob("runs.csv.bak-*")}
    assert copies == {whole + b"first", whole + b"second"}


def test_a_deleted_file_is_written_again(written: RunTable) -> None:
    whole = written.path.read_bytes()
    written.path.unlink()
    reopen(written.path, *KNOWN)
    assert written.path.read_bytes() == whole


# a reader beside the writer

READER = """
import json, sys, threading
import pandas as pd

errors, counts, is_over = [], [], threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), is_over.set()), daemon=True).start()
while True:
    was_over = is_over.is_set()
    try:
        counts.append(len(pd.read_csv(sys.argv[1])))
    except Exception as error:
        errors.append(repr(error))
    if len(counts) + len(errors) == 1:
        print("reading", flush=True)
    if was_over:
        break
print(json.dumps({"errors": errors, "n_reads": len(counts), "last": counts[-1], "rises": counts == sorted(counts)}))
"""


def put_all(table: RunTable, n_rows: int) -> None:
    """Put rows of which every fifth brings a metric that was not there before."""
    for i in range(n_rows):
        put(table, record(i, loss=i / 4, **{f"metric_{i // 5}": float(i)}))


def test_a_pandas_reader_beside_500_rows_and_100_new_columns_sees_no_error_and_no_row_go(table: RunTable) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(table.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        put_all(table, 500)
        out, _ = reader.communicate()
    seen: dict[str, Any] = json.loads(out)
    n_reads = seen.pop("n_reads")
    assert seen == {"errors": [], "last": 500, "rises": True}
    assert n_reads > 10


# a full disk

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from sweepline.recording.events import RunRecord
from sweepline.recording.table import RunTable
from sweepline.runs import RunOutcome, State

def recorded(run_id, *, state, metrics):
    return RunRecord(run_id, attempt=1, outcome=RunOutcome(state=state, metrics=metrics))

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, room, metric = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
table = RunTable(path, sweep="toys", params=["lr"], metrics=["loss"])
table.open({"a" * 12: recorded("a" * 12, state=State.FINISHED, metrics={"loss": 1.0})})
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, resource.RLIM_INFINITY))
try:
    table.put(recorded("b" * 12, state=State.FINISHED, metrics={metric: 2.0}))
    table.flush()
    print(type(table.fault).__name__, len(table._waiting), table.note)
except Exception as error:
    print(type(error).__name__)
"""


def fill_disk(path: Path, room: int, metric: str) -> str:
    """Put a row where only ``room`` bytes are left; return the name of the error."""
    args = [sys.executable, "-c", FULL_DISK, str(path), str(room), metric]
    return subprocess.run(args, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(("room", "metric"), [(0, "loss"), (10, "loss"), (10, "late")])
def test_a_row_that_does_not_fit_leaves_only_whole_rows(tmp_path: Path, room: int, metric: str) -> None:
    fill_disk(tmp_path / "runs.csv", room, metric)
    assert (tmp_path / "runs.csv").read_bytes().endswith(b",1.0\n")


@pytest.mark.parametrize(("room", "metric"), [(0, "loss"), (10, "loss"), (10, "late")])
def test_a_file_that_must_not_grow_is_told_once_and_its_rows_wait(tmp_path: Path, room: int, metric: str) -> None:
    assert fill_disk(tmp_path / "runs.csv", room, metric) == (
        f"NoneType 1 {tmp_path}/runs.csv: cannot be written: the limit on the size of files (ulimit -f) is reached; "
        "raise it; the sweep goes on: the journal has every run, sweepline rebuild-csv writes the table"
    )
