"""Reads ``early_terminate``: W&B's hyperband, and rules of ours; one, or a list of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sweepline.config.faults import Faults, describe_detail
from sweepline.errors import did_you_mean

Budget = Literal["points", "epochs", "steps", "samples", "share"]
Positive = Annotated[int, Field(ge=1)]
Factor = Annotated[float, Field(gt=1)]


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _ByBudget(_Rule):
    """A rule that compares runs where they have come equally far, ``by`` what is said.

    A ``share`` is one of the run's own ``total``, in epochs, else steps, else points: a number, or the name of the
    parameter that says it. By default that is the parameter ``epochs``, else what finished runs came to.
    """

    by: Budget = "points"
    total: str | Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _check_share(self) -> Self:
        for name in ("min", "warmup", "after"):
            value = getattr(self, name, None)
            if self.by == "share" and value is not None and value >= 1:
                raise ValueError(f"{name} is a share of a run with by: share, such as 0.1; {value:g} is all of it")
        return self


class Hyperband(_Rule):
    """W&B's: at bands of points, a run that is worse than the best ``1 / eta`` of those that came there is stopped."""

    type: Literal["hyperband"]
    min_iter: Positive | None = None
    max_iter: Positive | None = None
    s: Positive | None = None
    eta: Factor = 3
    strict: bool = False

    @model_validator(mode="after")
    def _has_bands(self) -> Hyperband:
        if self.min_iter is None and (self.max_iter is None or self.s is None):
            raise ValueError("needs type: hyperband with min_iter, or with max_iter and s")
        return self


class Asha(_ByBudget):
    """Asynchronous successive halving: at ``min`` times powers of ``factor`` the best ``1 / factor`` go on.

    Where ``max`` says how far a whole run goes, there is no rung from which less than ``factor`` times is left.
    """

    type: Literal["asha"]
    min: float = Field(1, gt=0)
    max: float | None = Field(None, gt=0)
    factor: Factor = 3


class Median(_ByBudget):
    """A run is stopped whose best is worse than the median of the means of others up to there."""

    type: Literal["median"]
    warmup: float = Field(1, ge=0)
    min_runs: Positive = 5


class Percentile(_ByBudget):
    """A run is stopped that is not among the best ``percentile`` percent at its place."""

    type: Literal["percentile"]
    percentile: float = Field(50, gt=0, lt=100)
    warmup: float = Field(1, ge=0)
    min_runs: Positive = 5


class Patience(_Rule):
    """A run is stopped that was no better, by more than ``min_delta``, for ``n`` points."""

    type: Literal["patience"]
    n: Positive
    min_delta: float = Field(0, ge=0)


class Threshold(_ByBudget):
    """A run is stopped that is worse than ``worse_than`` from ``after`` on."""

    type: Literal["threshold"]
    worse_than: float
    after: float = Field(1, ge=0)


class Diverged(_Rule):
    """A run is stopped whose metric is no finite number, or ``factor`` times its first value, for ``n`` points."""

    type: Literal["diverged"]
    factor: Factor | None = None
    n: Positive = 1


Rule = Hyperband | Asha | Median | Percentile | Patience | Threshold | Diverged
RULES: dict[str, type[Rule]] = {
    "hyperband": Hyperband,
    "asha": Asha,
    "median": Median,
    "percentile": Percentile,
    "patience": Patience,
    "threshold": Threshold,
    "diverged": Diverged,
}


def read_early_stopping(raw: Any, faults: Faults) -> tuple[Rule, ...]:
    """Return the rules of ``early_terminate``.

    What W&B would ignore of its own is a warning here too; a fault in a rule of ours makes the file unusable.
    """
    if raw is None:
        return ()
    rules = [_read_rule(one, faults) for one in (raw if isinstance(raw, list) else [raw])]
    return tuple(rule for rule in rules if rule is not None)


def has_halving(raw: Any) -> bool:
    """Whether ``early_terminate`` halves: a sampler may learn from what runs have at the rungs then."""
    rules = raw if isinstance(raw, list) else [raw]
    return any(isinstance(rule, Mapping) and rule.get("type") == "asha" for rule in rules)


def _read_rule(raw: Any, faults: Faults) -> Rule | None:
    key = ("early_terminate",)
    name = raw.get("type") if isinstance(raw, Mapping) else None
    kind = RULES.get(name) if isinstance(name, str) else None
    if kind is None:
        hint = did_you_mean(str(name), RULES) or f"; there are {', '.join(RULES)}"
        faults.warn(key, f"needs type: hyperband with min_iter, or another rule{hint}; ignored")
        return None
    tell = faults.warn if kind is Hyperband else faults.error
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(map(str, detail["loc"]))
        sentence = f"{where + ': ' if where else ''}{describe_detail(detail, tuple(kind.model_fields))}"
        tell(key, f"{sentence}; ignored" if kind is Hyperband else f"{name}: {sentence}")
        return None
