"""Single runs of a sweep again: those that did not end well, and configurations with other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sweepline.analysis.racing import read_race
from sweepline.analysis.ranking import config_key
from sweepline.config.settings import SweepSettings, with_handed_seeds
from sweepline.contract.text import display_path
from sweepline.engine.preparation import PreparedSweep, prepare_sweep
from sweepline.engine.recorded import RecordedSweep
from sweepline.engine.rerun import settings_of
from sweepline.engine.state import SweepOptions
from sweepline.errors import ConfigError
from sweepline.recording.events import RunRecord
from sweepline.runs import Params, Run, State
from sweepline.space.dependent import Dependencies
from sweepline.space.plan import ListedPlan, Plan, SearchSpace
from sweepline.space.samplers.base import apply_constraints
from sweepline.space.samplers.random import draw_seeds


def prepare_retry(found: RecordedSweep, records: Sequence[RunRecord], options: SweepOptions) -> PreparedSweep:
    """Prepare runs that ended without a result to go again, as further attempts.

    Raises:
        ConfigError: one has a result, is under way, or was a run of another program or config.
    """
    for record in records:
        if record.has_result:
            raise ConfigError(
                f"{record.name} ({record.run_id}) has finished: sweepline repeat gives it other seeds, sweepline rerun "
                "shows whether it comes to the same"
            )
    settings = _settings_of(found, records)
    runs = [_run_of(record, i) for i, record in enumerate(records)]
    prepared = _prepare(settings, runs, replace(options, retry_failed=True))
    return replace(prepared, again={run.run_id for run in runs})


def prepare_repeat(
    found: RecordedSweep, records: Sequence[RunRecord], n_seeds: int, options: SweepOptions
) -> PreparedSweep:
    """Prepare the configurations of runs to be run with so many seeds more, which they have in common.

    Raises:
        ConfigError: one was a run of another program or config.
    """
    settings = with_handed_seeds(_settings_of(found, records))
    plan = Plan(settings.space)
    by_config = {config_key(record): record for record in records}
    used = {record.any_seed for record in found.records.values() if config_key(record) in by_config}
    race = read_race(found.plan)
    used |= {*settings.whole.seeds, *(race.seeds if race is not None else ())}
    drawn = draw_seeds(settings.space.sampler_seed, n_seeds + len(used))
    seeds = [seed for seed in drawn if seed not in used][:n_seeds]
    runs: dict[str, Run] = {}
    repeats: set[str] = set()
    for seed in seeds:
        for record in by_config.values():
            for run in plan.runs_with(_with_seed(record.params, seed, settings.space), [seed]):
                runs.setdefault(run.run_id, replace(run, index=len(runs)))
                repeats |= {run.run_id} if record.belongs else set()
    return replace(_prepare(settings, list(runs.values()), options), repeats=repeats)


def _with_seed(params: Params, seed: int, space: SearchSpace) -> dict[str, Any]:
    """Return a combination with another seed where that is one of its parameters, and what is computed of it anew.

    Raises:
        ConfigError: a constraint drops it.
    """
    found = dict(params)
    if "seed" in space.parameters:
        dependencies = Dependencies(space.parameters)
        found["seed"] = seed
        if dependencies:
            dependencies.compute_again(found)
        dropped_by = apply_constraints(space.constraints, found, dependencies)
        if dropped_by is not None:
            raise ConfigError(f"seed {seed} is dropped by the constraint {dropped_by!r}")
    return found


def _settings_of(found: RecordedSweep, records: Sequence[RunRecord]) -> SweepSettings:
    """Return the settings of the sweep's file as it is, or as it was kept where it is gone."""
    settings = found.settings or settings_of(found)
    identity = Plan.identity_of(settings.space)
    other = next((record for record in records if record.identity != identity), None)
    if other is not None:
        raise ConfigError(
            f"{other.name} ({other.run_id}) was run by another program or config than {display_path(settings.path)} "
            "names now: sweepline rerun does it as it was"
        )
    running = next((record for record in records if record.state == State.RUNNING), None)
    if running is not None and found.folder.is_locked():
        raise ConfigError(f"{running.name} ({running.run_id}) is under way")
    return settings


def _run_of(record: RunRecord, index: int) -> Run:
    return Run(
        run_id=record.run_id,
        name=record.name,
        params=dict(record.params),
        seed=record.seed,
        index=index,
        identity=record.identity,
    )


def _prepare(settings: SweepSettings, runs: Sequence[Run], options: SweepOptions) -> PreparedSweep:
    prepared = prepare_sweep(replace(settings, race=None), options)
    return replace(prepared, plan=ListedPlan(settings.space, runs), whole=Plan(settings.whole), study=None)
