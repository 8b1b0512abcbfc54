"""The end of a sweep in words: the best configurations, what failed, what to doubt, and where the files are."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sweepline.analysis.differences import differing
from sweepline.analysis.effects import NoEffect, find_no_effects, primary_metric
from sweepline.analysis.pareto import describe_front, find_front
from sweepline.analysis.racing import Race, find_standing, rank_raced
from sweepline.analysis.ranking import RankedConfig
from sweepline.analysis.significance import noise_floor
from sweepline.analysis.statistics import mean_interval
from sweepline.analysis.stopped import count_early_stopping
from sweepline.config.settings import SweepSettings
from sweepline.contract.runfolder import ATTEMPTS, STDERR, STDOUT
from sweepline.contract.text import display_path, printable
from sweepline.display.formats import MAX_DIGITS, format_number, format_seconds
from sweepline.display.tables import fit_table, try_table
from sweepline.display.widths import wrap
from sweepline.engine.completing import READ_FROM
from sweepline.engine.pruning.pruner import read_verdict
from sweepline.engine.session import SweepResult
from sweepline.engine.stability import is_skipped
from sweepline.engine.wandbfile import wandb_folders
from sweepline.recording.events import RunRecord
from sweepline.recording.folders import BEST, SweepFolder
from sweepline.reports.numbers import format_count, format_plus_minus, format_with_spread
from sweepline.runs import UNSUCCESSFUL, Objective

N_BEST = 10
N_FRONT = 20
_MAX_FAILED_SHOWN = 5
LEAST_SAVED_S = 1.0
USED_SIZE = "run_batch_size"  # a metric that our trainer prints


def print_summary(
    result: SweepResult,
    log_path: Path,
    *,
    report: str = "",
    width: int | None = None,
    is_kept: bool = True,
    write_line: Callable[[str], None],
) -> None:
    """Print the summary, no wider than ``width``, and append all of it to the sweep's log.

    ``report`` is a line on its page. What was not kept cannot be looked at afterwards.
    """
    where = ["", "nothing was kept (--no-save): the same command without it keeps runs, logs and a report"]
    if is_kept:
        where = [*_describe_files(result, log_path), *_describe_next(result, report)]
        where += _sync_lines(result.folder, result.settings.command.working_dir)
    try:
        with log_path.open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write("\n".join([*_describe_results(result, None, is_kept=is_kept), *where]) + "\n")
    except OSError as error:
        where.append(f"warning: the log could not be written: {error.strerror}")
    write_line("\n".join([*_describe_results(result, width, is_kept=is_kept), *where]))


def _describe_results(result: SweepResult, width: int | None, *, is_kept: bool) -> list[str]:
    settings, records = result.settings, result.records
    belonging = [record for record in records if record.belongs]
    lines = build_summary(
        belonging,
        ranked=result.ranked,
        objective=settings.objective,
        logged=settings.logged_metrics,
        swept=settings.whole.swept,
        runs_dir=result.folder.runs,
        is_kept=is_kept,
        race=result.race,
        objectives=settings.objectives,
        width=width,
    )
    if result.saved_s >= LEAST_SAVED_S:
        saved, n_runs = format_seconds(result.saved_s), format_count(result.n_warm, "run")
        lines.insert(2, f"warm starts: {saved} of imports saved in {n_runs}")
    return lines + _describe_extras([record for record in records if not record.belongs], settings, width)


def _describe_files(result: SweepResult, log_path: Path) -> list[str]:
    return [
        "",
        f"runs    {display_path(result.csv_path)}",
        f"folder  {display_path(result.path)}",
        f"log     {display_path(log_path)}",
    ]


def _describe_next(result: SweepResult, report: str) -> Iterator[str]:
    """Yield what to do next, in three lines at most: the command that ranks, the page, the first failure's log."""
    is_default = result.settings.path.resolve() == Path("sweep.yaml").resolve()
    target = "" if is_default else f" {shlex.quote(display_path(result.path))}"
    goes_on = "the same command goes on; " if result.signal is not None else ""
    yield f"next    {goes_on}sweepline best{target}"
    if report:
        yield report
    failed = next((record for record in result.records if record.state in UNSUCCESSFUL), None)
    if failed is not None:
        yield f"failed  {display_path(_log_of(result.folder.runs / failed.run_id))}"


def _log_of(run_dir: Path) -> Path:
    """Return the file in which a failed run most likely says why."""
    errors = run_dir / STDERR
    try:
        return errors if errors.stat().st_size else run_dir / STDOUT
    except OSError:  # it wrote nothing there, or has shut its folder
        return run_dir / STDOUT


def _sync_lines(folder: SweepFolder, working_dir: Path) -> Iterator[str]:
    """Yield what uploads the runs that W&B has kept offline, each attempt's, wherever the scripts had them written."""
    token = (folder.read_plan() or {}).get("sweep_token")
    places = [(folder.runs, "*/wandb/offline-run-*"), (folder.runs, f"*/{ATTEMPTS}/*/wandb/offline-run-*")]
    if token:
        places += [(found, f"offline-run-*-{token}-*") for found in wandb_folders(working_dir, without=folder.path)]
    ids: set[str] = set()
    patterns = []
    for place, pattern in places:
        found = [path.name for path in place.glob(pattern)]
        if found:
            ids |= {name.split("-", 3)[-1] for name in found}  # offline-run-<time>-<id>: one that was resumed has two
            patterns.append(f"{display_path(place)}/{pattern}")
    if patterns:
        yield f"W&B     {len(ids)} offline runs; upload: wandb sync {' '.join(patterns)}"


def _describe_extras(records: Sequence[RunRecord], settings: SweepSettings, width: int | None) -> list[str]:
    """Return what came of runs that lie outside the sweep file: they are shown, and never the best of the sweep."""
    if not records:
        return []
    shown = list(dict.fromkeys([*settings.whole.swept, *(name for record in records for name in record.params)]))
    lines = build_summary(
        records, objective=settings.objective, logged=settings.logged_metrics, swept=shown, width=width
    )
    return ["", f"outside the sweep file (--set), not in {BEST}:", *lines[1:]]


def build_summary(
    records: Sequence[RunRecord],
    *,
    ranked: Sequence[RankedConfig] | None = None,
    objective: Objective | None,
    logged: Sequence[str],
    swept: Sequence[str],
    runs_dir: Path | None = None,
    is_kept: bool = True,
    has_intervals: bool = False,
    race: Race | None = None,
    objectives: Sequence[Objective] = (),
    width: int | None = None,
) -> list[str]:
    """Return the lines of a summary, no wider than ``width``.

    ``ranked`` are the configurations as :func:`rank_raced` returns them. Files that are not kept are not named.
    """
    states = Counter(record.state.value for record in records)
    lines = ["", f"{len(records)} runs: " + ", ".join(f"{n} {state}" for state, n in states.most_common())]
    ranked = rank_raced(records, objective, race) if ranked is None else ranked
    lines += _describe_pruned(records, ranked, objective, runs_dir)
    swept = swept or differing(config.params for config in ranked)  # of a space that no file lists
    # Where no run has the objective, another metric in its place would accuse parameters that matter.
    metric = objective.name if objective else primary_metric(records, logged)
    effects = [] if metric is None else find_no_effects(records, metric)
    if len(objectives) > 1 and ranked:
        lines += _render_front(ranked, objectives, logged, swept, width)
    elif ranked:
        different = differing(config.runs[0].params for config in ranked)
        shown = [name for name in swept if name in different and name != "seed"]
        told = render_ranking(
            ranked[:N_BEST],
            objective=objective,
            logged=logged,
            swept=shown or swept,
            has_interval=has_intervals and any(len(config.runs) > 1 for config in ranked[:N_BEST]),
            width=width,
        )
        lines += ["", *told]
        if len(ranked) > N_BEST:
            lines.append(f"({len(ranked) - N_BEST} more configurations{' in runs.csv' if is_kept else ''})")
        idle = {effect.parameter for effect in effects}
        standing = None if objective is None else find_standing(records, ranked, objective, race, idle)
        lines += [str(standing)] if standing is not None and standing.n_compared > 1 else []
    failed = [r for r in records if r.state in UNSUCCESSFUL]
    for record in failed[:_MAX_FAILED_SHOWN]:
        where = f"; log in {display_path(runs_dir / record.run_id)}" if runs_dir and is_kept else ""
        lines.append(f"{record.state.value}: {record.name}: {record.reason}{where}")
    if len(failed) > _MAX_FAILED_SHOWN:
        lines.append(f"({len(failed) - _MAX_FAILED_SHOWN} more failures{' in runs.csv' if is_kept else ''})")
    printed = (printable(line) for line in [*lines, *_doubts(records, effects)])
    return [part for line in printed for part in (wrap(line, width, indent=2) if line else [line])]


def _render_front(
    ranked: Sequence[RankedConfig],
    objectives: Sequence[Objective],
    logged: Sequence[str],
    swept: Sequence[str],
    width: int | None,
) -> list[str]:
    """Return a table of the configurations that are best in several objectives, and what it is."""
    front = find_front(ranked, objectives)
    if not front:
        names = " and ".join(objective.name for objective in objectives)
        return ["", f"no configuration has a finite result for {names}"]
    different = differing(config.runs[0].params for config in ranked)
    shown = [name for name in swept if name in different and name != "seed"] or swept
    logged = [*(objective.name for objective in objectives), *logged]
    told = render_ranking(
        front[:N_FRONT], objective=objectives[0], others=objectives[1:], logged=logged, swept=shown, width=width
    )
    more = [f"({len(front) - N_FRONT} more in {BEST})"] if len(front) > N_FRONT else []
    return ["", *told, *more, describe_front(len(front), len(ranked), objectives)]


def _describe_pruned(
    records: Sequence[RunRecord], ranked: Sequence[RankedConfig], objective: Objective | None, runs_dir: Path | None
) -> Iterator[str]:
    """Yield what stopping runs early has saved, and what it may have cost; nothing where none was."""
    judged = [record for record in records if not is_skipped(record)]
    noise = None if objective is None else noise_floor(ranked, objective.name)
    found = count_early_stopping(
        judged, lambda record: None if runs_dir is None else read_verdict(runs_dir / record.run_id), noise=noise
    )
    if found is None:
        return
    taken = "" if math.isnan(found.saved_s) else f", {format_seconds(found.saved_s)} of run time"
    yield (
        f"early stopping: {found.n_stopped} of {found.n_runs} runs stopped: about {found.n_saved:.0f} of "
        f"{found.n_saved + found.n_points:.0f} points saved ({found.share:.0%}){taken}"
    )
    if found.noise is None:
        yield "  whether chance decided that is not known: no configuration ran with two seeds"
    elif found.n_judged:
        yield (
            f"  {found.n_close} of {found.n_judged} were stopped within noise (less than {found.noise:.2g}) of what "
            "would have let them go on"
        )


def _doubts(records: Sequence[RunRecord], effects: Sequence[NoEffect]) -> list[str]:
    doubts = [f"warning: {effect}" for effect in effects]
    finished = [record for record in records if record.has_result]
    remarks = Counter(part for r in finished if r.reason for part in r.reason.split("; ") if part)
    sizes = Counter(int(r.metrics[USED_SIZE]) for r in records if r.metrics.get(USED_SIZE, 0) >= 1)
    if len(sizes) > 1 and not any("batch_size" in record.params for record in records):
        used = ", ".join(f"{size} ({n})" for size, n in sorted(sizes.items()))
        doubts.append(f"warning: runs used {len(sizes)} batch sizes: {used}")
    n_codes = len({r.code for r in finished if r.code})
    if n_codes > 1:
        doubts.append(f"warning: these are results of {n_codes} states of the program's code: see the column code")
    doubts += [
        f"{'' if remark.startswith(READ_FROM) else 'warning: '}{n} finished runs: {remark}"
        for remark, n in remarks.most_common(3)
    ]
    return ["", *doubts] if doubts else []


def render_ranking(
    ranked: Sequence[RankedConfig],
    *,
    objective: Objective | None,
    logged: Sequence[str],
    swept: Sequence[str],
    has_interval: bool = False,
    others: Sequence[Objective] = (),
    width: int | None = None,
) -> list[str]:
    """Return a plain table: rank, swept parameters, metrics as ``mean ± std`` over seeds, runs.

    Behind the objective and the ``others`` stands the goal. With ``has_interval`` the 95 % interval of the objective's
    mean stands behind it. Where ``width`` is too little, metrics that are no objective are left out first.
    """
    first = [objective.name] if objective else []
    found = dict.fromkeys(name for config in ranked for name in config.means)
    metrics = [name for name in dict.fromkeys([*first, *logged, *found]) if name in found][:4]
    params = [name for name in swept if name != "seed" and any(name in config.params for config in ranked)][:8]
    goals = {one.name: f" ({describe_goal(one)})" for one in [*([objective] if objective else []), *others]}
    interval = first if has_interval and metrics[:1] == first else []

    def rows(n_metrics: int) -> list[list[str]]:
        names = metrics[:n_metrics]
        header = ["#", *params, *(name + goals.get(name, "") for name in names), "runs"]
        header[2 + len(params) : 2 + len(params)] = ["95 % interval" for _ in interval]
        return [header, *(_ranking_row(i, c, params, names, interval) for i, c in enumerate(ranked, 1))]

    n_least = max(1, sum(name in goals for name in metrics))
    tables = (try_table(rows(n), width, n_text=1) for n in range(len(metrics), n_least - 1, -1))
    return next((table for table in tables if table is not None), None) or fit_table(
        rows(len(metrics)), width, n_text=1
    )


def _ranking_row(
    rank: int, config: RankedConfig, params: Sequence[str], metrics: Sequence[str], interval: Sequence[str]
) -> list[str]:
    """Return the cells of a configuration; the ``interval`` stands behind the first metric."""
    told = [_mean_and_spread(config, name) for name in metrics]
    told[1:1] = [_interval(config, name) for name in interval]
    return [str(rank), *(_cell(config.params.get(name)) for name in params), *told, str(len(config.runs))]


def describe_goal(objective: Objective) -> str:
    """Return the goal in words, with the summary where it is not the last value."""
    return objective.goal if objective.summary == "last" else f"{objective.goal}, {objective.summary} of a run"


def _mean_and_spread(config: RankedConfig, name: str) -> str:
    if name not in config.means:
        return "-"
    mean, spread = config.means[name], config.spread[name]
    return format_plus_minus(mean, spread) if len(config.runs) > 1 else format_number(mean)


def _interval(config: RankedConfig, name: str) -> str:
    values = config.values_of(name)
    found = mean_interval(values) if values else None
    if found is None or math.isnan(found.low):
        return "-"
    return f"{format_with_spread(found.low, found.half_width)} … {format_with_spread(found.high, found.half_width)}"


def _cell(value: Any) -> str:
    is_long = isinstance(value, float) and len(repr(value)) > MAX_DIGITS
    text = "-" if value is None else f"{value:.6g}" if is_long else " ".join(str(value).split())
    return text if len(text) <= 24 else text[:23] + "…"
