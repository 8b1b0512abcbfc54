"""The folder of a sweep: one writer at a time, and nothing in it is ever deleted."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweepline.errors import RecordError, SweepLockedError
from sweepline.recording import locks
from sweepline.recording.folders import SweepFolder

HOLDER = """
import subprocess, sys
from pathlib import Path
from sweepline.recording.folders import SweepFolder

SweepFolder(Path(sys.argv[1])).lock()
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=0, **quiet)
print(child.pid, flush=True)
sys.stdin.read()
"""


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, but the lock, by its relative path."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "sweep.lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SweepFolder]:
    """The folder of a sweep, locked by this process."""
    made = SweepFolder(tmp_path / "outputs" / "a sweep's folder")
    made.lock()
    yield made
    made.unlock()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder ``tmp_path / "held"`` and has a child of its own."""
    args = [sys.executable, "-c", HOLDER, str(tmp_path / "held")]
    with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


# the lock


def test_a_second_orchestrator_is_refused_and_told_the_pid_of_the_first(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with pytest.raises(SweepLockedError, match=rf"this sweep is being run by pid {holder.pid} on "):
        SweepFolder(tmp_path / "held").lock()


@pytest.mark.usefixtures("holder")
def test_a_refusal_names_the_lock_file(tmp_path: Path) -> None:
    with pytest.raises(SweepLockedError, match=re.escape(f"(lock {tmp_path / 'held' / 'sweep.lock'})")):
        SweepFolder(tmp_path / "held").lock()


def test_a_refused_orchestrator_leaves_the_name_of_the_first_in_the_lock(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with pytest.raises(SweepLockedError):
        SweepFolder(tmp_path / "held").lock()
    assert f"pid {holder.pid} " in (tmp_path / "held" / "sweep.lock").read_text()


def test_the_lock_is_free_once_its_holder_was_killed_though_its_child_lives(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    again = SweepFolder(tmp_path / "held")
    again.lock()
    again.unlock()


def test_the_lock_is_free_after_unlock(folder: SweepFolder) -> None:
    folder.unlock()
    again = SweepFolder(folder.path)
    again.lock()
    again.unlock()


def test_a_folder_that_was_made_for_nothing_is_removed_again(tmp_path: Path) -> None:
    for _ in range(2):
        unused = SweepFolder(tmp_path / "new")
        unused.lock()
        unused.keeper_lock.take("token", say=lambda _: None)
        unused.unlock_unused()
        assert not unused.path.exists()


@pytest.mark.parametrize("name", ["events.jsonl", "runs/0123", "control", "note.txt"])
def test_a_folder_in_which_something_is_stays(tmp_path: Path, name: str) -> None:
    used = SweepFolder(tmp_path / "new")
    used.lock()
    (used.path / name).touch()
    used.unlock_unused()
    assert (used.path / name).exists()
    assert not used.is_locked()
    again = SweepFolder(used.path)  # this one was there before
    (used.path / name).unlink()
    again.lock()
    again.unlock_unused()
    assert again.runs.is_dir()


@pytest.mark.usefixtures("holder")
def test_a_folder_that_another_process_holds_stays(tmp_path: Path) -> None:
    refused = SweepFolder(tmp_path / "held")
    with pytest.raises(SweepLockedError):
        refused.lock()
    refused.unlock_unused()
    assert refused.is_locked()


def test_who_waits_for_a_folder_that_is_removed_makes_it_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = SweepFolder(tmp_path / "new"), SweepFolder(tmp_path / "new")
    first.lock()
    take, n_tries = locks.try_flock, []

    def take_late(fd: int, **options: int) -> bool:
        n_tries.append(fd)
        if len(n_tries) == 1:
            first.unlock_unused()
        return take(fd, **options)

    monkeypatch.setattr(locks, "try_flock", take_late)
    second.lock()
    assert len(n_tries) == 2
    assert (second.is_locked(), second.runs.is_dir()) == (True, True)
    second.unlock()


@pytest.mark.usefixtures("holder")
def test_readers_see_that_a_folder_is_held(tmp_path: Path) -> None:
    assert SweepFolder(tmp_path / "held").is_locked()


def test_readers_see_that_a_folder_is_free(folder: SweepFolder) -> None:
    folder.unlock()
    assert not SweepFolder(folder.path).is_locked()


def test_a_folder_that_was_never_used_is_free_and_stays_absent(tmp_path: Path) -> None:
    assert not SweepFolder(tmp_path / "nowhere").is_locked()
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RecordError, match=re.escape(f"{tmp_path / 'file'}: cannot be written: Not a directory")):
        SweepFolder(tmp_path / "file").lock()


# starting over


def fill(folder: SweepFolder) -> None:
    """Write what a start of a sweep leaves behind."""
    folder.journal.write_bytes(b"{}\n")
    folder.csv.write_bytes(b"run_id\n")
    folder.freeze(b"parameters: {}\n")
    folder.write_plan({"sweep": "toys"})
    run_dir = folder.make_run_dir("a" * 12, 1)
    (run_dir / "stdout.log").write_bytes(b"METRIC loss=1\n")
    (run_dir / "ckpt").mkdir()
    (run_dir / "ckpt" / "1.pt").write_bytes(b"\0\1")


def test_an_archive_holds_everything_byte_for_byte(folder: SweepFolder) -> None:
    fill(folder)
    before = contents(folder.path)
    archived = folder.archive()
    assert archived is not None
    assert contents(archived) == before


def test_after_archiving_the_folder_is_as_new(folder: SweepFolder) -> None:
    fill(folder)
    folder.archive()
    assert {path.name for path in folder.path.iterdir()} == {"sweep.lock", "runs", "archive"}
    assert list(folder.runs.iterdir()) == []


def test_archiving_keeps_the_lock(folder: SweepFolder) -> None:
    fill(folder)
    folder.archive()
    assert SweepFolder(folder.path).is_locked()


def test_an_unused_folder_has_nothing_to_archive(folder: SweepFolder) -> None:
    assert folder.archive() is None
    assert not (folder.path / "archive").exists()


def test_archives_made_shortly_after_each_other_are_both_kept(folder: SweepFolder) -> None:
    fill(folder)
    first = folder.archive()
    fill(folder)
    second = folder.archive()
    assert first != second


# run folders


def test_a_first_attempt_gets_an_empty_folder(folder: SweepFolder) -> None:
    assert list(folder.make_run_dir("a" * 12, 1).iterdir()) == []


def test_a_second_attempt_sets_the_files_of_the_first_aside(folder: SweepFolder) -> None:
    fill(folder)
    run_dir = folder.make_run_dir("a" * 12, 2)
    assert contents(run_dir / "attempts" / "1") == {"stdout.log": b"METRIC loss=1\n"}


def test_a_second_attempt_keeps_the_checkpoints_where_they_are(folder: SweepFolder) -> None:
    fill(folder)
    run_dir = folder.make_run_dir("a" * 12, 2)
    assert {path.name for path in run_dir.iterdir()} == {"ckpt", "attempts"}
    assert contents(run_dir / "ckpt") == {"1.pt": b"\0\1"}


def test_every_attempt_is_kept(folder: SweepFolder) -> None:
    (folder.make_run_dir("a" * 12, 1) / "stdout.log").write_bytes(b"first")
    (folder.make_run_dir("a" * 12, 2) / "stdout.log").write_bytes(b"second")
    run_dir = folder.make_run_dir("a" * 12, 3)
    assert contents(run_dir) == {"attempts/1/stdout.log": b"first", "attempts/2/stdout.log": b"second"}


def test_an_attempt_that_was_already_set_aside_is_not_overwritten(folder: SweepFolder) -> None:
    (folder.make_run_dir("a" * 12, 1) / "stdout.log").write_bytes(b"first")
    (folder.make_run_dir("a" * 12, 2) / "stdout.log").write_bytes(b"never recorded")
    run_dir = folder.make_run_dir("a" * 12, 2)
    assert sorted(contents(run_dir).values()) == [b"first", b"never recorded"]


@pytest.mark.parametrize("place", [lambda path: path.mkdir(), lambda _: None], ids=["to a folder", "to nothing"])
def test_a_run_folder_that_is_a_link_is_refused(folder: SweepFolder, place: Callable[[Path], None]) -> None:
    elsewhere = folder.path.parent / "elsewhere"
    place(elsewhere)
    folder.run_dir("a" * 12).symlink_to(elsewhere)
    with pytest.raises(RecordError, match=re.escape(f"{folder.run_dir('a' * 12)}: is a link")):
        folder.make_run_dir("a" * 12, 1)


def test_what_a_linked_run_folder_points_at_is_left_alone(folder: SweepFolder) -> None:
    elsewhere = folder.path.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.tex").write_bytes(b"years of work")
    folder.run_dir("a" * 12).symlink_to(elsewhere)
    with pytest.raises(RecordError):
        folder.make_run_dir("a" * 12, 2)
    assert contents(elsewhere) == {"thesis.tex": b"years of work"}


# the plan


def test_a_plan_is_read_back_as_it_was_written(folder: SweepFolder) -> None:
    folder.write_plan({"sweep": "ünï", "seeds": [0, None], "limit": 0.1})
    assert folder.read_plan() == {"sweep": "ünï", "seeds": [0, None], "limit": 0.1}


def test_there_is_no_plan_before_the_first_start(folder: SweepFolder) -> None:
    assert folder.read_plan() is None


@pytest.mark.parametrize("content", [b"", b'{"sweep": "t', b"[]", b"\xff\xfe", b"null"], ids=repr)
def test_a_damaged_plan_is_none_because_everything_in_it_can_be_told_again(folder: SweepFolder, content: bytes) -> None:
    (folder.path / "plan.json").write_bytes(content)
    assert folder.read_plan() is None


def test_writing_the_plan_and_the_frozen_file_leaves_nothing_beside_them(folder: SweepFolder) -> None:
    folder.write_plan({"sweep": "toys"})
    folder.freeze(b"parameters: {}\n")
    assert contents(folder.path).keys() == {"plan.json", "sweep.yaml"}


def test_records_without_a_journal_are_archived_too(folder: SweepFolder) -> None:
    (folder.runs / "a" / "ckpt").mkdir(parents=True)
    target = folder.archive()
    assert target is not None
    assert ((target / "runs" / "a" / "ckpt").is_dir(), list(folder.runs.iterdir())) == (True, [])


@pytest.mark.parametrize("n_moved", [0, 1, 2])
def test_an_archiving_that_was_killed_is_finished_by_the_next_lock(folder: SweepFolder, n_moved: int) -> None:
    names = ["plan.json", "runs", "events.jsonl"]
    (folder.runs / "a").mkdir()
    for name in ("plan.json", "events.jsonl"):
        (folder.path / name).touch()
    unfinished = folder.path / "archive" / "20260101_000000.unfinished"
    unfinished.mkdir(parents=True)
    for name in names[:n_moved]:
        (folder.path / name).rename(unfinished / name)
    folder.unlock()
    folder.lock()
    target = folder.path / "archive" / "20260101_000000"
    assert folder.finished_archive == target
    assert sorted(path.name for path in target.iterdir()) == sorted(names)
    assert list(folder.runs.iterdir()) == []


def test_a_lock_file_that_was_removed_is_made_anew_and_held(folder: SweepFolder) -> None:
    (folder.path / "sweep.lock").unlink()
    note = folder.check_is_there()
    assert note == "sweep.lock was removed while the sweep runs; it is there again"
    assert (folder.check_is_there(), SweepFolder(folder.path).is_locked()) == (None, True)


def test_a_lock_file_that_somebody_else_has_made_anew_stops_the_sweep(folder: SweepFolder) -> None:
    (folder.path / "sweep.lock").unlink()
    second = SweepFolder(folder.path)
    second.lock()
    with pytest.raises(
        RecordError, match=r"^sweep\.lock was removed while the sweep runs, and this sweep is being run by"
    ):
        folder.check_is_there()
    second.unlock()


def test_a_lock_whose_text_names_a_process_that_is_gone_is_told_truly(tmp_path: Path) -> None:
    lock = tmp_path / "sweep.lock"
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    lock.write_text(f"pid {gone.pid} on {socket.gethostname()} since 2026-01-01 00:00:00")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(SweepLockedError, match=rf"held by a process that does not run this sweep \(pid {gone.pid}"):
            SweepFolder(tmp_path).lock()


def test_nobody_else_can_open_and_so_hold_a_lock(folder: SweepFolder) -> None:
    assert (folder.path / "sweep.lock").stat().st_mode & 0o777 == 0o600
