"""What stopping runs early saved, and what it may have cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepline.recording.events import RunRecord
from sweepline.runs import State


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    """Of ``n_runs`` that ended ``n_stopped`` were stopped early.

    ``n_points`` were told of the objective by all, ``n_saved`` more would have been had those that were stopped gone as
    far as the others, and ``saved_s`` seconds longer they would have taken. ``n_close`` of ``n_judged`` missed what
    would have let them go on by less than ``noise``, as far as two runs of one configuration differ by chance.
    """

    n_runs: int
    n_stopped: int
    n_points: int
    n_saved: float
    saved_s: float
    noise: float | None
    n_judged: int
    n_close: int

    @property
    def share(self) -> float:
        """The share of all points that was saved."""
        return self.n_saved / (self.n_saved + self.n_points) if self.n_points else 0.0


def count_early_stopping(
    records: Sequence[RunRecord],
    verdict_of: Callable[[RunRecord], Mapping[str, Any] | None],
    *,
    noise: float | None,
) -> EarlyStopping | None:
    """Return what stopping runs early saved; None where none was stopped, or none went to its end.

    Args:
        records: the runs of a sweep, but for those that were not started at all.
        verdict_of: why a run was stopped, as it was written down.
        noise: how far apart two runs of one configuration are by chance, where that is known.
    """
    stopped = [r for r in records if r.state == State.PRUNED]
    finished = [r for r in records if r.state == State.FINISHED]
    if not stopped or not finished:
        return None
    points = {r.run_id: (r.outcome.n_points if r.outcome else None) or 0 for r in (*stopped, *finished)}
    whole = statistics.fmean(points[r.run_id] for r in finished)
    n_saved = sum(max(0.0, whole - points[r.run_id]) for r in stopped)
    # What a run takes that went on from an earlier attempt is that of its last part.
    timed = [r for r in (*finished, *stopped) if r.attempt <= 1 and points[r.run_id]]
    n_timed = sum(points[r.run_id] for r in timed)
    verdicts = [] if noise is None else [v for r in stopped if (v := verdict_of(r)) and v.get("threshold") is not None]
    close = [v for v in verdicts if noise is not None and abs(v["value"] - v["threshold"]) < noise]
    return EarlyStopping(
        n_runs=len(stopped) + len(finished),
        n_stopped=len(stopped),
        n_points=sum(points.values()),
        n_saved=n_saved,
        saved_s=n_saved * sum(r.duration_s for r in timed) / n_timed if n_timed else math.nan,
        noise=noise,
        n_judged=len(verdicts),
        n_close=len(close),
    )
