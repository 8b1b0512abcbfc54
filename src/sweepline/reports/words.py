"""What a sweep found, in sentences: how it went, what is best and how sure that is, what had no effect, what failed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sweepline.analysis.differences import differing
from sweepline.analysis.pareto import describe_front
from sweepline.analysis.racing import find_standing, read_race
from sweepline.display.formats import format_seconds
from sweepline.engine.planfile import count_planned
from sweepline.recording.events import RunRecord
from sweepline.reports.collect import ReportedSweep, started_s
from sweepline.reports.numbers import format_count, format_interval
from sweepline.runs import UNSUCCESSFUL

_MAX_REASONS = 4
_SURE = 0.5  # of the resamples that name one middle


@dataclass(frozen=True, slots=True)
class Sentence:
    """``kind`` is ``course``, ``best``, ``doubt``, ``effect``, ``failure`` or ``remark``."""

    kind: str
    text: str


def describe_sweep(sweep: ReportedSweep) -> list[Sentence]:
    """Return what there is to say of a sweep, the most important first."""
    found = [Sentence("course", text) for text in _describe_course(sweep)]
    found += _describe_best(sweep)
    found += [Sentence("effect", text) for text in _describe_effects(sweep)]
    found += [Sentence("failure", text) for text in _describe_failures(sweep)]
    return [*found, *(Sentence("remark", text) for text in sweep.remarks)]


def _describe_course(sweep: ReportedSweep) -> Iterator[str]:
    records, plan = sweep.records, sweep.plan
    states = Counter(record.state.value for record in records)
    told = ", ".join(f"{n:,} {state.replace('_', ' ')}" for state, n in states.most_common()) or "none has started"
    n_planned = count_planned(plan, records)
    of = f" of {n_planned:,}" if isinstance(n_planned, int) and n_planned > len(records) else ""
    line = f"{len(records):,}{of} runs: {told}" if len(records) != 1 or of else f"1 run: {told}"
    starts = list(map(started_s, records))
    ends = [start + record.duration_s for start, record in zip(starts, records, strict=True) if math.isfinite(start)]
    starts = [start for start in starts if math.isfinite(start)]
    if starts:
        line += f"; {format_seconds(max(ends) - min(starts))} from the first start to the last end"
    slots = plan.get("slots")
    if slots:
        is_packed = plan.get("runs_per_device") == "auto" and str(slots[0]).startswith("gpu")
        line += f" on {format_count(len(slots), 'GPU' if is_packed else 'slot')}"
    yield line + (" (still running)" if sweep.is_running else "")
    n_combinations, n_seeds = plan.get("n_combinations"), max(1, len(plan.get("seeds") or ()))
    if isinstance(n_combinations, int) and isinstance(n_planned, int) and n_combinations * n_seeds > n_planned:
        n_left_out = n_combinations - n_planned // n_seeds
        yield f"{n_left_out:,} of {n_combinations:,} combinations did not run: constraints drop or merge them"


def _describe_best(sweep: ReportedSweep) -> Iterator[Sentence]:
    objective, ranked = sweep.objective, sweep.ranked
    if objective is None:
        yield Sentence(
            "doubt", "no objective: name one (metric in the sweep file, or --metric), and runs can be ranked"
        )
        return
    idle = {effect.parameter for effect in sweep.no_effects}
    if len(sweep.objectives) > 1 and sweep.front:
        yield Sentence("best", describe_front(len(sweep.front), len(ranked), sweep.objectives))
        return
    standing = find_standing(sweep.records, ranked, objective, read_race(sweep.plan), idle)
    if standing is None:
        n_results = sum(record.has_result for record in sweep.records)
        if n_results:
            yield Sentence("doubt", f"no finished run has a finite {objective.name}")
        return
    best = next(c for c in ranked if math.isfinite(c.means.get(objective.name, math.nan)))
    names = [name for name in sweep.differing if name not in idle]
    shown = ", ".join(f"{name}={format_parameter_value(best.params.get(name))}" for name in names) or best.runs[0].name
    runs = format_count(standing.interval.n, "seed" if standing.interval.n > 1 else "run")
    interval = format_interval(standing.interval)
    how = f"95 %, {runs}" if standing.interval.n > 1 else runs
    yield Sentence("best", f"best {objective.name} {interval} ({how}): {shown}")
    yield Sentence("doubt" if standing.n_tied != 1 and standing.n_compared > 1 else "best", str(standing))
    met = set()
    for middle in (sweep.middle, sweep.middle_by_duration):
        if middle is not None and len(middle.cells) > 2 and middle.middle.setting not in met:
            met.add(middle.middle.setting)
            is_sure = not middle.is_at_edge and (middle.support is None or middle.support >= _SURE)
            yield Sentence("best" if is_sure else "doubt", str(middle))


def _describe_effects(sweep: ReportedSweep) -> Iterator[str]:
    yield from map(str, sweep.no_effects)
    found = sweep.importance
    if found is not None and found.shares:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in list(found.shares.items())[:5])
        yield f"importance: {shares} ({found})"


def _describe_failures(sweep: ReportedSweep) -> Iterator[str]:
    records = sweep.records
    failed = [record for record in records if record.state in UNSUCCESSFUL]
    kinds: dict[tuple[str, str], list[RunRecord]] = {}
    for record in failed:
        reason = re.sub(r"\d+(?:\.\d+)?", "#", record.reason)
        kinds.setdefault((record.state.value, reason), []).append(record)
    ordered = sorted(kinds.items(), key=lambda item: -len(item[1]))
    for (state, _), runs in ordered[:_MAX_REASONS]:
        example = runs[0].reason or "no reason was found in its output"
        shared = _shared_setting(runs, sweep.differing)
        where = f"; all with {shared}" if shared and len(runs) > 1 else ""
        yield f"{len(runs):,} {state.replace('_', ' ')}: {example}{where}"
    n_more = sum(len(runs) for _, runs in ordered[_MAX_REASONS:])
    if n_more:
        yield f"and {n_more:,} more, of {len(ordered) - _MAX_REASONS} other kinds"
    diverged = [r for r in records if r.has_result and any(not math.isfinite(v) for v in r.metrics.values())]
    if diverged:
        shared = _shared_setting(diverged, sweep.differing) if len(diverged) > 1 else ""
        where = f"; all with {shared}" if shared else ""
        yield f"{format_count(len(diverged), 'finished run')} ended with a metric that is not finite (diverged){where}"


def _shared_setting(runs: Sequence[RunRecord], varying: Sequence[str]) -> str:
    """Return the settings that these runs share and that not all runs have."""
    own = set(differing(record.params for record in runs))
    same = [name for name in varying if name not in own]
    return ", ".join(f"{name}={format_parameter_value(runs[0].params.get(name))}" for name in same)


def format_parameter_value(value: Any) -> str:
    """Return a parameter's value as people write it."""
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value)
