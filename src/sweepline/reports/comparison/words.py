"""What a comparison comes to: better, worse or not conclusive, on what that rests, and which metrics disagree."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from sweepline.analysis.compare import MetricTable, RunMeasure, Tables, median_reached
from sweepline.analysis.goals import MIN
from sweepline.analysis.series import STEP
from sweepline.analysis.verdicts import (
    BETTER,
    END,
    LEVEL,
    MIXED,
    NOT_CONCLUSIVE,
    WORSE,
    AxisVerdict,
    Conclusion,
    Verdict,
)
from sweepline.display.formats import format_number
from sweepline.reports.comparison.formats import (
    AXIS_NAMES,
    AXIS_PLURALS,
    format_name,
    format_ratio,
    format_reached,
    format_reached_ratio,
    format_share,
    in_brackets,
)

_MAX_NAMED = 6


def describe_conclusions(tables: Tables, conclusions: Sequence[Conclusion]) -> list[str]:
    """Return the words of all sides."""
    lines: list[str] = []
    for i, conclusion in enumerate(conclusions, 1):
        basis = _describe_basis(tables, conclusion)
        names = f"{format_name(conclusion.label)} against {format_name(tables.sides[0].label)}"
        lines.append(f"{names}: {conclusion.word}{in_brackets(basis)}")
        lines += [f"  - {reason}" for reason in _reasons(tables, conclusion, i)]
    if conclusions and tables.objective is None and len({name for c in conclusions for name in c.verdicts}) > 1:
        lines.append(
            "no objective is named, so all metrics with a goal count alike: --objective NAME says which one counts"
        )
    return lines


def _describe_basis(tables: Tables, conclusion: Conclusion) -> str:
    verdict = conclusion.verdicts.get(tables.objective or "") or next(iter(conclusion.verdicts.values()), None)
    if verdict is None:
        return "nothing to judge by"
    n_base, n = verdict.n_seeds
    if verdict.is_tested:
        test = "t-test paired by seed" if verdict.is_paired else "Welch's t-test"
        corrected = f", Holm over {len(tables.sides) - 1} runs" if len(tables.sides) > 2 else ""
        return f"{n_base} and {n} seeds, {test} at 5 %{corrected}"
    if n_base == n == 1:
        rest = "" if conclusion.word == NOT_CONCLUSIVE else ": these two runs, not yet their settings"
        return f"one seed each{rest}"
    return f"{n_base} and {n} seeds, no test with one"


def _reasons(tables: Tables, conclusion: Conclusion, side: int) -> Iterator[str]:
    if tables.objective is not None and conclusion.verdicts and tables.objective not in conclusion.verdicts:
        yield f"it has no value of the objective {format_name(tables.objective)}"
    if not conclusion.verdicts:
        yield "no metric of both has a goal: say --goal NAME=min or --goal NAME=max"
    by_name = {table.name: table for table in tables.metrics}
    main = [name for name in conclusion.verdicts if tables.objective in (None, name)]
    for name in main[:_MAX_NAMED]:
        yield f"{format_name(name)}: {_describe_verdict(conclusion.verdicts[name])}"
        if tables.objective is not None:
            yield from _describe_target(by_name[name], tables, side)
    yield from _describe_others(tables, conclusion)
    for table in tables.metrics:
        bad = [measure for measure in table.measures[side] if measure is not None and measure.n_not_finite]
        if bad:
            at = next((f", first at step {m.not_finite_at[STEP]:,.0f}" for m in bad if STEP in m.not_finite_at), "")
            yield f"{format_name(table.name)} is nan or infinite in {sum(m.n_not_finite for m in bad):,} points{at}"


def _describe_verdict(verdict: Verdict) -> str:
    """Return by how much a metric is better or worse along each axis, and what is missing for a verdict."""
    if not verdict.axes:
        return "no value within the common window of all runs"
    parts = ", ".join(map(_describe_axis, verdict.axes))
    if verdict.word != NOT_CONCLUSIVE:
        return parts
    decided = {axis.word for axis in verdict.axes} - {NOT_CONCLUSIVE}
    if len(decided) > 1:
        return f"{parts}; not conclusive: it depends on what is held equal (--by chooses what counts)"
    whys: dict[str, list[AxisVerdict]] = {}
    for axis in verdict.axes:
        if axis.why:
            whys.setdefault(axis.why, []).append(axis)
    told = [why if not decided else f"{' and '.join(map(_where, axes))} {why}" for why, axes in whys.items()]
    hint = f"; {decided.pop()} along the others (--by chooses what counts)" if decided else ""
    return f"{parts}; not conclusive: {'; '.join(told)}{hint}"


def _describe_axis(verdict: AxisVerdict) -> str:
    where = _where(verdict)
    p_value = "" if verdict.p_value is None else f" (p = {verdict.p_value:.2g})"
    if math.isinf(verdict.gap):
        whose = "the baseline" if verdict.gap > 0 else "it"
        return f"{BETTER if verdict.gap > 0 else WORSE} {where}: {whose} has no finite value"
    if verdict.gap == 0:
        return f"equal {where}{p_value}"
    size = format_number(abs(verdict.gap)) if verdict.share is None else format_share(abs(verdict.share))
    return f"{size} {BETTER if verdict.gap > 0 else WORSE} {where}{p_value}"


def _where(verdict: AxisVerdict) -> str:
    return "in the whole run" if verdict.axis == END else f"at equal {AXIS_PLURALS[verdict.axis]}"


def _describe_target(table: MetricTable, tables: Tables, side: int) -> Iterator[str]:
    """Yield what it takes to the common target, and how that differs from what it takes to each run's own best."""
    base, own = ([m for m in table.measures[i] if m is not None] for i in (0, side))
    if table.target is None:
        return
    told, is_saving, is_reached = [], True, False
    for axis, name in AXIS_NAMES.items():
        of_base, of_own = ([m.reached[axis] for m in measures if axis in m.reached] for measures in (base, own))
        if not of_base or not of_own:
            continue
        first, second = median_reached(of_base), median_reached(of_own)
        ratio = in_brackets(format_reached_ratio(second, first))
        told.append(f"{name} {format_reached(second, axis)} against {format_reached(first, axis)}{ratio}")
        is_reached = second.is_reached
        if axis == STEP:
            is_saving = second.is_reached and (not first.is_reached or second.place < first.place)
    if not told:
        return
    held = f", held {tables.options.hold} points" if tables.options.hold > 1 else ""
    target = f"{format_number(table.target)}, the baseline's best within {format_share(tables.options.tolerance)}{held}"
    yield f"target {target}: {'' if is_reached else 'not '}reached, {'; '.join(told)}"
    if not is_saving:
        yield from _describe_own_bests(base, own, format_name(tables.sides[side].label))


def _describe_own_bests(base: Sequence[RunMeasure], own: Sequence[RunMeasure], label: str) -> Iterator[str]:
    """Yield a warning where a run has its own best sooner, which is easily taken for the same performance sooner."""
    first, second = ([m.best_at[STEP] for m in measures if STEP in m.best_at] for measures in (base, own))
    if first and second and statistics.median(second) < statistics.median(first):
        values = (format_number(statistics.fmean(m.best for m in found if m.best is not None)) for found in (own, base))
        ratio = format_ratio(statistics.median(second), statistics.median(first))
        yield (
            f"{label} has its own best at {ratio} the steps, which is another value ({' against '.join(values)}): no "
            "saving of steps to one target"
        )


def _describe_others(tables: Tables, conclusion: Conclusion) -> Iterator[str]:
    """Yield which metrics say something else than the objective."""
    if tables.objective is None:
        better = [name for name, verdict in conclusion.verdicts.items() if verdict.direction == BETTER]
        worse = [name for name, verdict in conclusion.verdicts.items() if verdict.direction == WORSE]
        if better and worse:
            of_better, of_worse = (_moves(names, tables, conclusion) for names in (better, worse))
            yield f"metrics disagree: {of_better}, which is better; {of_worse}, which is worse"
        return
    objective = f"the objective is {conclusion.direction}"
    if conclusion.word != conclusion.direction and conclusion.direction in (BETTER, WORSE):
        objective += " (not conclusively)"
    if conclusion.disagreeing:
        yield f"metrics disagree: {_moves(conclusion.disagreeing, tables, conclusion)}, {objective}"
    elif conclusion.direction in (LEVEL, MIXED) and tables.objective in conclusion.verdicts:
        others = [n for n, v in conclusion.verdicts.items() if n != tables.objective and v.direction in (BETTER, WORSE)]
        if others:
            depends = "level within the tolerance" if conclusion.direction == LEVEL else "mixed"
            yield f"{_moves(others, tables, conclusion)}; the objective is {depends}"


def _moves(names: Sequence[str], tables: Tables, conclusion: Conclusion) -> str:
    goals = {table.name: table.goal for table in tables.metrics}
    parts = []
    for name in names[:_MAX_NAMED]:
        verdict = conclusion.verdicts[name]
        is_lower = (verdict.direction == BETTER) == (goals[name] == MIN)
        axis = max(verdict.axes, key=lambda axis: abs(axis.gap))
        size = "" if axis.share is None else f"{format_share(abs(axis.share))} {_where(axis)}"
        if math.isinf(axis.gap):
            parts.append(f"{format_name(name)} is not finite")
            continue
        parts.append(f"{format_name(name)} is {'lower' if is_lower else 'higher'}{in_brackets(size)}")
    more = [f"{len(names) - _MAX_NAMED} more"] if len(names) > _MAX_NAMED else []
    return ", ".join([*parts, *more])
