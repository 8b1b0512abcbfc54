"""A run once more, as it was: the same code, parameters, seed and device; and whether it came to the same."""

from __future__ import annotations

import difflib
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweepline.analysis.differences import differing
from sweepline.config.settings import SweepSettings
from sweepline.config.sweepfile import load_sweep
from sweepline.contract.metrics import MetricPoint
from sweepline.contract.runfolder import ATTEMPTS, PROVENANCE, RECORDED, STDERR, STDOUT, read_start_line
from sweepline.engine.codestore import CodeStore
from sweepline.engine.freezing import Code, FrozenCode, LiveCode
from sweepline.engine.places import LOCAL
from sweepline.engine.preparation import PreparedSweep, prepare_sweep
from sweepline.engine.provenance import read_provenance
from sweepline.engine.recorded import RecordedSweep, open_recorded, read_points
from sweepline.engine.rundiff import FoundRun, provenance_of
from sweepline.engine.state import SweepOptions
from sweepline.engine.tasks import source_of
from sweepline.errors import ConfigError
from sweepline.executors.devices import is_elsewhere
from sweepline.programs.base import Command
from sweepline.programs.command import ProgramCommand
from sweepline.programs.configcopy import read_template
from sweepline.programs.wandb import WandbSettings
from sweepline.recording.folders import FROZEN
from sweepline.runs import Run
from sweepline.space.plan import SingleRunPlan

RERUNS = "reruns"
MAX_LINES = 20
_PLACE = (("threads", "threads"), ("n_slots", "max_concurrent"))  # as a start and as plan.json call it
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRerun:
    """A run that is about to go once more; ``notes`` say in what it cannot be as it was."""

    found: FoundRun
    sweep: PreparedSweep
    code: Code
    notes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first METRIC value that is not the same: both values, None where one run has none there."""

    metric: str
    place: str
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunResult:
    """How a run and its repetition compare.

    ``first`` is None where all values are the same, bit for bit; ``differing`` are the metrics that are not.
    ``environment`` has what differs of it by name, ``output`` lines of a difference, ``files`` names with what is
    different about each.
    """

    run_dir: Path
    state: str
    reason: str
    n_values: int
    n_metrics: int
    first: Difference | None
    differing: Sequence[str]
    environment: Mapping[str, tuple[Any, Any]]
    output: Sequence[str]
    n_output_lines: int
    files: Mapping[str, str]

    @property
    def is_identical(self) -> bool:
        """Whether it ended as before, with the same values of all metrics."""
        return self.first is None and self.n_values > 0 and self.state == "finished"


def prepare_rerun(found: FoundRun, *, start: str | None = None, devices: str | None = None) -> PreparedRerun:
    """Prepare a run to go once more, into a folder of its own below ``reruns`` of its sweep.

    Raises:
        SweeplineError: it has not ended, or what it was started with is gone.
    """
    record, recorded = found.record, found.sweep
    if not record.is_ended:
        raise ConfigError(f"{record.name} ({record.run_id}) has not ended; there is nothing to compare with")
    started = _start_of(found)
    settings = settings_of(recorded, started.get("sweep"))
    settings = replace(settings, command=_with_own_config(settings.command, recorded.folder.run_dir(record.run_id)))
    notes: list[str] = []
    if not started and SingleRunPlan.identity_of(settings.space) != record.identity:
        notes.append("the sweep file or its config has changed since: the command is made of what they are now")
    params, run_id = dict(record.params), record.run_id
    plan = SingleRunPlan(
        Run(run_id=run_id, name=record.name, params=params, seed=record.seed, index=0, identity=record.identity)
    )
    own = replace(
        settings,
        whole=plan.space,
        space=plan.space,
        records_dir=_unused(recorded.folder.path / RERUNS, run_id),
        csv_path=None,
        keep=None,
        align=None,
        retry=0,
        on_oom="fail",
        report="never",
        max_concurrent=1,
        wandb=replace(settings.wandb or WandbSettings(), mode="offline") if settings.wandb else None,
        warnings=(),
    )
    where = devices or ("auto" if is_elsewhere(record.device) else record.device) or "cpu"
    prepared = prepare_sweep(own, SweepOptions(executor=LOCAL, devices=where, max_concurrent=1, start=start))
    tasks = prepared.tasks
    threads, n_slots = (started.get(name) or recorded.plan.get(other) for name, other in _PLACE)
    tasks = replace(tasks, threads=threads or tasks.threads, n_slots=n_slots or tasks.n_slots)
    if settings.wandb is None:
        tasks = replace(tasks, inherited={**tasks.inherited, "WANDB_MODE": "offline"})
    code, why = code_of(own, found)
    notes += [why] if why else []
    sweep = replace(prepared, plan=plan, whole=plan, tasks=tasks, code=code)
    return PreparedRerun(found=found, sweep=sweep, code=code, notes=notes)


def _with_own_config(command: Command, run_dir: Path) -> Command:
    """Return the command with the copy of a config file that the run was given, whatever the file holds by now."""
    if not isinstance(command, ProgramCommand) or command.template is None:
        return command
    path = run_dir / command.template.file_name
    return replace(command, template=read_template(path)) if path.is_file() else command


def _start_of(found: FoundRun) -> dict[str, Any]:
    """Return what the run's own start was: its sweep file, threads and slots; empty where that is not known."""
    started = read_start_line(found.sweep.folder.run_dir(found.record.run_id)) or {}
    told = read_provenance(found.sweep.folder.path, str(started.get(PROVENANCE) or "")).get("start")
    return told if isinstance(told, dict) else {}


def settings_of(recorded: RecordedSweep, text: str | None = None) -> SweepSettings:
    """Return the sweep file of a start, else of the last one, with paths relative to where it stands."""
    told = recorded.plan.get("sweep_file")
    frozen = recorded.folder.path / FROZEN
    try:
        text = text or frozen.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{frozen}: the sweep file that was kept cannot be read: {error}") from None
    path = (recorded.folder.path / str(told)).resolve() if told else recorded.folder.path.parent.parent / FROZEN
    return load_sweep(path, text=text)


def _unused(folder: Path, run_id: str) -> Path:
    n = 1
    while (folder / f"{run_id}_{n}").exists():
        n += 1
    return folder / f"{run_id}_{n}"


def code_of(settings: SweepSettings, found: FoundRun) -> tuple[Code, str]:
    """Return the code that the run executed, where it was kept, else the program as it is, with a sentence."""
    source, state = source_of(settings), found.record.code
    manifest = CodeStore(found.sweep.folder.path).manifest(state) if state else None
    if manifest is not None:
        files = found.sweep.codes.get(state, {})
        return FrozenCode(source, state=state, files=files, manifest=manifest), ""
    live = LiveCode(source)
    if not state:
        return live, "code: live: the program is none of the user's files, and runs as it is now"
    if live.state == state:
        return live, "code: live: its files were not kept, but are as they were"
    return live, "code: live: its files were not kept, and have changed since: this runs what they are now"


def compare_rerun(prepared: PreparedRerun, *, is_ignored: Callable[[str], bool] = lambda _metric: False) -> RerunResult:
    """Compare a run with its repetition, which has ended; metrics that are ``is_ignored`` may differ."""
    before, after = prepared.found, _repeated(prepared)
    values, others = (_values(read_points(run.sweep, run.record), is_ignored) for run in (before, after))
    pairs = list(_pair(values, others))
    different = [difference for difference in pairs if difference is not None]
    folders = [run.sweep.folder.run_dir(run.record.run_id) for run in (before, after)]
    output = list(_output_difference(*folders))
    environments = [_environment_of(run, is_frozen=prepared.code.manifest is not None) for run in (before, after)]
    return RerunResult(
        run_dir=folders[1],
        state=str(after.record.state),
        reason=after.record.reason,
        n_values=len(values),
        n_metrics=len({name for name, _, _ in values}),
        first=different[0] if different else None,
        differing=list(dict.fromkeys(difference.metric for difference in different)),
        environment={name: (environments[0].get(name), environments[1].get(name)) for name in differing(environments)}
        if all(environments)
        else {},
        output=output[:MAX_LINES],
        n_output_lines=len(output),
        files=dict(_file_differences(*folders)),
    )


def _environment_of(run: FoundRun, *, is_frozen: bool) -> dict[str, Any]:
    """Return where a run comes from; without the state of the checkout where it did not execute that."""
    found = provenance_of(run)
    return {name: value for name, value in found.items() if not (is_frozen and name.startswith("git."))}


def _repeated(prepared: PreparedRerun) -> FoundRun:
    found = open_recorded(prepared.sweep.folder.path)
    return FoundRun(found, next(iter(found.records.values())))


def _values(points: Sequence[MetricPoint], is_ignored: Callable[[str], bool]) -> list[tuple[str, str, float]]:
    """Return name, place and value of everything measured, in its order."""
    return [
        (name, " ".join(f"{key}={at}" for key, at in point.place.items()), value)
        for point in points
        for name, value in point.values.items()
        if not is_ignored(name)
    ]


def _pair(
    before: Sequence[tuple[str, str, float]], after: Sequence[tuple[str, str, float]]
) -> Iterator[Difference | None]:
    """Yield of each value whether both runs have it; values of a metric are paired in their order."""
    rest: dict[str, deque[tuple[str, float]]] = {}
    for name, place, value in after:
        rest.setdefault(name, deque()).append((place, value))
    for name, place, value in before:
        others = rest.get(name)
        other = others.popleft() if others else None
        is_same = other is not None and other[0] == place and repr(other[1]) == repr(value)
        yield None if is_same else Difference(metric=name, place=place, before=value, after=other and other[1])
    for name, left in rest.items():
        for place, value in left:
            yield Difference(metric=name, place=place, before=None, after=value)


def _output_difference(before: Path, after: Path) -> Iterator[str]:
    for name in (STDOUT, STDERR):
        old, new = (_read_lines(folder / name, folder) for folder in (before, after))
        if old != new:
            lines = difflib.unified_diff(old, new, f"{name} (before)", f"{name} (again)", n=0, lineterm="")
            # METRIC lines are compared by their values.
            yield from (line for line in lines if not line.startswith("@@") and "METRIC " not in line)


def _read_lines(path: Path, run_dir: Path) -> list[str]:
    """Return the lines of an output, the run's own folder left out: that is another one each time."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.replace(str(run_dir), "<run folder>").splitlines()


def _file_differences(before: Path, after: Path) -> Iterator[tuple[str, str]]:
    """Yield which files of the run's own differ, and how."""
    found = [_own_files(folder) for folder in (before, after)]
    for name in sorted(found[0].keys() | found[1].keys()):
        if name not in found[1]:
            yield name, "is missing now"
        elif name not in found[0]:
            yield name, "is new"
        elif _digest(found[0][name]) != _digest(found[1][name]):
            yield name, "differs"


def _own_files(folder: Path) -> dict[str, Path]:
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path for name, path in files.items() if name not in RECORDED and not name.startswith(f"{ATTEMPTS}/")}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
