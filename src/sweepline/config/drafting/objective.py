"""Which of the metrics that a script tells is the likeliest objective."""

from __future__ import annotations

from collections.abc import Sequence

from sweepline.programs.inspection.facts import Told
from sweepline.programs.inspection.metricwords import goal_of, is_score, split_of, words_of

_SOURCES = ("line", "print", "wandb", "lightning", "log", "tensorboard")
_READ_BACK = ("line", "print", "wandb", "lightning")
"""What a sweep reads back of a run; the others go elsewhere."""


def is_read_back(told: Told) -> bool:
    """Whether the sweep sees what a run tells so."""
    return told.source in _READ_BACK


def choose_objective(told: Sequence[Told]) -> Told | None:
    """Return the metric to compare runs by: what the sweep can read, of held-out data, a score rather than a loss."""
    return max(enumerate(told), key=lambda pair: (*_rank(pair[1]), pair[0]), default=(0, None))[1]


def _rank(told: Told) -> tuple[int, int, bool, bool, bool, int]:
    words = words_of(told.name)
    split = split_of(words) or split_of(words_of(told.context))
    is_of_five = any(word.endswith("5") for word in words)
    in_order = -_SOURCES.index(told.source)
    held_out = {"val": 3, "test": 2, "train": 0}.get(split, 1)
    return is_read_back(told), held_out, is_score(told.name), not is_of_five, "best" in words, in_order


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
