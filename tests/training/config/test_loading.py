"""The config of one run: inheritance, overrides, and what is refused, in which words. No torch here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweepline.contract.values import flatten
from sweepline.errors import ConfigError
from sweepline.training.config.loading import load_config
from sweepline.training.config.schema import TrainConfig


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def value_of(config: TrainConfig, key: str) -> Any:
    return flatten(config.model_dump())[key]


def faults_of(path: Path | None, *overrides: str) -> tuple[str, ...]:
    """Return the faults that refuse a config."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return caught.value.faults


# Overrides


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("learner.step_size=1e-4", 1e-4),
        ("learner.step_size=1", 1.0),
        ("learner.momentum=-0.0", -0.0),
        ("epochs=12", 12),
        ("seed=9223372036854775807", 2**63 - 1),
        ("tensorboard=true", True),
        ("data.limit=null", None),
        ("data.root=a b", "a b"),
        ("data.root='1e-4'", "1e-4"),
        ('wandb.tags=["a b", c]', ("a b", "c")),
        ("learner.beta1=null", None),
    ],
)
def test_an_override_arrives_with_its_type(override: str, expected: object) -> None:
    config = load_config(None, [override])
    value = value_of(config, override.partition("=")[0])
    assert (type(value), repr(value)) == (type(expected), repr(expected))


def test_an_override_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", "learner: {opt: adam, step_size: 0.5}\n")
    config = load_config(path, ["learner.step_size=0.25"])
    assert config.learner.step_size == 0.25


def test_an_override_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", "learner: {opt: adam, step_size: 0.5}\n")
    config = load_config(path, ["learner.step_size=0.25"])
    assert config.learner.opt == "adam"


def test_the_last_of_two_overrides_of_a_key_wins() -> None:
    config = load_config(None, ["epochs=2", "epochs=3"])
    assert config.epochs == 3


@pytest.mark.parametrize("override", ["epochs", "=3", "", "--epochs"])
def test_an_override_without_key_and_value_is_refused(override: str) -> None:
    (fault,) = faults_of(None, override)
    assert "expected key=value" in fault


# Files and their bases


def test_dotted_keys_in_a_file_mean_the_same_as_levels(tmp_path: Path) -> None:
    dotted = write(tmp_path / "dotted.yaml", "learner.opt: adam\nlearner: {step_size: 0.5}\ndata.name: digits\n")
    nested = write(tmp_path / "nested.yaml", "learner: {opt: adam, step_size: 0.5}\ndata: {name: digits}\n")
    assert load_config(dotted) == load_config(nested)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", "")
    assert load_config(path) == TrainConfig()


def test_a_file_wins_over_its_base_key_by_key(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "epochs: 5\nlearner: {opt: adam, step_size: 0.5}\n")
    path = write(tmp_path / "config.yaml", "base: base.yaml\nlearner: {step_size: 0.25}\n")
    config = load_config(path)
    assert (config.epochs, config.learner.opt, config.learner.step_size) == (5, "adam", 0.25)


def test_an_empty_section_changes_nothing_of_the_base(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "learner: {opt: adam, step_size: 0.5}\n")
    path = write(tmp_path / "config.yaml", "base: base.yaml\nlearner: {}\n")
    assert load_config(path).learner.opt == "adam"


def test_a_base_is_read_again_at_every_load(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", "epochs: 5\n")
    path = write(tmp_path / "config.yaml", "base: base.yaml\n")
    load_config(path)
    write(base, "epochs: 6\n")
    assert load_config(path).epochs == 6


def test_bases_of_bases_are_inherited_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    write(tmp_path / "presets" / "root.yaml", "epochs: 5\nbatch_size: 5\nseed: 5\n")
    write(tmp_path / "presets" / "middle.yaml", "base: root.yaml\nbatch_size: 6\nseed: 6\n")
    path = write(tmp_path / "config.yaml", "base: presets/middle.yaml\nseed: 7\n")
    config = load_config(path)
    assert (config.epochs, config.batch_size, config.seed) == (5, 6, 7)


def test_a_base_that_leads_back_to_the_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "other.yaml", "base: config.yaml\n")
    path = write(tmp_path / "config.yaml", "base: other.yaml\n")
    (fault,) = faults_of(path)
    assert "config.yaml: base: inherits from itself" in fault


def test_a_base_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", "base: nowhere.yaml\n")
    (fault,) = faults_of(path)
    assert fault.endswith("nowhere.yaml: no such file")


def test_a_base_that_is_no_file_name_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", "epochs: 2\nbase: [a, b]\n")
    (fault,) = faults_of(path)
    assert fault.endswith("config.yaml:2: base must be a file name, got ['a', 'b']")


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", "- epochs\n")
    (fault,) = faults_of(path)
    assert fault.endswith("config.yaml:1: a config is a mapping of keys, got list")


# Cost


def test_reading_a_config_imports_no_torch(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", "learner: {opt: adam}\n")
    code = (
        "import sys, pathlib; import sweepline.training.commandline, sweepline.training.run; "
        "from sweepline.training.config.loading import load_config; "
        "load_config(pathlib.Path(sys.argv[1]), ['epochs=2']); print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
