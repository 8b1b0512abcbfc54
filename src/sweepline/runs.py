"""What a run is and how it can stand or end. Pure values: no I/O, no processes."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Params = Mapping[str, Any]
"""Parameter values by dotted name, in the order of the search space."""


class State(StrEnum):
    """How a run stands or ended."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    KILLED = "killed"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    PRUNED = "pruned"
    GPU_LOST = "gpu_lost"
    SPAWN_ERROR = "spawn_error"
    UNKILLABLE = "unkillable"
    INTERRUPTED = "interrupted"


SETTLED = frozenset({State.FINISHED, State.PRUNED})
"""States that need no further attempt. Only a run that finished has a result: a pruned one was stopped before it."""

UNENDED = frozenset({State.PENDING, State.RUNNING, State.INTERRUPTED})
"""States from which a run goes on at the next start."""


UNSUCCESSFUL = frozenset(State) - SETTLED - UNENDED
"""States of runs that ended and did not do what they should."""


DIVERGED = "diverged"
"""A metric by which a run says, by any value but 0, that it diverged: it has no result then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The metric by which runs are ranked. ``summary`` says which of a run's values is its result."""

    name: str
    goal: str = "minimize"
    summary: str = "last"

    @property
    def summaries(self) -> dict[str, tuple[str, str]]:
        """The results that are not a metric's last value: result name to metric name and ``min``, ``max`` or ``last``.

        ``loss.min`` is W&B's name for the least value of ``loss``.
        """
        best = "max" if self.goal == "maximize" else "min"
        if self.summary != "last":
            return {self.name: (self.name, best if self.summary == "best" else self.summary)}
        metric, _, kind = self.name.rpartition(".")
        kind = best if kind == "best" else kind
        return {self.name: (metric, kind)} if metric and kind in ("min", "max", "last") else {}

    def is_better(self, value: float, than: float | None) -> bool:
        """Whether ``value`` beats ``than``; a nan never does, anything beats None."""
        if math.isnan(value):
            return False
        if than is None:
            return True
        return value > than if self.goal == "maximize" else value < than

    def sort_key(self, value: float | None) -> tuple[bool, float]:
        """Order best first; missing and nan values last."""
        if value is None or math.isnan(value):
            return (True, 0.0)
        return (False, -value if self.goal == "maximize" else value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training with fixed parameters."""

    run_id: str
    name: str
    params: Params
    seed: int | None
    index: int
    identity: str = ""

    @property
    def any_seed(self) -> Any:
        """The seed, also where it is a parameter."""
        return self.params.get("seed") if self.seed is None else self.seed


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How one attempt of a run ended, and what it measured.

    A run that was judged has told its objective ``n_points`` times; None where nobody counted. Its ``course`` has what
    that was at the rungs where runs are judged, and at its end, by how far it had come there.

    A run ``is_blameless`` when something else ended it: the sweep, its keeper, a lost GPU, a full disk. It ran on
    ``host``. All fields are recorded, a new one as soon as it stands here, but for ``log_tail``: the lines of its
    output that lead to its error.
    """

    state: State
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    duration_s: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    n_bad_metric_lines: int = 0
    max_rss_kib: int | None = None
    cpu_s: float | None = None
    is_blameless: bool = False
    host: str = ""
    n_points: int | None = None
    course: Mapping[str, float] = field(default_factory=dict)
    log_tail: Sequence[str] = field(default=(), metadata={"is_recorded": False})


def canonical_json(value: Any) -> str:
    """Return one text per value: keys sorted, equal numbers alike (1 and 1.0), booleans apart from numbers."""
    if type(value) is float and math.isfinite(value) and not value.is_integer():
        return repr(value)  # as JSON has it; most values are such
    return _CANONICAL.encode(_canonical(value))


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def _canonical(value: Any) -> Any:
    if type(value) is str or type(value) is int:
        return value
    if isinstance(value, float):
        if value.is_integer():
            return int(value)
        return value if math.isfinite(value) else {"non-finite": repr(value)}
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return {type(value).__name__: str(value)}


def run_id_of(params: Params, seed: int | None, identity: str) -> str:
    """Return 12 hex digits that name a run whatever the order of its parameters.

    ``identity`` stands for what is the same for a whole sweep: the program and the content of its config files.
    Twelve digits keep the chance of a collision in a sweep of a million runs below 0.2 %.
    """
    text = f"{identity}\n{canonical_json(params)}\n{seed}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


_SHORT_NAMES = {
    "step_size": "lr",
    "learning_rate": "lr",
    "batch_size": "bs",
    "weight_decay": "wd",
    "momentum": "m",
    "epochs": "ep",
    "dropout": "do",
}


def short_name(parameter: str) -> str:
    """Abbreviate a parameter's dotted name for run names: ``learner.step_size`` is ``lr``."""
    last = re.split(r"[./]", parameter)[-1]
    if last in _SHORT_NAMES:
        return _SHORT_NAMES[last]
    words = [word for word in re.split(r"[_\-\s]+", last) if word]
    return last if len(last) <= 4 or len(words) < 2 else "".join(word[0] for word in words)


def _short_value(value: Any) -> str:
    text = json.dumps(value, default=str)
    return f"{value:.4g}" if isinstance(value, float) and len(text) > 8 else text


def run_name_of(params: Params, swept: Sequence[str], seed: int | None, *, limit: int = 96) -> str:
    """Name a run by its swept values and seed, as in ``adam-lr0.001-bs64-s0``; a label, never a path."""
    parts = []
    for name in swept:
        if name not in params:
            continue
        value = params[name]
        text = value if isinstance(value, str) else _short_value(value)
        parts.append(text if isinstance(value, str) else f"{short_name(name)}{text}")
    if seed is not None:
        parts.append(f"s{seed}")
    label = re.sub(r"[^\w.+=-]+", "_", "-".join(parts)).strip("._") or "run"
    return label if len(label) <= limit else label[: limit - 1] + "~"
