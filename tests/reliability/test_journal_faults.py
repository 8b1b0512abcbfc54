"""The journal cut at every byte, with every byte changed, by crashes between any two operations; and the table too."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sweepline.engine.outcome import OutcomeReader
from sweepline.engine.recovery import recover, start_fields
from sweepline.engine.verify import check_invariants
from sweepline.errors import RecordError
from sweepline.executors.local.executor import LocalExecutor
from sweepline.recording.book import RecordBook
from sweepline.recording.events import RunRecord
from sweepline.recording.folders import SweepFolder
from sweepline.recording.journal import JOURNAL, QUARANTINE, VERSION, Journal, read_events
from sweepline.recording.table import RunTable
from sweepline.runs import Run, RunOutcome, State
from tests.fakes import fold, recorded
from tests.reliability import IS_SOAK, SEED, scaled

N_CUT_RECORDS = 3
TAILS = {"nothing": b"", "NULs": bytes(700), "garbage": b'\xff\xfe{"v":1,"seq":\x00}}]', "half a record": b'{"v":1,"s'}
METRICS = ["loss", "accuracy", "x", "state", "metric.loss"]


def book_of(folder: Path) -> RecordBook:
    return RecordBook(SweepFolder(folder), csv=None, sweep="s", params=["x"], metrics=[])


def faults_of(folder: Path) -> list[str]:
    """Return what is broken, but for the folders of runs: these were never executed."""
    return [fault for found in check_invariants(folder) if found.name != "I5" for fault in found.faults]


def open_book(folder: Path) -> tuple[RecordBook, list[str]]:
    """Open the books as a start of a sweep does; return them and what is said."""
    book = book_of(folder)
    return book, [*recover(book, OutcomeReader(), LocalExecutor())[1], *book.open_table()]


def run_of(number: int) -> Run:
    return Run(run_id=f"{number:012x}", name=f"x{number}", params={"x": number}, seed=None, index=number)


def write_book(folder: Path, *, n_runs: int) -> None:
    """Write the books of a sweep of so many runs, which all finished."""
    (folder / "runs").mkdir(parents=True)
    book, _ = open_book(folder)
    book.note_event("sweep_start", sweep="s", pid=1)
    for number in range(n_runs):
        book.start(start_fields(run_of(number), attempt=1, device="cpu"))
        metrics = {"loss": number / 3, "accuracy": math.nan if number % 5 == 2 else -number}
        book.end(
            run_of(number).run_id, 1, RunOutcome(state=State.FINISHED, exit_code=0, duration_s=0.25, metrics=metrics)
        )
        book.commit()
    book.note_event("sweep_stop", signal=None, halted=None)
    book.close()


def meaning(path: Path) -> list[dict[str, Any]]:
    """Return what a journal says, comparable: a nan equals a nan."""
    return [json.loads(json.dumps(event)) for event in read_events(path)]


def same(left: object, right: object) -> bool:
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


# a torn end


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The journal of a sweep of six runs."""
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    write_book(folder, n_runs=6)
    return (folder / JOURNAL).read_bytes()


@pytest.mark.parametrize("tail", TAILS)
def test_a_journal_cut_at_any_byte_keeps_exactly_what_was_whole_and_goes_on(
    tmp_path: Path, whole: bytes, tail: str
) -> None:
    lines = whole.splitlines(keepends=True)
    path = tmp_path / JOURNAL
    n_cuts = 0
    for cut in range(len(b"".join(lines[:-N_CUT_RECORDS])), len(whole) + 1):
        content = whole[:cut] + TAILS[tail]
        path.write_bytes(content)
        shutil.rmtree(tmp_path / QUARANTINE, ignore_errors=True)
        n_whole = content.count(b"\n")
        kept, torn = b"".join(lines[:n_whole]), content[content.rfind(b"\n") + 1 :]
        journal = Journal(path)
        journal.append("note", text="after")
        journal.sync()
        journal.close()
        events = list(read_events(path))
        assert path.read_bytes().startswith(kept), cut
        assert [event["seq"] for event in events] == list(range(n_whole + 1)), cut
        assert events[-1]["text"] == "after", cut
        assert [file.read_bytes() for file in sorted(tmp_path.glob(f"{QUARANTINE}/*"))] == ([torn] if torn else []), cut
        assert bool(journal.note) == bool(torn), cut
        n_cuts += 1
    assert n_cuts > 500


def test_a_crash_while_the_torn_end_is_cut_is_cut_again(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / JOURNAL
    path.write_bytes(whole[:-20])
    (tmp_path / QUARANTINE).mkdir()
    (tmp_path / QUARANTINE / "events.jsonl.earlier").write_bytes(b"from the start before")
    Journal(path).close()
    kept = {file.read_bytes() for file in (tmp_path / QUARANTINE).iterdir()}
    torn = whole[:-20].rpartition(b"\n")[2]
    assert kept == {b"from the start before", torn}


@pytest.mark.parametrize("tail", TAILS)
def test_the_books_open_behind_any_torn_end_with_every_whole_end_in_the_table(
    tmp_path: Path, whole: bytes, tail: str
) -> None:
    lines = whole.splitlines(keepends=True)
    begin = len(b"".join(lines[:-N_CUT_RECORDS]))
    for cut in range(begin, len(whole), max(1, 100 // scaled(100))):
        folder = tmp_path / str(cut)
        (folder / "runs").mkdir(parents=True)
        (folder / JOURNAL).write_bytes(whole[:cut] + TAILS[tail])
        n_ends = sum(line.endswith(b"\n") and b'"run_end"' in line for line in whole[:cut].splitlines(keepends=True))
        book, _ = open_book(folder)
        book.close()
        rows = pd.read_csv(folder / "runs.csv")
        assert list(rows.state).count("finished") == n_ends, cut
        assert not faults_of(folder), cut
        shutil.rmtree(folder)


# a damaged middle


@dataclass(frozen=True)
class Flip:
    """A journal with one byte changed: where, and what reading it came to."""

    where: str
    sentence: str = ""
    other_error: str = ""
    n_missing: int = 0
    is_equal: bool = True


def read_flipped(path: Path, content: bytes, *, offset: int, flip: int) -> Flip:
    """Change a byte of a journal and read it again."""
    damaged = bytearray(content)
    damaged[offset] ^= flip
    path.write_bytes(damaged)
    where = f"byte {offset} xor {flip:#x}: {bytes(damaged[max(0, offset - 30) : offset + 10])!r}"
    try:
        found = fold(read_events(path))
    except RecordError as error:
        return Flip(where, sentence=str(error))
    except Exception as error:
        return Flip(where, other_error=repr(error))
    path.write_bytes(content if offset < content[:-1].rfind(b"\n") else content[: content[:-1].rfind(b"\n") + 1])
    expected = fold(read_events(path))
    n_ended = [sum(record.is_ended for record in records.values()) for records in (found, expected)]
    return Flip(where, n_missing=n_ended[1] - n_ended[0], is_equal=repr(found) == repr(expected))


@pytest.fixture(scope="module")
def flips(tmp_path_factory: pytest.TempPathFactory) -> list[Flip]:
    """Every tenth byte of a journal of 50 lines changed, one at a time; in a soak every byte in three ways."""
    folder = tmp_path_factory.mktemp("flips") / "sweep"
    write_book(folder, n_runs=24)
    path = folder / JOURNAL
    content = path.read_bytes()
    assert content.count(b"\n") == 50
    masks = (0x01, 0x20, 0x80) if IS_SOAK else (0x01,)
    offsets = range(SEED % 10, len(content), 10 // scaled(10))
    found = [read_flipped(path, content, offset=offset, flip=mask) for offset in offsets for mask in masks]
    print(f"{len(found)} bytes changed: {sum(bool(f.sentence) for f in found)} found; seed {SEED}")
    return found


def test_a_changed_byte_ends_in_a_sentence_that_names_the_place_or_in_none(flips: list[Flip]) -> None:
    assert not [flip.where + flip.other_error for flip in flips if flip.other_error][:5]
    assert any(flip.sentence for flip in flips)
    strange = [flip for flip in flips if flip.sentence and not re.search("at byte|by format", flip.sentence)]
    assert not strange[:5]


def test_a_changed_byte_never_makes_an_end_disappear_unsaid(flips: list[Flip]) -> None:
    assert not [flip.where for flip in flips if flip.n_missing > 0][:5]


def test_a_changed_byte_is_found_or_changes_no_meaning(flips: list[Flip]) -> None:
    unsaid = [flip.where for flip in flips if not flip.is_equal]
    assert not unsaid, f"{len(unsaid)} of {len(flips)} changes were taken for the truth, such as {unsaid[:5]}"


def test_a_lost_or_repeated_or_moved_line_is_found_where_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    write_book(folder, n_runs=6)
    path = folder / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    for number in range(len(lines) - 1):
        lost = lines[:number] + lines[number + 1 :]
        repeated = lines[: number + 1] + lines[number:]
        moved = [*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]]
        for damaged in (lost, repeated, moved):
            content = b"".join(damaged)
            path.write_bytes(content)
            with pytest.raises(RecordError, match="damaged at byte"):
                list(read_events(path))
            with pytest.raises(RecordError):
                Journal(path)
            assert path.read_bytes() == content


def test_a_refused_journal_names_the_byte_and_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    write_book(folder, n_runs=3)
    path = folder / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    offset = len(lines[0]) + len(lines[1])
    content = b"".join([*lines[:2], b"#" + lines[2][1:], *lines[3:]]) + b"torn"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=f"damaged at byte {offset}:"):
        book_of(folder)
    assert path.read_bytes() == content
    assert not (folder / QUARANTINE).exists()


def test_a_journal_of_a_newer_version_is_refused_and_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    write_book(folder, n_runs=2)
    path = folder / JOURNAL
    newer = path.read_bytes() + b'{"v":%d,"seq":6,"ev":"what is this"}\ntorn' % (VERSION + 1)
    path.write_bytes(newer)
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file()}
    with pytest.raises(RecordError, match="newer sweepline"):
        book_of(folder)
    after = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file()}
    assert after == before


# the table


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the books of eight runs."""
    folder = tmp_path_factory.mktemp("books") / "sweep"
    write_book(folder, n_runs=8)
    return folder


@st.composite
def mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """Return what somebody else may have made of a table."""
    lines = content.splitlines(keepends=True)
    kind = draw(st.sampled_from(["cut", "byte", "sorted", "dropped", "doubled", "header", "crlf", "insert", "any"]))
    at = draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        return content[:at]
    if kind == "byte":
        return content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
    if kind == "sorted":
        return b"".join([lines[0], *draw(st.permutations(lines[1:]))])
    if kind == "dropped":
        return b"".join(line for i, line in enumerate(lines) if i != at % len(lines))
    if kind == "doubled":
        return b"".join([*lines, lines[at % len(lines)]])
    if kind == "header":
        return lines[0].replace(b"loss", b"Loss") + b"".join(lines[1:])
    if kind == "crlf":
        return content.replace(b"\n", b"\r\n")
    if kind == "insert":
        return content[:at] + draw(st.binary(min_size=1, max_size=5000)) + content[at:]
    return draw(st.binary(max_size=300))


@seed(SEED)
@settings(max_examples=scaled(2000), deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_a_table_that_was_changed_is_the_journals_again_and_the_changed_copy_is_kept(
    books: Path, data: st.DataObject
) -> None:
    table = books / "runs.csv"
    expected = table.read_bytes()
    changed = data.draw(mutations(expected))
    table.write_bytes(changed)
    try:
        book, notes = open_book(books)
        book.close()
        copies = [copy.read_bytes() for copy in books.glob("runs.csv.bak-*")]
        is_behind = expected.startswith(changed) or (changed.endswith(b"\n") and changed.count(b"\n") == 1)
        assert table.read_bytes() == expected
        assert copies == ([] if is_behind else [changed])
        assert any("runs.csv did not match" in note for note in notes) == bool(copies)
    finally:
        table.write_bytes(expected)
        for copy in books.glob("runs.csv.bak-*"):
            copy.unlink()


@seed(SEED)
@settings(max_examples=scaled(1000), deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_a_table_that_is_changed_under_a_running_sweep_is_the_journals_again(books: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "sweep"
        shutil.copytree(books, folder)
        table = folder / "runs.csv"
        book, _ = open_book(folder)
        is_replaced = data.draw(st.booleans(), label="replaced, as editors do")
        changed = data.draw(
            mutations(table.read_bytes()).filter(lambda c: is_replaced or len(c) != table.stat().st_size)
        )
        if is_replaced:
            (folder / "new").write_bytes(changed)
            (folder / "new").rename(table)
        else:
            table.write_bytes(changed)
        book.start(start_fields(run_of(100), attempt=1, device="cpu"))
        book.end(run_of(100).run_id, 1, RunOutcome(state=State.FINISHED, exit_code=0, metrics={"loss": 9.0}))
        book.commit()
        book.close()
        assert [copy.read_bytes() for copy in folder.glob("runs.csv.bak-*")] == [changed]
        assert not faults_of(folder)


@pytest.mark.parametrize("refused", ["runs.csv", "runs.csv.tmp"])
def test_a_table_that_cannot_be_opened_in_a_rebuild_is_written_by_the_next_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def record(number: int) -> RunRecord:
        metrics = {f"m{number}": 1.0}  # a new column each: a rebuild each
        return recorded(f"{number:012x}", name="r", state=State.FINISHED, attempt=1, metrics=metrics)

    table = RunTable(tmp_path / "runs.csv", sweep="s", params=[])
    table.open({})
    table.put(record(1))
    really_open = os.open
    with monkeypatch.context() as patch:

        def refuse(path: object, flags: int, *args: int, **options: int) -> int:
            if Path(str(path)).name == refused:
                raise OSError(28, "No space left on device", str(path))  # as overlay and network file systems do
            return really_open(path, flags, *args, **options)  # type: ignore[arg-type]

        patch.setattr(os, "open", refuse)
        table.flush(is_last=True)
    table.put(record(2))
    table.flush(is_last=True)
    table.close()
    assert len(pd.read_csv(tmp_path / "runs.csv")) == 2


def test_a_row_that_somebody_appends_right_after_a_rebuild_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sweep"
    (folder / "runs").mkdir(parents=True)
    book, _ = open_book(folder)
    really_rename = Path.replace

    def rename(self: Path, target: Path) -> Path:
        found = really_rename(self, target)
        with Path(target).open("ab") as file:  # the reader has seen the new file, and writes into it at once
            file.write(b"mine,too\n")
        return found

    for number in range(2):
        book.start(start_fields(run_of(number), attempt=1, device="cpu"))
        book.end(run_of(number).run_id, 1, RunOutcome(state=State.FINISHED, metrics={"loss": 1.0}))
        with monkeypatch.context() as patch:
            if number == 0:  # the column is new: a rebuild
                patch.setattr(Path, "replace", rename)
            book.commit()
    book.close()
    assert not faults_of(folder)
    assert [b"mine,too" in copy.read_bytes() for copy in folder.glob("runs.csv.bak-*")] == [True]


def test_a_table_changed_without_a_change_of_length_breaks_no_rebuild_and_is_mended_by_the_next_start(
    books: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    shutil.copytree(books, folder)
    book, _ = open_book(folder)
    book.start(start_fields(run_of(50), attempt=1, device="cpu"))
    book.end(run_of(50).run_id, 1, RunOutcome(state=State.FAILED, exit_code=1, metrics={"loss": 1.0}))
    book.commit()
    table = folder / "runs.csv"
    table.write_bytes(table.read_bytes().replace(b",", b"?"))
    book.start(start_fields(run_of(50), attempt=2, device="cpu"))  # its row is to be taken out of the file
    book.end(run_of(50).run_id, 2, RunOutcome(state=State.FINISHED, exit_code=0, metrics={"loss": 2.0}))
    book.commit()
    book.close()
    again, _ = open_book(folder)
    again.close()
    assert not faults_of(folder)
    assert list(folder.glob("runs.csv.bak-*"))


# everything at once


@dataclass(frozen=True)
class Known:
    """A run as the model has it."""

    attempt: int
    state: State
    metrics: dict[str, float]


class Books(RuleBasedStateMachine):
    """The books against a dict: whatever happens in whatever order, what was committed is there and nothing else."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp()) / "sweep"
        (self.folder / "runs").mkdir(parents=True)
        self.model: dict[int, Known] = {}
        self.running: dict[int, int] = {}
        self.n_torn = 0
        self.book, _ = open_book(self.folder)

    def teardown(self) -> None:
        self.book.close()
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def _end(self, number: int, state: State, metrics: dict[str, float]) -> None:
        attempt = self.running.pop(number)
        self.book.end(run_of(number).run_id, attempt, RunOutcome(state=state, exit_code=0, metrics=metrics))
        self.model.pop(number, None)
        self.model[number] = Known(attempt, state, metrics)

    @rule(number=st.integers(0, 5))
    def start(self, number: int) -> None:
        known = self.model.get(number)
        if number not in self.running and (known is None or known.state != State.FINISHED):
            self.running[number] = known.attempt + 1 if known else 1
            self.book.start(start_fields(run_of(number), attempt=self.running[number], device="cpu"))

    @rule(
        data=st.data(),
        state=st.sampled_from([State.FINISHED, State.FAILED, State.INTERRUPTED, State.KILLED]),
        metrics=st.dictionaries(st.sampled_from(METRICS), st.floats(), max_size=3),
    )
    def end(self, data: st.DataObject, state: State, metrics: dict[str, float]) -> None:
        if self.running:
            self._end(data.draw(st.sampled_from(sorted(self.running))), state, metrics)

    @rule()
    def commit(self) -> None:
        self.book.commit()

    @rule()
    def reopen(self) -> None:
        self.book.close()
        self._open_after_crash()

    @rule()
    def kill(self) -> None:
        """Die: what the kernel has stays, no file is closed in order, no row is completed."""
        self.book.close(is_sound=False)
        self._open_after_crash()

    @rule(part=st.integers(0, 1000))
    def lose_power(self, part: int) -> None:
        """Die in the middle of one more record: any part of it may be on the disk."""
        number = 100 + len(self.model)
        self.start(number)
        attempt, path = self.running[number], self.book.journal.path
        before = path.stat().st_size
        self._end(number, State.FINISHED, {"loss": 1.0})
        after = path.stat().st_size
        cut = before + (after - before) * part // 1000
        os.truncate(path, cut)
        if cut < after:
            self.running[number] = attempt
            self.n_torn += cut > before
        self.kill()

    @rule(content=st.binary(max_size=200))
    def somebody_writes_into_the_table(self, content: bytes) -> None:
        (self.folder / "runs.csv").write_bytes(content + b"!")

    @rule()
    def somebody_removes_the_table(self) -> None:
        (self.folder / "runs.csv").unlink(missing_ok=True)

    def _open_after_crash(self) -> None:
        for number in list(self.running):  # no exit.json: interrupted
            attempt = self.running.pop(number)
            self.model.pop(number, None)
            self.model[number] = Known(attempt, State.INTERRUPTED, {})
        self.book, _ = open_book(self.folder)
        rows = pd.read_csv(self.folder / "runs.csv", dtype={"run_id": str})
        assert list(rows.run_id) == list(fold(read_events(self.folder / JOURNAL)))
        assert not faults_of(self.folder)
        assert len(list(self.folder.glob(f"{QUARANTINE}/*"))) == self.n_torn

    @invariant()
    def the_books_and_a_replay_of_the_journal_are_the_model(self) -> None:
        if not hasattr(self, "book"):
            return
        for records in (self.book.records, fold(read_events(self.folder / JOURNAL))):
            ended = {int(r.run_id, 16): r for r in records.values() if r.state != State.RUNNING}
            assert ended.keys() == self.model.keys() - self.running.keys()
            for number, record in ended.items():
                known = self.model[number]
                assert (record.attempt, record.state) == (known.attempt, known.state)
                assert same(dict(record.metrics), known.metrics)
            assert {int(r.run_id, 16) for r in records.values() if r.state == State.RUNNING} == self.running.keys()


Books.TestCase.settings = settings(
    max_examples=scaled(400), stateful_step_count=30, deadline=None, database=None, derandomize=True
)
TestBooks = Books.TestCase
