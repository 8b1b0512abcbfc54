"""Frozen configs: all that decided a run, never changed once it has begun."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweepline.errors import ConfigError
from sweepline.training.config.loading import load_config
from sweepline.training.config.schema import TrainConfig
from sweepline.training.experiment.folder import frozen_path
from sweepline.training.experiment.frozen import freeze, load_frozen, propose
from sweepline.training.experiment.numbers import reserve_run_number


def test_a_frozen_config_holds_everything_and_loads_again(tmp_path: Path) -> None:
    config = load_config(None, ["learner.opt=adam", "seed=3", "wandb.tags=[a, b]"])
    path = freeze(config, tmp_path, 1)
    kept = json.loads(path.read_text())
    assert (kept["_frozen_config_version"], kept["_type"]) == ("1.0", "TrainConfig")
    assert "T" in kept["_frozen_at"]
    assert load_frozen(path) == config
    assert load_frozen(path, ["seed=123"]) == config.model_copy(update={"seed": 123})


def test_a_number_is_frozen_once(tmp_path: Path) -> None:
    path = freeze(load_config(None), tmp_path, 1)
    before = path.read_text()
    with pytest.raises(ConfigError, match="frozen already"):
        freeze(load_config(None, ["seed=5"]), tmp_path, 1)
    assert path.read_text() == before


def test_a_proposal_is_for_the_next_number_and_makes_way_for_its_run(tmp_path: Path) -> None:
    first = reserve_run_number(tmp_path)
    freeze(load_config(None), tmp_path, first)
    own = propose(load_config(None, ["seed=7"]), tmp_path, by=first, key="abc")
    path = frozen_path(tmp_path, 2)
    assert own.name == "proposed_abc.json"
    assert own.read_text() == path.read_text()
    assert path == frozen_path(tmp_path, 2)
    assert load_frozen(path).seed == 7
    other = propose(load_config(None, ["seed=8"]), tmp_path, by=first, key="def")
    assert load_frozen(own).seed == 7
    assert other.read_text() == path.read_text()
    assert load_frozen(path).seed == 8
    assert reserve_run_number(tmp_path) == 2
    assert freeze(load_config(None, ["seed=9"]), tmp_path, 2) == path
    assert load_frozen(path).seed == 9
    propose(load_config(None), tmp_path, by=first, key="abc")
    assert frozen_path(tmp_path, 3).exists()


def without(config: TrainConfig, *names: str) -> dict[str, object]:
    return {name: value for name, value in config.model_dump(mode="json").items() if name not in names}


def test_old_frozen_configs_load(tmp_path: Path) -> None:
    old = without(load_config(None, ["seed=4"]), "batch_size_config", "training")
    marks = {"_frozen_config_version": "1.0", "_type": "CANGraphConfig"}
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**marks, **old}))
    assert load_frozen(path) == load_config(None, ["seed=4"])
    moved = {"_type": "TrainingConfig", "mode": "normal", "optimize_batch_size": True}
    path.write_text(json.dumps({**marks, **old, "training": moved}))
    remarks: list[str] = []
    assert load_frozen(path, remarks=remarks).batch_size_config.optimize_batch_size is True
    assert len(remarks) == 1
    assert remarks[0].endswith("training.optimize_batch_size is now batch_size_config.optimize_batch_size")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is no JSON"),
        ("[]", "a frozen config is a mapping of keys, got list"),
        ('{"_frozen_config_version": "2.0"}', "a frozen config of version 2.0; this sweepline reads 1.0"),
        ('{"learner": {"lr": 1}}', "unknown key 'learner.lr'"),
    ],
)
def test_a_frozen_config_that_is_none_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "frozen.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_frozen(path)
    assert sentence in str(caught.value)
    assert "frozen.json" in str(caught.value)


def test_a_frozen_config_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        load_frozen(tmp_path / "none.json")
