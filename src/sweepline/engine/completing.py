"""What a run left in files, where its output says too little: W&B's own, those of usual names, those that are named."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from sweepline.config.metricsfrom import MetricsSource
from sweepline.contract.metrics import MetricPoint
from sweepline.engine.logtail import build_reader
from sweepline.engine.metricreader import Measured
from sweepline.engine.sources import SECONDS, FoundPoints, read_sources, read_usual
from sweepline.engine.wandbfile import find_wandb_files, read_wandb_metrics
from sweepline.runs import Objective

READ_FROM = "read: "
"""How a remark begins that tells in which file results were found."""


def complete(
    measured: Measured,
    run_dir: Path,
    *,
    objectives: Sequence[Objective],
    logged: Collection[str],
    working_dir: Path | None,
    sources: Sequence[MetricsSource] = (),
    looks_for_usual: bool = True,
) -> str:
    """Add to what a run has printed what is in its files; return what is worth saying of that.

    Args:
        measured: what it has printed.
        run_dir: its folder.
        objectives: what has to be found.
        logged: metrics that are kept however many others there are.
        working_dir: where it was started.
        sources: the files that the sweep file names, which win over what was printed.
        looks_for_usual: whether files of usual names are looked for where none are named.
    """
    told: list[str] = []
    if sources:
        found, told = read_sources(sources, run_dir, working_dir)
        told = [*_add(measured, found, objectives, logged, wins=True), *told]
    if not _is_complete(measured, objectives):
        told.append(_add_wandb(measured, run_dir, working_dir, objectives=objectives, logged=logged))
    if not _is_complete(measured, objectives) and not sources and looks_for_usual:
        found, faults = read_usual(run_dir)
        told += [*_add(measured, found, objectives, logged), *faults]
    return "; ".join(filter(None, told))


def _is_complete(measured: Measured, objectives: Sequence[Objective]) -> bool:
    return bool(measured.results) and all(one.name in measured.results for one in objectives)


def _add(
    measured: Measured,
    found: Sequence[FoundPoints],
    objectives: Sequence[Objective],
    logged: Collection[str],
    *,
    wins: bool = False,
) -> list[str]:
    """Add the points of files, of each metric those of the first file that has it; return where they came from.

    What was printed stands, unless a file ``wins``.
    """
    sentences, taken = [], set[str]()
    for one in found:
        reader = build_reader(objectives, logged)
        for point in one.points:
            reader.add(point)
        known = taken if wins else taken | measured.results.keys()
        fresh = {name: value for name, value in reader.results.items() if name not in known and name != SECONDS}
        if not fresh:
            continue
        if wins:
            measured.points = _without(measured.points, fresh)
        measured.points += _without(reader.points, reader.results.keys() - fresh.keys() - {SECONDS})
        measured.results |= fresh
        measured.stride = max(measured.stride, reader.history.stride)
        taken |= fresh.keys()
        named = [objective.name for objective in objectives if objective.name in fresh] or list(fresh)[:1]
        sentences.append(f"{READ_FROM}{', '.join(named)} from {one.path.name}")
    return sentences


def _without(points: Sequence[MetricPoint], names: Collection[str]) -> list[MetricPoint]:
    """Return points without some of their metrics."""
    kept = [replace(p, values={name: v for name, v in p.values.items() if name not in names}) for p in points]
    return [point for point in kept if point.values.keys() - {SECONDS}]


def _add_wandb(
    measured: Measured,
    run_dir: Path,
    working_dir: Path | None,
    *,
    objectives: Sequence[Objective],
    logged: Collection[str],
) -> str:
    """Add what a run logged to W&B and did not print; return what is worth saying of that."""
    files = find_wandb_files(run_dir, working_dir)
    if not files:
        return ""
    try:
        found = read_wandb_metrics(files, build_reader(objectives, logged))
    except ImportError:
        return "what it logged to W&B is not read: pip install 'sweepline[wandb]'"
    except (OSError, ValueError) as error:
        return f"what it logged to W&B cannot be read: {error}"
    is_mixed = bool(measured.results)
    missing = found.results.keys() - measured.results.keys()
    points = [replace(p, values={k: v for k, v in p.values.items() if k in missing}) for p in found.points]
    measured.points += [point for point in points if point.values]
    measured.results |= {name: value for name, value in found.results.items() if name in missing}
    measured.stride = max(measured.stride, found.stride)
    measured.n_dropped_names += found.n_dropped_names
    told = [objective.name for objective in objectives if is_mixed and objective.name in missing]
    return f"{', '.join(told)} is read from what it logged to W&B" if told else ""
