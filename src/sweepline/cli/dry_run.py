"""``--dry-run``: how many runs, what was merged and skipped, and every command line, ready to paste. Starts nothing."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from sweepline.config.scheduler import Scheduler
from sweepline.config.settings import SweepSettings
from sweepline.contract.text import display_path
from sweepline.engine.batchfinder import count_unmeasured
from sweepline.engine.planfile import race_of
from sweepline.engine.preparation import PreparedSweep
from sweepline.engine.pruning.rules import describe_rule
from sweepline.engine.resuming import take_up
from sweepline.errors import ConfigError
from sweepline.programs.location import missing_program
from sweepline.runs import SETTLED
from sweepline.space.plan import Plan, count_all
from sweepline.space.samplers.base import Tally
from sweepline.space.samplers.bayes import n_startup

N_DRAWS_SHOWN = 10
_MAX_SHARES_SHOWN = 6


def print_dry_run(prepared: PreparedSweep) -> None:
    """Print a start to standard output: comments begin with ``#``, every other line is a command."""
    settings, plan, slots, tasks = prepared.settings, prepared.plan, prepared.slots, prepared.tasks
    problem = missing_program(settings.command)
    notes = [note for note in prepared.notes if not problem or problem not in note]
    name, n_unmeasured = count_unmeasured(prepared)
    if n_unmeasured:
        n = "one set-up" if n_unmeasured == 1 else f"{n_unmeasured} set-ups"
        notes.append(f"{name} is measured for {n} when the sweep is started; here it is its first size")
    notes += [f"no run would start: {problem}"] if problem else []
    for note in notes:
        print(f"# note: {note}")
    print(f"# sweep {settings.name} ({display_path(settings.path)}), method {settings.space.method}")
    if not plan.is_enumerable:
        take_up(plan, prepared.records.values(), retry_failed=prepared.options.retry_failed)
        planned = list(itertools.islice(plan.runs(), N_DRAWS_SHOWN))
        _check_study(prepared)
        print(f"# {_describe_proposals(plan, len(planned), settings.scheduler)}")
    elif plan.space.limit is None and settings.needs_limit:
        print(f"# random search without an end: set samples or run_cap, or --count N; the first {N_DRAWS_SHOWN} draws:")
        planned = list(itertools.islice(plan.runs(), N_DRAWS_SHOWN))
    else:
        print(f"# {describe_plan(plan)}")
        planned = None
    runs = planned if planned is not None else plan.runs()
    done = {
        run_id
        for run_id, record in prepared.records.items()
        if record.is_ended and (record.state in SETTLED or not prepared.options.retry_failed)
    }
    if done and not plan.is_enumerable:
        print(f"# {len(done)} runs have ended already")
    elif done:
        n_done = sum(run.run_id in done for run in (planned if planned is not None else plan.runs()))
        print(f"# {n_done} of them have ended already and would not run again")
    for line in [*_describe_stops(settings), _describe_slots(prepared)]:
        print(f"# {line}")
    todo = itertools.islice((run for run in runs if run.run_id not in done), prepared.options.count)
    for i, run in enumerate(todo):
        slot = slots.all[i % slots.n_max]
        print(f"# {run.run_id} {run.name} on {slot.label}")
        print(tasks.command_line(run, slot))


def _describe_stops(settings: SweepSettings) -> Iterator[str]:
    """Yield what will end runs early, and what follows when all have ended."""
    for rule in settings.early_stop:
        yield f"early stopping: {describe_rule(rule)}"
    if settings.stop_sweep is not None:
        told = ", ".join(f"{name} {value:g}" for name, value in settings.stop_sweep if value is not None)
        yield f"the sweep ends when it has found enough: {told}"
    race = race_of(settings)
    if race is not None:
        yield (
            f"race: then the leading {race.top} configurations get up to {len(race.seeds)} seeds more each, at most "
            f"{race.top * len(race.seeds)} runs, until the best is clear"
        )


def _check_study(prepared: PreparedSweep) -> None:
    if prepared.study is not None:
        prepared.study.close()
        if prepared.study.fault:
            raise ConfigError(prepared.study.fault)


def _describe_slots(prepared: PreparedSweep) -> str:
    settings, slots, tasks = prepared.settings, prepared.slots, prepared.tasks
    kinds = ", ".join(dict.fromkeys("cpu" if not slot.is_gpu else slot.label for slot in slots.all))
    is_own = settings.command.proves_overrides and not isinstance(settings.threads, int)
    threads = "CPU threads as the config says" if is_own else f"{tasks.threads} CPU threads each"
    return f"{slots.n_max} at a time on {kinds}; {threads}"


def _describe_proposals(plan: Plan, n: int, scheduler: Scheduler | None) -> str:
    limit = plan.space.limit
    total = "no end (set samples or run_cap, or --count N)" if limit is None else f"{limit:,} combinations"
    each = f", {plan.n_seeds} seeds" if plan.n_seeds > 1 else ""
    how = f"the first {n_startup(plan.space.sampler)} drawn, the others by {plan.space.sampler} from what was measured"
    if scheduler is not None:
        source = "" if scheduler.source is None else f" of {scheduler.source.name}"
        how = f"proposed by {scheduler.optimizer or scheduler.search_space or scheduler.engine}{source}"
    return f"{total}{each}; {how}; the next {n} runs:"


def describe_plan(plan: Plan) -> str:
    """Return the counts in words: ``72 combinations, 54 after merging (36 sgd, 18 adam), 1 seed: 54 runs``."""
    tally, is_grid = count_all(plan), plan.n_combinations is not None
    parts = [f"{tally.n_walked:,} combinations" if is_grid else f"{tally.n_kept:,} draws"]
    if tally.n_skipped and is_grid:
        parts.append(f"{tally.n_skipped:,} skipped")
    if tally.n_merged and is_grid:
        parts.append(f"{tally.n_kept:,} after merging{_describe_shares(plan)}")
    n_runs = plan.n_runs(tally)
    seeds = f", {plan.n_seeds} seed{'s' * (plan.n_seeds > 1)}" if plan.space.seeds != (None,) else ""
    is_all = not is_grid and plan.space.limit is not None and tally.n_kept < plan.space.limit
    more = f" (the space holds no more, {plan.space.limit:,} were asked for)" if is_all else ""
    return f"{', '.join(parts)}{seeds}: {n_runs:,} runs{more}"


def _describe_shares(plan: Plan) -> str:
    """Return how the merged plan divides by the parameter that the first setting constraint looks at."""
    name = next((constraint.when[0].name for constraint in plan.space.constraints if constraint.assign), None)
    if name is None or plan.grid is None or plan.grid.n_combinations > 100_000:
        return ""
    shares = Counter(str(params[name]) for params in plan.combinations(Tally()))
    if not 1 < len(shares) <= _MAX_SHARES_SHOWN:
        return ""
    return f" ({', '.join(f'{n:,} {value}' for value, n in shares.items())})"
