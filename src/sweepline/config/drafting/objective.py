"""Which of the metrics that a script tells is the likeliest objective."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sweepline.programs.inspection.facts import Told
from sweepline.programs.inspection.metricwords import (
    REWARDS,
    goal_of,
    is_evaluation_alone,
    is_score,
    split_of,
    words_of,
)

_OF_FIVE = re.compile(r"(?:top|acc|acc@|prec|@)[_@]?5(?!\d)", re.IGNORECASE)
_SOURCES = (
    "line",
    "print",
    "wandb",
    "trackio",
    "mlflow",
    "lightning",
    "csv",
    "json",
    "lightning_log",
    "tensorboard",
    "log",
)
"""Of equal metrics the one that is seen while a run is under way counts."""


def choose_objective(told: Sequence[Told], can_read: Callable[[Told], bool]) -> Told | None:
    """Return the metric to compare runs by: what the sweep can read, of held-out data, a score rather than a loss."""
    ranked = ((*_rank(one), i) for i, one in enumerate(told))
    best = max(((can_read(told[rank[-1]]), *rank) for rank in ranked), default=None)
    return None if best is None else told[best[-1]]


def _rank(told: Told) -> tuple[int, bool, bool, bool, bool, int]:
    words = words_of(told.name)
    split = split_of(words) or split_of(words_of(told.context))
    if not split:
        split = "val" if is_evaluation_alone(words) else "test" if REWARDS & set(words) else ""
    is_of_five = _OF_FIVE.search(told.name) is not None
    is_half = "precision" in words or "recall" in words
    in_order = -_SOURCES.index(told.source)
    held_out = {"val": 3, "test": 2, "train": 0}.get(split, 1)
    return held_out, is_score(told.name), not is_of_five, not is_half, "best" in words, in_order


def explain_choice(told: Told) -> str:
    """Return in words why it is compared that way."""
    better = "more is better" if goal_of(told.name) == "maximize" else "less is better"
    return f"guessed: {better} by its name; {describe_source(told)}"


def describe_source(told: Told) -> str:
    """Return in words how a run tells it."""
    file = f" ({told.file.path})" if told.file is not None and told.file.path else ""
    how = {
        "line": "a METRIC line",
        "print": "printed",
        "wandb": "logged to W&B, read back from its files",
        "trackio": "logged to trackio, read back from its database",
        "mlflow": "logged to MLflow, read back from its database",
        "lightning": "Lightning's self.log: found where a progress bar or a table shows it",
        "lightning_log": "Lightning's self.log: read from its log in the run's folder",
        "csv": f"written to a CSV file{file}",
        "json": f"written as JSON{file}",
        "tensorboard": f"written to TensorBoard{file}",
        "log": "logged to a tracker that the sweep does not read",
    }[told.source]
    return f"{how}, {told.where}"
