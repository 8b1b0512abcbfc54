"""Which words name a metric, whether more of it is better, and which part of the data it is of."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LESS = (
    "loss losses nll error err mse rmse mae mape ppl perplexity wer cer fid elbo bpd bpb bpc kl mpjpe epe lpips crps logloss mlogloss "
    "misclassification"
)
_MORE = (
    "acc accuracy accuracies accs top1 top5 acc1 acc5 f1 auc auroc auprc roc ap map score reward rewards return returns bleu rouge iou miou "
    "dice psnr ssim precision recall r2 likelihood mrr ndcg hits spearman pearson kappa mcc success fitness correct"
)
LESS_IS_BETTER, MORE_IS_BETTER = frozenset(_LESS.split()), frozenset(_MORE.split())
_COUNTERS = frozenset(
    ["epoch", "epochs", "step", "steps", "iter", "iters", "iteration", "time", "sec", "seconds", "lr", "batch", "batches", "eta", "size", "rate", "params", "len"]
)
_FILLERS = frozenset(
    ["average", "avg", "mean", "the", "of", "on", "set", "current", "global", "stats", "stat", "item", "items", "data", "value", "is", "at", "network", "metric", "metrics", "meter", "cpu", "numpy", "self", "args", "final", "total", "running", "result", "results"]
)
_SPLITS = {
    **dict.fromkeys(("val", "valid", "validation", "dev", "validate"), "val"),
    **dict.fromkeys(("eval", "evaluate", "evaluation", "test", "testing", "holdout"), "test"),
    **dict.fromkeys(("train", "training", "trn"), "train"),
}
_WORD = re.compile(r"[A-Za-z]+@?\d*|\d+")


def words_of(text: str) -> list[str]:
    """Return the words of a label or an expression in lower case: ``valLoss``, ``val_loss``, ``val/loss`` alike."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return [word.lower().replace("@", "") for word in _WORD.findall(apart)]


def metric_word(words: Sequence[str]) -> str:
    """Return the last word that names a metric; empty without one, or where the label ends in a count or a time."""
    if words and words[-1] in _COUNTERS:
        return ""
    return next((word for word in reversed(words) if word in LESS_IS_BETTER or word in MORE_IS_BETTER), "")


def split_of(words: Sequence[str]) -> str:
    """Return ``val``, ``test`` or ``train``, where a word says so."""
    return next((_SPLITS[word] for word in words if word in _SPLITS), "")


def goal_of(name: str) -> str:
    """Return the goal of a metric by its name: what is no known score is to be minimized, as a loss is."""
    word = metric_word(words_of(name))
    return "maximize" if word in MORE_IS_BETTER else "minimize"


def name_of(words: Sequence[str], limit: int = 4) -> str:
    """Return a metric's name made of the words of its label."""
    kept = [word for word in words if word not in _FILLERS]
    return "_".join((kept or list(words))[-limit:])
