"""Which flags of a script are likely hyperparameters, and a few values around the default of each."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sweepline.programs.inspection.facts import UNKNOWN, Flag

MAX_SWEPT = 4
_MAX_CHOICES = 4
_AFFIXES = (
    r"(?:(?:base|init|initial|max|peak|start|main|model|optim|optimizer|train|per_device_train|per_device|per_gpu_train|"
    r"micro|mini|head|encoder)_)*"
)
_END = r"(?:_(?:base|size|rate|init|start|max|prob|p|coef|coeff|coefficient|factor|0|g|1))*"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A flag with values to try: the default is among them, where there is one. ``rank`` 0 is swept first."""

    flag: Flag
    values: Sequence[Any]
    rank: int
    why: str


@dataclass(frozen=True, slots=True)
class _Rule:
    names: str
    rank: int
    kinds: Sequence[str]
    values: Callable[[float], Sequence[float]]
    typical: Sequence[Any]
    what: str

    def fits(self, flag: Flag) -> bool:
        """Whether a flag is of its names and kinds."""
        is_named = re.fullmatch(f"{_AFFIXES}(?:{self.names}){_END}", flag.key) is not None
        return is_named and (flag.kind in self.kinds or _fits_unknown(flag))


def _thirds(default: float) -> list[float]:
    return [_round(default / 3.1623), default, _round(default * 3.1623)]


def _tenths(default: float) -> list[float]:
    return [_round(default / 10), default, _round(default * 10)]


def _doubled(default: float) -> list[float]:
    return [max(1, round(default / 2)), default, default * 2]


def _fraction(default: float) -> list[float]:
    return (
        [max(0.0, _round(default - 0.2)), default, min(0.9, _round(default + 0.2))]
        if default >= 0.2
        else [0.0, default, 0.3]
    )


def _near_one(default: float) -> list[float]:
    """Return values whose distances from one are in thirds: 0.9 gives 0.7, 0.9 and 0.97."""
    gap = 1 - default
    return [_round(1 - min(0.9, gap * 3), 3), default, _round(1 - gap / 3, 3)] if 0 < gap < 1 else [0.0, 0.9, 0.99]


def _round(value: float, digits: int = 1) -> float:
    return float(f"{value:.{digits}g}") if value else 0.0


_RULES = (
    _Rule(
        r"lr\d?|[a-z]{1,6}_lr|[gd]lr|lr_(?:[gd]|actor|critic|base)|learn_?rate|learning_?rate|blr|eta|step_size|alpha_lr|lrate|lr_?g",
        0,
        ("float",),
        _thirds,
        [1e-4, 1e-3, 1e-2],
        "step size",
    ),
    _Rule(
        r"batch|batch_?size|bs|bsz|minibatch|(?:train|num)_?batch_?size|batch_?size_?train",
        1,
        ("int",),
        _doubled,
        [32, 64, 128],
        "batch size",
    ),
    _Rule(
        r"weight_?decay|wd|l2|l2_?reg|l2_?penalty|weight_?decay_rate|decoupled_wd",
        2,
        ("float",),
        _tenths,
        [0.0, 1e-4, 1e-2],
        "weight decay",
    ),
    _Rule(
        r"(?:attn_|attention_|hidden_|embd_|lora_|ff_)?(?:drop|dropout|drop_?out|pdrop|dropout_?rate)",
        3,
        ("float",),
        _fraction,
        [0.0, 0.1, 0.3],
        "dropout",
    ),
    _Rule(r"momentum|sgd_momentum|(?:adam_)?beta1", 5, ("float",), _near_one, [0.0, 0.9, 0.99], "momentum"),
    _Rule(
        r"gamma|discount|ema_decay|gae_lambda|(?:adam_)?beta2",
        6,
        ("float",),
        _near_one,
        [0.9, 0.99],
        "a decay near one",
    ),
    _Rule(
        r"(?:ent|vf|clip)_coef|entropy_coef|temperature|tau|(?:max_)?grad(?:ient)?_clip(?:_?(?:norm|val))?|max_grad_norm|clip_?(?:grad|norm)",
        7,
        ("float",),
        _thirds,
        [],
        "a positive factor",
    ),
    _Rule(
        r"(?:hidden|n_?hid|n_?embd|embed|emb|model|latent|feature|z|d_?model|lora_r|rank)(?:_?(?:dim|size|units|channels|features))?|width|hidden_?\d|hidden_?layer_?size|num_?hidden|nz|ngf|ndf|n_?heads?|num_?heads",
        8,
        ("int",),
        _doubled,
        [],
        "a width",
    ),
    _Rule(
        r"(?:n|num)_?(?:layers?|blocks|estimators|trees)|layers|nlayers|depth|max_?depth",
        9,
        ("int",),
        _doubled,
        [],
        "a depth",
    ),
    _Rule(
        r"label_?smoothing|smoothing|mixup|cutmix|drop_?path|warmup_?ratio|stochastic_depth",
        10,
        ("float",),
        _fraction,
        [0.0, 0.1],
        "a fraction",
    ),
)
_CHOSEN = re.compile(
    rf"{_AFFIXES}(?:opt|optim|optimizer|optimizer_name|activation|act|scheduler|sched|lr_?sched(?:uler)?(?:_type)?|criterion|loss|norm)"
)
_CHOSEN_RANK = 11


def propose(flags: Sequence[Flag]) -> list[Proposal]:
    """Return the likely hyperparameters in their order of importance, those of one kind in the script's."""
    found = [proposal for flag in flags if (proposal := _propose(flag)) is not None]
    return sorted(found, key=lambda proposal: proposal.rank + 100 * _is_other(proposal.flag))


def _is_other(flag: Flag) -> bool:
    """Whether it is of something that is trained or used beside the model: a test's batches, a teacher's rate."""
    return (
        re.search(r"(?:^|_)(?:test|val|eval|valid|min|warmup|end|final|teacher|sample|cooldown)(?:_|$)", flag.key)
        is not None
    )


def _propose(flag: Flag) -> Proposal | None:
    if flag.is_positional or (_is_other(flag) and "warmup_ratio" not in flag.key):
        return None
    for rule in _RULES:
        if flag.is_required and (rule.rank >= MAX_SWEPT or not rule.typical):
            continue
        if rule.fits(flag):
            return _of_rule(flag, rule)
    is_chosen = _CHOSEN.fullmatch(flag.key) and len(flag.choices) > 1 and not flag.is_required
    if is_chosen:
        values = _with_default_first(flag.choices, flag.default)[:_MAX_CHOICES]
        return Proposal(flag, values, _CHOSEN_RANK, "one of its choices")
    return None


def _fits_unknown(flag: Flag) -> bool:
    return flag.kind == "unknown" and flag.default is None


def _of_rule(flag: Flag, rule: _Rule) -> Proposal | None:
    default = flag.default
    is_number = isinstance(default, (int, float)) and not isinstance(default, bool) and math.isfinite(default)
    if not is_number:
        if not rule.typical or default is UNKNOWN:
            return None
        return Proposal(
            flag,
            list(rule.typical),
            rule.rank + (0 if flag.is_required else 20),
            f"{rule.what}; it has no default, typical values",
        )
    if flag.choices:
        return Proposal(flag, _with_default_first(flag.choices, default)[:3], rule.rank, f"{rule.what}, of its choices")
    values = (
        rule.typical
        if default == 0 and rule.typical and rule.what in ("weight decay", "dropout", "a fraction")
        else rule.values(default)
    )
    if default <= 0 and rule.what not in ("weight decay", "dropout", "a fraction", "momentum"):
        return None
    kind = int if rule.kinds == ("int",) and flag.kind != "float" else float
    return Proposal(flag, sorted({kind(value) for value in values}), rule.rank, rule.what)


def _with_default_first(choices: Sequence[Any], default: Any) -> list[Any]:
    return [*[choice for choice in choices if choice == default], *[c for c in choices if c != default]]


def choose_swept(proposals: Sequence[Proposal], flags: Sequence[Flag]) -> list[Proposal]:
    """Return what is swept: the first of each of the four kinds that matter most, else the likeliest two, else any."""
    chosen: dict[int, Proposal] = {}
    for proposal in proposals:
        if proposal.rank < MAX_SWEPT:
            chosen.setdefault(proposal.rank, proposal)
    if not chosen:
        return list(proposals[:2]) or list(filter(None, map(_any, flags)))[:1]
    found = list(chosen.values())
    return [_shortened(one) if len(found) > 2 and one.rank else one for one in found]


def _shortened(proposal: Proposal) -> Proposal:
    """Return a proposal with two values, the default and the next, so that four of them make no large grid."""
    values, default = list(proposal.values), proposal.flag.default
    at = values.index(default) if default in values else 0
    return Proposal(
        proposal.flag, values[at : at + 2] if at + 1 < len(values) else values[at - 1 :], proposal.rank, proposal.why
    )


def _any(flag: Flag) -> Proposal | None:
    is_number = isinstance(flag.default, (int, float)) and not isinstance(flag.default, bool)
    if not is_number or flag.is_positional or flag.default == 0 or "seed" in flag.key:
        return None
    values = _doubled(flag.default) if flag.kind == "int" else _thirds(flag.default)
    return Proposal(
        flag, values, 50, "nothing here looks like a usual hyperparameter, so that the first number is taken"
    )
