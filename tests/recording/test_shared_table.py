"""One ``runs.csv`` for several sweeps: each keeps its own rows up to date and leaves the others' as they are."""

from __future__ import annotations

import csv
from pathlib import Path

from sweepline.recording.events import RunRecord
from sweepline.recording.rows import take_rows_out
from sweepline.recording.table import RunTable
from sweepline.runs import State
from tests.fakes import recorded


def record(sweep: str, i: int, **metrics: float) -> RunRecord:
    """Return run ``i`` of a sweep, whose parameter and metric only that sweep has."""
    return recorded(
        f"{i:012x}",
        name=f"{sweep}{i}",
        params={f"of_{sweep}": i},
        state=State.FINISHED,
        attempt=1,
        metrics=metrics or {"loss": i / 4},
    )


class Writer:
    """A sweep that writes the table of ``folder``."""

    def __init__(self, folder: Path, sweep: str, *known: RunRecord) -> None:
        self.records = {run.run_id: run for run in known}
        self.table = RunTable(folder / "runs.csv", sweep=sweep, params=[f"of_{sweep}"], is_shared=True)
        self.note = self.table.open(self.records)

    def put(self, run: RunRecord) -> None:
        self.records[run.run_id] = run
        self.table.put(run)
        self.table.flush(is_last=True)


def rows(folder: Path) -> list[tuple[str, str, str, str]]:
    """Return sweep, run, and the cells of both sweeps' parameters."""
    with (folder / "runs.csv").open(newline="") as file:
        read = list(csv.DictReader(file, strict=True))
    return [(r["sweep"], r["run_name"], r.get("of_a") or "", r.get("of_b") or "") for r in read]


def test_rows_of_two_sweeps_written_in_turn_are_all_there_with_their_own_columns(tmp_path: Path) -> None:
    a, b = Writer(tmp_path, "a"), Writer(tmp_path, "b")
    for i in range(1, 4):
        a.put(record("a", i))
        b.put(record("b", i, accuracy=0.5, loss=1.0))
    told = [a.table.note, b.table.note, a.note, b.note]
    a.table.close()
    b.table.close()
    assert sorted(rows(tmp_path)) == [
        *(("a", f"a{i}", str(i), "") for i in range(1, 4)),
        *(("b", f"b{i}", "", str(i)) for i in range(1, 4)),
    ]
    assert told == [None] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]


def test_a_metric_that_another_sweep_has_too_stands_in_one_column(tmp_path: Path) -> None:
    a, b = Writer(tmp_path, "a"), Writer(tmp_path, "b")
    b.put(record("b", 1, late=3.0))
    a.put(record("a", 1, loss=1.0))
    a.put(record("a", 2, late=2.0))
    with (tmp_path / "runs.csv").open(newline="") as file:
        read = {r["run_name"]: r["late"] for r in csv.DictReader(file, strict=True)}
    assert read == {"a1": "", "a2": "2.0", "b1": "3.0"}


def test_a_sweep_that_starts_again_finds_its_rows_among_the_others(tmp_path: Path) -> None:
    runs = [record("a", 1), record("a", 2)]
    a, b = Writer(tmp_path, "a"), Writer(tmp_path, "b")
    a.put(runs[0])
    b.put(record("b", 1))
    a.put(runs[1])
    a.table.close()
    again = Writer(tmp_path, "a", *runs)
    assert again.note is None
    assert sorted(row[1] for row in rows(tmp_path)) == ["a1", "a2", "b1"]


def test_an_edit_of_our_rows_in_a_shared_table_is_kept_as_a_copy(tmp_path: Path) -> None:
    a, b = Writer(tmp_path, "a"), Writer(tmp_path, "b")
    a.put(record("a", 1))
    b.put(record("b", 1))
    edited = (tmp_path / "runs.csv").read_text().replace(",0.25", ",9.9", 1)
    a.table.close()
    (tmp_path / "runs.csv").write_text(edited)
    again = Writer(tmp_path, "a", record("a", 1))
    assert again.note is not None
    assert [path.read_text() for path in tmp_path.glob("*.bak-*")] == [edited]
    assert sorted(row[1] for row in rows(tmp_path)) == ["a1", "b1"]


def test_starting_over_takes_its_own_rows_out_and_leaves_the_others(tmp_path: Path) -> None:
    Writer(tmp_path, "a").put(record("a", 1))
    Writer(tmp_path, "b").put(record("b", 1))  # with the same run id
    take_rows_out(tmp_path / "runs.csv", "a", [f"{1:012x}"], to=tmp_path / "archived.csv")
    assert "a1" in (tmp_path / "archived.csv").read_text()
    assert rows(tmp_path) == [("b", "b1", "", "1")]


def test_starting_over_removes_a_table_that_was_its_own_alone(tmp_path: Path) -> None:
    Writer(tmp_path, "a").put(record("a", 1))
    take_rows_out(tmp_path / "runs.csv", "a", [f"{1:012x}"], to=tmp_path / "archived.csv")
    assert not (tmp_path / "runs.csv").exists()
