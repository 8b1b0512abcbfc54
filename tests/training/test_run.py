"""``train_single.py`` as a person or a sweep starts it: real processes, their output, files and exit codes."""

from __future__ import annotations

import hashlib
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from sweepline.contract.metrics import parse_metric_line
from sweepline.contract.values import flatten
from sweepline.contract.yamlfile import read_yaml
from sweepline.training.config.loading import known_keys, load_config
from sweepline.training.run import run, search_once_in_sweep
from tests.conftest import EXPERIMENT
from tests.training.runs import DIGITS, IDX_FILES, TRAINER, Ended, once, sentences, train_once, train_single

# A run with a folder of its own


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run of one epoch over 100 digits."""
    return train_once(tmp_path_factory, "finished", "learner.step_size=1e-3", "seed=3", "deterministic=true")


def test_a_run_ends_with_exit_code_0_and_no_remark(finished: Ended) -> None:
    assert (finished.exit_code, finished.stderr) == (0, "")


def test_the_last_two_lines_are_the_metrics_epoch_loss_and_epoch_accuracy(finished: Ended) -> None:
    points = [parse_metric_line(line) for line in finished.lines[-2:]]
    assert [list(point.values) for point in points if point] == [["epoch_loss"], ["epoch_accuracy"]]


def test_every_line_on_standard_output_is_a_metric_line(finished: Ended) -> None:
    assert all(line.startswith("METRIC ") and parse_metric_line(line) for line in finished.lines)


def test_an_epochs_line_tells_its_place(finished: Ended) -> None:
    point = parse_metric_line(finished.lines[0])
    assert point is not None
    assert point.place == {"epoch": 1, "step": 4, "samples": 100}


def test_the_effective_config_holds_every_key(finished: Ended) -> None:
    written = flatten(read_yaml(finished.run_dir / "config.yaml").value)
    assert sorted(written) == sorted(known_keys())


def test_the_effective_config_holds_the_overrides_with_their_types(finished: Ended) -> None:
    written = flatten(read_yaml(finished.run_dir / "config.yaml").value)
    assert [written[key] for key in ("learner.step_size", "seed", "deterministic")] == [0.001, 3, True]


def test_the_effective_config_holds_the_device_that_auto_meant(finished: Ended) -> None:
    assert read_yaml(finished.run_dir / "config.yaml").value["device"] == "cpu"


def test_the_effective_config_loads_as_the_config_of_the_run(finished: Ended) -> None:
    overrides = [*DIGITS, "learner.step_size=1e-3", "seed=3", "deterministic=true", "device=cpu"]
    expected = load_config(EXPERIMENT / "cfg" / "config.yaml", overrides)
    assert load_config(finished.run_dir / "config.yaml") == expected


def test_the_hash_is_that_of_the_effective_config(finished: Ended) -> None:
    digest = hashlib.sha256((finished.run_dir / "config.yaml").read_bytes()).hexdigest()
    assert (finished.run_dir / "config.sha256").read_text() == f"{digest}  config.yaml\n"


def test_the_metric_file_holds_what_was_printed(finished: Ended) -> None:
    table = pd.read_csv(finished.run_dir / "metrics.csv")
    printed = [parse_metric_line(line) for line in finished.lines[-2:]]
    assert [dict(point.values) for point in printed if point] == [
        {"epoch_loss": table.epoch_loss[0]},
        {"epoch_accuracy": table.epoch_accuracy[0]},
    ]


def test_the_run_folder_holds_the_config_its_hash_and_the_metrics_only(finished: Ended) -> None:
    assert sorted(path.name for path in finished.run_dir.iterdir()) == ["config.sha256", "config.yaml", "metrics.csv"]


# A run alone, started from another folder


@dataclass(frozen=True)
class Alone:
    """A run of a copied experiment without a run folder of its own."""

    ended: Ended

    @property
    def folder(self) -> Path:
        """The folder that holds the experiment, and the one from which it was started."""
        return Path(self.ended.folder).parent

    @property
    def run_dir(self) -> Path:
        """The folder that the run has made."""
        return next(self.folder.rglob("config.sha256")).parent

    @property
    def metric_lines(self) -> list[str]:
        """What it printed beside remarks."""
        return [line for line in self.ended.lines if line.startswith("METRIC")]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """Two epochs, evaluated after the second."""

    def make(folder: Path) -> Ended:
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        shutil.copytree(EXPERIMENT / "cfg", folder / "experiment" / "cfg", ignore=shutil.ignore_patterns("*.csv*"))
        program = shutil.copy(TRAINER, folder / "experiment")
        overrides = ("epochs=2", "evaluate.every=2", "learner.opt=adam")
        return train_single(elsewhere, ["--", *DIGITS, *overrides], program=program)

    return Alone(once(tmp_path_factory, "alone", make))


def test_a_run_without_a_given_folder_ends_with_exit_code_0(alone: Alone) -> None:
    assert alone.ended.exit_code == 0, alone.ended.stderr


def test_a_run_without_a_given_folder_makes_one_with_the_same_files(alone: Alone) -> None:
    names = sorted(path.name for path in alone.run_dir.iterdir())
    assert names == ["batch_size.json", "config.sha256", "config.yaml", "env.json", "log.txt", "metrics.csv"]


def test_a_run_without_a_given_folder_writes_below_the_experiments_outputs(alone: Alone) -> None:
    assert alone.run_dir.parent == alone.folder / "experiment" / "outputs" / "single"


def test_a_field_that_the_optimizer_ignores_is_said_once(alone: Alone) -> None:
    folder, said, weights = alone.ended.stderr.splitlines()
    assert said == "train_single: adam ignores momentum"
    assert weights.startswith("train_single: weights saved to ")
    assert folder == f"train_single: the run's folder is {alone.run_dir}"


def test_a_metric_that_comes_later_widens_the_metric_file(alone: Alone) -> None:
    table = pd.read_csv(alone.run_dir / "metrics.csv")
    assert table.test_accuracy.notna().tolist() == [False, True]


def test_a_widened_metric_file_keeps_its_earlier_rows(alone: Alone) -> None:
    table = pd.read_csv(alone.run_dir / "metrics.csv")
    first = parse_metric_line(alone.metric_lines[0])
    assert first is not None
    assert table.loc[0, ["epoch", "step", "samples"]].to_dict() == dict(first.place)
    assert table.loc[0, ["epoch_loss", "epoch_accuracy"]].to_dict() == dict(first.values)


def test_the_result_holds_the_last_value_of_every_metric(alone: Alone) -> None:
    points = [parse_metric_line(line) for line in alone.metric_lines[1:]]
    values = [dict(point.values) for point in points if point]
    assert {name: value for point in values[1:] for name, value in point.items()} == values[0]


# Refused by its data


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run whose data files are damaged, which is found out after the config is written and before training."""
    root = tmp_path_factory.mktemp("data")
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in IDX_FILES:
        (raw / name).write_bytes(b"\x00\x00\x08")
    return train_once(tmp_path_factory, "damaged", "data.name=mnist", f"data.root={root}")


def test_damaged_data_ends_with_exit_code_2_and_one_sentence(damaged: Ended) -> None:
    exit_code, sentence = sentences(damaged)
    assert exit_code == "exit code 2"
    assert sentence.startswith("train_single: ")
    assert "train-images-idx3-ubyte: is damaged (3 bytes)" in sentence


def test_the_effective_config_is_written_before_training(damaged: Ended) -> None:
    assert sorted(path.name for path in damaged.run_dir.iterdir()) == ["config.sha256", "config.yaml"]


# In this process


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEPLINE_RUN_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.mark.usefixtures("run_dir")
def test_a_run_that_diverges_ends_with_nan_as_its_loss() -> None:
    metrics = run(load_config(None, [*DIGITS, "epochs=2", "learner.step_size=1e30"]))
    assert math.isnan(metrics["epoch_loss"])


@pytest.mark.usefixtures("run_dir")
def test_a_run_that_diverges_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    run(load_config(None, [*DIGITS, "epochs=2", "learner.step_size=1e30"]))
    assert "the weights are no longer finite" in capsys.readouterr().err


def test_the_metric_file_of_a_run_that_diverges_is_read_as_numbers(run_dir: Path) -> None:
    run(load_config(None, [*DIGITS, "epochs=2", "learner.step_size=1e30"]))
    assert pd.read_csv(run_dir / "metrics.csv").epoch_loss.dtype == float


def test_a_run_into_the_same_folder_replaces_the_metric_file(run_dir: Path) -> None:
    run(load_config(None, [*DIGITS, "epochs=2"]))
    run(load_config(None, [*DIGITS, "epochs=1"]))
    assert pd.read_csv(run_dir / "metrics.csv").epoch.tolist() == [1]


def test_two_runs_alone_in_one_second_have_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWEEPLINE_RUN_DIR", raising=False)
    config = load_config(None, [*DIGITS, f"output_dir={tmp_path}"])
    run(config)
    run(config)
    assert len(list((tmp_path / "single").iterdir())) == 2


def test_the_effective_config_of_a_scaled_step_size_tells_it_and_trains_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = ["batch_size_config.lr_rule=linear", "batch_size_config.reference_batch_size=20"]
    monkeypatch.setenv("SWEEPLINE_RUN_DIR", str(tmp_path / "first"))
    first = run(load_config(None, [*DIGITS, "batch_size=256", "learner.step_size=0.01", *rule]))
    written = read_yaml(tmp_path / "first" / "config.yaml").value
    assert (written["learner"]["step_size"], written["_effective_step_size"], written["_run_batch_size"]) == (
        0.01,
        0.05,
        100,
    )
    assert first is not None
    assert (first["effective_step_size"], first["run_batch_size"]) == (0.05, 100)
    monkeypatch.setenv("SWEEPLINE_RUN_DIR", str(tmp_path / "again"))
    assert run(load_config(tmp_path / "first" / "config.yaml")) == first


def test_a_search_is_one_for_all_runs_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = load_config(None, ["batch_size_config.optimize_batch_size=true"])
    monkeypatch.delenv("SWEEPLINE_RUN_DIR", raising=False)
    assert search_once_in_sweep(asked).batch_size_config.optimize_batch_size is True
    monkeypatch.setenv("SWEEPLINE_RUN_DIR", "/runs/1")
    assert search_once_in_sweep(asked).batch_size_config.optimize_batch_size == "once"
    assert search_once_in_sweep(load_config(None)) == load_config(None)
