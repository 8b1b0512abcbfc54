"""Whether less or more of a metric is better, guessed from its name."""

from __future__ import annotations

import re

MIN, MAX = "min", "max"

_LESS = frozenset(
    [
        "loss",
        "losses",
        "error",
        "errors",
        "err",
        "perplexity",
        "ppl",
        "nll",
        "bpb",
        "bpc",
        "mse",
        "mae",
        "rmse",
        "mape",
        "wer",
        "cer",
        "fid",
        "regret",
        "cost",
        "penalty",
    ]
)
_MORE = frozenset(
    [
        "acc",
        "accuracy",
        "reward",
        "rewards",
        "return",
        "returns",
        "score",
        "scores",
        "f1",
        "auc",
        "auroc",
        "precision",
        "recall",
        "bleu",
        "rouge",
        "psnr",
        "ssim",
        "r2",
        "iou",
        "dice",
        "success",
        "win",
        "wins",
        "winrate",
        "throughput",
        "fps",
        "top1",
        "top5",
    ]
)
_DURATIONS = frozenset(
    ["time", "times", "ms", "s", "sec", "secs", "second", "seconds", "duration", "latency", "runtime"]
)
_RATE_OF = frozenset(["s", "sec", "second", "seconds", "min", "minute", "hour"])
_WORDS = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+")


def guess_goal(name: str) -> str | None:
    """Return ``min`` or ``max`` as a name has it, None where it does not tell.

    The last word that tells decides, of what stands behind the last slash if any does there: ``Loss/train`` is a loss,
    ``reward_loss`` too. Less of a duration is better, and more per second; ``time/iterations`` is no duration.
    """
    *groups, own = [_split(part) for part in name.split("/")] or [[]]
    goal = _last_told(own, has_durations=True)
    return goal or _last_told([word for group in groups for word in group], has_durations=False)


def _split(text: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(text)]


def _last_told(words: list[str], *, has_durations: bool) -> str | None:
    for i in range(len(words) - 1, -1, -1):
        word, before = words[i], words[i - 1] if i else ""
        if word in _RATE_OF and before == "per":
            return MAX
        if word in _LESS or (has_durations and word in _DURATIONS):
            return MIN
        if word in _MORE:
            return MAX
    return None
