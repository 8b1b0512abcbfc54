"""What is refused in a config, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.errors import ConfigError
from sweepline.training.config.loading import known_keys, load_config


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def faults_of(path: Path | None, *overrides: str) -> tuple[str, ...]:
    """Return the faults that refuse a config."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return caught.value.faults


# What is refused, and in which words


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [
        ("learner.stepsize", "learner.step_size"),
        ("step_size", "learner.step_size"),
        ("learner.momemtum", "learner.momentum"),
        ("batchsize", "batch_size"),
        ("data.fraction_valid", "data.valid_fraction"),
        ("wandb.projekt", "wandb.project"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(unknown: str, nearest: str) -> None:
    faults = faults_of(None, f"{unknown}=1")
    assert faults == (f"override {unknown}=1: unknown key '{unknown}'; did you mean '{nearest}'?",)


def test_an_unknown_key_that_resembles_none_lists_the_known_ones() -> None:
    (fault,) = faults_of(None, "zzz=1")
    assert fault.endswith(f"unknown key 'zzz'; there are {', '.join(known_keys())}")


def test_an_unknown_key_of_a_file_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", "learner: {stepsize: 0.1}\n")
    (fault,) = faults_of(path)
    assert fault.endswith("config.yaml: unknown key 'learner.stepsize'; did you mean 'learner.step_size'?")


def test_a_fault_in_a_base_names_the_base(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "learner: {stepsize: 0.1}\n")
    path = write(tmp_path / "config.yaml", "base: base.yaml\nepochs: 2\n")
    (fault,) = faults_of(path)
    assert "base.yaml: unknown key 'learner.stepsize'" in fault


@pytest.mark.parametrize("override", ["learner.opt.name=adam", "seed.first=3"])
def test_an_override_below_a_plain_value_is_refused_and_named(override: str) -> None:
    (fault,) = faults_of(None, override)
    assert fault.startswith(f"override {override}: ")


@pytest.mark.parametrize(
    "override",
    [
        "epochs=many",
        "epochs=1.5",
        "epochs=true",
        "epochs='3'",
        "batch_size=null",
        "seed=[1, 2]",
        "learner.step_size=fast",
        "learner.step_size=true",
        "learner.step_size='0.1'",
        "learner.opt=3",
        "learner=adam",
        "data.root=3",
        "tensorboard=maybe",
        "tensorboard='true'",
        "wandb.tags=mnist",
    ],
)
def test_a_value_of_another_type_is_refused_and_the_override_named(override: str) -> None:
    (fault,) = faults_of(None, override)
    assert fault.startswith(f"override {override}: {override.partition('=')[0]} ")


@pytest.mark.parametrize(
    "override",
    [
        "epochs=0",
        "batch_size=0",
        "threads=0",
        "seed=-1",
        "seed=9223372036854775808",
        "gradient_clip=0",
        "learner.step_size=0.0",
        "learner.step_size=-0.1",
        "learner.step_size=.nan",
        "learner.step_size=.inf",
        "learner.momentum=1.0",
        "learner.weight_decay=-1e-9",
        "learner.eps=0",
        "data.limit=0",
        "data.skip=-1",
        "data.valid_fraction=1.0",
        "data.valid_fraction=-0.1",
        "evaluate.every=-1",
        "evaluate.split=train",
        "wandb.mode=maybe",
        "device=gpu",
        "device=cuda:x",
    ],
)
def test_a_value_out_of_range_is_refused_and_the_override_named(override: str) -> None:
    (fault,) = faults_of(None, override)
    assert fault.startswith(f"override {override}: {override.partition('=')[0]} should be ")


def test_a_value_out_of_range_is_told() -> None:
    (fault,) = faults_of(None, "epochs=-7")
    assert fault.endswith("got -7")


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_a_device_as_torch_writes_it_is_accepted(device: str) -> None:
    assert load_config(None, [f"device={device}"]).device == device


def test_evaluating_a_held_out_part_needs_one() -> None:
    (fault,) = faults_of(None, "evaluate.every=1", "evaluate.split=valid")
    assert "data.valid_fraction is 0" in fault


@pytest.mark.parametrize("beta", ["beta1", "beta2"])
def test_one_beta_without_the_other_is_refused(beta: str) -> None:
    (fault,) = faults_of(None, f"learner.{beta}=0.9")
    assert "set both or neither" in fault


def test_all_unknown_keys_and_bad_values_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", "epoch: 3\nlearner: {stepsize: 0.1, momentum: 2.0}\n")
    faults = faults_of(path, "batch_size=0")
    assert len(faults) == 4


def test_a_wrong_optimizer_is_told_together_with_a_bad_value() -> None:
    faults = faults_of(None, "learner.opt=adma", "epochs=0")
    assert len(faults) == 2


def test_two_overrides_without_a_value_are_told_at_once() -> None:
    faults = faults_of(None, "epochs", "seed")
    assert len(faults) == 2


# What a file contradicts itself in


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("seed: 1\nseed: 2\n", "config.yaml:2: seed is given twice; keep one of them"),
        ("learner: {opt: sgd, opt: adam}\n", "config.yaml:1: learner.opt is given twice; keep one of them"),
        ("learner: {opt: sgd}\nlearner.opt: adam\n", "config.yaml: learner.opt is given twice; keep one of them"),
        ("learner: {opt: sgd}\nlearner: {step_size: 0.1}\n", "config.yaml:2: learner is given twice"),
        ("learner: 3\nlearner.opt: adam\n", "config.yaml: learner is given twice"),
        ("learner: {lr: 0.1}\n", "config.yaml: unknown key 'learner.lr'; did you mean 'learner.step_size'?"),
        ("learning_rate: 0.1\n", "config.yaml: unknown key 'learning_rate'; did you mean 'learner.step_size'?"),
        ("gradient_clip: None\n", "got 'None'; for no value write null"),
        ("data: {limit: none}\n", "got 'none'; for no value write null"),
        (
            "batch_size: 128\nbatch_size_config: {default_batch_size: 32}\n",
            "config.yaml: batch_size 128 is ignored, batch_size_config.default_batch_size 32 decides; keep one of them",
        ),
        ("batch_size_config: {tuned_batch_size: 32}\nbatch_size: 128\n", "tuned_batch_size 32 decides"),
        ("base: base.yaml\nbatch_size: 128\n", "batch_size 128 is ignored, batch_size_config.tuned_batch_size 16"),
    ],
)
def test_what_a_file_says_twice_or_in_vain_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "base.yaml").write_text("batch_size: 16\nbatch_size_config: {tuned_batch_size: 16}\n")
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "config.yaml")
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("batch_size: 64\n", ["batch_size_config.tuned_batch_size=32"]),
        ("batch_size: 64\nbatch_size_config: {optimize_batch_size: true}\n", []),
        ("batch_size: 32\nbatch_size_config: {default_batch_size: 32}\n", []),
        ("base: plain.yaml\nbatch_size_config: {default_batch_size: 32}\n", []),
        ("batch_size: 400\nbatch_size_config: {tuned_batch_size: 5000}\n_run_batch_size: 400\n", []),
    ],
)
def test_a_size_that_is_where_a_search_begins_or_that_another_file_has_set_is_no_contradiction(
    tmp_path: Path, text: str, overrides: list[str]
) -> None:
    (tmp_path / "plain.yaml").write_text("batch_size: 64\n")
    (tmp_path / "config.yaml").write_text(text)
    assert load_config(tmp_path / "config.yaml", overrides).batch_size_config.is_deciding or text == "batch_size: 64\n"
