"""Which of the metrics that a script tells is the likeliest objective."""

from __future__ import annotations

from collections.abc import Sequence

from sweepline.programs.inspection.facts import Told
from sweepline.programs.inspection.metricwords import MORE_IS_BETTER, goal_of, metric_word, split_of, words_of

_SOURCES = ("line", "print", "wandb", "lightning", "log", "tensorboard")
_READ_BACK = ("line", "print", "wandb", "lightning")
"""What a sweep reads back of a run; the others go elsewhere."""


def is_read_back(told: Told) -> bool:
    """Whether the sweep sees what a run tells so."""
    return told.source in _READ_BACK


def choose_objective(told: Sequence[Told]) -> Told | None:
    """Return the metric to compare runs by: what the sweep can read, of held-out data, a score rather than a loss."""
    return max(enumerate(told), key=lambda pair: (*_rank(pair[1]), pair[0]), default=(0, None))[1]


def _rank(told: Told) -> tuple[int, int, int, int]:
    split = split_of(words_of(told.name)) or split_of(words_of(told.context))
    is_score = metric_word(words_of(told.name)) in MORE_IS_BETTER
    is_best = "best" in words_of(told.name)
    return is_read_back(told), 2 if split in ("val", "test") else 1 if split != "train" else 0, is_score, is_best


def explain_choice(told: Told) -> str:
    """Return in words why it is compared that way."""
    better = "more is better" if goal_of(told.name) == "maximize" else "less is better"
    return f"guessed: {better} by its name; {describe_source(told)}"


def describe_source(told: Told) -> str:
    """Return in words how a run tells it."""
    how = {
        "line": "a METRIC line",
        "print": "printed",
        "wandb": "logged to W&B, read back from its files",
        "lightning": "Lightning's self.log: found where a progress bar or a table shows it",
        "log": "logged to a tracker that the sweep does not read",
        "tensorboard": "written to TensorBoard, which the sweep does not read",
    }[told.source]
    return f"{how}, {told.where}"
