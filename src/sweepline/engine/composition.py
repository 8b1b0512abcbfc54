"""Puts the parts of one start of a sweep together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Set
from dataclasses import replace

from sweepline.analysis.effects import EffectWatch
from sweepline.analysis.racing import read_race
from sweepline.config.settings import SweepSettings
from sweepline.engine.backlog import Backlog
from sweepline.engine.diskpause import DiskPause
from sweepline.engine.failureguard import FailureGuard
from sweepline.engine.freezing import choose_code
from sweepline.engine.hooks import Hooks
from sweepline.engine.keeping import BestRunFiles
from sweepline.engine.outcome import reader_of
from sweepline.engine.planfile import race_of
from sweepline.engine.preparation import PreparedSweep
from sweepline.engine.progress import Observer, Progress
from sweepline.engine.provenance import Provenance
from sweepline.engine.pruning.pruner import Pruner, choose_n_first
from sweepline.engine.race import RaceRuns
from sweepline.engine.retries import RetryPolicy
from sweepline.engine.signals import StopRequests
from sweepline.engine.stability import StabilityGuard
from sweepline.engine.state import SweepState
from sweepline.engine.sweepstop import SweepStop
from sweepline.engine.tasks import TaskBuilder, interpreter_of, source_of
from sweepline.executors.base import Executor
from sweepline.executors.local.admission import GpuAdmission
from sweepline.recording.book import RecordBook
from sweepline.recording.events import ADDED, RACE, REMOVED
from sweepline.space.dependent import Dependencies
from sweepline.space.plan import Plan


def compose(
    prepared: PreparedSweep,
    tasks: TaskBuilder,
    *,
    observer: Observer,
    requests: StopRequests,
    admission: GpuAdmission | None,
    executor: Executor,
) -> SweepState:
    """Return the parts of a start, which nothing has acted on yet."""
    settings, options, folder, plan = prepared.settings, prepared.options, prepared.folder, prepared.plan
    has_earlier = folder.journal.exists() or any(folder.runs.iterdir())
    planned = _ids_of(plan) if has_earlier else None
    whole = planned if prepared.whole is plan else _ids_of(prepared.whole)
    book = RecordBook(
        folder,
        csv=settings.csv_path,
        sweep=settings.table_label,
        params=list(dict.fromkeys([*settings.whole.parameters, *settings.space.parameters])),
        metrics=settings.logged_metrics,
        reserved=settings.reserved_metrics,
    )
    code, notes = (
        (prepared.code, [])
        if prepared.code is not None
        else choose_code(
            source_of(settings),
            book,
            mode=settings.code,
            which=options.code,
            config_files=settings.command.config_files,
        )
    )
    for note in notes:
        observer.note(note)
    provenance = Provenance(
        folder.path,
        program_dir=settings.command.working_dir,
        python=[interpreter_of(settings), sys.executable],
        environment=tasks.describe_environment(prepared.slots.all),
        gpus=prepared.gpus,
        start={
            "sweep": settings.source.decode("utf-8", "replace"),
            "threads": tasks.threads,
            "n_slots": tasks.n_slots,
        },
    )
    pruner, stability = _pruner(prepared), _stability_guard(settings, book)
    return SweepState(
        settings=settings,
        options=options,
        plan=plan,
        folder=folder,
        slots=prepared.slots,
        tasks=replace(tasks, code=code.manifest, provenance=provenance.name),
        provenance=provenance,
        hooks=Hooks(settings, folder),
        book=book,
        reader=reader_of(settings),
        code=code,
        observer=observer,
        requests=requests,
        progress=Progress(plan, settings.objective),
        guard=FailureGuard(max_failures=options.max_failures, keep_going=options.keep_going),
        retries=RetryPolicy(
            settings.retry, goes_smaller=settings.on_oom == "retry_smaller", give_more=executor.give_more
        ),
        backlog=Backlog(count=options.count, must_wait=stability.must_wait if stability is not None else None),
        pause=DiskPause(folder.path),
        executor=executor,
        admission=admission,
        effects=None if settings.command.proves_overrides else EffectWatch(settings.space.swept),
        stability=stability,
        pruner=pruner,
        study=prepared.study,
        enough=_sweep_stop(settings, pruner),
        best_files=(
            BestRunFiles(settings.keep, settings.objective, folder) if settings.keep and settings.objective else None
        ),
        planned=planned,
        whole=whole,
        added={} if whole is None else _added_runs(book, prepared, whole),
        part=prepared.part,
        again=prepared.again,
        repeats=prepared.repeats,
        race=_race_runs(prepared, observer.note),
    )


def _pruner(prepared: PreparedSweep) -> Pruner | None:
    """Return what stops runs early, by rules of the sweep file, or by the study that proposes them."""
    settings, study = prepared.settings, prepared.study
    is_asked = study is not None and bool(study.pruner)
    counts_epochs = settings.stop_sweep is not None and settings.stop_sweep.max_epochs is not None
    if settings.objective is None or not (settings.early_stop or is_asked or counts_epochs):
        return None
    n_first = choose_n_first(may_resume=settings.resumable, plan=prepared.plan)
    return Pruner(settings.early_stop, settings.objective, study=study if is_asked else None, n_first=n_first)


def _sweep_stop(settings: SweepSettings, pruner: Pruner | None) -> SweepStop | None:
    if settings.stop_sweep is None or settings.objective is None:
        return None
    return SweepStop(settings.stop_sweep, settings.objective, lambda: pruner.n_epochs if pruner is not None else 0.0)


def _race_runs(prepared: PreparedSweep, say: Callable[[str], None]) -> RaceRuns | None:
    """Return what makes the runs of a race; a start of a part of the sweep has none."""
    settings, race = prepared.settings, race_of(prepared.settings)
    if race is None or settings.objective is None:
        return None
    if prepared.whole is not prepared.plan:
        say("race: this start runs a part of the sweep; start all of it for the race")
        return None
    return RaceRuns(race, settings.objective, prepared.plan, retry_failed=prepared.options.retry_failed)


def _added_runs(book: RecordBook, prepared: PreparedSweep, whole: Set[str]) -> dict[str, str]:
    """Return how runs with other seeds stand to the sweep, as far as it has their configurations, or has them again."""
    plan, race = prepared.whole, read_race(prepared.folder.read_plan() or {})
    seeds = set(race.seeds) if race is not None else set()
    added = {
        record.run_id: RACE if record.in_sweep == REMOVED else record.in_sweep
        for record in book.records.values()
        if record.run_id not in whole
        and (record.in_sweep in ADDED or (record.in_sweep == REMOVED and record.seed in seeds))
    }
    return {
        run_id: standing
        for run_id, standing in added.items()
        if any(run.run_id in whole for run in plan.runs_of_configuration(book.records[run_id].params))
    }


def _stability_guard(settings: SweepSettings, book: RecordBook) -> StabilityGuard | None:
    if settings.stability is None:
        return None
    space = settings.space
    watched, dependencies = settings.stability.parameter, Dependencies(space.parameters)
    following = [name for name in dependencies.followed if watched in dependencies.sources([name])]
    seeds = space.parameters["seed"].grid if "seed" in space.parameters else space.seeds
    records = book.records.values()
    return StabilityGuard(settings.stability, settings.objective, records, seeds=seeds or (), following=following)


def _ids_of(plan: Plan) -> set[str] | None:
    """Return the ids of all runs; None where making them would take longer than they are worth."""
    return set(plan.ids()) if plan.is_small else None
