"""What can be told of any program from outside, before a sweep is trusted to it: a few short runs of it, compared."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweepline.analysis.effects import measures_speed
from sweepline.config.settings import SweepSettings
from sweepline.config.sweepfile import escape_macros, load_command
from sweepline.contract.metrics import MetricPoint
from sweepline.contract.runfolder import STDERR, STDOUT
from sweepline.engine.places import LOCAL
from sweepline.engine.preparation import PreparedSweep, prepare_sweep
from sweepline.engine.progress import Observer
from sweepline.engine.recorded import open_recorded, read_points
from sweepline.engine.rerun import compare_rerun, prepare_rerun
from sweepline.engine.rundiff import FoundRun
from sweepline.engine.session import run_sweep
from sweepline.engine.signals import StopRequests, StopSignals
from sweepline.engine.state import SweepOptions
from sweepline.errors import ConfigError
from sweepline.recording.events import RunRecord
from sweepline.recording.folders import SweepFolder
from sweepline.recording.journal import unused_path
from sweepline.runs import canonical_json
from sweepline.space.dependent import Dependencies
from sweepline.space.parameters import Constant, Parameter
from sweepline.space.plan import SearchSpace
from sweepline.space.samplers.listed import ListedSampler

FOLDER = "smoke"
GRACE_S = 10.0
SEEDS = (0, 1)
PERFECT = 0.9995
_WAIT_FOR_OUTPUT_S = 60.0
_SCORES = {"acc", "acc1", "accuracy", "auc", "auroc", "f1", "top1"}
_HELD_OUT = ("val", "valid", "validation", "test", "eval", "dev")


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, whether it is as it should be (None: it could not be told), and what was found."""

    name: str
    is_ok: bool | None
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A program with what is varied: ``base`` is what runs have, ``others`` by parameter a run that differs in it.

    What follows from a parameter differs with it.
    """

    settings: SweepSettings
    base: Mapping[str, Any]
    others: Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int | None]


def subject_of_sweep(settings: SweepSettings) -> Subject:
    """Return the program of a sweep, with two values of each parameter that it searches."""
    space = settings.space
    parameters = space.parameters
    base = _pick(space, None)
    others = {name: _pick(space, name) for name in space.swept if name in base}
    others = {
        name: params
        for name, params in others.items()
        if name in params and canonical_json(params[name]) != canonical_json(base[name])
    }
    seeds = tuple(settings.space.seeds)
    if "seed" in parameters:
        seeds = (None,)
    elif seeds == (None,) or len(seeds) < len(SEEDS):
        seeds = SEEDS if settings.command.proves_overrides or seeds != (None,) else (None,)
    return Subject(settings=settings, base=base, others=others, seeds=seeds[: len(SEEDS)])


def _pick(space: SearchSpace, varied: str | None) -> dict[str, Any]:
    """Return a combination: the first, with another value of a parameter."""
    dependencies = Dependencies(space.parameters)
    if not space.has_product:
        listed = dict(space.listed[0])
        values = [other[varied] for other in space.listed if varied is not None and varied in other]
        own = canonical_json(listed.get(varied)) if varied is not None else ""
        listed |= {str(varied): value for value in values if canonical_json(value) != own}
        return dependencies.complete_listed(listed)
    return dependencies.complete(lambda name, parameter: parameter.at(1.0 - 1e-9 if name == varied else 0.0))


def subject_of_command(
    words: Sequence[str], vary: Mapping[str, Sequence[Any]], *, seed_name: str | None, folder: Path
) -> Subject:
    """Return a command as a person writes it; varied parameters are appended as ``--name=value``.

    Raises:
        ConfigError: it cannot be started, or a parameter has but one value.
    """
    single = next((name for name, values in vary.items() if len(values) < 2), None)
    if single is not None:
        raise ConfigError(f"--vary {single}: give two values to compare, as {single}=0.1,0.01")
    seeds: list[Any] = [*SEEDS]
    parameters: dict[str, Any] = {name: {"values": list(values)} for name, values in vary.items()}
    if seed_name and seed_name != "seed":
        parameters[seed_name] = {"values": seeds}
    command = [*map(escape_macros, words), *(["${args}"] if parameters else [])]
    settings = load_command(
        command,
        name=FOLDER,
        parameters=parameters or {"unused": {"value": None}},
        folder=folder,
        **({"seeds": seeds} if seed_name == "seed" else {}),
    )
    return subject_of_sweep(settings)


def smoke(subject: Subject, observer: Observer, *, timeout_s: float) -> Iterator[Check]:
    """Run the program a few times and yield what is found.

    Args:
        subject: the program, and what is varied.
        observer: who is told of the runs.
        timeout_s: the longest that one run may take.

    Raises:
        KeyboardInterrupt: it was stopped.
    """
    settings = subject.settings
    place = settings.sweep_dir if settings.name == FOLDER else settings.sweep_dir / FOLDER
    folder = unused_path(place / time.strftime("%Y%m%d_%H%M%S"))
    yield from _compare_runs(subject, folder, observer, timeout_s)
    yield _check_stop(subject, folder, observer)


def _compare_runs(subject: Subject, folder: Path, observer: Observer, timeout_s: float) -> Iterator[Check]:
    varied = [dict(params) for params in subject.others.values()]
    prepared = _prepare(subject, folder / "runs_compared", [dict(subject.base), *varied], timeout_s=timeout_s)
    _run(prepared, observer)
    found = open_recorded(prepared.folder.path)
    runs = {(canonical_json(dict(r.params)), r.seed): FoundRun(found, r) for r in found.records.values()}
    first = runs[canonical_json(dict(subject.base)), subject.seeds[0]]
    state = first.record.state.value
    yield Check(
        "it finishes", first.record.has_result, state if first.record.has_result else f"{state}: {first.record.reason}"
    )
    if not first.record.has_result:
        return
    points = _points(first)
    names = list(dict.fromkeys(name for point in points for name in point.values))
    yield Check(
        "METRIC lines come", bool(points), f"{len(points)} points of {', '.join(names[:5])}" if points else "none"
    )
    yield from _suspicions(points)
    repeats = _check_repeats(first, observer)
    yield repeats
    if repeats.is_ok is False and (len(subject.seeds) > 1 or varied):
        yield Check(
            "seed and options matter", None, "two equal runs differ already, so that nothing can be told of them"
        )
        return
    if len(subject.seeds) < 2 and not varied:
        yield Check("seed and options matter", None, "not looked at: name them with --seed-flag and --vary")
    if len(subject.seeds) > 1:
        other = runs[canonical_json(dict(subject.base)), subject.seeds[1]]
        yield _check_change("the seed matters", first, other)
    for name, params in subject.others.items():
        other = runs[canonical_json(dict(params)), subject.seeds[0]]
        yield _check_change(f"{name} matters ({subject.base[name]!r} or {params[name]!r})", first, other)


def _prepare(
    subject: Subject, folder: Path, combinations: Sequence[Mapping[str, Any]], *, timeout_s: float, n_seeds: int = 2
) -> PreparedSweep:
    settings = subject.settings
    names = {name: None for params in combinations for name in params}
    parameters: dict[str, Parameter] = {name: Constant(subject.base.get(name)) for name in names}
    space = SearchSpace(
        parameters=parameters,
        seeds=tuple(subject.seeds[:n_seeds]),
        identity=settings.space.identity,
        named_by=tuple(subject.others),
        limit=len(combinations),
    )
    own = replace(
        settings,
        space=space,
        whole=space,
        records_dir=folder,
        csv_path=None,
        keep=None,
        align=None,
        retry=0,
        timeout_s=timeout_s,
        grace_s=GRACE_S,
        report="never",
        warnings=(),
        wandb=replace(settings.wandb, mode="offline") if settings.wandb else None,
    )
    return prepare_sweep(own, SweepOptions(executor=LOCAL, keep_going=True), sampler=ListedSampler(combinations))


def _run(prepared: PreparedSweep, observer: Observer) -> None:
    if run_sweep(prepared, observer, requests=StopSignals(), owns_process=True).signal is not None:
        raise KeyboardInterrupt


def _points(run: FoundRun) -> list[MetricPoint]:
    return read_points(run.sweep, run.record)


def _check_repeats(first: FoundRun, observer: Observer) -> Check:
    again = prepare_rerun(first)
    _run(again.sweep, observer)
    result = compare_rerun(again, is_ignored=measures_speed)
    name = "two runs are identical"
    if not result.n_values:
        return Check(name, None, "there are no METRIC values to compare")
    if result.first is not None:
        one = result.first
        found = f"{one.metric} at {one.place or 'the end'} is {one.before!r}, then {one.after!r}"
        return Check(name, False, found)
    return Check(name, result.is_identical, f"{result.n_values} values, bit for bit")


def _check_change(name: str, first: FoundRun, other: FoundRun) -> Check:
    if not other.record.has_result:
        return Check(name, None, f"its run ended as {other.record.state.value}: {other.record.reason}")
    values = [_comparable(_points(run)) for run in (first, other)]
    if values[0] != values[1]:
        return Check(name, True, "METRIC values differ")
    texts = [_output(run) for run in (first, other)]
    if texts[0] != texts[1] and not values[0]:
        return Check(name, True, "what is printed differs")
    return Check(name, False, "no METRIC value differs: does the program take it?")


def _comparable(points: Sequence[MetricPoint]) -> list[tuple[dict[str, int], dict[str, float]]]:
    """Return what is measured, without times and speeds: they differ from run to run whatever is varied."""
    found = [({**p.place}, {k: v for k, v in p.values.items() if not measures_speed(k)}) for p in points]
    return [(place, values) for place, values in found if values]


def _output(run: FoundRun) -> list[str]:
    folder = run.sweep.folder.run_dir(run.record.run_id)
    texts = [(folder / log).read_text(errors="replace") for log in (STDOUT, STDERR) if (folder / log).exists()]
    return [text.replace(str(folder), "") for text in texts]


def _suspicions(points: Sequence[MetricPoint]) -> Iterator[Check]:
    """Look for results that are too good: a leak shows as a held-out metric that is perfect, or that of training."""
    series: dict[str, list[float]] = {}
    for point in points:
        for name, value in point.values.items():
            series.setdefault(name, []).append(value)
    held_out = {name: values for name, values in series.items() if _words(name) & set(_HELD_OUT)}
    perfect = [name for name, values in series.items() if _is_perfect(name, values[0])]
    twins = [
        (name, other)
        for name, values in held_out.items()
        for other, others in series.items()
        if other not in held_out and _base(other) == _base(name) and len(values) > 1 and values == others
    ]
    found = [f"{name} is {series[name][0]:.6g} at its first point" for name in perfect]
    found += [f"{name} equals {other} at every point" for name, other in twins]
    hint = ": are labels in the inputs, targets not shifted, or is it evaluated on what it trains on?"
    if series:
        yield Check(
            "results are not too good", not found, "; ".join(found) + hint if found else "none is perfect at once"
        )


def _words(name: str) -> set[str]:
    return set(name.lower().replace("/", "_").replace("-", "_").replace(".", "_").split("_"))


def _base(name: str) -> frozenset[str]:
    """Return what a metric measures, without of which portion."""
    return frozenset(_words(name) - {*_HELD_OUT, "train", "training", "epoch"})


def _is_perfect(name: str, value: float) -> bool:
    words = _words(name)
    if words & _SCORES:
        return PERFECT <= value <= 1.0 or 100 * PERFECT <= value <= 100.0
    return bool(words & {"loss", "error", "perplexity", "ppl"}) and math.isfinite(value) and value < 1 - PERFECT


def _check_stop(subject: Subject, folder: Path, observer: Observer) -> Check:
    """Ask a run to end once it has printed something, and look whether it does."""
    prepared = _prepare(subject, folder / "run_stopped", [subject.base], timeout_s=10 * _WAIT_FOR_OUTPUT_S, n_seeds=1)
    requests = StopRequests()
    is_over = threading.Event()
    asker = threading.Thread(target=_ask_when_it_prints, args=(prepared.folder, requests, is_over))
    asker.start()
    try:
        run_sweep(prepared, observer, requests=requests, owns_process=True)
    finally:
        is_over.set()
        asker.join()
    name = "it ends when it is asked to (SIGTERM)"
    (record,) = open_recorded(prepared.folder.path).records.values()
    if record.has_result or (record.outcome is not None and requests.first is None):
        return Check(name, None, "it had ended before it was asked")
    return _judge_stop(name, record)


def _judge_stop(name: str, record: RunRecord) -> Check:
    ended_by = record.outcome.signal if record.outcome is not None else None
    if ended_by == signal.SIGKILL:
        return Check(name, False, f"it went on for {GRACE_S:.0f} s and had to be killed")
    return Check(name, True, "it does")


def _ask_when_it_prints(folder: SweepFolder, requests: StopRequests, is_over: threading.Event) -> None:
    until = time.monotonic() + _WAIT_FOR_OUTPUT_S
    while not is_over.wait(0.05) and time.monotonic() < until:
        if any(log.stat().st_size for log in folder.runs.glob(f"*/{STDOUT}")):
            break
    if not is_over.is_set():
        requests.request(signal.SIGTERM)
