"""Whether less or more of a metric is better, guessed from its name."""

from __future__ import annotations

import re

MIN, MAX = "min", "max"

_LESS = re.compile(
    "loss(es)?|err(ors?)?|perplexity|ppl|nll|bpb|bpc|mse|mae|rmse|mape|wer|cer|fid|regret|costs?|penalty|penalties"
)
_MORE = re.compile(
    "acc|accuracy|accuracies|rewards?|returns?|scores?|f1|auc|auroc|precision|recall|bleu|rouge|psnr|ssim|r2|iou|dice"
    "|success|wins?|winrate|throughput|fps|top1|top5"
)
_DURATION = re.compile("times?|ms|s|secs?|seconds?|durations?|latency|latencies|runtime")
_RATE_OF = re.compile("s|secs?|seconds?|min|minutes?|hours?")
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
        if before == "per" and _RATE_OF.fullmatch(word):
            return MAX
        if _LESS.fullmatch(word) or (has_durations and _DURATION.fullmatch(word)):
            return MIN
        if _MORE.fullmatch(word):
            return MAX
    return None
