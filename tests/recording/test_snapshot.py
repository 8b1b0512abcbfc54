"""The snapshot of a journal: it says what the journal says, or is left aside."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepline.engine.recovery import start_fields
from sweepline.engine.verify import check_invariants
from sweepline.errors import RecordError
from sweepline.recording import book as book_module
from sweepline.recording.book import RecordBook
from sweepline.recording.events import Replay
from sweepline.recording.folders import SweepFolder
from sweepline.recording.journal import JOURNAL, START, VERSION, Position, read_events
from sweepline.recording.snapshot import MIN_EVENTS, SNAPSHOT, Snapshot, load_snapshot, replay_journal, save_snapshot
from sweepline.runs import Run, RunOutcome, State
from tests.fakes import fold, recorded

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
NAMES = st.text(max_size=3)
RECORDS = st.builds(
    recorded,
    st.uuids().map(str),
    state=st.sampled_from(State),
    params=st.dictionaries(NAMES, VALUES, max_size=3),
    metrics=st.dictionaries(NAMES, st.floats(), max_size=2),
    seed=st.none() | st.integers(),
    reason=st.sampled_from(["", "broke"]) | st.text(),
    device=st.sampled_from(["cpu", "gpu:0"]),
    exit_code=st.none() | st.integers(0, 255),
    duration_s=st.floats(allow_nan=False),
    attempt=st.integers(1, 3),
    started_at=st.text(),
)


@given(records=st.lists(RECORDS, max_size=9, unique_by=lambda record: record.run_id))
def test_a_snapshot_gives_back_what_was_kept(records: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    journal = tmp_path_factory.mktemp("sweep") / JOURNAL
    journal.touch()
    replay = Replay({r.run_id: r for r in records}, {"abc": {"train.py": "1"}}, {"x"})
    save_snapshot(journal, Snapshot(replay, START))
    found = load_snapshot(journal).replay
    assert repr(list(found.records.values())) == repr(records)  # nan is not equal to itself
    assert (found.codes, found.reread) == (replay.codes, replay.reread)


def open_book(path: Path) -> RecordBook:
    path.mkdir(exist_ok=True)
    book = RecordBook(SweepFolder(path), csv=None, sweep="demo", params=["x"], metrics=["loss"])
    book.open_table()
    return book


def add(book: RecordBook, number: int, *, metrics: Mapping[str, float] | None = None) -> None:
    """Write down a run that finished."""
    run = Run(run_id=f"{number:012x}", name=f"x{number}", params={"x": number}, seed=None, index=number)
    book.start(start_fields(run, attempt=1, device="cpu"))
    told = {"loss": number / 7} if metrics is None else metrics
    book.end(run.run_id, 1, RunOutcome(state=State.FINISHED, exit_code=0, metrics=told))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """The folder of a sweep that is long enough for a snapshot."""
    book = open_book(tmp_path)
    for number in range(MIN_EVENTS // 2):
        add(book, number)
    book.commit()
    book.close()
    return tmp_path


def told(path: Path) -> dict[str, Any]:
    """Return what the journal itself tells."""
    return fold(read_events(path / JOURNAL))


def sealed(content: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return a snapshot with something changed in it, and the checksum that goes with that."""
    told = json.loads(content.partition(b"\n")[2])
    change(told)
    body = json.dumps(told).encode()
    return b"%d\n%s" % (zlib.crc32(body), body)


def test_any_flipped_bit_of_its_beginning_is_noticed(sweep: Path) -> None:
    path = sweep / SNAPSHOT
    whole = path.read_bytes()
    for bit in range(8 * 200):
        path.write_bytes(whole[: bit // 8] + bytes([whole[bit // 8] ^ 1 << bit % 8]) + whole[bit // 8 + 1 :])
        assert load_snapshot(sweep / JOURNAL).position in (START, load_position(whole))


def load_position(content: bytes) -> Position:
    return Position(*json.loads(content.partition(b"\n")[2])["position"])


def test_a_short_journal_has_none(tmp_path: Path) -> None:
    book = open_book(tmp_path)
    add(book, 1)
    book.commit()
    book.close()
    assert not (tmp_path / SNAPSHOT).exists()


def test_the_events_behind_it_are_read_from_the_journal(sweep: Path) -> None:
    before = (sweep / SNAPSHOT).read_bytes()
    book = open_book(sweep)
    add(book, 7)  # goes again
    add(book, MIN_EVENTS)
    book.commit()
    book.close(is_sound=False)
    assert (sweep / SNAPSHOT).read_bytes() == before
    found = replay_journal(sweep / JOURNAL).records
    assert found == told(sweep)
    assert list(found)[-2:] == [f"{7:012x}", f"{MIN_EVENTS:012x}"]


def test_a_book_goes_on_from_it(sweep: Path) -> None:
    book = open_book(sweep)
    add(book, MIN_EVENTS)
    book.commit()
    book.close()
    assert load_snapshot(sweep / JOURNAL).replay.records == told(sweep)
    events = list(read_events(sweep / JOURNAL))
    assert [event["seq"] for event in events] == list(range(MIN_EVENTS + 2))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-5],
        lambda content: content.replace(b"finished", b"finishes"),
        lambda _: b"",
        lambda content: b"null\n" + content,
        lambda content: b"1" + content,
        lambda content: content.replace(b'"position"', b'"positron"', 1),
        lambda content: sealed(content, lambda told: told["form"].append("more")),
        lambda content: sealed(content, lambda told: told["form"].__setitem__(1, VERSION + 1)),
        lambda content: sealed(content, lambda told: told.pop("table")),
        lambda content: sealed(content, lambda told: told["position"].pop()),
        lambda content: sealed(content, lambda told: told["position"].__setitem__(2, None)),
    ],
)
def test_a_snapshot_that_is_damaged_or_of_another_version_is_left_aside(sweep: Path, damage: Any) -> None:
    path = sweep / SNAPSHOT
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    assert load_snapshot(sweep / JOURNAL).position == START
    assert replay_journal(sweep / JOURNAL).records == told(sweep)


def test_damage_of_the_journal_is_told_in_spite_of_it(sweep: Path) -> None:
    journal = sweep / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b'"loss":1.0', b'"loss":2.0', 1))
    with pytest.raises(RecordError, match="damaged at byte"):
        replay_journal(journal)


def test_what_was_changed_in_the_journal_while_it_was_open_is_told(sweep: Path) -> None:
    book = open_book(sweep)
    add(book, MIN_EVENTS)
    journal = sweep / JOURNAL
    with journal.open("r+b") as file:
        file.seek(journal.read_bytes().index(b'"loss":1.0'))
        file.write(b'"loss":2.0')
    book.commit()
    book.close()
    with pytest.raises(RecordError, match="damaged at byte"):
        replay_journal(journal)


def test_an_interrupt_between_an_event_and_its_record_costs_nothing(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = open_book(sweep)
    run = Run(run_id="abc", name="abc", params={"x": 1}, seed=None, index=0)
    book.start(start_fields(run, attempt=1, device="cpu"))

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(book, "_take", interrupt)
        with pytest.raises(KeyboardInterrupt):
            book.end("abc", 1, RunOutcome(state=State.FINISHED, metrics={"loss": 1.0}))
    book.close()
    assert replay_journal(sweep / JOURNAL).records["abc"].state == State.FINISHED


def test_a_journal_that_was_cut_is_read_as_it_is(sweep: Path) -> None:
    journal = sweep / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-2]))
    assert len(replay_journal(journal).records) == MIN_EVENTS // 2 - 1


def test_a_table_that_is_in_step_is_not_written_again(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (sweep / "runs.csv").stat()
    book = open_book(sweep)
    assert load_snapshot(sweep / JOURNAL).table == book.table.state
    book.close()
    monkeypatch.setattr(type(book.table), "_render", None)  # fails where a table is made from the records
    book = open_book(sweep)
    add(book, MIN_EVENTS)
    book.commit()
    book.close()
    after = (sweep / "runs.csv").stat()
    assert after.st_ino == before.st_ino
    assert after.st_size > before.st_size


def test_a_table_that_somebody_edited_is_set_aside_whatever_its_size(sweep: Path) -> None:
    table = sweep / "runs.csv"
    before = table.read_bytes()
    table.write_bytes(before.replace(b",x17,", b",x71,", 1))
    book = open_book(sweep)
    book.close()
    assert table.read_bytes() == before
    assert len(list(sweep.glob("runs.csv.bak-*"))) == 1


@pytest.mark.parametrize("kind", ["membership", "reread", "end"])
def test_a_table_is_brought_up_to_date_with_the_events_behind_the_snapshot(sweep: Path, kind: str) -> None:
    book = open_book(sweep)
    if kind == "membership":
        book.mark_membership({f"{1:012x}"})
    elif kind == "reread":
        book.correct(f"{1:012x}", metrics={"loss": 77.0}, reason="")
    else:
        add(book, 1, metrics={"loss": 77.0})
        book.commit()
    book.close(is_sound=False)
    open_book(sweep).close()
    row = pd.read_csv(sweep / "runs.csv").set_index("run_name").loc["x1"]
    assert row["loss"] == (1 / 7 if kind == "membership" else 77.0)
    assert check_invariants(sweep)[2].faults == []


def test_rows_that_carry_another_label_are_written_again(sweep: Path) -> None:
    book = RecordBook(SweepFolder(sweep), csv=None, sweep="other", params=["x"], metrics=["loss"])
    book.open_table()
    book.close()
    assert set(pd.read_csv(sweep / "runs.csv")["sweep"]) == {"other"}


def test_a_table_that_still_has_the_row_of_an_earlier_attempt_is_made_anew_when_asked(sweep: Path) -> None:
    book = open_book(sweep)
    run = Run(run_id=f"{1:012x}", name="x1", params={"x": 1}, seed=None, index=1)
    book.start(start_fields(run, attempt=2, device="cpu"))
    book.close()
    assert load_snapshot(sweep / JOURNAL).table is None
    book = open_book(sweep)
    book.close()
    assert "x1" not in set(pd.read_csv(sweep / "runs.csv")["run_name"])


def test_every_row_is_made_anew_when_that_is_asked_for(sweep: Path) -> None:
    book = RecordBook(SweepFolder(sweep), csv=None, sweep="demo", params=["x"], metrics=["loss"])
    with pytest.MonkeyPatch.context() as patched:
        rendered: list[bool] = []
        render = type(book.table)._render
        patched.setattr(type(book.table), "_render", lambda table: rendered.append(True) or render(table))
        book.open_table(is_anew=True)
    book.close()
    assert rendered == [True]


def test_a_table_with_other_columns_is_written_again(sweep: Path) -> None:
    book = RecordBook(SweepFolder(sweep), csv=None, sweep="demo", params=["x", "y"], metrics=["loss"])
    book.open_table()
    book.close()
    assert "y" in (sweep / "runs.csv").read_text().splitlines()[0].split(",")


def test_a_sweep_that_was_killed_has_one_from_its_next_start_on(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sweep / SNAPSHOT).unlink()
    monkeypatch.setattr(book_module, "_MANY_EVENTS", MIN_EVENTS - 1)
    book = open_book(sweep)
    assert load_snapshot(sweep / JOURNAL).position == book.journal.position
    book.close(is_sound=False)


def test_a_snapshot_that_cannot_be_written_costs_nothing_but_time(sweep: Path) -> None:
    (sweep / SNAPSHOT).unlink()
    (sweep / SNAPSHOT).mkdir()
    book = open_book(sweep)
    add(book, MIN_EVENTS)
    book.commit()
    book.close()
    assert replay_journal(sweep / JOURNAL).records == told(sweep)


def test_verify_tells_of_one_that_says_something_else(sweep: Path) -> None:
    assert check_invariants(sweep)[0].faults == []
    found = load_snapshot(sweep / JOURNAL)
    found.replay.records[f"{3:012x}"].device = "gpu:7"
    save_snapshot(sweep / JOURNAL, found)
    faults = ["events.snapshot tells another story than the journal, of 1 runs: remove that file"]
    assert check_invariants(sweep)[0].faults == faults


def test_it_is_smaller_than_the_journal_by_far(sweep: Path) -> None:
    assert (sweep / SNAPSHOT).stat().st_size * 5 < (sweep / JOURNAL).stat().st_size
    assert load_snapshot(sweep / JOURNAL).position.offset == (sweep / JOURNAL).stat().st_size
