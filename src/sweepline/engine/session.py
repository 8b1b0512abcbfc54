"""One start of a sweep, from settings to a result: everything is put together here; nothing here draws or parses."""

from __future__ import annotations

import functools
import itertools
import json
import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweepline.analysis.effects import MAX_RUNS_WATCHED, find_no_effects
from sweepline.analysis.pareto import find_front
from sweepline.analysis.racing import Race, find_standing, rank_raced, read_race
from sweepline.analysis.ranking import RankedConfig
from sweepline.analysis.significance import Standing
from sweepline.config.settings import SweepSettings
from sweepline.contract.text import display_path
from sweepline.engine.bestfile import BestResult, write_best
from sweepline.engine.composition import compose
from sweepline.engine.loop import Loop
from sweepline.engine.places import SLURM, build_remote_executor
from sweepline.engine.planfile import build_plan_record
from sweepline.engine.preflight import check_descriptors, check_startable, check_with_trainer
from sweepline.engine.preloading import RUNS_WORTH_WARMING, plan_warm_start
from sweepline.engine.preparation import PreparedSweep
from sweepline.engine.progress import Observer
from sweepline.engine.queued import find_jobs
from sweepline.engine.recovery import Survivor, read_again, recover
from sweepline.engine.resuming import describe_code, describe_edit, describe_resume, take_up
from sweepline.engine.scheduler.sampler import StudySampler
from sweepline.engine.signals import StopRequests
from sweepline.engine.state import SweepState
from sweepline.engine.tasks import TaskBuilder
from sweepline.executors.base import Executor
from sweepline.executors.local.admission import GpuAdmission, build_admission
from sweepline.executors.local.executor import LocalExecutor, check_available
from sweepline.executors.local.packing import Packing
from sweepline.executors.local.warmstart import WarmingExecutor
from sweepline.executors.slurm.script import job_name
from sweepline.recording.events import RunRecord
from sweepline.recording.folders import BEST, SweepFolder
from sweepline.runs import SETTLED, UNSUCCESSFUL, State
from sweepline.space.plan import Plan

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """What came of one start.

    ``records`` are the runs that belong to the sweep as it is now, or were asked for beside it, from all its starts;
    ``started`` those of this start's plan. ``signal`` is what stopped it, None where it went on to its end.
    """

    settings: SweepSettings
    folder: SweepFolder
    csv_path: Path
    records: Sequence[RunRecord]
    started: Sequence[RunRecord]
    signal: int | None
    halted: str | None = None
    """Why nothing more was launched, where that was not all."""
    n_warm: int = 0
    saved_s: float = 0.0
    """Seconds of imports that warm starts have spared the ``n_warm`` runs of this start."""

    @property
    def path(self) -> Path:
        """The folder of everything that the sweep wrote."""
        return self.folder.path

    @functools.cached_property
    def ranked(self) -> Sequence[RankedConfig]:
        """The configurations of the sweep that finished, mean over seeds, best first."""
        return rank_raced([record for record in self.records if record.belongs], self.settings.objective, self.race)

    @functools.cached_property
    def race(self) -> Race | None:
        """The race of this start, or of an earlier one."""
        return read_race(self.folder.read_plan() or {})

    @property
    def best_config(self) -> RankedConfig | None:
        """The best configuration; None without an objective or a number for it."""
        objective, ranked = self.settings.objective, self.ranked
        has_any = ranked and objective is not None and math.isfinite(ranked[0].means.get(objective.name, math.nan))
        return ranked[0] if has_any else None

    @functools.cached_property
    def front(self) -> Sequence[RankedConfig]:
        """Of several objectives: the configurations that no other one beats, best first in the first objective."""
        objectives = self.settings.objectives
        return find_front(self.ranked, objectives) if len(objectives) > 1 else []

    @functools.cached_property
    def standing(self) -> Standing | None:
        """How the best configuration stands to the others; None without an objective or a number for it."""
        objective, belonging = self.settings.objective, [record for record in self.records if record.belongs]
        if objective is None:
            return None
        idle = {effect.parameter for effect in find_no_effects(belonging, objective.name)}
        return find_standing(belonging, self.ranked, objective, self.race, idle)

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The parameters of the best configuration."""
        best = self.best_config
        return None if best is None else dict(best.params)

    @property
    def is_complete(self) -> bool:
        """Whether every run of this start has ended as it should."""
        return self.signal is None and self.halted is None and all(record.state in SETTLED for record in self.started)


def run_sweep(
    prepared: PreparedSweep,
    observer: Observer,
    *,
    requests: StopRequests | None = None,
    executor: Executor | None = None,
    owns_process: bool = False,
) -> SweepResult:
    """Run what is missing of a sweep, and go on until it has ended or was asked to stop.

    Args:
        prepared: what :func:`prepare_sweep` returned.
        observer: who is told; its :meth:`~sweepline.engine.progress.Observer.note` is the one channel of sentences.
        requests: by which others ask for a stop; signals, where they are caught.
        executor: where runs execute; processes of this machine by default.
        owns_process: whether this process is there for the sweep alone, so that it may adopt what a dead keeper leaves.

    Raises:
        SweeplineError: nothing could start, or what happens could no longer be written down.
    """
    settings, folder = prepared.settings, prepared.folder
    check_startable(prepared)
    if executor is None and prepared.place.is_here:
        check_available()
        check_descriptors(prepared.slots)
    with _held(prepared) as admission, ExitStack() as resources:
        token = secrets.token_hex(8)
        doubt = folder.lock(take_over=prepared.options.take_over)
        folder.keeper_lock.take(token, say=observer.note)
        folder.keeper_lock.write(token, grace_s=settings.grace_s)
        is_on_cpu = prepared.place.is_here and not any(slot.is_gpu for slot in prepared.slots.all)
        check_with_trainer(settings, prepared.plan, prepared.tasks.inherited, is_on_cpu=is_on_cpu)
        if settings.align is not None:
            from sweepline.engine.aligning import check_alignment

            check_alignment(settings)
        observer.begin()
        for note in [*([doubt] if doubt else []), *prepared.notes]:
            observer.note(note)
        tasks, old_plan = _archive(prepared, observer.note)
        if requests is None:
            requests = StopRequests()
            resources.callback(requests.close)
        executor = executor or _build_executor(
            prepared, tasks, token, requests=requests, admission=admission, owns_process=owns_process
        )
        resources.callback(executor.close)
        if prepared.study is not None:
            resources.callback(prepared.study.close)
            _start_study(prepared.study, requests, observer.note)
        state = compose(prepared, tasks, observer=observer, requests=requests, admission=admission, executor=executor)
        resources.callback(state.book.close, is_sound=False)
        resources.callback(state.provenance.close)
        loop = Loop(state)
        for survivor in _take_stock(state, prepared.whole, old_plan):
            loop.starts.adopt(survivor)
        if isinstance(executor, WarmingExecutor) and not loop.starts.has_to_do(_n_worth_warming(prepared)):
            executor.warm = None
        _begin(state)
        with requests:
            if loop.starts.has_to_do(1):
                state.hooks.prepare(requests, loop.steering.look)
            loop.run()
        result = SweepResult(
            settings=settings,
            folder=folder,
            csv_path=state.book.table.path,
            records=state.records,
            started=state.started_records,
            signal=requests.first,
            halted=state.guard.halted,
            n_warm=state.progress.n_warm,
            saved_s=state.progress.saved_s,
        )
        _tell_end(state, result)
        return result


def _start_study(study: StudySampler, requests: StopRequests, say: Say) -> None:
    """Bring a study to where it was."""
    study.think_in_background(lambda: requests.n_received > 0)
    study.start()
    if study.note:
        say(study.note)


def _tell_end(state: SweepState, result: SweepResult) -> None:
    """Write down what is best, and tell those who want to know."""
    write_best_of(result, state.say)
    state.hooks.end(_describe_end(result))
    for note in state.hooks.take_notes():
        state.say(note)


def _describe_end(result: SweepResult) -> dict[str, str]:
    """Return how a sweep has ended, as commands are told."""
    records = [record for record in result.records if record.belongs]
    best = result.best_config
    return {
        "SWEEPLINE_N_RUNS": str(len(records)),
        "SWEEPLINE_N_FINISHED": str(sum(record.state == State.FINISHED for record in records)),
        "SWEEPLINE_N_FAILED": str(sum(record.state in UNSUCCESSFUL for record in records)),
        "SWEEPLINE_IS_COMPLETE": str(int(result.is_complete)),
        "SWEEPLINE_BEST_PARAMETERS": "" if best is None else json.dumps(dict(best.params), default=str),
        "SWEEPLINE_BEST_METRICS": "" if best is None else json.dumps(dict(best.means)),
    }


@contextmanager
def _held(prepared: PreparedSweep) -> Iterator[GpuAdmission | None]:
    """Hold the leases of GPUs; let go of them, and of the folder's locks, at the end."""
    min_free_mib = prepared.options.gpu_free_mib or prepared.settings.gpu_free_mib
    admission = None
    if prepared.place.is_here:
        admission = build_admission(
            prepared.slots.all, prepared.gpus, min_free_mib=min_free_mib, sweep=prepared.settings.name
        )
    prepared.slots.admission = admission
    if admission is not None and prepared.slots.is_packed:
        admission.packing = Packing(prepared.slots, prepared.gpus)
    try:
        yield admission
    except BaseException:  # whatever ends a start: where it was refused, it leaves no folder
        prepared.folder.unlock_unused()
        raise
    finally:
        if admission is not None:
            admission.close()
        prepared.folder.unlock()


def _archive(prepared: PreparedSweep, say: Say) -> tuple[TaskBuilder, dict[str, Any] | None]:
    """Set aside what shall be, and say what is found; return what builds tasks, and the plan of the start before."""
    folder, settings, tasks = prepared.folder, prepared.settings, prepared.tasks
    if folder.finished_archive is not None:
        say(f"an earlier --fresh was cut off; all of it is in {display_path(folder.finished_archive)}")
    if prepared.options.fresh:
        tasks = replace(tasks, sweep_token=secrets.token_hex(3))
        archived = folder.archive(csv=settings.csv_path, table_label=settings.table_label)
        if archived:
            say(f"--fresh: earlier records moved to {display_path(archived)}")
    old_plan = folder.read_plan()
    if old_plan is None and folder.journal.exists():
        say("plan.json was missing or damaged; written anew")
    return tasks, old_plan


def _build_executor(
    prepared: PreparedSweep,
    tasks: TaskBuilder,
    token: str,
    *,
    requests: StopRequests,
    admission: GpuAdmission | None,
    owns_process: bool,
) -> Executor:
    """Return where runs execute; what forks its runs is told what they import."""
    settings, folder = prepared.settings, prepared.folder
    executor: Executor
    if prepared.place.is_here:
        executor = _local_executor(folder, token, requests, admission, owns_process=owns_process)
    else:
        executor = build_remote_executor(
            prepared.place,
            settings,
            folder=folder.path,
            token=tasks.sweep_token,
            watched=lambda: [requests.wakeup_fd],
            abandoned=prepared.tasks.sweep_token if prepared.options.fresh else "",
        )
    if isinstance(executor, WarmingExecutor):
        executor.warm = plan_warm_start(settings, prepared.options.start or settings.start)
    return executor


def _local_executor(
    folder: SweepFolder,
    token: str,
    requests: StopRequests,
    admission: GpuAdmission | None,
    *,
    owns_process: bool,
) -> LocalExecutor:
    held = [folder.keeper_lock.fd, *(admission.leases.fds if admission else ())]
    return LocalExecutor(
        watched=lambda: [requests.wakeup_fd, *(admission.watched if admission else ())],
        held=[fd for fd in held if fd is not None],
        token=token,
        adopts_orphans=owns_process,
    )


def _n_worth_warming(prepared: PreparedSweep) -> int:
    """Return how many runs there must be for a warm start: one where it is asked for."""
    is_auto = (prepared.options.start or prepared.settings.start) == "auto"
    return RUNS_WORTH_WARMING * prepared.slots.n_at_once if is_auto else 1


def write_best_of(result: SweepResult, say: Say) -> None:
    """Write ``best.yaml`` while the folder is held."""
    best, objectives = result.best_config, result.settings.objectives
    if best is None or not objectives:
        return
    found = BestResult(objectives=objectives, best=best, front=result.front, standing=result.standing)
    try:
        write_best(result.folder.path / BEST, found)
    except OSError as error:
        say(f"{BEST} could not be written: {error.strerror}")


def _take_stock(state: SweepState, whole: Plan, old_plan: Mapping[str, Any] | None) -> list[Survivor]:
    """Bring the records up to date with the files as they are now, and say what that changes; return what lives on.

    What the records were read by stays that of the start before until they have been read again.
    """
    settings, folder, book, code = state.settings, state.folder, state.book, state.code
    new_plan = build_plan_record(
        settings,
        whole,
        old=old_plan,
        sweep_token=state.tasks.sweep_token,
        slots=state.slots,
        threads=state.tasks.threads,
        code=code.files,
        part=state.part,
    )
    old = old_plan or {}
    folder.write_plan(new_plan | {"reading": (old or new_plan).get("reading")})
    folder.freeze(settings.source)
    folder.write_environment(state.tasks.describe_environment(state.slots.all))
    plan = state.plan
    if state.slots.all[0].scheduler != SLURM and find_jobs(folder, book.records.values()):
        state.say(
            "runs of an earlier start may still be jobs of Slurm, of which nothing comes any more: "
            f"scancel -n {job_name(settings.name)} ends them"
        )
    survivors, notes = recover(
        book,
        state.reader,
        state.executor,
        planned=lambda: {run.run_id: run for run in plan.runs()} if plan.is_small else {},
    )
    if old.get("reading") not in (None, new_plan["reading"]):
        notes.append(read_again(book, state.reader))
    if state.whole is not None:
        book.mark_membership(state.whole, state.added)
    for note in [*notes, *book.open_table()]:
        state.say(note)
    folder.write_plan(new_plan)
    if old and old.get("search") != new_plan["search"] and state.whole is not None:
        state.say(describe_edit(book.records, state.whole | state.added.keys()))
    for line in describe_resume(book.records, state.planned, retry_failed=state.options.retry_failed):
        state.say(line)
    for line in describe_code(state.records, book.codes, code):
        state.say(line)
    return survivors


def _begin(state: SweepState) -> None:
    """Write down that this start begins, and count what earlier ones did."""
    state.progress.load(state.started_records, retry_failed=state.options.retry_failed)
    state.progress.walk_plan()
    if state.effects is not None:
        for record in itertools.islice(state.book.records.values(), MAX_RUNS_WATCHED):
            state.effects.note_end(record)  # what earlier starts were told
    if state.best_files is not None:
        state.best_files.load(state.book.records.values())
    if state.pruner is not None:
        state.pruner.load(state.book.records.values(), state.folder.run_dir)
    if state.enough is not None:
        state.enough.load(record for record in state.book.records.values() if record.belongs)
        if state.enough.reason is not None:
            state.say(f"stop_sweep: {state.enough.reason}: nothing more is started")
    take_up(state.plan, state.book.records.values(), retry_failed=state.options.retry_failed)
    state.book.note_code(state.code.state, state.code.files)
    state.book.begin(sweep=state.settings.name, sweep_file=state.settings.path, sweep_token=state.tasks.sweep_token)
