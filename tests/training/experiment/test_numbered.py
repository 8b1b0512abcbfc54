"""A numbered run from its begin to its record: what decides whether it goes on, and what its files say of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import nn

from sweepline.errors import ConfigError
from sweepline.training.batchsize.decide import Decider
from sweepline.training.batchsize.probe import Setup
from sweepline.training.config.loading import load_config
from sweepline.training.config.schema import TrainConfig
from sweepline.training.experiment.folder import frozen_path
from sweepline.training.experiment.frozen import load_frozen
from sweepline.training.experiment.numbered import NumberedRun, begin
from sweepline.training.experiment.records import find_record
from tests.training.experiment.reading import read_records

TUNED = "batch_size_config.tuned_batch_size=50"


def build() -> Setup:
    raise AssertionError("nothing is searched here")


def start(tmp_path: Path, *overrides: str, n_examples: int = 400, is_given_a_folder: bool = True) -> NumberedRun:
    run_dir = tmp_path / "run"
    run_dir.mkdir(exist_ok=True)
    config = load_config(None, ["device=cpu", *overrides])
    decide = Decider(config=config, n_examples=n_examples, device_name="cpu", build=build, tell=lambda _: None)
    return begin(
        config, outputs=tmp_path, run_dir=run_dir if is_given_a_folder else None, decide=decide, tell=lambda _: None
    )


@pytest.mark.parametrize(
    "override",
    [
        "epochs=9",
        "wandb.tags=[late]",
        "tensorboard=true",
        "checkpoint.keep=3",
        "checkpoint.interval_s=1",
        "data.root=/x",
    ],
)
def test_a_run_that_was_stopped_goes_on_under_what_decides_no_number(tmp_path: Path, override: str) -> None:
    first = start(tmp_path, TUNED)
    again = start(tmp_path, TUNED, override)
    assert (again.number, again.config.batch_size) == (first.number, 50)


@pytest.mark.parametrize(
    ("override", "size"),
    [
        ("batch_size_config.tuned_batch_size=80", 80),
        ("seed=7", 50),
        ("learner.step_size=0.5", 50),
        ("data.limit=30", 50),
    ],
)
def test_another_config_in_the_folder_of_a_stopped_run_is_another_run(tmp_path: Path, override: str, size: int) -> None:
    start(tmp_path, TUNED)
    other = start(tmp_path, TUNED, override)
    assert (other.number, other.config.batch_size, other.record.run_batch_size) == (2, size, size)


def test_a_run_that_goes_on_with_another_output_dir_searches_no_size_again(tmp_path: Path) -> None:
    first = start(tmp_path, TUNED)
    again = start(tmp_path, TUNED, f"output_dir={tmp_path / 'elsewhere'}")
    assert again.experiment_dir != first.experiment_dir
    assert (again.number, again.record.run_batch_size, again.record.notes) == (1, 50, "went on, elsewhere, with 50")


def test_where_no_link_can_be_made_a_run_ends_well_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start(tmp_path, TUNED)
    best = tmp_path / "best.pt"
    best.write_bytes(b"the best")

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    run.succeed(nn.Linear(1, 1), n_splits=1, best=best)
    assert run.record.training_succeeded
    kept = sorted(path.name for path in (run.experiment_dir / "models").iterdir())
    assert [name.partition("_run_")[2] for name in kept] == ["001.pth", "001_best.pth"]
    said = f"latest.pth does not name {kept[0]}, which is kept: Operation not permitted"
    assert capsys.readouterr().err.count(said) == 1


def test_a_run_that_has_ended_well_stays_so(tmp_path: Path) -> None:
    run = start(tmp_path, TUNED)
    run.succeed(nn.Linear(1, 1), n_splits=1)
    assert run.fail("BrokenPipeError: [Errno 32] Broken pipe").training_succeeded
    record = find_record(run.experiment_dir, 1)
    assert record is not None
    assert (record.training_succeeded, record.training_error) == (True, None)


def test_a_proposal_that_cannot_be_written_is_said_once_and_fails_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start(tmp_path, TUNED)
    frozen_path(run.experiment_dir, 2).mkdir()
    run.succeed(nn.Linear(1, 1), n_splits=1)
    assert read_records(run.experiment_dir)[1].training_succeeded
    assert capsys.readouterr().err.count("no config is proposed for the next run") == 1
    assert start(tmp_path, TUNED, "seed=1").number == 3


def test_what_trains_is_said_by_the_record_and_by_the_frozen_config(tmp_path: Path) -> None:
    rule = ("batch_size_config.lr_rule=linear", "batch_size_config.reference_batch_size=64")
    run = start(tmp_path, "batch_size=256", *rule, n_examples=128)
    told = json.loads(frozen_path(run.experiment_dir, 1).read_text())
    assert run.record.effective_step_size == told["_effective_step_size"] == 0.02
    assert {"python", "torch", "argv", "commit"} <= set(told["_environment"])
    assert load_frozen(frozen_path(run.experiment_dir, 1)) == run.given


# Frozen configs of runs that have searched


def frozen_run(tmp_path: Path, *overrides: str) -> Path:
    run = start(tmp_path, *overrides, is_given_a_folder=False)
    run.given = run.given.model_copy(
        update={"batch_size_config": load_config(None, overrides_of_a_search()).batch_size_config}
    )
    run.choose_size(105, why="as if it had been searched")
    return frozen_path(run.experiment_dir, run.number)


def overrides_of_a_search() -> list[str]:
    return ["batch_size_config.optimize_batch_size=true", "batch_size_config.memory_budget_gib=0.1"]


def sizes(config: TrainConfig) -> tuple[int, int | None, int | None, object]:
    found = config.batch_size_config
    return config.batch_size, found.default_batch_size, found.tuned_batch_size, found.optimize_batch_size


def test_a_frozen_config_of_a_run_that_searched_repeats_with_what_it_found(tmp_path: Path) -> None:
    path = frozen_run(tmp_path, "batch_size=32")
    assert sizes(load_frozen(path, ["seed=3"])) == (105, 32, 105, False)


def test_a_frozen_config_searches_again_where_that_is_asked_for(tmp_path: Path) -> None:
    path = frozen_run(tmp_path, "batch_size=32")
    assert sizes(load_frozen(path, ["batch_size_config.optimize_batch_size=true"])) == (32, None, None, True)
    assert sizes(load_frozen(path, ["batch_size_config={optimize_batch_size: once}"])) == (32, None, None, "once")


def test_an_old_frozen_config_is_repeated_with_what_its_record_says(tmp_path: Path) -> None:
    path = frozen_run(tmp_path, "batch_size=32")
    told = {name: value for name, value in json.loads(path.read_text()).items() if name != "_run_batch_size"}
    path.write_text(json.dumps(told))
    assert load_frozen(path).batch_size == 105


def test_a_frozen_config_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "frozen.json"
    path.write_text('{"seed": 1, "learner": {"opt": "sgd", "opt": "adam"}}')
    with pytest.raises(ConfigError, match="'opt' is given twice"):
        load_frozen(path)
