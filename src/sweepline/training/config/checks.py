"""What is wrong with a config, in sentences: keys and values that cannot be, and what cannot be together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweepline.contract.values import flatten
from sweepline.errors import did_you_mean
from sweepline.training.config.monitor import is_low_better, monitor_of
from sweepline.training.models.settings import SCALED_OPTIMIZERS, MlpSettings, no_hidden_layer, no_scaling_rule
from sweepline.training.registry import MODELS, TASKS

if TYPE_CHECKING:
    from sweepline.training.config.schema import TrainConfig

OVERRIDE = "override "
# What other programs call it; did_you_mean looks at spelling alone.
_OTHER_NAMES = {
    "lr": "learner.step_size",
    "learning_rate": "learner.step_size",
    "eta": "learner.step_size",
    "optimizer": "learner.opt",
    "optim": "learner.opt",
    "wd": "learner.weight_decay",
    "betas": "learner.beta1",
    "clip": "gradient_clip",
    "grad_clip": "gradient_clip",
    "bs": "batch_size",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "dataset": "data.name",
    "num_threads": "threads",
}
_TRAINED = "what a run has trained: its folder, or its weights in models/"
_NEEDS_TEACHER = f"needs training.teacher, {_TRAINED}"
_NO_VALUE = ("none", "nil", "undefined", "~", "")


def describe_fault(detail: Any, label: str, origin: Mapping[str, str], known: Sequence[str]) -> str:
    """Return what pydantic found as a sentence that says where; ``known`` are all keys."""
    key = ".".join(str(part) for part in detail["loc"] if part != "function-after")
    where = _origin_of(key, origin, label)
    if detail["type"] == "extra_forbidden":
        leaves = (
            flatten(detail["input"], f"{key}.")
            if isinstance(detail["input"], Mapping) and detail["input"]
            else {key: 0}
        )
        name = next(iter(leaves))
        meant = _OTHER_NAMES.get(name.rpartition(".")[2])
        hint = f"; did you mean {meant!r}?" if meant else did_you_mean(name, known) or f"; there are {', '.join(known)}"
        return f"{where}: unknown key {name!r}{hint}"
    if detail["type"] == "value_error":
        return f"{where}: {str(detail['msg']).removeprefix('Value error, ')}"
    if key == "device":
        return f"{where}: device should be auto, cpu, cuda, cuda:N or mps, got {detail.get('input')!r}"
    message = str(detail["msg"]).replace("Input should be", "should be")
    given = detail.get("input")
    hint = "; for no value write null" if isinstance(given, str) and given.lower() in _NO_VALUE else ""
    return f"{where}: {key} {message}, got {given!r}{hint}"


def _origin_of(key: str, origin: Mapping[str, str], label: str) -> str:
    """Return where a key's value came from, the latest source of the key, its parents or its children."""
    related = [text for name, text in origin.items() if f"{name}.".startswith(f"{key}.") or key.startswith(f"{name}.")]
    return related[-1] if related else label


def _ignored_size(config: TrainConfig, origin: Mapping[str, str]) -> str | None:
    """Return which key a ``batch_size`` in a file gives way to, though no later file or override has set that key."""
    sizes = config.batch_size_config
    decides = next((name for name in ("tuned_batch_size", "default_batch_size") if getattr(sizes, name)), None)
    key = f"batch_size_config.{decides}"
    if decides is None or "batch_size" not in origin or key not in origin:
        return None
    places = list(origin)
    is_later = origin["batch_size"] == origin[key] or places.index("batch_size") > places.index(key)
    return decides if is_later and config.batch_size != getattr(sizes, decides) else None


def check_together(config: TrainConfig, label: str, origin: Mapping[str, str]) -> list[str]:
    """Return what is wrong with keys that are right each by itself."""

    def where(key: str) -> str:
        return origin.get(key, label)

    faults = []
    if config.evaluate.every and config.evaluate.split == "valid" and config.data.valid_fraction == 0:
        faults.append(
            f"{where('evaluate.split')}: evaluate.split is valid, but data.valid_fraction is 0; set it, or use test"
        )
    sizes = config.batch_size_config
    decides = sizes.deciding_key
    given = origin.get("batch_size", "")
    if decides and given.startswith(OVERRIDE):
        faults.append(
            f"{given}: batch_size_config.{decides} decides the batch size; to begin a search elsewhere set "
            "batch_size_config.default_batch_size instead"
        )
    elif ignored := _ignored_size(config, origin):
        faults.append(
            f"{where('batch_size')}: batch_size {config.batch_size} is ignored, batch_size_config.{ignored} "
            f"{getattr(sizes, ignored)} decides; keep one of them"
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
    faults += [
        f"{where(key)}: {fault}"
        for key, fault in _mode_faults(config) + _schedule_faults(config) + _monitor_faults(config)
    ]
    if (config.learner.beta1 is None) != (config.learner.beta2 is None):
        faults.append(f"{where('learner.beta1')}: learner.beta1 and learner.beta2 come together; set both or neither")
    return faults


def _mode_faults(config: TrainConfig) -> list[tuple[str, str]]:
    """Return what cannot be trained, or measured while it is: the key, and the sentence."""
    faults: list[tuple[str, str]] = []
    own = config.training
    if own.use_knowledge_distillation and own.teacher is None:
        faults.append(("training.use_knowledge_distillation", f"training.use_knowledge_distillation: {_NEEDS_TEACHER}"))
    if own.use_knowledge_distillation and own.mode not in ("normal", "curriculum"):
        faults.append(("training.mode", f"training.mode {own.mode}: a teacher helps with normal and curriculum alone"))
    if own.mode == "curriculum" and own.difficulty is None:
        faults.append(("training.mode", f"training.mode curriculum: set training.difficulty to {_TRAINED}"))
    if own.mode == "fusion" and len(own.experts) != 2:
        faults.append(("training.mode", f"training.mode fusion: set training.experts to two, each {_TRAINED}"))
    faults += [(key, f"{key}: {sentence}") for key, sentence in _mismatches(config)]
    faults += _scaling_faults(config)
    if config.noise_every and config.precision == "16-mixed":
        faults.append(("noise_every", "noise_every measures gradients, which 16-mixed scales; use bf16-mixed or 32"))
    return faults


def _mismatches(config: TrainConfig) -> Iterator[tuple[str, str]]:
    """Yield which network cannot be trained in the mode, and which brought part has arguments that none takes."""
    name, mode = config.model.name, config.training.mode
    entry = MODELS.entry(name)
    if entry is not None and mode in TASKS and mode not in entry.modes:
        yield "model.name", f"{name} cannot be trained in the mode {mode}; use {models_for(mode)}"
    for key, section, is_ours in (
        ("model.args", config.model.args, entry is not None),
        ("training.args", config.training.args, mode in TASKS),
    ):
        if section and is_ours:
            yield key, "is for what you bring yourself; ours has keys of its own"


def _scaling_faults(config: TrainConfig) -> list[tuple[str, str]]:
    """Return what the scaling rules of an MLP do not hold for: the key, and the sentence."""
    settings = MODELS.settings_of(config.model.name, config.model) if config.model.name == "mlp" else None
    if not isinstance(settings, MlpSettings) or settings.parametrization == "standard":
        return []
    faults: list[tuple[str, str]] = []
    if settings.depth < 2:
        faults.append(("model.depth", no_hidden_layer(settings.depth)))
    if config.learner.opt.lower() not in SCALED_OPTIMIZERS:
        faults.append(("learner.opt", no_scaling_rule(settings.parametrization, config.learner.opt)))
    return faults


def models_for(mode: str) -> str:
    """Return the names of our networks that can be trained in a mode, for a sentence."""
    return " or ".join(name for name in MODELS.names if mode in getattr(MODELS.entry(name), "modes", ()))


def _schedule_faults(config: TrainConfig) -> list[tuple[str, str]]:
    """Return what a schedule lacks: the key, and the sentence."""
    schedule = config.schedule
    needed = {"step": "every", "cosine_warm_restarts": "T_0"}.get(schedule.name)
    if needed is None or getattr(schedule, needed) is not None:
        return []
    return [("schedule.name", f"schedule.name {schedule.name} needs schedule.{needed}, a number of {schedule.unit}s")]


def _monitor_faults(config: TrainConfig) -> list[tuple[str, str]]:
    """Return what is wrong with which epoch counts as the best: the key, and the sentence."""
    stopping, evaluate, key = config.early_stopping, config.evaluate, "early_stopping.monitor"
    faults: list[tuple[str, str]] = []
    portion, _, _ = (stopping.monitor or "").partition("_")
    measured = "epoch" if not evaluate.every else f"epoch or {evaluate.split}"
    if portion == "test":
        faults.append((key, f"{key} {stopping.monitor} makes the test examples a part of training; use valid_loss"))
    elif stopping.monitor is not None and portion not in measured.split(" or "):
        hint = " (set evaluate.every, evaluate.split: valid and data.valid_fraction)" if portion == "valid" else ""
        faults.append((key, f"{key} {stopping.monitor} is not measured: there is {measured}_loss{hint}"))
    elif stopping.monitor is not None and stopping.mode == "auto" and is_low_better(stopping.monitor) is None:
        faults.append((key, f"whether {stopping.monitor} is better low or high is not known; set early_stopping.mode"))
    if evaluate.final_test != "never" and evaluate.every and evaluate.split == "test":
        faults.append(
            (
                "evaluate.final_test",
                "evaluate.final_test: the test examples are evaluated in training already; set evaluate.split: valid",
            )
        )
    elif evaluate.final_test == "best" and monitor_of(config) is None:
        faults.append(
            (
                "evaluate.final_test",
                "evaluate.final_test best: nothing says which epoch is the best; set "
                "early_stopping.monitor, or evaluate.every with evaluate.split: valid",
            )
        )
    return faults
