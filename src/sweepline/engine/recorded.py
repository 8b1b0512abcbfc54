"""A sweep that has been run, found from its file or its folder, for whoever reads it: commands and programs."""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweepline.config.naming import OUTPUTS, check_owner
from sweepline.config.settings import SweepSettings
from sweepline.config.sweepfile import load_sweep
from sweepline.contract.files import open_plain
from sweepline.contract.metrics import MetricPoint, read_history
from sweepline.contract.runfolder import METRICS, STDERR, STDOUT
from sweepline.contract.text import display_path
from sweepline.engine.outcome import OutcomeReader, reader_of
from sweepline.engine.planfile import build_plan_record
from sweepline.errors import ConfigError
from sweepline.recording.book import RecordBook
from sweepline.recording.events import RunRecord
from sweepline.recording.folders import FROZEN, SweepFolder
from sweepline.recording.journal import JOURNAL
from sweepline.recording.snapshot import replay_journal
from sweepline.space.plan import Plan


@dataclass(frozen=True, kw_only=True)
class RecordedSweep:
    """A sweep that has been run: its folder, its plan, and the settings of its file where that was named."""

    folder: SweepFolder
    plan: Mapping[str, Any]
    settings: SweepSettings | None
    records: Mapping[str, RunRecord] = field(default_factory=dict)
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The files of every state of the program that runs executed, by the hash that records carry."""

    @functools.cached_property
    def reader(self) -> OutcomeReader:
        """What reads the results of its runs, by its file: as that is, else as it was when the sweep was started."""
        settings = self.settings or _load_frozen(self.folder)
        return OutcomeReader() if settings is None else reader_of(settings)


def find_sweep(target: Path, *, needs_journal: bool = True) -> RecordedSweep:
    """Return a sweep that has been run, from its sweep file or its folder; its records are not read.

    Raises:
        ConfigError: nothing was run there, or another file's sweep of the same name.
    """
    is_folder = (target.is_dir() and not (target / "sweep.yaml").exists()) or (target / JOURNAL).exists()
    path = target / "sweep.yaml" if target.is_dir() else target
    if not is_folder and not path.exists():
        known = sorted(found.parent for found in (path.parent / OUTPUTS).glob(f"*/{JOURNAL}"))
        if known:
            raise ConfigError(
                f"{display_path(path)}: no such file; name a sweep's file or folder, such as {display_path(known[-1])}"
            )
    settings = None if is_folder else load_sweep(path)
    folder = SweepFolder(target if settings is None else settings.sweep_dir)
    if not folder.journal.exists() and (needs_journal or not folder.runs.is_dir()):
        raise ConfigError(f"{display_path(folder.path)}: no sweep has been run here; start one with sweepline run")
    plan = folder.read_plan()
    if settings is None:
        settings = _load_told(folder, plan or {})
    else:
        check_owner(settings.path, folder.path, plan or {})
    if plan is None:
        source = settings or _load_frozen(folder)
        plan = {} if source is None else build_plan_record(source, Plan(source.whole), old=None, sweep_token="")
    return RecordedSweep(folder=folder, plan=plan, settings=settings)


def _load_told(folder: SweepFolder, plan: Mapping[str, Any]) -> SweepSettings | None:
    """Return the settings of the file that a plan names, where it is still there and still this sweep's."""
    told = plan.get("sweep_file")
    if not isinstance(told, str):
        return None
    try:
        settings = load_sweep(folder.path / told)
    except ConfigError:
        return None
    return settings if settings.sweep_dir.resolve() == folder.path.resolve() else None


def _load_frozen(folder: SweepFolder) -> SweepSettings | None:
    """Return the settings of the sweep file as it was started, as far as they do not depend on where it stands."""
    try:
        return load_sweep(folder.path / FROZEN)
    except ConfigError:
        return None


def open_recorded(target: Path) -> RecordedSweep:
    """Return a sweep that has been run, with its records.

    Raises:
        SweeplineError: nothing was run there, or its journal cannot be read.
    """
    found = find_sweep(target)
    replay = replay_journal(found.folder.journal)
    return replace(found, records=replay.records, codes=replay.codes)


def table_label(found: RecordedSweep) -> str:
    """Return what the table's column ``sweep`` says."""
    return str(found.plan.get("table_label") or found.plan.get("sweep") or found.folder.path.name)


def csv_path(found: RecordedSweep) -> Path:
    """Return where the table is: ``plan.json`` tells it relative to the folder, which may have been moved."""
    folder = found.folder
    told = Path(str(found.plan.get("csv") or folder.csv.name))
    if told.is_absolute() and told.parent.name == folder.path.name:  # as older versions wrote it
        return folder.csv
    return Path(os.path.normpath(folder.path / told))


def open_book(found: RecordedSweep) -> RecordBook:
    """Return the books of a sweep, for writing; call only with its folder locked."""
    plan = found.plan
    csv = csv_path(found)
    return RecordBook(
        found.folder,
        csv=None if csv == found.folder.csv else csv,
        sweep=table_label(found),
        params=list(plan.get("parameters", {})),
        metrics=list(plan.get("logged_metrics", ())),
        reserved=plan.get("reserved_metrics", ()),
    )


def read_points(
    found: RecordedSweep, record: RunRecord, *, n_metrics: int | None = None, max_log_bytes: float = math.inf
) -> list[MetricPoint]:
    """Return the points of a run's history: from its ``metrics.csv``, else from the output that is kept of it.

    Args:
        found: the sweep.
        record: the run.
        n_metrics: read the first so many metrics of a ``metrics.csv`` only.
        max_log_bytes: output beyond this size is not read again; the run has no points then.
    """
    run_dir = found.folder.run_dir(record.run_id)
    try:
        with io.TextIOWrapper(open_plain(run_dir / METRICS), encoding="utf-8", newline="") as file:
            return read_history(file, n_metrics=n_metrics)
    except (OSError, ValueError):
        logs = [run_dir / STDOUT, run_dir / STDERR]
        if sum(log.stat().st_size for log in logs if log.is_file()) > max_log_bytes:
            return []
        return found.reader.measure(run_dir).points
