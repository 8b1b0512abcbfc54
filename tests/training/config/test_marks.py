"""What each key says of itself, and that checkpoints and tuned sizes are known again by exactly that."""

from __future__ import annotations

from typing import Any

import pytest

from sweepline.training.batchsize.policy import tuning_key
from sweepline.training.config.identity import asked_identity, result_identity
from sweepline.training.config.loading import known_keys, load_config
from sweepline.training.config.schema import TrainConfig
from sweepline.training.settings import keys_of, mark_of

N_EXAMPLES = 1000
FIELDS = dict(keys_of(TrainConfig))
EVALUATED = ("evaluate.every=1", "data.valid_fraction=0.1")
# For each key a value that is not its default; keys that need another beside them have it before a bar.
OTHERS = {
    "output_dir": "/elsewhere",
    "seed": 1,
    "device": "cpu",
    "threads": 2,
    "deterministic": "true",
    "epochs": 2,
    "batch_size": 32,
    "accumulate": 2,
    "drop_last": "true",
    "noise_every": 3,
    "run_numbers": "always",
    "gradient_clip": 1.0,
    "data.name": "digits",
    "data.root": "/data",
    "data.skip": 20,
    "data.limit": 50,
    "data.valid_fraction": 0.2,
    "model.name": "simple_cnn",
    "model.width": 8,
    "model.weights": "/nowhere",
    "learner.opt": "adam",
    "learner.step_size": 0.1,
    "learner.weight_decay": 0.1,
    "learner.momentum": 0.9,
    "learner.beta1": "learner.beta2=0.9|0.8",
    "learner.beta2": "learner.beta1=0.9|0.8",
    "learner.eps": 1e-6,
    "evaluate.every": 1,
    "evaluate.split": "valid",
    "evaluate.batch_size": 50,
    "training.mode": "normal",
    "training.use_knowledge_distillation": "false",
    "batch_size_config.default_batch_size": 32,
    "batch_size_config.tuned_batch_size": 32,
    "batch_size_config.safety_factor": 0.8,
    "batch_size_config.optimize_batch_size": "once",
    "batch_size_config.batch_size_mode": "power",
    "batch_size_config.max_batch_size_trials": 5,
    "batch_size_config.max_batch_size": 100,
    "batch_size_config.curriculum_safety_factor": 0.9,
    "batch_size_config.kd_safety_factor": 0.9,
    "batch_size_config.fusion_batch_size": 8,
    "batch_size_config.granularity": 8,
    "batch_size_config.steps_per_probe": 5,
    "batch_size_config.probe_timeout_s": 5,
    "batch_size_config.tuning_timeout_s": 5,
    "batch_size_config.memory_budget_gib": 0.5,
    "batch_size_config.target_batch_size": 128,
    "batch_size_config.lr_rule": "batch_size_config.reference_batch_size=32|linear",
    "batch_size_config.reference_batch_size": "batch_size_config.lr_rule=linear|16",
    "batch_size_config.critical_batch_size": 40,
    "checkpoint.enabled": "false",
    "checkpoint.interval_s": 1,
    "checkpoint.keep": 5,
    "checkpoint.best": "false",
    "precision": "bf16-mixed",
    "schedule.name": "cosine",
    "schedule.unit": "step",
    "schedule.every": 2,
    "schedule.gamma": 0.5,
    "schedule.T_max": 5,
    "schedule.T_0": 6,
    "schedule.T_mult": 2,
    "schedule.eta_min": 1e-6,
    "schedule.warmup_steps": 10,
    "early_stopping.monitor": "epoch_loss",
    "early_stopping.mode": "min",
    "early_stopping.patience": 7,
    "early_stopping.min_delta": 0.1,
    "evaluate.final_test": "evaluate.split=valid|last",
    "stop_diverged": "true",
    "batch_size_config.data_safety_factors": "{mnist: 0.6}",
    "data.args": "{n: 3}",
    "model.depth": 4,
    "model.heads": 2,
    "model.patch": 2,
    "model.latent": 8,
    "model.parametrization": "mup",
    "model.gamma": 0.5,
    "model.args": "model.name=mine.py:Net|{hidden: 3}",
    "learner.args": "{nesterov: true}",
    "training.loss": "mse_one_hot",
    "training.centered": "true",
    "training.teacher": "outputs/teacher",
    "training.temperature": 2.0,
    "training.alpha": 0.5,
    "training.feature_weight": 0.1,
    "training.difficulty": "outputs/scorer",
    "training.start_share": 0.5,
    "training.grow_epochs": 3,
    "training.experts": "[a, b]",
    "training.n_weights": 5,
    "training.feedback": "taken",
    "training.epsilon": 0.2,
    "training.args": "training.mode=mine.py:Mode|{k: 3}",
    "wandb.project": "p",
    "wandb.group": "g",
    "wandb.name": "n",
    "wandb.tags": "[a]",
    "wandb.mode": "offline",
    "tensorboard": "true",
}
UNCHANGEABLE = {"model.name", "training.mode", "training.use_knowledge_distillation"}  # there is but one that trains
OTHERWISE_TOLD = {"device"}  # by the name of the device that it has come to
STEP_RULE = ("batch_size_config.lr_rule=linear", "batch_size_config.reference_batch_size=32")


def both(name: str) -> tuple[TrainConfig, TrainConfig]:
    """Return two configs that differ in this key alone, at a place where it can matter."""
    beside, _, value = str(OTHERS[name]).rpartition("|")
    base = [*EVALUATED, *([beside] if beside and not name.startswith("learner.beta") else [])]
    if name == "batch_size_config.reference_batch_size":
        base = [*EVALUATED, *STEP_RULE]
    if name == "batch_size_config.critical_batch_size":
        base = [*EVALUATED, *STEP_RULE]
    if name == "evaluate.every":
        base = ["data.valid_fraction=0.1"]
    others = [beside] if beside and name.startswith("learner.beta") else []
    return load_config(None, base), load_config(None, [*base, *others, f"{name}={value}"])


def test_every_key_is_looked_at_here() -> None:
    assert set(OTHERS) == set(known_keys())


@pytest.mark.parametrize("name", FIELDS)
def test_every_key_is_described_and_tells_what_it_affects(name: str) -> None:
    assert (FIELDS[name].description or "").endswith(".")
    assert mark_of(FIELDS[name], "affects") in ("result", "memory", "nothing")


@pytest.mark.parametrize("name", FIELDS)
def test_a_description_and_its_mark_stand_in_the_json_schema(name: str) -> None:
    schema: Any = TrainConfig.model_json_schema()
    definitions = schema["$defs"]
    *section, key = name.split(".")
    for part in section:
        schema = definitions[schema["properties"][part].get("$ref", "").rpartition("/")[2]]
    told = schema["properties"][key]
    assert told["description"] == FIELDS[name].description
    assert told["affects"] == mark_of(FIELDS[name], "affects")


@pytest.mark.parametrize("name", sorted(set(FIELDS) - UNCHANGEABLE))
def test_another_run_is_asked_for_unless_the_key_affects_nothing(name: str) -> None:
    one, other = both(name)
    is_same = asked_identity(one) == asked_identity(other)
    assert is_same == (mark_of(FIELDS[name], "affects") == "nothing")


@pytest.mark.parametrize("name", sorted(set(FIELDS) - UNCHANGEABLE))
def test_a_checkpoint_is_of_another_run_where_the_key_affects_results(name: str) -> None:
    one, other = both(name)
    is_same = result_identity(one, N_EXAMPLES) == result_identity(other, N_EXAMPLES)
    assert is_same == (mark_of(FIELDS[name], "affects") != "result")


@pytest.mark.parametrize("name", sorted(set(FIELDS) - UNCHANGEABLE - OTHERWISE_TOLD))
def test_a_tuned_size_is_of_another_set_up_where_the_key_is_marked_with_memory(name: str) -> None:
    one, other = both(name)
    is_same = tuning_key(one, "cpu") == tuning_key(other, "cpu")
    assert is_same == (mark_of(FIELDS[name], "memory") is None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("learner.momentum=0.5", "learner.momentum=0.9"),
        ("gradient_clip=1.0", "gradient_clip=2.0"),
        ("noise_every=3", "noise_every=9"),
        ("accumulate=2", "accumulate=9"),
        ("learner.opt=adam", "learner.opt=Adam"),
    ],
)
def test_of_some_keys_only_whether_they_are_set_needs_memory(one: str, other: str) -> None:
    assert tuning_key(load_config(None, [one]), "cpu") == tuning_key(load_config(None, [other]), "cpu")
