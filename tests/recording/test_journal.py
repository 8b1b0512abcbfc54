"""The journal: what goes in comes back exactly, a torn end is cut and kept, and damage is refused, never overlooked."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepline.errors import RecordError, SweepLockedError
from sweepline.recording.journal import JOURNAL, Journal, _seal, _unseal, decode, encode, read_events

VALUES = [
    math.nan,
    math.inf,
    -math.inf,
    -0.0,
    5e-324,
    0.1 + 0.2,
    1e22,
    2**70,
    True,
    None,
    "",
    "nan",
    "true",
    "two\nlines\r\nand \u2028 more",
    "a\x00b",
    "ünï 😀",
    "\ud800",
    [1, [2.5, [-0.0]]],
    {"a": {"b": math.nan}},
]
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def append_to(path: Path, *names: str) -> None:
    """Open a journal as a start of a sweep does, and append events."""
    journal = Journal(path)
    for name in names:
        journal.append("note", name=name)
    journal.close()


def names_in(path: Path) -> list[tuple[int, str]]:
    return [(event["seq"], event["name"]) for event in read_events(path)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of five events."""
    append_to(tmp_path / JOURNAL, *"abcde")
    return tmp_path / JOURNAL


# writing and reading back


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_a_value_comes_back_with_its_type_sign_and_every_digit(tmp_path: Path, value: object) -> None:
    journal = Journal(tmp_path / JOURNAL)
    journal.append("note", value=value)
    journal.close()
    (event,) = read_events(tmp_path / JOURNAL)
    assert repr(event["value"]) == repr(value)


@given(value=PLAIN)
def test_encoding_is_strict_json_that_decodes_to_the_same_value(value: object) -> None:
    text = json.dumps(encode(value), allow_nan=False)
    assert repr(decode(json.loads(text))) == repr(value)


@pytest.mark.parametrize("value", [{"float": "fp16"}, {"float": "0.5"}], ids=str)
def test_a_mapping_whose_only_key_is_float_comes_back_as_it_went_in(tmp_path: Path, value: dict[str, str]) -> None:
    journal = Journal(tmp_path / JOURNAL)
    journal.append("note", value=value)
    journal.close()
    (event,) = read_events(tmp_path / JOURNAL)
    assert event["value"] == value


def n_write_calls() -> int:
    """Return how often this thread has written, as the kernel counts it."""
    found = re.search(r"syscw: (\d+)", Path("/proc/thread-self/io").read_text())
    assert found
    return int(found[1])


def test_an_event_is_one_write_however_long_it_is(tmp_path: Path) -> None:
    journal = Journal(tmp_path / JOURNAL)
    before = n_write_calls()
    journal.append("note", name="short")
    journal.append("note", name="x" * 1_000_000)
    n_writes = n_write_calls() - before
    journal.close()
    assert n_writes == 2


def test_an_event_is_one_line_whatever_it_holds(tmp_path: Path) -> None:
    append_to(tmp_path / JOURNAL, "a\nb\rc\x85d\u2028e", "after")
    assert (tmp_path / JOURNAL).read_bytes().count(b"\n") == 2


def test_an_event_can_be_read_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    journal = Journal(tmp_path / JOURNAL)
    journal.append("note", name="now")
    seen = names_in(tmp_path / JOURNAL)
    journal.close()
    assert seen == [(0, "now")]


def test_a_reopened_journal_continues_the_sequence(path: Path) -> None:
    append_to(path, "f")
    append_to(path, "g")
    assert names_in(path) == list(enumerate("abcdefg"))


def test_a_journal_that_does_not_exist_has_no_events(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / JOURNAL)) == []


# a torn end


def cut_points(data: bytes) -> range:
    """Return every length that a journal can have after its last two records were torn somewhere."""
    lines = data.splitlines(keepends=True)
    return range(len(data) - len(lines[-1]) - len(lines[-2]), len(data) + 1)


def whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


def reopen(folder: Path, data: bytes) -> tuple[bytes, bytes]:
    """Open a journal of these bytes; return what it holds then, and what was set aside."""
    folder.mkdir()
    (folder / JOURNAL).write_bytes(data)
    Journal(folder / JOURNAL).close()
    kept = b"".join(path.read_bytes() for path in folder.glob("quarantine/*"))
    return (folder / JOURNAL).read_bytes(), kept


def continue_after(folder: Path, data: bytes) -> list[tuple[int, str]]:
    """Open a journal of these bytes, append one event, and return what it tells then."""
    folder.mkdir()
    (folder / JOURNAL).write_bytes(data)
    append_to(folder / JOURNAL, "new")
    return names_in(folder / JOURNAL)


def test_whatever_byte_it_ends_at_the_tail_is_kept_and_the_prefix_survives(path: Path) -> None:
    data = path.read_bytes()
    found = {n: reopen(path.parent / str(n), data[:n]) for n in cut_points(data)}
    assert found == {n: (whole := whole_lines(data[:n]), data[len(whole) : n]) for n in cut_points(data)}


def test_whatever_byte_it_ends_at_the_next_event_follows_the_last_whole_one(path: Path) -> None:
    data = path.read_bytes()
    found = {n: continue_after(path.parent / str(n), data[:n]) for n in cut_points(data)}
    assert found == {n: list(enumerate([*"abcde"[: data[:n].count(b"\n")], "new"])) for n in cut_points(data)}


@pytest.mark.parametrize("tail", [b"\0" * 300, b'{"v":1', b"\xff\xfe\xfd", b'{"v":1,"seq":5,"ev":"x"}'], ids=repr)
def test_whatever_follows_the_last_newline_is_moved_to_quarantine(path: Path, tail: bytes) -> None:
    data = path.read_bytes()
    assert reopen(path.parent / "torn", data + tail) == (data, tail)


def test_the_cut_is_told_with_its_size_and_its_place(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"torn")
    journal = Journal(path)
    journal.close()
    (kept,) = path.parent.glob("quarantine/*")
    assert journal.note == f"{JOURNAL}: cut 4 bytes of an unfinished record, kept in quarantine/{kept.name}"


def test_a_whole_journal_is_opened_without_a_note(path: Path) -> None:
    journal = Journal(path)
    journal.close()
    assert (journal.note, (path.parent / "quarantine").exists()) == (None, False)


def test_two_tails_cut_at_the_same_place_are_both_kept(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data + b"first")
    Journal(path).close()
    path.write_bytes(data + b"second")
    Journal(path).close()
    assert {kept.read_bytes() for kept in path.parent.glob("quarantine/*")} == {b"first", b"second"}


def test_a_reader_leaves_out_an_unfinished_line_and_touches_nothing(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"torn")
    before = path.read_bytes()
    assert names_in(path) == list(enumerate("abcde"))
    assert path.read_bytes() == before


# damage

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a brace lost": lambda line: line.replace(b"}", b" "),
    "cut short": lambda line: line[:20],
    "emptied": lambda _: b"\n",
    "zeros": lambda line: b"\0" * (len(line) - 1) + b"\n",
    "not text": lambda line: b"\xff\xfe" + line,
    "not a mapping": lambda _: b"[1, 2]\n",
    "a number": lambda _: b"3\n",
    "no seq": lambda line: line.replace(b'"seq"', b'"sea"'),
    "no version": lambda line: line.replace(b'"v"', b'"w"'),
    "a version that is text": lambda line: line.replace(b'"v":2', b'"v":"2"'),
    "a carriage return": lambda line: line[:20] + b"\r" + line[21:],
}


@pytest.fixture(params=DAMAGE.values(), ids=DAMAGE.keys())
def damaged(path: Path, request: pytest.FixtureRequest) -> Path:
    """The journal of five events with its third line damaged."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], request.param(lines[2]), *lines[3:]]))
    return path


def test_a_damaged_line_is_refused_with_file_and_byte_offset(damaged: Path) -> None:
    offset = sum(map(len, damaged.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(RecordError, match=re.escape(f"{damaged}: damaged at byte {offset}: ")):
        append_to(damaged, "f")


def test_a_damaged_journal_is_left_untouched(damaged: Path) -> None:
    before = damaged.read_bytes()
    with pytest.raises(RecordError):
        append_to(damaged, "f")
    assert damaged.read_bytes() == before


@pytest.mark.parametrize(("order", "found"), [("abde", 3), ("abbcde", 1), ("abdce", 3)])
def test_an_event_out_of_sequence_is_refused_with_file_and_byte_offset(path: Path, order: str, found: int) -> None:
    lines = dict(zip("abcde", path.read_bytes().splitlines(keepends=True), strict=True))
    path.write_bytes(b"".join(lines[name] for name in order))
    offset = len(lines["a"] + lines["b"])
    sentence = f"{path}: damaged at byte {offset}: event 2 is missing, found {found}"
    with pytest.raises(RecordError, match=re.escape(sentence)):
        names_in(path)


def count_events(path: Path, offset: int, byte: bytes) -> int | str:
    """Return how many events the file tells with one byte replaced, or ``refused``; the byte is put back."""
    with path.open("r+b") as file:
        right = os.pread(file.fileno(), 1, offset)
        os.pwrite(file.fileno(), byte, offset)
        try:
            return len(list(read_events(path)))
        except RecordError:
            return "refused"
        finally:
            os.pwrite(file.fileno(), right, offset)


@pytest.mark.parametrize("byte", [b"\0", b"\n", b"\r", b" ", b'"', b"7"], ids=repr)
def test_no_single_wrong_byte_hides_events(path: Path, byte: bytes) -> None:
    data = path.read_bytes()
    before_last = range(len(data) - len(data.splitlines(keepends=True)[-1]))
    found = {offset: count_events(path, offset, byte) for offset in before_last}
    assert {offset: n for offset, n in found.items() if n not in (5, "refused")} == {}


def test_a_journal_of_a_newer_version_is_refused(path: Path) -> None:
    lines = [_seal(_unseal(line).replace(b'"v":2', b'"v":3')) for line in path.read_bytes().splitlines()]
    path.write_bytes(b"\n".join([*lines, b""]))
    with pytest.raises(RecordError, match=re.escape(f"{path}: written by format 3, this is format 2")):
        append_to(path, "f")


@pytest.mark.parametrize("damage", [(b'"v":2', b'"v":3'), (b'"seq":2', b'"seq":9')], ids=["newer", "damaged"])
def test_a_refused_journal_keeps_its_unfinished_line(path: Path, damage: tuple[bytes, bytes]) -> None:
    path.write_bytes(path.read_bytes().replace(*damage) + b'{"unfinished')
    before = path.read_bytes()
    with pytest.raises(RecordError):
        append_to(path, "f")
    assert path.read_bytes() == before


# a full disk

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from sweepline.errors import RecordError, SweepLockedError
from sweepline.recording.journal import Journal

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, room = Path(sys.argv[1]), int(sys.argv[2])
journal = Journal(path)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, resource.RLIM_INFINITY))
try:
    journal.append("note", name="does not fit")
except RecordError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
Path(f"{path}.full").write_bytes(path.read_bytes())
journal.append("note", name="fits again")
"""


def fill_disk(path: Path, room: int) -> str:
    """Append where only ``room`` bytes are left, and once more when space is free again; return the error."""
    args = [sys.executable, "-c", FULL_DISK, str(path), str(room)]
    return subprocess.run(args, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("room", [0, 1, 50])
def test_a_write_beyond_the_limit_on_files_is_an_error_that_names_the_file_and_the_limit(path: Path, room: int) -> None:
    told = "the limit on the size of files (ulimit -f) is reached; raise it"
    assert fill_disk(path, room) == f"{path}: cannot be written: {told}"


@pytest.mark.parametrize("room", [0, 1, 50])
def test_a_write_that_does_not_fit_leaves_only_whole_lines(path: Path, room: int) -> None:
    before = path.read_bytes()
    fill_disk(path, room)
    assert Path(f"{path}.full").read_bytes() == before


@pytest.mark.parametrize("room", [0, 1, 50])
def test_writing_goes_on_without_a_gap_when_there_is_space_again(path: Path, room: int) -> None:
    fill_disk(path, room)
    assert names_in(path) == list(enumerate([*"abcde", "fits again"]))


# what others do to the file while it is written

MEDDLERS: dict[str, Callable[[Path], object]] = {
    "removed": lambda path: path.unlink(),
    "replaced by a copy": lambda path: path.write_bytes(path.rename(path.with_name("old")).read_bytes()),
    "replaced by an older copy": lambda path: path.write_bytes(path.rename(path.with_name("old")).read_bytes()[:100]),
}


@pytest.mark.parametrize("meddle", MEDDLERS.values(), ids=MEDDLERS)
def test_a_journal_that_loses_its_name_is_written_anew_with_every_event(
    path: Path, meddle: Callable[[Path], object]
) -> None:
    journal = Journal(path)
    meddle(path)
    journal.append("note", name="f")
    told = journal.note
    journal.append("note", name="g")
    journal.close()
    assert names_in(path) == list(enumerate("abcdefg"))
    assert told is not None
    assert "while the sweep runs; written anew" in told


def test_what_was_put_in_the_place_of_a_journal_is_kept(path: Path) -> None:
    journal = Journal(path)
    path.rename(path.with_name("moved"))
    path.write_bytes(b"somebody's own")
    journal.append("note", name="f")
    journal.close()
    (kept,) = path.parent.glob("quarantine/*")
    assert kept.read_bytes() == b"somebody's own"


@pytest.mark.parametrize("content", [b"", b"x" * 10_000], ids=["truncated", "overwritten"])
def test_a_journal_that_was_written_into_takes_no_event_and_names_the_way_out(path: Path, content: bytes) -> None:
    journal = Journal(path)
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"was changed while the sweep runs .* sweepline repair makes it anew"):
        journal.append("note", name="f")
    journal.close()
    assert path.read_bytes() == content


def test_a_journal_has_one_writer_even_without_the_lock_files(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(SweepLockedError, match="another process writes it"):
        Journal(path)
    journal.append("note", name="f")
    journal.close()
    append_to(path, "g")
    assert names_in(path) == list(enumerate("abcdefg"))
