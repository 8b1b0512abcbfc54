"""The keys of ``batch_size_config``, as :mod:`sweepline.training.config.schema` has the others."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from sweepline.training.settings import Factor, Positive, Settings, key

DECIDING = (
    "optimize_batch_size",
    "tuned_batch_size",
    "default_batch_size",
)  # each overrules batch_size, the first first


def _check_optimize(value: Any) -> Any:
    if value == "once" or isinstance(value, bool):
        return value
    raise ValueError(f"optimize_batch_size needs true, false or once; got {value!r}")


class BatchSizeConfig(Settings):
    """How the batch size is found. Sizes count examples."""

    default_batch_size: Positive | None = key(
        None, "The size where nothing is searched, and where a first search begins; null: batch_size.", affects="memory"
    )
    tuned_batch_size: Positive | None = key(
        None, "A size that an earlier run has found; used as it is.", affects="memory"
    )
    safety_factor: Factor = key(
        0.5, "Share of the largest size that fits, above 0 and at most 1, that a search takes.", affects="memory"
    )
    data_safety_factors: dict[str, Factor] = key(
        {}, "safety_factor of single data sets, by name: {mnist: 0.8}.", affects="memory", omit_default=True
    )
    optimize_batch_size: Annotated[bool | str, BeforeValidator(_check_optimize)] = key(
        False,
        "Search the largest size that fits: true, false, or once: only where no earlier run of such a set-up has.",
        affects="memory",
    )
    batch_size_mode: Literal["power", "binsearch"] = key(
        "binsearch", "power: double until a size does not fit; binsearch: bisect from there.", affects="memory"
    )
    max_batch_size_trials: Positive = key(10, "How many sizes a search may try, confirmations aside.", affects="memory")
    max_batch_size: Positive | None = key(None, "No size above this is used, however chosen.", affects="memory")
    curriculum_safety_factor: Factor | None = key(
        None, "safety_factor of the mode curriculum; null: that of all.", affects="memory"
    )
    kd_safety_factor: Factor | None = key(
        None, "safety_factor with knowledge distillation; null: that of all.", affects="memory"
    )
    fusion_batch_size: Positive | None = key(
        None, "The size of the mode fusion, which is never searched; null: as for all.", affects="memory"
    )
    granularity: Positive | None = key(
        None,
        "How near a search comes to the largest size that fits; null: the size without a search, "
        "at most an eighth of what fits.",
        affects="memory",
    )
    steps_per_probe: int = key(3, "Optimizer steps with each size that is tried; at least 2.", affects="memory", ge=2)
    probe_timeout_s: float = key(300.0, "Seconds that trying one size may take; above 0.", affects="memory", gt=0)
    tuning_timeout_s: float = key(
        300.0, "Seconds after which a search tries no other; above 0.", affects="memory", gt=0
    )
    memory_budget_gib: Annotated[float, Field(gt=0.0)] | None = key(
        None,
        "GiB, above 0, that a run may allocate: on a CPU beyond torch and its data, on a GPU in all; "
        "null: nine tenths of what is free, shared by the runs of a device.",
        affects="memory",
        memory="value",
    )
    target_batch_size: Positive | None = key(
        None,
        "Examples that an optimizer step sees, accumulated where they do not fit; null: batch_size * accumulate.",
        through="target",
        memory="whether",
    )
    lr_rule: Literal["none", "linear", "sqrt"] = key(
        "none",
        "Scale step_size by the ratio of a step's examples to reference_batch_size, or by its root.",
        through="step_size",
    )
    reference_batch_size: Positive | None = key(
        None, "The examples per step that step_size was chosen for; lr_rule needs it.", through="step_size"
    )
    critical_batch_size: Positive | None = key(
        None, "linear scales no further than to this size; null: without end.", through="step_size"
    )

    @property
    def is_used(self) -> bool:
        """Whether anything here decides the size."""
        return self.is_deciding or self.target_batch_size is not None

    @property
    def is_deciding(self) -> bool:
        """Whether ``batch_size`` itself is overruled here."""
        return self.deciding_key is not None

    @property
    def deciding_key(self) -> str | None:
        """Which key overrules ``batch_size``."""
        return next((name for name in DECIDING if getattr(self, name)), None)
