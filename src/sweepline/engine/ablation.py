"""The way from one configuration to another, trained key by key: what each difference gives.

Ablation analysis: C. Fawcett and H. H. Hoos, "Analysing differences between algorithm configurations through ablation",
Journal of Heuristics 22, 2016. Each step changes one key, or keys that go together, from the value here to the
champion's; its gain is the difference of the metric to the step before, seed by seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from sweepline.analysis.alignment import Alignment
from sweepline.analysis.goals import guess_goal
from sweepline.analysis.statistics import Interval, mean_interval
from sweepline.config.settings import SweepSettings
from sweepline.config.sweepfile import load_sweep
from sweepline.contract.configfile import experiment_dir
from sweepline.engine.aligning import AlignSide, Waivers, align_sides, trainer_accepts
from sweepline.engine.freezing import Code
from sweepline.engine.preparation import PreparedSweep, prepare_sweep
from sweepline.engine.rerun import code_of, settings_of
from sweepline.engine.rundiff import FoundRun
from sweepline.engine.state import SweepOptions
from sweepline.errors import ConfigError, did_you_mean
from sweepline.programs.native import NATIVE_PROGRAM
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, canonical_json
from sweepline.space.parameters import Constant
from sweepline.space.plan import SearchSpace
from sweepline.space.samplers.listed import ListedSampler

FOLDER = "ablations"
# Where and how fast a run computes, not what: the same for all steps.
_NO_STEPS = ("seed", "device", "threads")

RunStage = Callable[[PreparedSweep], Sequence[RunRecord] | None]
"""Runs a prepared sweep to its end; returns the records of its runs, None where it was asked to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Keys that change together, with their values here and those of the champion."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The keys."""
        return ", ".join(self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A configuration on the way: what was changed to come to it, its value, and what that change gave.

    At the beginning nothing was changed; a gain of fewer than two seeds has no interval.
    """

    change: Change | None
    values: Mapping[int | None, float]
    value: Interval
    gain: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """What is needed to train the way: settings without a plan, the changes, and the metric."""

    settings: SweepSettings
    changes: Sequence[Change]
    objective: Objective
    seeds: Sequence[int | None]
    is_greedy: bool = False
    code: Code | None = None
    notes: Sequence[str] = ()

    @property
    def n_configurations(self) -> int:
        """How many configurations are trained."""
        k = len(self.changes)
        return k * (k + 1) // 2 + 1 if self.is_greedy else k + 1

    @property
    def n_runs(self) -> int:
        """How many runs those are."""
        return self.n_configurations * len(self.seeds)


def plan_ablation(
    champion: AlignSide,
    here: AlignSide,
    *,
    metric: str | None,
    goal: str | None,
    seeds: Sequence[int],
    order: Sequence[Sequence[str]],
    fixed: Mapping[str, Any],
    waivers: Waivers,
    is_greedy: bool,
    folder: Path,
) -> Ablation:
    """Find the way from here to the champion.

    Args:
        champion: where it leads.
        here: where it begins.
        metric: what is compared; None: the metric of the run's sweep, else ``valid_loss``.
        goal: ``minimize`` or ``maximize``; None: as the metric's name tells.
        seeds: of each configuration.
        order: groups of keys that change together, first; other keys follow one by one.
        fixed: values of keys that all configurations have.
        waivers: keys that do not change.
        is_greedy: whether each step is the one that gives most.
        folder: where ``train_single.py`` is looked for first.

    Raises:
        SweeplineError: they differ in nothing, or one of them cannot be trained.
    """
    objective = None if here.run is None else _objective_of(here.run)
    metric = metric or (objective.name if objective else "valid_loss")
    if objective is not None and objective.name == metric:
        goal = goal or objective.goal
    guessed = {"min": "minimize", "max": "maximize"}.get(guess_goal(metric) or "", "")
    if not (goal or guessed):
        raise ConfigError(f"--metric {metric}: whether less or more of it is better is not known; say so with --goal")
    objective = Objective(name=metric, goal=goal or guessed)
    aligned = align_sides(champion, here, waivers)
    differing = {
        key.key: (key.here, key.champion)
        for key in aligned
        if key.state not in (Alignment.MATCH, Alignment.WAIVED)
        if not key.key.startswith(("built.", "environment.")) and key.key not in (*_NO_STEPS, *fixed)
    }
    if not differing:
        raise ConfigError(f"{here.label} and {champion.label} differ in nothing that could be changed")
    absent = {key.key for key in aligned if key.state in (Alignment.MISSING_HERE, Alignment.MISSING_IN_CHAMPION)}
    lacking = [name for name in differing if name in absent]
    if lacking and here.path is None:
        raise ConfigError(
            f"{', '.join(lacking)}: only one of the two runs has it, so that it cannot be changed from one value to "
            f"another; leave it with --except {','.join(lacking)}"
        )
    changes = _group(differing, order)
    title = f"{_word(here)}_to_{_word(champion)}"
    settings = _settings(here, objective, {**dict.fromkeys(differing), **fixed}, title=title, folder=folder)
    if here.path is not None and settings.command.proves_overrides:
        changes = _merge_until_valid(here, changes, fixed)
    names = [name for change in changes for name in change.before]
    space = SearchSpace(
        parameters={**settings.space.parameters, **{name: Constant(None) for name in names}},
        seeds=tuple(seeds),
        identity=settings.space.identity,
        named_by=names,
    )
    settings = replace(settings, space=space, whole=space, objectives=[objective] if objective else [])
    code, why = (None, "") if here.run is None or here.path is not None else code_of(settings, here.run)
    return Ablation(
        settings=settings,
        changes=changes,
        objective=objective,
        seeds=tuple(seeds),
        is_greedy=is_greedy,
        code=code,
        notes=[why] if why else [],
    )


def _objective_of(run: FoundRun) -> Objective | None:
    told = run.sweep.plan.get("objective") or {}
    return Objective(name=told["name"], goal=told.get("goal", "minimize")) if "name" in told else None


def _group(differing: Mapping[str, tuple[Any, Any]], order: Sequence[Sequence[str]]) -> list[Change]:
    named = [name for group in order for name in group]
    unknown = next((name for name in named if name not in differing), None)
    if unknown is not None:
        raise ConfigError(f"--order: {unknown} does not differ; these keys do: {', '.join(differing)}")
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"--order: {twice} is named twice")
    groups = [*order, *([name] for name in differing if name not in named)]
    return [
        Change(before={n: differing[n][0] for n in group}, after={n: differing[n][1] for n in group})
        for group in groups
    ]


def _settings(
    here: AlignSide, objective: Objective, values: Mapping[str, Any], *, title: str, folder: Path
) -> SweepSettings:
    """Return the settings of a sweep in which keys have these values, without a plan.

    A run is trained again by its own sweep's program, a config by ``train_single.py``.
    """
    if here.run is not None and here.path is None:
        own = settings_of(here.run.sweep)
        parameters = {name: Constant(value) for name, value in {**here.run.record.params, **values}.items()}
        space = replace(own.space, parameters=parameters)
        target = here.run.sweep.folder.path / FOLDER / title
        return replace(
            own,
            space=space,
            whole=space,
            records_dir=target,
            csv_path=None,
            keep=None,
            align=None,
            warnings=(),
            report="never",
        )
    if here.path is None:
        raise ConfigError(f"{here.label}: only a config of {NATIVE_PROGRAM} or a run of a sweep can be trained again")
    own_place = (
        here.path.resolve().parents[4:5] if here.run is not None else []
    )  # outputs/<sweep>/runs/<id>/config.yaml
    place = _find_trainer([folder, experiment_dir(here.path), Path.cwd(), *own_place])
    sweep = {
        "name": f"ablation_{title}",
        "program": NATIVE_PROGRAM,
        "config": str(here.path.resolve()),
        "metric": {"name": objective.name, "goal": objective.goal},
        "parameters": {name: {"value": value} for name, value in values.items()},
        "report": "never",
    }
    return load_sweep(place / f"ablation_{title}.yaml", text=yaml.safe_dump(sweep, sort_keys=False))


def _word(side: AlignSide) -> str:
    return "".join(c if c.isalnum() else "_" for c in Path(side.label).stem)[:40]


def _find_trainer(folders: Sequence[Path]) -> Path:
    for folder in folders:
        if (folder / NATIVE_PROGRAM).is_file():
            return folder
    looked = ", ".join(dict.fromkeys(str(folder) for folder in folders))
    raise ConfigError(f"there is no {NATIVE_PROGRAM} to train with; looked in {looked}")


def _merge_until_valid(here: AlignSide, changes: Sequence[Change], fixed: Mapping[str, Any]) -> list[Change]:
    """Return changes of which each leads to a config that can be trained: keys that need each other become one."""
    found: list[Change] = []
    current: dict[str, Any] = dict(fixed)
    pending: list[Change] = []
    fault = trainer_accepts(here, current)
    if fault:
        raise ConfigError(f"{here.label} cannot be trained as it is: {fault}")
    for change in changes:
        pending.append(change)
        current |= change.after
        fault = trainer_accepts(here, current)
        if not fault:
            found.append(_merged(pending))
            pending = []
    if pending:
        raise ConfigError(f"with all of the champion's values it cannot be trained: {fault}")
    return found


def _merged(changes: Sequence[Change]) -> Change:
    return Change(
        before={name: value for change in changes for name, value in change.before.items()},
        after={name: value for change in changes for name, value in change.after.items()},
    )


def run_ablation(ablation: Ablation, options: SweepOptions, run_stage: RunStage) -> list[Step] | None:
    """Train the way; return its steps, the first of which is where it begins, or None where it was asked to stop."""
    trained: list[dict[str, Any]] = [_combination(ablation, [])]
    taken: list[Change] = []
    rest = list(ablation.changes)
    if not ablation.is_greedy:
        trained += [_combination(ablation, ablation.changes[: i + 1]) for i in range(len(rest))]
    records = _train(ablation, trained, options, run_stage)
    while ablation.is_greedy and rest and records is not None:
        trained += [_combination(ablation, [*taken, change]) for change in rest]
        records = _train(ablation, trained, options, run_stage)
        if records is not None:
            best = min(rest, key=lambda change: _cost(ablation, records or (), [*taken, change]))
            rest.remove(best)
            taken.append(best)
    if records is None:
        return None
    order = taken if ablation.is_greedy else list(ablation.changes)
    return _steps(ablation, records, order)


def _combination(ablation: Ablation, changed: Sequence[Change]) -> dict[str, Any]:
    values = {
        name: parameter.value
        for name, parameter in ablation.settings.space.parameters.items()
        if isinstance(parameter, Constant)
    }
    for change in ablation.changes:
        values |= change.after if change in changed else change.before
    return values


def _train(
    ablation: Ablation, combinations: Sequence[Mapping[str, Any]], options: SweepOptions, run_stage: RunStage
) -> Sequence[RunRecord] | None:
    space = replace(ablation.settings.space, limit=len(combinations))
    settings = replace(ablation.settings, space=space, whole=space)
    prepared = prepare_sweep(settings, options, sampler=ListedSampler(combinations))
    records = run_stage(replace(prepared, code=ablation.code))
    if records is None:
        return None
    wanted = {canonical_json(dict(params)) for params in combinations}
    own = [record for record in records if canonical_json(dict(record.params)) in wanted]
    name = ablation.objective.name
    found = list(dict.fromkeys(metric for record in own for metric in record.metrics))
    if found and name not in found:
        raise ConfigError(f"--metric {name}: no run has it{did_you_mean(name, found)}; there are {', '.join(found)}")
    return own


def _values(ablation: Ablation, records: Sequence[RunRecord], changed: Sequence[Change]) -> dict[int | None, float]:
    """Return the metric of each seed's run of a configuration, as far as it has a result."""
    wanted = canonical_json(_combination(ablation, changed))
    return {
        record.seed: record.metrics.get(ablation.objective.name, math.nan)
        for record in records
        if record.has_result and canonical_json(dict(record.params)) == wanted
    }


def _cost(ablation: Ablation, records: Sequence[RunRecord], changed: Sequence[Change]) -> float:
    """Return what is to be small; a configuration without results, or whose runs diverged, costs most."""
    values = list(_values(ablation, records, changed).values())
    if len(values) < len(ablation.seeds) or not all(map(math.isfinite, values)):
        return math.inf
    middle = sum(values) / len(values)
    return -middle if ablation.objective.goal == "maximize" else middle


def _steps(ablation: Ablation, records: Sequence[RunRecord], order: Sequence[Change]) -> list[Step]:
    steps: list[Step] = []
    for i in range(len(order) + 1):
        values = _values(ablation, records, order[:i])
        before = steps[-1].values if steps else {}
        gain = _interval([value - before[seed] for seed, value in values.items() if seed in before])
        change = order[i - 1] if i else None
        steps.append(Step(change=change, values=values, value=_interval(list(values.values())), gain=gain))
    return steps


def _interval(values: Sequence[float]) -> Interval:
    return mean_interval(values) if values else Interval(math.nan, math.nan, math.nan, 0)
