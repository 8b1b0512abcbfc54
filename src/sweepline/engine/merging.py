"""Joins what a sweep wrote on several machines into one folder. The others are read, and stay as they are.

Of each run first the folder is there, whole, and then what the journal tells of it, by one write: a merge that is
killed has each run or does not have it, and the same command goes on.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepline.config.sweepfile import load_sweep
from sweepline.contract.files import write_whole
from sweepline.contract.text import display_path, name_some
from sweepline.engine.batchsize.records import take_in_sizes
from sweepline.engine.codestore import CodeStore
from sweepline.engine.provenance import FOLDER as PROVENANCE
from sweepline.engine.recorded import RecordedSweep, csv_path, find_sweep, open_book, open_recorded, table_label
from sweepline.engine.rundiff import SWEEP_FILES
from sweepline.engine.samesweep import check_same, describe_code, place_of
from sweepline.errors import ConfigError, RecordError, SweepLockedError, record_error
from sweepline.executors.local.exits import read_exit
from sweepline.recording.book import RecordBook
from sweepline.recording.events import RUN_END, RUN_START, RUN_TAG, RunRecord, end_fields
from sweepline.recording.folders import ARCHIVE, CSV, ENVIRONMENT, FROZEN, STAGING, SweepFolder
from sweepline.recording.journal import Journal, unused_path
from sweepline.recording.locks import read_locked
from sweepline.recording.rows import take_rows_out
from sweepline.recording.runevents import Event, Standing, compare_events, digests_of, read_run_events, rename_code
from sweepline.runs import RunOutcome, State

_RUN_ID = re.compile(r"[0-9a-f]{12}")
MERGED = "sweep_merge"
UNDER_WAY = "was under way when its folder was copied"

Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Taken:
    """What came of one folder: how many of its runs, by what became of each, and what is worth saying."""

    path: Path
    n_runs: int
    n_taken: int = 0
    n_replaced: int = 0
    """Of those taken: in place of a run here that had come less far."""
    n_open: int = 0
    """Of those taken: under way when the folder was copied, so that they are interrupted here."""
    n_kept: int = 0
    """Runs that were made here too, and are kept as they are here."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A sweep that others were merged into. ``archive`` is where runs are that were replaced; None where none was."""

    sweep: RecordedSweep
    taken: Sequence[Taken]
    archive: Path | None
    notes: Sequence[str]


def merge_sweeps(folders: Sequence[Path], *, to: Path | None = None, say: Say) -> Merge:
    """Merge folders of one sweep into the first, or into ``to``, which may be new.

    Raises:
        ConfigError: there is nothing to merge, or they are of different sweeps.
        SweepLockedError: one of them is being run.
        RecordError: a journal is damaged, or the folder cannot be written.
    """
    target, paths = (folders[0], folders[1:]) if to is None else (_folder_named(to), folders)
    with ExitStack() as held:
        others = [_Other(path, held) for path in paths]
        ours = find_sweep(target) if to is None or SweepFolder(target).journal.exists() else None
        _check_apart(target if ours is None else ours.folder.path, others)
        if ours is None:
            _check_free(target)
        first = ours or others[0].sweep
        for other in others:
            check_same(first, other.sweep)
        for other in others:
            other.read()
        folder = SweepFolder(target) if ours is None else ours.folder
        doubt = _lock(folder)
        held.callback(folder.unlock)
        folder.keeper_lock.take(secrets.token_hex(8), say=say)
        if ours is None:
            ours = _begin(folder, first)
        try:
            return _Merger(ours, [doubt] if doubt else []).merge(others)
        except OSError as error:
            raise record_error(folder.path, "cannot be written", error) from None


def _folder_named(path: Path) -> Path:
    """Return the folder of a sweep that is named by its file, or by itself; it need not be there."""
    if path.suffix in SWEEP_FILES:
        return load_sweep(path).sweep_dir
    is_project = (path / FROZEN).exists() and not SweepFolder(path).journal.exists()
    return load_sweep(path / FROZEN).sweep_dir if is_project else path


def _check_apart(target: Path, others: Sequence[_Other]) -> None:
    paths = [target.resolve(), *(other.path.resolve() for other in others)]
    twice = next((path for i, path in enumerate(paths) if path in paths[:i]), None)
    if twice is not None:
        raise ConfigError(f"{display_path(twice)}: is named twice; merge takes different folders of one sweep")


def _check_free(target: Path) -> None:
    folder = SweepFolder(target)
    if target.exists() and (not target.is_dir() or not folder.is_unused()):
        raise ConfigError(f"{display_path(target)}: is no sweep's folder, and not empty; name another for --to")


def _lock(folder: SweepFolder) -> str | None:
    try:
        return folder.lock()
    except SweepLockedError as error:
        raise SweepLockedError(f"{error}; merge when it has ended, or stop it: sweepline stop") from None


def _begin(folder: SweepFolder, first: RecordedSweep) -> RecordedSweep:
    """Make a folder one of the sweep, without a run yet."""
    folder.write_plan({**first.plan, "starts": []})
    Journal(folder.journal).close()
    _copy_missing(first.folder.path / FROZEN, folder.path / FROZEN)
    return find_sweep(folder.path)


class _Other:
    """A folder that is merged into another, held so that it is not run meanwhile."""

    def __init__(self, path: Path, held: ExitStack) -> None:
        self.sweep = find_sweep(path)
        self.folder, self.path = self.sweep.folder, self.sweep.folder.path
        try:
            held.enter_context(read_locked(self.path))
        except SweepLockedError as error:
            raise SweepLockedError(f"{display_path(self.path)}: {error}; merge when it has ended") from None
        self.events: Mapping[str, list[Event]] = {}

    def read(self) -> None:
        """Read the journal.

        Raises:
            RecordError: it is damaged.
        """
        self.sweep = open_recorded(self.path)
        self.events = read_run_events(self.folder.journal)
        other = next((run_id for run_id in self.events if not _RUN_ID.fullmatch(run_id)), None)
        if other is not None:  # it would name a folder anywhere
            raise RecordError(f"{self.folder.journal}: {other!r} is no id of a run; nothing was taken")

    def records(self) -> Iterator[RunRecord]:
        """Yield its runs in the order of their latest ends."""
        records = self.sweep.records
        yield from (records[run_id] for run_id in self.events if run_id in records)


class _Merger:
    """Takes folders into one that is locked."""

    def __init__(self, ours: RecordedSweep, notes: list[str]) -> None:
        self._sweep, self._folder, self._notes = ours, ours.folder, notes
        self._book: RecordBook = open_book(_with_table_here(ours))
        self._digests = {run_id: digests_of(events) for run_id, events in read_run_events(self._folder.journal).items()}
        self._replaced: list[str] = []

    def merge(self, others: Sequence[_Other]) -> Merge:
        """Take all in, and bring the table and the plan up to date."""
        try:
            return self._merge(others)
        finally:
            self._book.close(is_sound=False)

    def _merge(self, others: Sequence[_Other]) -> Merge:
        taken = [self._take(other) for other in others]
        shutil.rmtree(self._folder.path / STAGING, ignore_errors=True)
        if self._replaced:
            label = table_label(self._sweep)
            take_rows_out(self._book.table.path, label, self._replaced, to=self._archive / CSV)
        self._notes += self._book.open_table()
        self._write_plan(others)
        for name in (FROZEN, ENVIRONMENT):
            _copy_missing(others[0].path / name, self._folder.path / name)
        self._book.close()
        archive = self._archive if self._replaced else None
        return Merge(sweep=open_recorded(self._folder.path), taken=taken, archive=archive, notes=self._notes)

    @functools.cached_property
    def _archive(self) -> Path:
        """Where runs go that are replaced."""
        found = unused_path(self._folder.path / ARCHIVE / f"{time.strftime('%Y%m%d_%H%M%S')}_merged")
        found.mkdir(parents=True)
        return found

    def _take(self, other: _Other) -> Taken:
        taken = Taken(path=other.path, n_runs=len(other.events))
        told = describe_code(self._sweep, other.sweep)
        taken.notes += [told] if told else []
        self._take_provenance(other)
        take_in_sizes(self._folder.path, other.path)
        names = self._take_code(other)
        lost: list[str] = []
        for record in other.records():
            events = list(rename_code(other.events[record.run_id], lambda code: names.get(code, code)))
            self._take_run(other, record, events, taken)
            has_folder = record.state == State.SPAWN_ERROR or self._folder.run_dir(record.run_id).is_dir()
            lost += [] if has_folder else [record.name]
        if lost:
            taken.notes.append(
                f"{name_some(lost)}: no folder there: copy it again and merge again for what the journal does not tell"
            )
        if taken.n_taken:
            self._book.note_event(MERGED, source=str(other.path.resolve()), n_runs=taken.n_taken)
        self._book.journal.sync()
        return taken

    def _take_run(self, other: _Other, record: RunRecord, events: list[Event], taken: Taken) -> None:
        """Take a run in where that is right."""
        run_id = record.run_id
        ours, theirs = self._digests.get(run_id, []), digests_of(events)
        our_record = self._book.records.get(run_id)
        standing = compare_events(theirs, ours, record, our_record)
        if standing in (Standing.KNOWN, Standing.OTHER):
            self._compare_kept(other, record, taken, is_same=theirs == ours, is_known=standing == Standing.KNOWN)
            return
        self._take_folder(other, run_id)
        is_better = standing == Standing.BETTER
        left = events if is_better else events[len(ours) :]
        added = self._describe_end(record, taken) if record.state == State.RUNNING else []
        tags = _joined_tags(record, our_record)
        if tags != record.tags:
            added.append({"ev": RUN_TAG, "run": run_id, "tags": tags})
        own = [{**event, "in_sweep": record.in_sweep} if event["ev"] == RUN_START else event for event in left]
        self._book.take_in([*own, *added], is_anew=is_better)
        self._digests[run_id] = [*([] if is_better else ours), *digests_of([*left, *added])]
        taken.n_taken += 1
        if is_better:
            taken.n_replaced += 1
            self._replaced.append(run_id)

    def _compare_kept(self, other: _Other, record: RunRecord, taken: Taken, *, is_same: bool, is_known: bool) -> None:
        """See to what a run that stays as it is here lacks of what is there."""
        run_id = record.run_id
        if is_same and _is_more_whole(other.folder.run_dir(run_id), self._folder.run_dir(run_id)):
            self._take_folder(other, run_id)
        if not is_known:
            taken.n_kept += 1
            self._add_tags(record, self._book.records[run_id])

    def _describe_end(self, record: RunRecord, taken: Taken) -> list[Event]:
        """Return the end of a run that has none there: as its folder tells it, else it is interrupted."""
        run_dir = self._folder.run_dir(record.run_id)
        found = read_exit(run_dir)
        if found is not None and found[0] == record.attempt:
            outcome = self._sweep.reader.read_kept(run_dir, found[1])
        else:
            taken.n_open += 1
            outcome = RunOutcome(state=State.INTERRUPTED, reason=UNDER_WAY)
        return [{"ev": RUN_END, "run": record.run_id, "attempt": record.attempt, **end_fields(outcome)}]

    def _add_tags(self, theirs: RunRecord, ours: RunRecord) -> None:
        """Add the words that a person has given a run there."""
        tags = _joined_tags(theirs, ours)
        if tags != ours.tags:
            self._book.tag(ours.run_id, tags)

    # ---------------------------------------------------------------- files

    def _take_folder(self, other: _Other, run_id: str) -> None:
        """Put a copy of a run's folder into its place, whole, where there is one.

        Raises:
            RecordError: it cannot be read, or there is no room for it.
        """
        theirs, ours = other.folder.run_dir(run_id), self._folder.run_dir(run_id)
        if theirs.is_symlink() or not theirs.is_dir() or _list_tree(theirs) == _list_tree(ours):
            return
        staged = self._folder.path / STAGING / run_id
        shutil.rmtree(staged, ignore_errors=True)
        staged.parent.mkdir(exist_ok=True)
        shutil.copytree(theirs, staged, symlinks=True, ignore=_find_special, copy_function=_copy_durably)
        if os.path.lexists(ours):
            ours.rename(unused_path(self._archive / run_id))
        staged.rename(ours)

    def _take_provenance(self, other: _Other) -> None:
        for path in sorted((other.path / PROVENANCE).glob("*")):
            _copy_missing(path, self._folder.path / PROVENANCE / path.name)

    def _take_code(self, other: _Other) -> dict[str, str]:
        """Keep the code of a folder's runs here; return what each state of it is called here."""
        store, theirs, place = CodeStore(self._folder.path), CodeStore(other.path), place_of(self._sweep, other.sweep)
        told = (event["code"] for events in other.events.values() for event in events if event.get("code"))
        names = {code: store.take_in(theirs, code, place) for code in dict.fromkeys([*other.sweep.codes, *told])}
        for code, files in other.sweep.codes.items():
            self._book.note_code(names[code], files)
        return names

    def _write_plan(self, others: Sequence[_Other]) -> None:
        """Write the plan of all of it: the starts of all machines in their order, no part any more."""
        plan = self._folder.read_plan() or {}
        starts: list[Any] = []
        for found in (plan, *(other.sweep.plan for other in others)):
            starts += [start for start in found.get("starts") or [] if start not in starts]
        race = plan.get("race") or next((r for other in others if (r := other.sweep.plan.get("race"))), None)
        table = _with_table_here(self._sweep).plan.get("csv")
        joined = {**plan, "shard": None, "race": race, "starts": sorted(starts, key=_started_at), "csv": table}
        if joined != plan:
            self._folder.write_plan(joined)


def _copy_missing(source: Path, target: Path) -> None:
    """Copy a small file that is not there yet, whole or not at all."""
    if source.is_file() and not target.exists():
        target.parent.mkdir(exist_ok=True)
        write_whole(target, source.read_bytes())
        target.chmod(stat.S_IMODE(source.stat().st_mode))


def _started_at(start: Any) -> str:
    return str(start.get("at", "")) if isinstance(start, Mapping) else ""


def _with_table_here(found: RecordedSweep) -> RecordedSweep:
    """Return a sweep with its table in its folder, unless that is where its file has it: a copy has no other place."""
    if found.settings is not None or csv_path(found) == found.folder.csv:
        return found
    return RecordedSweep(folder=found.folder, plan={**found.plan, "csv": CSV}, settings=found.settings)


def _joined_tags(theirs: RunRecord, ours: RunRecord | None) -> str:
    return " ".join(dict.fromkeys([*(ours.tags.split() if ours is not None else ()), *theirs.tags.split()]))


def _is_more_whole(theirs: Path, ours: Path) -> bool:
    """Whether a folder of the same run holds what ours lacks, as when it was copied while the run ended."""
    return read_exit(ours) is None and (not ours.is_dir() or read_exit(theirs) is not None)


def _list_tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return what is in a folder, with its kind, its size in bytes and the time of its last change."""
    found = {}
    for path in folder.rglob("*"):
        seen = path.lstat()
        is_file = stat.S_ISREG(seen.st_mode)
        what = (stat.S_IFMT(seen.st_mode), seen.st_size if is_file else 0, seen.st_mtime_ns if is_file else 0)
        found[str(path.relative_to(folder))] = what
    return found


def _find_special(folder: str, names: list[str]) -> list[str]:
    """Return what is neither file, folder nor link: sockets and pipes of a program that has ended."""
    plain = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
    return [name for name in names if stat.S_IFMT(Path(folder, name).lstat().st_mode) not in plain]


def _copy_durably(source: str, target: str) -> None:
    """Copy a file with its times and permissions, and have it on disk.

    Raises:
        RecordError: it cannot be read, or there is no room.
    """
    try:
        shutil.copy2(source, target, follow_symlinks=False)
        if not Path(target).is_symlink():
            fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
            os.fsync(fd)
            os.close(fd)
    except OSError as error:
        path = source if str(error.filename) == source else target
        raise record_error(path, "cannot be copied", error) from None
