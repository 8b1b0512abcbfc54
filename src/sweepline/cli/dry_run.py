"""``--dry-run``: how many runs, what was merged and skipped, what varies, how long it takes. Starts nothing."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from sweepline.cli.asjson import plain
from sweepline.cli.dry_table import render_command, render_constants, render_runs
from sweepline.config.scheduler import Scheduler
from sweepline.config.settings import SweepSettings
from sweepline.contract.text import display_path, printable
from sweepline.display.formats import format_seconds
from sweepline.display.widths import columns_of, wrap
from sweepline.engine.batchsize.finder import MEASURED_FIRST, count_unmeasured, mark_unmeasured
from sweepline.engine.estimate import TimeEstimate, estimate_time
from sweepline.engine.places import preview_script
from sweepline.engine.planfile import race_of
from sweepline.engine.preparation import PreparedSweep
from sweepline.engine.pruning.rules import describe_rule
from sweepline.engine.resuming import take_up
from sweepline.errors import ConfigError
from sweepline.programs.location import missing_program
from sweepline.recording.events import IN_SWEEP, RunRecord
from sweepline.runs import SETTLED, Run
from sweepline.space.plan import Plan, count_all
from sweepline.space.samplers.base import Tally
from sweepline.space.samplers.bayes import n_startup

N_SHOWN = 10
_MAX_SHARES_SHOWN = 6
_MAX_KINDS = 16
_OPTIONS = ("all", "commands", "json")

Form = Literal["table", "all", "commands", "json"]


def add_forms(parser: argparse.ArgumentParser) -> None:
    """Declare what a dry run prints."""
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--all", action="store_true", help="with -n: every run in the table, not the first ten alone")
    forms.add_argument("--commands", action="store_true", help="with -n: every command line, ready to paste")
    forms.add_argument("--json", action="store_true", help="with -n: the runs and their command lines as JSON")


def form_of(args: argparse.Namespace) -> Form:
    """Return what is to be printed.

    Raises:
        ConfigError: it is asked for without a dry run.
    """
    chosen = next((name for name in _OPTIONS if getattr(args, name)), None)
    if chosen is not None and not args.dry_run:
        raise ConfigError(f"--{chosen} says what a dry run prints; add -n, or leave it out to run the sweep")
    return {"all": "all", "commands": "commands", "json": "json", None: "table"}[chosen]  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A start as it would be: ``runs`` are those to come, of which there are ``n_left`` where that is known."""

    notes: list[str]
    facts: list[str]
    runs: Iterator[Run] = field(repr=False)
    n_left: int | None


def print_dry_run(prepared: PreparedSweep, form: Form = "table") -> None:
    """Print a start to standard output, for a person, a shell or a program."""
    preview = build_preview(prepared)
    if form == "json":
        _print_json(prepared, preview)
    elif form == "commands":
        _print_commands(prepared, preview)
    else:
        width = columns_of(sys.stdout)
        for line in render_preview(prepared, preview, width=width, is_all=form == "all"):
            print(printable(line))


def build_preview(prepared: PreparedSweep) -> Preview:
    """Return what a start would do.

    Raises:
        ConfigError: nothing would run.
    """
    settings, plan, options = prepared.settings, prepared.plan, prepared.options
    facts = [f"sweep {settings.name} ({display_path(settings.path)}), method {settings.space.method}"]
    done = {
        run_id
        for run_id, record in prepared.records.items()
        if record.is_ended and (record.state in SETTLED or not options.retry_failed)
    }
    runs, planned, n_left = plan.runs(), None, None
    if not plan.is_enumerable:
        take_up(plan, prepared.records.values(), retry_failed=options.retry_failed)
        planned = list(itertools.islice(plan.runs(), N_SHOWN))
        _check_study(prepared)
        facts.append(_describe_proposals(plan, len(planned), settings.scheduler))
        n_left = _count_left_of_limit(plan, done)
    elif plan.space.limit is None and settings.needs_limit:
        facts.append(f"random search without an end: set samples or run_cap, or --count N; the first {N_SHOWN} draws:")
        planned = list(itertools.islice(plan.runs(), N_SHOWN))
    else:
        tally = count_all(plan)
        facts.append(describe_plan(plan, tally))
        n_done = _count_done(plan, done, prepared.records) if done else 0
        facts += [f"{n_done:,} of them have ended already and would not run again"] if n_done else []
        n_left = plan.n_runs(tally) - n_done
    if planned is not None:
        runs = iter(planned)
        facts += [f"{len(done)} runs have ended already"] if done else []
    if options.count is not None and n_left is not None:
        n_left = min(n_left, options.count)
    todo = itertools.islice((run for run in runs if run.run_id not in done), options.count)
    facts += [*_describe_stops(settings), _describe_slots(prepared)]
    facts += _describe_time(prepared, n_left)
    return Preview(
        notes=_notes(prepared),
        facts=facts,
        runs=mark_unmeasured(prepared, todo),
        n_left=n_left if planned is None else None,
    )


def render_preview(
    prepared: PreparedSweep, preview: Preview, *, width: int | None, is_all: bool = False
) -> Iterator[str]:
    """Yield the lines for a person, none wider than ``width`` as far as words allow."""
    for note in preview.notes:
        yield from wrap(note, width, indent=6, first="note: ")
    for fact in preview.facts:
        yield from wrap(fact, width, indent=2)
    shown = list(itertools.islice(preview.runs, None if is_all else N_SHOWN))
    if not shown:
        yield "nothing is left to run"
        return
    constants = render_constants(prepared, shown, width)
    if constants:
        yield from ["", "the same for all runs:", *constants]
    yield from ["", *render_runs(prepared, shown, width)]
    if preview.n_left is not None and preview.n_left > len(shown):
        yield from wrap(f"... {preview.n_left - len(shown):,} more; --all or --commands prints the rest", width)
    is_whole = all(MEASURED_FIRST not in run.params.values() for run in shown)
    every = "every line, ready to paste" if is_whole else "every line"
    yield from ["", *wrap(f"the command, … where runs differ (--commands: {every}):", width)]
    yield from render_command(prepared, shown, width)
    script = _script(prepared, preview.n_left or len(shown))
    if script:
        yield from ["", *wrap("each is a job of an array; the script of the first one:", width), *script]


def _script(prepared: PreparedSweep, n_runs: int) -> list[str]:
    """Return the script of the first jobs; nothing where runs are no jobs."""
    settings, tasks = prepared.settings, prepared.tasks
    text = preview_script(prepared.place, settings, folder=prepared.folder.path, token=tasks.sweep_token, n_runs=n_runs)
    return [f"  {line}" for line in text.splitlines()]


def _print_commands(prepared: PreparedSweep, preview: Preview) -> None:
    """Print every command line; what begins with ``#`` is a comment to a shell."""
    for line in [*(f"note: {note}" for note in preview.notes), *preview.facts]:
        print(f"# {printable(line)}")
    slots = prepared.slots
    for i, run in enumerate(preview.runs):
        slot = slots.all[i % slots.n_max]
        print(f"# {run.run_id} {run.name} on {slot.label}")
        print(prepared.tasks.command_line(run, slot))


def _print_json(prepared: PreparedSweep, preview: Preview) -> None:
    """Print the runs as a list, one at a time: there may be a million."""
    slots, separator = prepared.slots, "["
    for i, run in enumerate(preview.runs):
        told = {
            "run_id": run.run_id,
            "name": run.name,
            "parameters": run.params,
            "seed": run.seed,
            "command": prepared.tasks.command_line(run, slots.all[i % slots.n_max]),
        }
        print(separator, json.dumps(plain(told), ensure_ascii=False, allow_nan=False), sep="\n ", end="")
        separator = ","
    print("\n]" if separator == "," else "[]")


def _notes(prepared: PreparedSweep) -> list[str]:
    problem = missing_program(prepared.settings.command)
    notes = [note for note in prepared.notes if not problem or problem not in note]
    name, n_unmeasured = count_unmeasured(prepared)
    if n_unmeasured:
        n = "one set-up" if n_unmeasured == 1 else f"{n_unmeasured} set-ups"
        notes.append(f"{name} is measured for {n} when the sweep is started; from its size follow the ids of runs")
    return notes + ([f"no run would start: {problem}"] if problem else [])


def _count_done(plan: Plan, done: set[str], records: Mapping[str, RunRecord]) -> int:
    """Return how many runs of a plan have ended; one that takes long to walk is taken to be as it was."""
    if plan.is_small:
        return sum(run_id in done for run_id in plan.ids())
    return sum(records[run_id].in_sweep == IN_SWEEP for run_id in done)


def _count_left_of_limit(plan: Plan, done: set[str]) -> int | None:
    limit = plan.space.limit
    return None if limit is None else max(0, limit * plan.n_seeds - len(done))


def _describe_time(prepared: PreparedSweep, n_left: int | None) -> Iterator[str]:
    """Yield how long what is left takes, and when that would be, where runs have ended that tell it."""
    found = estimate_time(
        prepared.records.values(),
        n_left=n_left or 0,
        n_slots=prepared.slots.n_at_once,
        are_stopped_early=bool(prepared.settings.early_stop),
    )
    if found is not None:
        yield describe_estimate(found, now=datetime.now())


def describe_estimate(found: TimeEstimate, *, now: datetime) -> str:
    """Return ``about 3.2 h of run time, done in about 48 min with 4 at a time, at 17:40``, and on what that rests."""
    end = now + timedelta(seconds=found.wall_s)
    day = "" if end.date() == now.date() else f"{end:%a} {end.day} {end:%b} "
    took = f"{_exactly(found.mean_s)} each on average, {_range(found)}" if found.n_known > 1 else _range(found)
    runs = f"{found.n_known:,} runs that have" if found.n_known > 1 else "the one run that has"
    return (
        f"about {_about(found.total_s)} of run time, done in about {_about(found.wall_s)} with {found.n_slots} at a "
        f"time, at {day}{end:%H:%M}; by {runs} ended, {took}"
    )


def _range(found: TimeEstimate) -> str:
    low, high = _exactly(found.low_s), _exactly(found.high_s)
    return low if low == high else f"{low} to {high}"


def _exactly(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 1 else format_seconds(seconds)


def _about(seconds: float) -> str:
    """Return a time in its largest unit."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 3570:
        return f"{round(seconds / 60)} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


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
    kinds = _describe_kinds(prepared)
    is_own = settings.command.proves_overrides and not isinstance(settings.threads, int)
    threads = "CPU threads as the config says" if is_own else f"{tasks.threads} CPU threads each"
    if slots.is_packed:
        each = f"as many as fit into their memory, at most {slots.n_max}"
        return f"{slots.n_at_once} at a time on {kinds} until a run has been measured, then {each}; {threads}"
    return f"{slots.n_max} at a time on {kinds}; {threads}"


def _describe_kinds(prepared: PreparedSweep) -> str:
    """Return what slots are of: the devices of this machine, of nodes, or jobs."""
    slots, place = prepared.slots.all, prepared.place
    if slots[0].scheduler:
        n = slots[0].n_gpus
        gpus = "no GPUs" if n == 0 else f"{n} GPU{'s' if n > 1 else ''} each"
        return f"{place.kind}, {gpus}"
    kinds = list(dict.fromkeys(slot.label if slot.is_gpu or slot.host else "cpu" for slot in slots))
    return ", ".join(kinds[:_MAX_KINDS]) + (f" and {len(kinds) - _MAX_KINDS} more" if len(kinds) > _MAX_KINDS else "")


def _describe_proposals(plan: Plan, n: int, scheduler: Scheduler | None) -> str:
    limit = plan.space.limit
    total = "no end (set samples or run_cap, or --count N)" if limit is None else f"{limit:,} combinations"
    each = f", {plan.n_seeds} seeds" if plan.n_seeds > 1 else ""
    how = f"the first {n_startup(plan.space.sampler)} drawn, the others by {plan.space.sampler} from what was measured"
    if scheduler is not None:
        source = "" if scheduler.source is None else f" of {scheduler.source.name}"
        how = f"proposed by {scheduler.optimizer or scheduler.search_space or scheduler.engine}{source}"
    return f"{total}{each}; {how}; the next {n} runs:"


def describe_plan(plan: Plan, tally: Tally) -> str:
    """Return the counts in words: ``72 combinations, 54 after merging (36 sgd, 18 adam), 1 seed: 54 runs``."""
    is_grid = plan.n_combinations is not None
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
