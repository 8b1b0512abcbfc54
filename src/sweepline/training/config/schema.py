"""Which keys a config has, of which types and ranges, and what each is for. Not how files and overrides become one.

What a key says of itself (``affects``, ``through``, ``memory``; see ``settings``) decides by which keys a checkpoint
and a tuned size are known again.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from sweepline.training import plugins
from sweepline.training.config.batchsizeschema import BatchSizeConfig
from sweepline.training.registry import DATASETS, MODELS, OPTIMIZERS, TASKS
from sweepline.training.settings import Factor, Fraction, Positive, Settings, key

Args = dict[str, Any]


def _check_accumulate(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"accumulate needs a whole number above zero, or auto; got {value!r}")


class DataConfig(Settings):
    """Which examples."""

    name: Annotated[str, AfterValidator(DATASETS.check)] = key(
        "mnist", "The data set.", memory="value", choices=DATASETS.names
    )
    root: str | None = key(None, "Folder of data sets; null: $SWEEPLINE_DATA, else ./data.", affects="nothing")
    skip: int = key(
        0,
        "Leave out so many examples at the beginning of the training portion, as networks have seen that are fused. At "
        "least 0.",
        memory="value",
        omit_default=True,
        ge=0,
    )
    limit: Positive | None = key(
        None, "Train on the first so many examples of the training portion; null: on all.", memory="value"
    )
    valid_fraction: Fraction = key(
        0.0,
        "Share of the training portion, from 0 to below 1, that is held out of it for evaluation.",
        memory="value",
    )
    args: Args = key(
        {}, "Arguments of poly_teacher, mlp_teacher, or a data set of one's own.", memory="value", omit_default=True
    )


class ModelConfig(Settings):
    """Which network, and the settings of all networks; each takes its own, null being its own default."""

    name: Annotated[str, AfterValidator(MODELS.check)] = key(
        "simple_cnn",
        f"The network: {', '.join(MODELS.names)}; or one of your own, as file.py:Name.",
        memory="value",
        choices=MODELS.names,
    )
    width: int = key(
        32,
        "simple_cnn, conv_autoencoder: filters of the first convolution, the second has twice as many; transformers: "
        "features; mlp, dqn: units of a hidden layer. At least 1.",
        memory="value",
        ge=1,
    )
    depth: Positive | None = key(
        None,
        "mlp: layers with weights (null: 3); transformers: blocks (2); dqn: layers (2).",
        memory="value",
        omit_default=True,
    )
    heads: Positive | None = key(
        None, "Transformers: heads of attention, which divide width (null: 4).", memory="value", omit_default=True
    )
    patch: Positive | None = key(
        None,
        "Transformers: pixels of a patch's side, which divide those of an image's (null: 4).",
        memory="value",
        omit_default=True,
    )
    latent: Positive | None = key(
        None, "conv_autoencoder: numbers that an image becomes (null: 16).", memory="value", omit_default=True
    )
    parametrization: Literal["standard", "sp", "mup"] = key(
        "standard",
        "mlp: standard (biases, as torch initializes), or of the scaling studies without biases: sp, mup.",
        memory="value",
        omit_default=True,
    )
    gamma: float = key(1.0, "mlp with sp or mup: richness, above 0; small is lazy.", omit_default=True, gt=0)
    args: Args = key({}, "Arguments of a network of one's own.", memory="value", omit_default=True)
    weights: str | None = key(
        None,
        "Go on from a network like this one that a run has trained (its best weights where it has kept them), with an "
        "optimizer that is fresh; null: draw one.",
        omit_default=True,
    )

    @property
    def size_word(self) -> str:
        """A word for the size of the network, for the names of folders and files."""
        settings = MODELS.settings_of(self.name, self)
        return settings.size_word if settings is not None else plugins.size_word(self.args)


class LearnerConfig(Settings):
    """Which optimizer. Fields left null take the optimizer's own default."""

    opt: Annotated[str, AfterValidator(OPTIMIZERS.check)] = key(
        "sgd", f"The optimizer: {', '.join(OPTIMIZERS.names)}; or another class of torch.optim.", memory="value"
    )
    step_size: float = key(
        0.01,
        "Learning rate, above 0, for steps of the reference size where lr_rule scales it.",
        through="step_size",
        gt=0,
    )
    weight_decay: float = key(0.0, "L2 penalty; decoupled where the optimizer has it so, as AdamW. At least 0.", ge=0)
    momentum: float = key(0.0, "Momentum, from 0 to below 1.", memory="whether", ge=0, lt=1)
    beta1: Fraction | None = key(None, "Decay rate of the mean of gradients, from 0 to below 1, as in Adam.")
    beta2: Fraction | None = key(None, "Decay rate of the mean of squared gradients, from 0 to below 1, as in Adam.")
    eps: Annotated[float, Field(gt=0.0)] | None = key(None, "Added to the denominator of adaptive optimizers; above 0.")
    args: Args = key({}, "Further arguments of the optimizer's class.", memory="value", omit_default=True)


class ScheduleConfig(Settings):
    """How the step size changes while training goes on; names as in torch.optim.lr_scheduler."""

    name: Literal["constant", "step", "cosine", "cosine_warm_restarts"] = key(
        "constant", "constant, step, cosine or cosine_warm_restarts.", omit_default=True
    )
    unit: Literal["epoch", "step"] = key(
        "epoch", "What T_max, T_0 and every count: epochs, or optimizer steps.", omit_default=True
    )
    every: Positive | None = key(None, "step: multiply by gamma after so many units.", omit_default=True)
    gamma: Factor = key(0.1, "step: the factor, above 0 and at most 1.", omit_default=True)
    T_max: Positive | None = key(
        None, "cosine: units until eta_min, where it stays; null: all epochs.", omit_default=True
    )
    T_0: Positive | None = key(None, "cosine_warm_restarts: units until the first restart.", omit_default=True)
    T_mult: Positive = key(1, "cosine_warm_restarts: factor by which each period is longer.", omit_default=True)
    eta_min: float = key(
        0.0, "cosine, cosine_warm_restarts: the lowest step size, at least 0.", omit_default=True, ge=0
    )
    warmup_steps: int = key(
        0,
        "Optimizer steps in which the step size grows linearly from near 0, with any schedule.",
        omit_default=True,
        ge=0,
    )

    @property
    def is_used(self) -> bool:
        """Whether the step size ever changes."""
        return self.name != "constant" or self.warmup_steps > 0

    @property
    def ignored(self) -> list[str]:
        """The keys that are set and mean nothing to this schedule."""
        taken = {"step": ("every", "gamma"), "cosine": ("T_max", "eta_min"), "constant": ()}
        own = taken.get(self.name, ("T_0", "T_mult", "eta_min"))
        others = ("every", "gamma", "T_max", "T_0", "T_mult", "eta_min")
        return [key for key in others if key not in own and getattr(self, key) != type(self).model_fields[key].default]

    @property
    def follows_epochs(self) -> bool:
        """Whether how many epochs there are decides the step sizes."""
        return self.name == "cosine" and self.T_max is None


class EarlyStoppingConfig(Settings):
    """Ending a run that no longer gets better."""

    monitor: str | None = key(
        None, "The metric that is watched, as valid_loss; null: nothing is stopped.", omit_default=True
    )
    mode: Literal["auto", "min", "max"] = key(
        "auto", "Whether less or more of it is better; auto: a loss is better low, an accuracy high.", omit_default=True
    )
    patience: Positive = key(
        5, "End after so many measurements in a row that were no better than the best.", omit_default=True
    )
    min_delta: float = key(0.0, "By how much, at least 0, a better one must be better.", omit_default=True, ge=0)


class EvaluateConfig(Settings):
    """Evaluation while training goes on."""

    every: int = key(0, "Evaluate after every so many epochs; 0: never.", memory="whether", ge=0)
    split: Literal["valid", "test"] = key(
        "test", "On the held-out part of the training portion (valid), or on the test portion.", memory="value"
    )
    batch_size: Positive = key(
        1000, "Examples at once in evaluation; that of training does not change it.", memory="value"
    )
    final_test: Literal["never", "last", "best"] = key(
        "never",
        "Evaluate the test portion once, when training has ended: with the last weights, or with the best.",
        omit_default=True,
    )


class CheckpointConfig(Settings):
    """Checkpoints for going on after a stop. A run that is asked to end (SIGTERM) saves one whatever its age."""

    enabled: bool = key(True, "Whether there are any.", affects="nothing")
    interval_s: float = key(
        30.0, "Seconds between two checkpoints, at least; 0: one after every epoch.", affects="nothing", ge=0
    )
    keep: int = key(2, "How many of the last are kept; at least 2, should one be damaged.", affects="nothing", ge=2)
    best: bool = key(
        True,
        "Keep the weights of the best epoch too, by early_stopping.monitor, else by valid_loss where that is measured.",
        affects="nothing",
    )


class WandbConfig(Settings):
    """Weights & Biases. WANDB_* variables win over project, group, name and tags."""

    project: str | None = key(None, "Project; null: $WANDB_PROJECT, else W&B's own default.", affects="nothing")
    group: str | None = key(None, "Group of runs.", affects="nothing")
    name: str | None = key(None, "Name of the run; null: W&B makes one up.", affects="nothing")
    tags: Annotated[tuple[str, ...], Field(strict=False)] = key((), "Tags of the run.", affects="nothing")
    mode: Literal["auto", "online", "offline", "disabled"] = key(
        "auto", "auto: online with a key, else offline.", affects="nothing"
    )


class ModeConfig(Settings):
    """What is trained, and whether a teacher helps. A trained network is a run's folder, or its weights by number."""

    mode: Annotated[str, AfterValidator(TASKS.check)] = key(
        "normal",
        "normal: classes, or numbers where the data set has such; autoencoder: inputs from their codes; curriculum: "
        "easy examples first; fusion: how to weigh two trained networks; or one of your own, as file.py:Name.",
        memory="value",
        choices=TASKS.names,
    )
    loss: Literal["auto", "cross_entropy", "mse", "mse_one_hot"] = key(
        "auto",
        "auto: cross_entropy for classes, mse for numbers; mse_one_hot: of scores less their mean against the class.",
        omit_default=True,
    )
    centered: bool = key(
        False,
        "Train what the network computes beyond what it did when it was new.",
        memory="value",
        omit_default=True,
    )
    use_knowledge_distillation: bool = key(False, "Whether a teacher network helps.", memory="value")
    teacher: str | None = key(
        None, "The trained network that is learned from, in distillation.", memory="value", omit_default=True
    )
    temperature: float = key(
        4.0, "Distillation: by which scores of teacher and student are divided; above 0.", omit_default=True, gt=0
    )
    alpha: float = key(
        0.7, "Distillation: share of the teacher in the loss, from 0 to 1.", omit_default=True, ge=0, le=1
    )
    feature_weight: float = key(
        0.0,
        "Distillation: weight of the difference between the teacher's last features and a projection of the "
        "student's; 0: no projection.",
        memory="whether",
        omit_default=True,
        ge=0,
    )
    difficulty: str | None = key(
        None,
        "Curriculum: the trained network whose loss tells how hard an example is.",
        memory="value",
        omit_default=True,
    )
    start_share: float = key(
        0.3,
        "Curriculum: share of the examples, the easiest, in the first epoch; above 0.",
        omit_default=True,
        gt=0,
        le=1,
    )
    grow_epochs: Positive | None = key(
        None, "Curriculum: the epoch from which on all are used; null: after half of them.", omit_default=True
    )
    experts: Annotated[tuple[str, ...], Field(strict=False)] = key(
        (), "Fusion: the two trained networks.", memory="value", omit_default=True
    )
    n_weights: int = key(
        11, "Fusion: how many weights, from 0 to 1, there are to choose from; at least 2.", omit_default=True, ge=2
    )
    feedback: Literal["all", "taken"] = key(
        "all",
        "Fusion: learn from what each weight would have come to, or from the one that was taken alone (a bandit).",
        omit_default=True,
    )
    epsilon: float = key(
        0.1, "Fusion with feedback taken: share of weights that are taken at random.", omit_default=True, ge=0, le=1
    )
    args: Args = key({}, "Arguments of a mode of one's own.", memory="value", omit_default=True)


class TrainConfig(Settings):
    """Everything that decides one run."""

    output_dir: str | None = key(
        None, "Folder of outputs; null: outputs/ beside the config file's folder.", affects="nothing"
    )
    seed: int = key(0, "Seed of the weights and of the order of examples, from 0 to 2**63 - 1.", ge=0, lt=2**63)
    device: str = key(
        "auto",
        "auto (a GPU where there is one), cpu, cuda, cuda:N or mps.",
        memory="value",
        pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$",
    )
    threads: Positive = key(1, "Threads of torch on a CPU; sums depend on how many.", memory="value")
    deterministic: bool = key(
        False, "Use only what gives the same bits each time, also on a GPU; slower.", memory="value"
    )
    precision: Literal[32, "16-mixed", "bf16-mixed"] = key(
        32,
        "32, or mixed: layers compute in half precision, weights stay in single; 16-mixed needs a GPU.",
        memory="value",
        omit_default=True,
    )
    epochs: Positive = key(
        1, "Passes over the training examples; more of them continue the same run.", affects="nothing"
    )
    batch_size: Positive = key(64, "Examples that go through the network at once.")
    accumulate: Annotated[int | str, BeforeValidator(_check_accumulate)] = key(
        1,
        "Batches per optimizer step, at least 1; auto: one, in two halves once memory runs out.",
        memory="whether",
    )
    drop_last: bool = key(False, "Leave out the last batch of an epoch where it is smaller.", memory="value")
    noise_every: int = key(
        0, "Measure the gradient noise scale every so many optimizer steps; 0: never.", memory="whether", ge=0
    )
    run_numbers: Literal["auto", "always", "never"] = key(
        "auto",
        "Keep the run's config and weights in the experiment's folder under a number; "
        "auto: of runs started by hand, and where batch_size_config decides the size.",
        affects="nothing",
    )
    stop_diverged: bool = key(
        False,
        "End the run with the first epoch whose loss is no number; the metric diverged is 1 then, and after an epoch "
        "whose loss is above twice that of the new network.",
        omit_default=True,
    )
    gradient_clip: Annotated[float, Field(gt=0.0)] | None = key(
        None, "Largest norm, above 0, of the gradient of all parameters together; null: as it is.", memory="whether"
    )
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    learner: LearnerConfig = LearnerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    training: ModeConfig = ModeConfig()
    batch_size_config: BatchSizeConfig = BatchSizeConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    wandb: WandbConfig = WandbConfig()
    tensorboard: bool = key(False, "Write TensorBoard files into the run's folder.", affects="nothing")
