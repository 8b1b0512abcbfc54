"""The config of one run: typed, every unknown key refused, inherited through ``base``, overridden by dotted names.

Reading a config needs no torch, so that a typing error costs a tenth of a second.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sweepline.errors import ConfigError, did_you_mean
from sweepline.values import display_path, flatten, parse_override, read_yaml

BASE_KEY = "base"
OVERRIDE = "override "
MAX_BASES = 20
MOVED_KEYS = {"training.optimize_batch_size": "batch_size_config.optimize_batch_size"}
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


def load_config(path: Path | None, overrides: Sequence[str] = (), *, notes: list[str] | None = None) -> TrainConfig:
    """Return the config of a file and its bases, with ``key=value`` overrides on top.

    ``notes`` takes what is worth saying about it.

    Raises:
        ConfigError: with every fault found: unknown keys with the nearest known one, wrong types, values out of range.
    """
    tree, origin = _read_with_bases(path) if path is not None else ({}, {})
    label = display_path(path) if path is not None else "config"
    return check_config(tree, origin, overrides, label=label, notes=notes)


def check_config(
    tree: dict[str, Any],
    origin: dict[str, str],
    overrides: Sequence[str] = (),
    *,
    label: str,
    notes: list[str] | None = None,
) -> TrainConfig:
    """Return the config of a tree of values, with ``key=value`` overrides on top.

    ``origin`` says of dotted keys where they are from; ``label`` stands for what it does not know.

    Raises:
        ConfigError: with every fault found.
    """
    faults: list[str] = []
    for text in overrides:
        try:
            key, value = parse_override(text)
        except ConfigError as error:
            faults += error.faults
            continue
        for name, leaf in flatten({key: value}).items():  # a mapping changes what it names, no more
            _set_dotted(tree, name, leaf)
            origin[name] = f"{OVERRIDE}{text}"
    moved = [_move_key(tree, origin, old, new, label) for old, new in MOVED_KEYS.items()]
    if notes is not None:
        notes += [note for note in moved if note]
    try:
        config = TrainConfig.model_validate(tree)
        faults += _check_together(config, label, origin)
    except ValidationError as error:
        faults += [_sentence(detail, label, origin) for detail in error.errors()]
    if faults:
        raise ConfigError(*dict.fromkeys(faults))
    return config


def known_keys(model: type[BaseModel] = TrainConfig, prefix: str = "") -> list[str]:
    """Return every key by dotted name."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            keys += known_keys(section, f"{prefix}{name}.")
        else:
            keys.append(f"{prefix}{name}")
    return keys


def _read_with_bases(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a config file merged over the file it names in ``base``, and so on; and which file each key is from."""
    layers: list[tuple[str, dict[str, Any]]] = []
    seen: list[Path] = []
    current: Path | None = path
    while current is not None:
        resolved = current.resolve()
        if resolved in seen or len(seen) >= MAX_BASES:
            raise ConfigError(f"{display_path(path)}: base: inherits from itself through {display_path(current)}")
        seen.append(resolved)
        document = read_yaml(current)
        value = {} if document.value is None else document.value
        if not isinstance(value, dict):
            raise ConfigError(f"{document.path}:1: a config is a mapping of keys, got {type(value).__name__}")
        base = value.pop(BASE_KEY, None)
        if base is not None and not isinstance(base, str):
            raise ConfigError(f"{document.where((BASE_KEY,))}: base must be a file name, got {base!r}")
        layers.append((document.path, _nested(value)))
        current = current.parent / base if base else None
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for label, layer in reversed(layers):
        for key, value in flatten(layer).items():
            if value == {}:
                continue  # an empty section says nothing
            _set_dotted(merged, key, value)
            origin[key] = label
    return merged, origin


def _nested(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a tree whose dotted keys have become levels."""
    nested: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            for name, leaf in flatten(value, f"{key}.").items():
                _set_dotted(nested, name, leaf)
        else:
            _set_dotted(nested, str(key), value)
    return nested


def _set_dotted(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    node = tree
    for parent in parents:
        child = node.get(parent)
        if not isinstance(child, dict):
            child = node[parent] = {}
        node = child
    node[last] = value


def _move_key(tree: dict[str, Any], origin: dict[str, str], old: str, new: str, label: str) -> str | None:
    """Take the value of a key that has moved to where it belongs now, unless one is there; return what to say."""
    section, _, name = old.partition(".")
    parent = tree.get(section)
    if not isinstance(parent, dict) or name not in parent:
        return None
    value, where = parent.pop(name), origin.pop(old, label)
    if new not in flatten(tree):
        _set_dotted(tree, new, value)
        origin[new] = where
    return f"{where}: {old} is now {new}"


def _sentence(detail: Any, label: str, origin: Mapping[str, str]) -> str:
    key = ".".join(str(part) for part in detail["loc"] if part != "function-after")
    where = _origin_of(key, origin, label)
    if detail["type"] == "extra_forbidden":
        leaves = (
            flatten(detail["input"], f"{key}.")
            if isinstance(detail["input"], Mapping) and detail["input"]
            else {key: 0}
        )
        name = next(iter(leaves))
        hint = did_you_mean(name, known_keys()) or f"; there are {', '.join(known_keys())}"
        return f"{where}: unknown key {name!r}{hint}"
    if detail["type"] == "value_error":
        return f"{where}: {str(detail['msg']).removeprefix('Value error, ')}"
    if key == "device":
        return f"{where}: device should be auto, cpu, cuda or cuda:N, got {detail.get('input')!r}"
    message = str(detail["msg"]).replace("Input should be", "should be")
    return f"{where}: {key} {message}, got {detail.get('input')!r}"


def _origin_of(key: str, origin: Mapping[str, str], label: str) -> str:
    """Return where a key's value came from, the latest source of the key, its parents or its children."""
    related = [text for name, text in origin.items() if f"{name}.".startswith(f"{key}.") or key.startswith(f"{name}.")]
    return related[-1] if related else label


def _check_together(config: TrainConfig, label: str, origin: Mapping[str, str]) -> list[str]:
    """Return what a single field cannot tell."""

    def where(key: str) -> str:
        return origin.get(key, label)

    faults = []
    if config.evaluate.every and config.evaluate.split == "valid" and config.data.valid_fraction == 0:
        faults.append(
            f"{where('evaluate.split')}: evaluate.split is valid, but data.valid_fraction is 0; set it, or use test"
        )
    sizes = config.batch_size_config
    names = ("optimize_batch_size", "tuned_batch_size", "default_batch_size")
    decides = next((name for name in names if getattr(sizes, name)), None)
    given = origin.get("batch_size", "")
    if decides and given.startswith(OVERRIDE):
        faults.append(
            f"{given}: batch_size_config.{decides} decides the batch size; to begin a search elsewhere set "
            "batch_size_config.default_batch_size instead"
        )
    if sizes.is_used and config.run_numbers == "never":
        faults.append(
            f"{where('run_numbers')}: run_numbers is never, but batch_size_config decides the batch size, which is "
            "recorded by number; use auto"
        )
    if sizes.lr_rule != "none" and sizes.reference_batch_size is None:
        faults.append(
            f"{where('batch_size_config.lr_rule')}: batch_size_config.lr_rule {sizes.lr_rule} scales from "
            "batch_size_config.reference_batch_size; set it to the size that learner.step_size was chosen for"
        )
    if sizes.target_batch_size is not None and config.accumulate not in (1, "auto"):
        faults.append(
            f"{where('accumulate')}: accumulate follows from batch_size_config.target_batch_size; set only one of them"
        )
    if config.training.mode != "normal" or config.training.use_knowledge_distillation:
        key = "mode" if config.training.mode != "normal" else "use_knowledge_distillation"
        faults.append(
            f"{where(f'training.{key}')}: training.{key} {getattr(config.training, key)} cannot be trained yet; "
            "there is training.mode normal"
        )
    if (config.learner.beta1 is None) != (config.learner.beta2 is None):
        faults.append(f"{where('learner.beta1')}: learner.beta1 and learner.beta2 come together; set both or neither")
    return faults


def data_root(config: TrainConfig) -> Path:
    """Return the folder of data sets: ``data.root``, else ``$SWEEPLINE_DATA``, else ``./data``."""
    return Path(config.data.root or os.environ.get("SWEEPLINE_DATA") or "data").expanduser()
