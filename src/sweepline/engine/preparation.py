"""A start of a sweep, thought through before anything is written: devices, plan, folder, and what is worth saying."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from sweepline.analysis.filters import Filter
from sweepline.config.naming import check_owner
from sweepline.config.schema import RaceModel
from sweepline.config.settings import SweepSettings, with_race
from sweepline.engine.freezing import Code
from sweepline.engine.scheduler.sampler import StudySampler, build_study_sampler
from sweepline.engine.state import SweepOptions
from sweepline.engine.tasks import TaskBuilder
from sweepline.errors import ConfigError, ExecutorUnavailableError, RecordError
from sweepline.executors.local.gpus import Gpu, read_gpus
from sweepline.executors.local.slots import Slots, build_slots, thread_budget
from sweepline.recording.events import ADDED, RunRecord, names_in
from sweepline.recording.folders import SweepFolder
from sweepline.recording.journal import read_events
from sweepline.recording.snapshot import replay_journal
from sweepline.space.plan import Plan, SearchSpace
from sweepline.space.samplers.base import Sampler


@dataclass(frozen=True, kw_only=True)
class PreparedSweep:
    """A start that is thought through, with nothing written yet. ``notes`` are worth saying before it begins.

    ``plan`` holds the runs of this start, ``whole`` those that the sweep file describes. ``records`` are those of
    earlier starts where the plan depends on them or nothing will be started, else empty.
    """

    settings: SweepSettings
    options: SweepOptions
    plan: Plan
    whole: Plan
    slots: Slots
    gpus: Sequence[Gpu] | None
    folder: SweepFolder
    tasks: TaskBuilder
    records: Mapping[str, RunRecord]
    notes: Sequence[str]
    study: StudySampler | None = None
    """What proposes runs, where a file of the user's does."""
    repeats: Set[str] = frozenset()
    """Runs that repeat configurations of the sweep with other seeds."""
    again: Set[str] = frozenset()
    """Runs that go again however they have ended."""
    code: Code | None = None
    """What runs execute; None: what the sweep file and the options say."""


def prepare_sweep(
    settings: SweepSettings, options: SweepOptions, *, is_dry: bool = False, sampler: Sampler | None = None
) -> PreparedSweep:
    """Think a start through: devices, plan, folder. Reads, and writes nothing.

    Raises:
        SweeplineError: it cannot start.
    """
    if options.race is not None:
        settings = with_race(settings, (settings.race or RaceModel()).model_copy(update={"top": options.race}))
    devices = _devices(settings, options)
    gpus, trouble, driver_notes = _ask_driver(devices, min_free_mib=options.gpu_free_mib or settings.gpu_free_mib)
    slots, device_notes = build_slots(
        devices,
        runs_per_device=settings.runs_per_device,
        max_concurrent=options.max_concurrent or settings.max_concurrent,
        threads=settings.threads,
        gpus=gpus,
        trouble=trouble,
    )
    folder = SweepFolder(settings.sweep_dir)
    known_plan = folder.read_plan() or _last_start(folder)
    check_owner(settings.path, folder.path, known_plan)
    is_read_here = is_dry or (settings.needs_limit and options.count is not None)
    records = replay_journal(folder.journal).records if is_read_here and not options.fresh else {}
    space = _bounded(settings, settings.space, options.count, records)
    study = None
    if settings.scheduler is not None and sampler is None:
        sampler = study = build_study_sampler(settings, settings.scheduler, space, folder.path, is_dry=is_dry)
    plan = Plan(space, sampler=sampler)
    if options.only is not None:
        plan = _picked(plan, options.only)
    space, all_of_it = settings.space, settings.whole
    is_part = space.parameters is not all_of_it.parameters or space.seeds != all_of_it.seeds or options.only is not None
    whole = Plan(_bounded(settings, settings.whole, options.count, records)) if is_part and sampler is None else plan
    tasks = TaskBuilder(
        settings=settings,
        runs_dir=folder.runs,
        sweep_token=str(known_plan.get("sweep_token") or secrets.token_hex(3)),
        threads=thread_budget(settings.threads, slots.n_max),
        n_slots=slots.n_max,
    )
    return PreparedSweep(
        settings=settings,
        options=options,
        plan=plan,
        whole=whole,
        slots=slots,
        gpus=gpus,
        folder=folder,
        tasks=tasks,
        records=records,
        study=study,
        notes=[*settings.warnings, *driver_notes, *device_notes, *tasks.notes(slots.all)],
    )


def _picked(plan: Plan, text: str) -> Plan:
    """Return the plan of those runs alone that an expression means.

    Raises:
        ConfigError: it means none, or the runs are not known beforehand.
    """
    if not plan.is_enumerable:
        raise ConfigError("--only picks among runs that are known beforehand, here they are proposed one by one")
    names = [*plan.space.parameters, *names_in(plan.space.listed), "seed"]
    try:
        picked = Plan(plan.space, sampler=plan.sampler, only=Filter(text, names).of_run)
        is_empty = next(picked.runs(), None) is None
    except ConfigError as error:
        raise ConfigError(f"--only: {error}") from None
    if is_empty:
        raise ConfigError(f"--only {text}: no run of the sweep is meant; see sweepline run -n")
    return picked


def _devices(settings: SweepSettings, options: SweepOptions) -> str | Sequence[int | str]:
    if not options.devices:
        return settings.devices
    return options.devices if options.devices in ("auto", "cpu") else options.devices.split(",")


def _ask_driver(
    devices: str | Sequence[int | str], *, min_free_mib: int | None
) -> tuple[Sequence[Gpu] | None, str, list[str]]:
    """Return the machine's GPUs where they matter, why they cannot be told, and what is worth saying about them."""
    if devices == "cpu":
        return None, "", []
    try:
        gpus, trouble = read_gpus()
    except ExecutorUnavailableError as error:
        if devices == "auto":
            raise
        return None, "", [f"{error}: nothing is known of the GPUs"]
    is_blind = gpus is None and min_free_mib is not None and devices != "auto"
    notes = ["gpu_free_mib: no GPU driver answers here, free memory is not checked"] if is_blind else []
    return gpus, trouble, notes


def _last_start(folder: SweepFolder) -> Mapping[str, Any]:
    """Return what the journal says of the last start, for when ``plan.json`` does not; empty where there was none."""
    last: Mapping[str, Any] = {}
    try:
        for event in read_events(folder.journal):
            if event["ev"] == "sweep_start":
                last = event
    except RecordError:  # whoever writes it says so
        return last
    return last


def _bounded(
    settings: SweepSettings, space: SearchSpace, count: int | None, records: Mapping[str, RunRecord]
) -> SearchSpace:
    """Bound an endless search by what ``count`` adds to what is recorded."""
    if not settings.needs_limit or count is None:
        return space
    n_ended = sum(record.is_ended and record.in_sweep not in ADDED for record in records.values())
    return replace(space, limit=math.ceil((n_ended + count) / Plan(space).n_seeds))
