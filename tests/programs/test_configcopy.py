"""The config file of another program, with the values of a run in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweepline.errors import ConfigError
from sweepline.programs.configcopy import ConfigTemplate, read_template

TEXT = """
seed: 0
optimizer: {name: adam, lr: 1e-3, betas: [0.9, 0.999]}
extra: null
a.b: 1
"""


@pytest.fixture
def template(tmp_path: Path) -> ConfigTemplate:
    (tmp_path / "c.yaml").write_text(TEXT)
    return read_template(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ({"optimizer.lr": 1e-5}, {"optimizer": {"name": "adam", "lr": 1e-5, "betas": [0.9, 0.999]}}),
        ({"optimizer": {"lr": 0.1}}, {"optimizer": {"name": "adam", "lr": 0.1, "betas": [0.9, 0.999]}}),
        ({"optimizer.betas": [0.5, 0.9]}, {"optimizer": {"name": "adam", "lr": "1e-3", "betas": [0.5, 0.9]}}),
        ({"a.b": 2}, {"a.b": 2}),
        ({"extra.deep.x": True}, {"extra": {"deep": {"x": True}}}),
        ({"new.x": "yes"}, {"new": {"x": "yes"}}),
        ({"seed": None}, {"seed": None}),
    ],
)
@pytest.mark.parametrize("in_one_line", [False, True])
def test_a_copy_differs_in_what_was_set_alone(
    template: ConfigTemplate, arguments: dict[str, Any], changed: dict[str, Any], in_one_line: bool
) -> None:
    text = template.write(arguments, in_one_line=in_one_line)
    assert yaml.safe_load(text) == yaml.safe_load(TEXT) | changed
    assert ("\n" in text) != in_one_line


def test_the_copy_of_a_json_file_is_json(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"model": {"width": 8}, "lr": 0.1}')
    template = read_template(tmp_path / "c.json")
    assert template.file_name == "run_config.json"
    assert json.loads(template.write({"model.width": 16})) == {"model": {"width": 16}, "lr": 0.1}


def test_names_that_the_file_does_not_have_are_found(template: ConfigTemplate) -> None:
    names = ["optimizer.lr", "optimizer.momentum", "a.b", "seed", "width"]
    assert list(template.unknown(names)) == ["optimizer.momentum", "width"]


def test_a_value_below_one_that_is_no_mapping_is_refused(template: ConfigTemplate) -> None:
    with pytest.raises(ConfigError, match=r"seed\.x cannot be set, as seed is 0 and no mapping"):
        template.write({"seed.x": 1})


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("c.toml", "x = 1", "not of '.toml'"),
        ("c.yaml", "[1, 2]", "must hold a mapping of names to values, got list"),
        ("c.yaml", "", "must hold a mapping of names to values, got NoneType"),
        ("c.json", "{", "cannot be read"),
        ("c.yaml", "x: !!python/object:os.system 1", "cannot be read"),
    ],
)
def test_a_file_of_which_no_copy_can_be_made_is_refused(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        read_template(tmp_path / name)
