"""``train_single.py`` as a person or a sweep starts it: real processes, their output, files and exit codes."""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch
from filelock import FileLock

from sweepline.contract.metrics import parse_metric_line
from sweepline.contract.values import flatten
from sweepline.contract.yamlfile import read_yaml
from sweepline.errors import ConfigError
from sweepline.training.config import known_keys, load_config
from sweepline.training.single import in_sweep, prepare, resolve_device, run
from tests.conftest import DEADLINE_S, EXPERIMENT, Project

TRAINER = EXPERIMENT / "train_single.py"
DIGITS = ("data.name=digits", "data.limit=100", "batch_size=32", "epochs=1", "wandb.mode=disabled")
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Ended:
    """A process that has ended, and the folder in which it ran."""

    folder: str
    exit_code: int
    stdout: str
    stderr: str

    @property
    def run_dir(self) -> Path:
        """The run folder that the process was given."""
        return Path(self.folder) / "the run's folder"

    @property
    def lines(self) -> list[str]:
        """What it printed, line by line."""
        return self.stdout.splitlines()


def train_single(
    folder: Path, arguments: Sequence[str], *, program: Path = TRAINER, stdin: str = "", **environ: str
) -> Ended:
    """Run ``train_single.py`` to its end in ``folder``, without the tester's accounts and GPUs."""
    result = subprocess.run(
        [sys.executable, str(program), *arguments],
        cwd=folder,
        env=Project(folder).environment({"CUDA_VISIBLE_DEVICES": "", **environ}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return Ended(str(folder), result.returncode, result.stdout, result.stderr)


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Ended]) -> Ended:
    """Return what ``make`` does in a fresh folder; the test workers share it, so that it is done once."""
    own = factory.getbasetemp()
    folder = (own.parent if own.name.startswith("popen-") else own) / name
    record = folder / "ended.json"
    with FileLock(f"{folder}.lock"):
        if not record.exists():
            folder.mkdir()
            record.write_text(json.dumps(asdict(make(folder))))
    return Ended(**json.loads(record.read_text()))


def train_once(factory: pytest.TempPathFactory, name: str, *overrides: str, **environ: str) -> Ended:
    """Return a run of ``train_single.py`` into a run folder, made once."""

    def make(folder: Path) -> Ended:
        run_dir = str(folder / "the run's folder")
        return train_single(folder, ["--", *DIGITS, *overrides], SWEEPLINE_RUN_DIR=run_dir, **environ)

    return once(factory, name, make)


def sentences(ended: Ended) -> list[str]:
    """Return what a refused run printed, line by line, with its exit code first."""
    return [f"exit code {ended.exit_code}", *ended.stdout.splitlines(), *ended.stderr.splitlines()]


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
    assert alone.ended.stderr == "train_single: adam ignores momentum\n"


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


# Refused before anything starts


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--", "learner.stepsize=0.1"],
            "override learner.stepsize=0.1: unknown key 'learner.stepsize'; did you mean 'learner.step_size'?",
        ),
        (["--", "epochs=0"], "override epochs=0: epochs should be greater than or equal to 1, got 0"),
        (["--", "device=gpu"], "override device=gpu: device should be auto, cpu, cuda or cuda:N, got 'gpu'"),
        (["--", "epochs"], "override 'epochs': expected key=value, for example learner.step_size=0.1"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such file"),
    ],
)
def test_a_run_that_cannot_start_ends_with_exit_code_2_and_one_sentence(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    ended = train_single(tmp_path, arguments)
    assert sentences(ended) == ["exit code 2", f"train_single: {sentence}"]


def test_a_refused_config_leaves_no_file(tmp_path: Path) -> None:
    train_single(tmp_path, ["--", "epochs=0"], SWEEPLINE_RUN_DIR=str(tmp_path / "run"))
    assert not list(tmp_path.iterdir())


def test_a_gpu_that_is_not_there_ends_with_exit_code_2_and_one_sentence(tmp_path: Path) -> None:
    ended = train_single(tmp_path, ["--", *DIGITS, "device=cuda"])
    sentence = "train_single: device cuda: no such GPU (CUDA_VISIBLE_DEVICES: none); use device=cpu"
    assert sentences(ended) == ["exit code 2", sentence]


def test_a_gpu_beyond_the_last_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"device cuda:99: no such GPU"):
        resolve_device("cuda:99")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="needs a machine without Metal")
def test_metal_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"device mps: "):
        resolve_device("mps")


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


# --prepare


def test_prepare_tells_every_fault_of_every_variation_once(tmp_path: Path) -> None:
    variations = [["learner.stepsize=1"], ["epochs=0", "batch_size=0"], ["epochs=0"], ["seed=3"]]
    ended = train_single(
        tmp_path, ["--prepare", "--", *DIGITS], stdin="".join(f"{json.dumps(words)}\n" for words in variations)
    )
    assert sentences(ended) == [
        "exit code 2",
        "train_single: override learner.stepsize=1: unknown key 'learner.stepsize'; did you mean 'learner.step_size'?",
        "override epochs=0: epochs should be greater than or equal to 1, got 0",
        "override batch_size=0: batch_size should be greater than or equal to 1, got 0",
    ]


def test_prepare_accepts_sound_variations_and_writes_nothing(tmp_path: Path) -> None:
    ended = train_single(tmp_path, ["--prepare", "--", *DIGITS], stdin='["seed=1"]\n\n["seed=2"]\n')
    assert sentences(ended) == ["exit code 0"]
    assert not list(tmp_path.iterdir())


def test_prepare_refuses_an_optimizer_that_torch_does_not_offer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "stdin", io.StringIO('["learner.opt=SGD"]\n["learner.opt=Adamm"]\n["learner.opt=Optimizer"]\n')
    )
    with pytest.raises(ConfigError, match=r"unknown learner.opt 'Adamm'; did you mean 'adam'\?") as caught:
        prepare(None, DIGITS)
    assert "unknown learner.opt 'Optimizer'" in str(caught.value)


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
    assert in_sweep(asked).batch_size_config.optimize_batch_size is True
    monkeypatch.setenv("SWEEPLINE_RUN_DIR", "/runs/1")
    assert in_sweep(asked).batch_size_config.optimize_batch_size == "once"
    assert in_sweep(load_config(None)) == load_config(None)
