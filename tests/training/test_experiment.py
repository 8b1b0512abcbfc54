"""Run numbers and frozen configs: never twice, never lost, never changed once a run has begun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweepline.errors import ConfigError
from sweepline.training.config import TrainConfig, load_config
from sweepline.training.experiment import (
    find_experiment_dir,
    frozen_path,
    reserve_run_number,
    weights_path,
)
from sweepline.training.frozen import freeze, load_frozen, propose
from tests.conftest import DEADLINE_S

N_PROCESSES, N_NUMBERS = 16, 500 if os.environ.get("SWEEPLINE_SOAK") else 40
TAKER = """
import sys
from pathlib import Path
from sweepline.training.experiment import reserve_run_number
for _ in range(int(sys.argv[2])):
    print(reserve_run_number(Path(sys.argv[1])))
"""


def test_numbers_begin_with_one_and_the_counter_tells_the_next(tmp_path: Path) -> None:
    assert [reserve_run_number(tmp_path / "new") for _ in range(3)] == [1, 2, 3]
    assert (tmp_path / "new" / "run_counter.txt").read_text() == "4\n"


def test_many_processes_get_no_number_twice_and_lose_none(tmp_path: Path) -> None:
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", TAKER, str(tmp_path), str(N_NUMBERS)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(N_PROCESSES)
    ]
    taken = [int(line) for taker in takers for line in taker.communicate(timeout=20 * DEADLINE_S)[0].split()]
    assert sorted(taken) == list(range(1, N_PROCESSES * N_NUMBERS + 1))


@pytest.mark.parametrize("text", ["", "many", "-3", "0", "\0\0\0", None])
def test_an_unreadable_counter_goes_on_after_the_highest_number_found(tmp_path: Path, text: str | None) -> None:
    config = load_config(None)
    freeze(config, tmp_path, 3)
    weights = weights_path(tmp_path, config, 7)
    weights.parent.mkdir()
    weights.touch()
    (tmp_path / "batch_size_tuning.json").write_text('{"records": {"5": {"run_number": 5}}}')
    counter = tmp_path / "run_counter.txt"
    if text is not None:
        counter.write_text(text)
    assert reserve_run_number(tmp_path) == 8
    assert counter.read_text() == "9\n"


def test_a_counter_that_is_behind_gives_no_number_again(tmp_path: Path) -> None:
    for _ in range(3):
        freeze(load_config(None), tmp_path, reserve_run_number(tmp_path))
    (tmp_path / "run_counter.txt").write_text("2\n")
    assert reserve_run_number(tmp_path) == 4


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="runs of an experiment are numbered there: make it writable, set output_dir"):
        reserve_run_number(tmp_path / "file" / "experiment")


def test_the_names_of_an_experiment(tmp_path: Path) -> None:
    config = load_config(None, ["data.name=digits", "model.width=16"])
    folder = find_experiment_dir(config, tmp_path)
    assert folder == tmp_path / "experimentruns/digits/simple_cnn/width_16/no_distillation/normal"
    assert weights_path(folder, config, 1).name == "simple_cnn_width_16_normal_run_001.pth"
    assert frozen_path(folder, 12).name == "frozen_config_run_012.json"
    elsewhere = load_config(None, [f"output_dir={tmp_path / 'there'}"])
    assert (tmp_path / "there") in find_experiment_dir(elsewhere, tmp_path).parents


# Frozen configs


def test_a_frozen_config_holds_everything_and_loads_again(tmp_path: Path) -> None:
    config = load_config(None, ["learner.opt=adam", "seed=3", "wandb.tags=[a, b]"])
    path = freeze(config, tmp_path, 1)
    told = json.loads(path.read_text())
    assert (told["_frozen_config_version"], told["_type"]) == ("1.0", "TrainConfig")
    assert "T" in told["_frozen_at"]
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
    path = propose(load_config(None, ["seed=7"]), tmp_path, by=first)
    assert path == frozen_path(tmp_path, 2)
    assert load_frozen(path).seed == 7
    assert propose(load_config(None, ["seed=8"]), tmp_path, by=first) == path
    assert load_frozen(path).seed == 8
    assert reserve_run_number(tmp_path) == 2
    assert freeze(load_config(None, ["seed=9"]), tmp_path, 2) == path
    assert load_frozen(path).seed == 9
    assert propose(load_config(None), tmp_path, by=first) == frozen_path(tmp_path, 3)


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
    notes: list[str] = []
    assert load_frozen(path, notes=notes).batch_size_config.optimize_batch_size is True
    assert len(notes) == 1
    assert notes[0].endswith("training.optimize_batch_size is now batch_size_config.optimize_batch_size")


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
