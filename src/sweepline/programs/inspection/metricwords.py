"""Which words name a metric, whether more of it is better, and which part of the data it is of."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LESS = (
    "loss losses nll error err mse rmse mae mape ppl perplexity wer cer fid elbo bpd bpb bpc kl mpjpe epe lpips crps "
    "kid logloss mlogloss misclassification"
)
_MORE = (
    "acc accuracy accuracies accs top1 top5 acc1 acc5 f1 auc auroc auprc roc ap map score reward rewards return "
    "returns bleu rouge iou miou dice psnr ssim precision recall r2 likelihood mrr ndcg hits spearman pearson kappa "
    "mcc success fitness correct"
)
LESS_IS_BETTER, MORE_IS_BETTER = frozenset(_LESS.split()), frozenset(_MORE.split())
_COUNTERS_TEXT = (
    "epoch epochs step steps iter iters iteration time sec seconds lr batch batches eta size rate params len"
)
_FILLERS_TEXT = (
    "average avg mean set current global stats stat item items data value network metric metrics meter "
    "cpu numpy self args final total running result results"
)
_COUNTERS, _FILLERS = frozenset(_COUNTERS_TEXT.split()), frozenset(_FILLERS_TEXT.split())
_PASSED_OVER = _FILLERS | {"best", "max", "min", "percent", "ema", "model"}
_OF_EVALUATIONS = frozenset(["fid", "kid", "bleu", "rouge", "wer", "cer", "ap", "map", "miou", "ndcg", "mrr"])
REWARDS = frozenset(["reward", "rewards", "return", "returns"])
_SPLITS = {
    **dict.fromkeys(("val", "valid", "validation", "dev", "validate"), "val"),
    **dict.fromkeys(("eval", "evaluate", "evaluation", "test", "testing", "holdout"), "test"),
    **dict.fromkeys(("train", "training", "trn"), "train"),
}
SPLIT_WORDS = tuple(_SPLITS)
_WORD = re.compile(r"[A-Za-z]+@?\d*|\d+")


def words_of(text: str) -> list[str]:
    """Return the words of a label or an expression in lower case: ``valLoss``, ``val_loss``, ``val/loss`` alike."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return [word.lower().replace("@", "") for word in _WORD.findall(apart)]


def metric_word(words: Sequence[str]) -> str:
    """Return the word that names a metric at the end of a label, parts of the data and the like behind it aside."""
    for word in reversed(words):
        if word in LESS_IS_BETTER or word in MORE_IS_BETTER:
            return word
        if word not in _PASSED_OVER and word not in _SPLITS and not word.isdigit() and len(word) > 1:
            break
    return ""


def is_metric_name(name: str) -> bool:
    """Whether a name that something is logged under has the name of a metric in it."""
    words = words_of(name)
    return any(map(is_metric_word, words)) and (is_metric_word(words[-1]) or words[-1] not in _COUNTERS)


def is_metric_word(word: str) -> bool:
    """Whether a word names a metric: ``fid``, and ``fid50`` of ``fid50k``."""
    known = LESS_IS_BETTER | MORE_IS_BETTER
    return word in known or word.rstrip("0123456789") in known


def is_evaluation_alone(words: Sequence[str]) -> bool:
    """Whether a metric is one that nobody measures of training data, or stands among those of an evaluation."""
    return words[:1] == ["metrics"] or any(word.rstrip("0123456789") in _OF_EVALUATIONS for word in words)


def split_of(words: Sequence[str]) -> str:
    """Return ``val``, ``test`` or ``train``, where a word says so."""
    return next((_SPLITS[word] for word in words if word in _SPLITS), "")


def goal_of(name: str) -> str:
    """Return the goal of a metric by its name: what is no known score is to be minimized, as a loss is."""
    return "maximize" if is_score(name) else "minimize"


def is_score(name: str) -> bool:
    """Whether the last word of a name that is a metric's is that of a score."""
    known = (word for word in reversed(words_of(name)) if word in LESS_IS_BETTER or word in MORE_IS_BETTER)
    return next(known, "") in MORE_IS_BETTER


def name_of(words: Sequence[str], limit: int = 4) -> str:
    """Return a metric's name made of the words of its label."""
    kept = [word for word in words if word not in _FILLERS]
    return "_".join((kept or list(words))[-limit:])
