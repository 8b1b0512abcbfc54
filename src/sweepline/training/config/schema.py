"""Which keys a config has, of which types and ranges. Not how files and overrides become one.

Nothing here needs torch, so that a typing error costs a tenth of a second.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from sweepline.errors import did_you_mean

OPTIMIZERS = (
    "sgd",
    "adam",
    "adamw",
    "rmsprop",
    "adadelta",
    "adagrad",
    "adamax",
    "nadam",
    "radam",
    "asgd",
    "rprop",
    "adafactor",
)
_UNUSABLE_OPTIMIZERS = {
    "lbfgs": "needs a closure",
    "sparseadam": "needs sparse gradients",
    "muon": "takes matrices only",
}

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Factor = Annotated[float, Field(gt=0.0, le=1.0)]


def _check_optimizer(name: str) -> str:
    """Refuse what is surely no optimizer; torch is asked later, so that reading a config need not import it."""
    known = name.lower()
    if known in _UNUSABLE_OPTIMIZERS:
        raise ValueError(f"{name!r} {_UNUSABLE_OPTIMIZERS[known]}; use another")
    if known not in OPTIMIZERS and not name[:1].isupper():
        hint = did_you_mean(known, OPTIMIZERS) or f"; there are {', '.join(OPTIMIZERS)}"
        raise ValueError(f"unknown learner.opt {name!r}{hint}")
    return name


def _check_accumulate(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"accumulate needs a whole number above zero, or auto; got {value!r}")


def _check_optimize(value: Any) -> Any:
    if value == "once" or isinstance(value, bool):
        return value
    raise ValueError(f"optimize_batch_size needs true, false or once; got {value!r}")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataConfig(_Section):
    """Which examples. ``limit`` keeps the first n of the training portion; ``valid_fraction`` is held out of it."""

    name: Literal["mnist", "fashion_mnist", "digits"] = "mnist"
    root: str | None = None
    limit: Positive | None = None
    valid_fraction: Fraction = 0.0


class ModelConfig(_Section):
    """Which network. ``width`` is the number of filters of the first convolution; the second has twice as many."""

    name: Literal["simple_cnn"] = "simple_cnn"
    width: Positive = 32


class LearnerConfig(_Section):
    """Which optimizer. Fields left null take the optimizer's own default."""

    opt: Annotated[str, AfterValidator(_check_optimizer)] = "sgd"
    step_size: Annotated[float, Field(gt=0.0)] = 0.01
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    beta1: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    beta2: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    eps: Annotated[float, Field(gt=0.0)] | None = None


class EvaluateConfig(_Section):
    """Evaluation after every ``every`` epochs (0: never) on the held-out part or the test portion.

    ``batch_size`` is its own: that of training does not change it.
    """

    every: Annotated[int, Field(ge=0)] = 0
    split: Literal["valid", "test"] = "test"
    batch_size: Positive = 1000


class CheckpointConfig(_Section):
    """Checkpoints for going on after a stop: at an epoch's end, ``interval_s`` apart at least, the last ``keep`` kept.

    A run that is asked to end (SIGTERM) saves one whatever its age. ``interval_s`` 0 saves after every epoch.
    """

    enabled: bool = True
    interval_s: Annotated[float, Field(ge=0.0)] = 30.0
    keep: Annotated[int, Field(ge=2)] = 2


class WandbConfig(_Section):
    """Weights & Biases. ``auto``: online with a key, else offline; WANDB_* variables win over project, group, name."""

    project: str | None = None
    group: str | None = None
    name: str | None = None
    tags: Annotated[tuple[str, ...], Field(strict=False)] = ()
    mode: Literal["auto", "online", "offline", "disabled"] = "auto"


class ModeConfig(_Section):
    """What is trained, and whether a teacher helps."""

    mode: Literal["normal", "autoencoder", "curriculum", "fusion"] = "normal"
    use_knowledge_distillation: bool = False


class BatchSizeConfig(_Section):
    """How the batch size is found. Sizes count examples; null leaves a choice to what is said here.

    ``default_batch_size`` null is ``batch_size``. ``tuned_batch_size`` comes from an earlier run and is used as it is.
    ``optimize_batch_size`` searches the largest size that fits and takes ``safety_factor`` of it; ``once`` only where
    no earlier run of the same set-up has. ``granularity`` null is the first size that is tried; ``max_batch_size``
    bounds whatever is chosen. ``memory_budget_gib`` is what a run on a CPU may allocate beyond torch and its data.
    ``target_batch_size`` is what an optimizer step sees, accumulated where it does not fit at once. ``lr_rule`` scales
    the step size by the ratio of the size of a step to ``reference_batch_size``; ``linear`` no further than to
    ``critical_batch_size``.
    """

    default_batch_size: Positive | None = None
    tuned_batch_size: Positive | None = None
    safety_factor: Factor = 0.5
    optimize_batch_size: Annotated[bool | str, BeforeValidator(_check_optimize)] = False
    batch_size_mode: Literal["power", "binsearch"] = "binsearch"
    max_batch_size_trials: Positive = 10
    max_batch_size: Positive | None = None
    curriculum_safety_factor: Factor | None = None
    kd_safety_factor: Factor | None = None
    fusion_batch_size: Positive | None = None
    granularity: Positive | None = None
    steps_per_probe: Annotated[int, Field(ge=2)] = 3
    probe_timeout_s: Annotated[float, Field(gt=0.0)] = 300.0
    tuning_timeout_s: Annotated[float, Field(gt=0.0)] = 300.0
    memory_budget_gib: Annotated[float, Field(gt=0.0)] | None = None
    target_batch_size: Positive | None = None
    lr_rule: Literal["none", "linear", "sqrt"] = "none"
    reference_batch_size: Positive | None = None
    critical_batch_size: Positive | None = None

    @property
    def is_used(self) -> bool:
        """Whether anything here decides the size."""
        return self.is_deciding or self.target_batch_size is not None

    @property
    def is_deciding(self) -> bool:
        """Whether ``batch_size`` itself is overruled here."""
        return bool(self.optimize_batch_size or self.tuned_batch_size or self.default_batch_size)


class TrainConfig(_Section):
    """Everything that decides one run.

    ``batch_size`` examples go through the network at once, ``accumulate`` times per optimizer step; ``auto`` is once,
    and splits the batch in two when memory runs out. ``noise_every``: the gradient noise scale is measured every so
    many steps (0: never). ``run_numbers`` keep the run's config and weights in the experiment's own folder: ``auto``
    for runs started by hand, and where the batch size is tuned, reused or accumulated.
    """

    output_dir: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")] = "auto"
    threads: Positive = 1
    deterministic: bool = False
    epochs: Positive = 1
    batch_size: Positive = 64
    accumulate: Annotated[int | str, BeforeValidator(_check_accumulate)] = 1
    drop_last: bool = False
    noise_every: Annotated[int, Field(ge=0)] = 0
    run_numbers: Literal["auto", "always", "never"] = "auto"
    gradient_clip: Annotated[float, Field(gt=0.0)] | None = None
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    learner: LearnerConfig = LearnerConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    training: ModeConfig = ModeConfig()
    batch_size_config: BatchSizeConfig = BatchSizeConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    wandb: WandbConfig = WandbConfig()
    tensorboard: bool = False
