"""``sweepline align --ablate``: the way from a configuration to the champion's, trained, and what each step gave."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweepline.analysis.statistics import Interval
from sweepline.cli.asjson import print_json
from sweepline.contract.text import printable
from sweepline.contract.values import format_value, parse_override
from sweepline.display.formats import align_columns, format_number
from sweepline.display.lines import LineDisplay
from sweepline.engine.ablation import Ablation, Step, plan_ablation
from sweepline.engine.ablation import run_ablation as train_way
from sweepline.engine.aligning import AlignSide, Waivers
from sweepline.engine.preparation import PreparedSweep
from sweepline.engine.session import run_sweep
from sweepline.engine.signals import StopSignals
from sweepline.engine.state import SweepOptions
from sweepline.errors import ConfigError
from sweepline.recording.events import RunRecord

EXIT_STOPPED = 130


def run_ablation(champion: AlignSide, others: Sequence[AlignSide], args: argparse.Namespace, waivers: Waivers) -> int:
    """Train the way and print what each step gave; return 0, or 130 when it was stopped: it goes on when called again.

    Raises:
        SweeplineError: it cannot be trained.
    """
    if len(others) != 1:
        raise ConfigError("--ablate: name one configuration to begin at")
    folder = Path(args.sweep)
    ablation = plan_ablation(
        champion,
        others[0],
        metric=args.metric,
        goal=args.goal,
        seeds=_read_seeds(args.seeds),
        order=[group.split(",") for group in args.order],
        fixed=dict(map(parse_override, args.fixed)),
        waivers=waivers,
        is_greedy=args.greedy,
        folder=folder.parent if folder.suffix else folder,
    )
    write = _write_error if args.json else _write
    write(_price(ablation))
    if args.dry_run:
        for i, change in enumerate(ablation.changes, 1):
            write(f"  {i}. {_describe(change.before, change.after)}")
        return 0
    for note in ablation.notes:
        write(note)
    steps = train_way(ablation, SweepOptions(), lambda prepared: _run_stage(prepared, write))
    if steps is None:
        return EXIT_STOPPED
    if args.json:
        print_json({"metric": ablation.objective.name, "goal": ablation.objective.goal, "steps": steps})
    else:
        for line in _lines(ablation, steps):
            write(line)
    return 0


def _read_seeds(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words) or len(set(words)) < len(words):
        raise ConfigError(f"--seeds {text}: write different whole numbers with commas, as 0,1,2")
    return [int(word) for word in words]


def _write(text: str) -> None:
    print(printable(text), flush=True)


def _write_error(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)


def _price(ablation: Ablation) -> str:
    n, n_seeds = ablation.n_configurations, len(ablation.seeds)
    how = "greedy: at each step the change that gives most" if ablation.is_greedy else "one change after the other"
    return f"{len(ablation.changes)} changes, {how}: {n} configurations x {n_seeds} seeds = {ablation.n_runs} runs"


def _run_stage(prepared: PreparedSweep, write: Callable[[str], None]) -> Sequence[RunRecord] | None:
    result = run_sweep(prepared, LineDisplay(write), requests=StopSignals(is_final=True), owns_process=True)
    return None if result.signal is not None else result.records


def _lines(ablation: Ablation, steps: Sequence[Step]) -> Iterator[str]:
    better = "higher" if ablation.objective.goal == "maximize" else "lower"
    yield ""
    rows = [["", "change", ablation.objective.name, f"gain ({better} is better, 95 % interval)"]]
    rows.append(["0", "as it is here", _format_interval(steps[0].value), ""])
    changes = [(step.change, step.gain, step.value) for step in steps if step.change is not None]
    for i, (change, gain, value) in enumerate(changes, 1):
        told = _format_interval(gain, is_signed=True)
        rows.append([str(i), _describe(change.before, change.after), _format_interval(value), told])
    yield from align_columns(rows)
    sure = [(change, gain) for change, gain, _ in changes if _is_sure(gain)]
    if len(ablation.seeds) < 2:
        yield "one seed each: what a change gave cannot be told from chance; --seeds 0,1,2 gives intervals"
        return
    if not sure:
        yield "no single change gave more than chance could; more seeds would tell more"
        return
    change, gain = max(sure, key=lambda found: abs(found[1].mean))
    in_all = steps[-1].value.mean - steps[0].value.mean
    yield f"most: {change.label}, {gain.mean:+.3g} of {in_all:+.3g} in all"
    rest = [change.label for change, gain, _ in changes if not _is_sure(gain)]
    if rest:
        yield f"no more than chance could: {'; '.join(rest)}"


def _is_sure(gain: Interval) -> bool:
    """Whether a gain is known not to be zero."""
    return math.isfinite(gain.low) and not gain.low <= 0 <= gain.high


def _describe(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {format_value(before[name])} -> {format_value(after[name])}" for name in after)


def _format_interval(interval: Interval, *, is_signed: bool = False) -> str:
    middle = f"{interval.mean:+.4g}" if is_signed else format_number(interval.mean)
    if not math.isfinite(interval.low):
        return f"{middle} (of {interval.n})"
    if interval.low == interval.high:
        return f"{middle} (with every seed)"
    return f"{middle} ({interval.low:.4g} .. {interval.high:.4g})"
