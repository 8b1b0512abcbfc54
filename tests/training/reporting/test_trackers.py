"""Weights & Biases and TensorBoard for real, read back from their own files. No server is reached.

This proves what the client writes down to be sent, not what a W&B server shows.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from sweepline.contract.values import flatten
from sweepline.contract.yamlfile import read_yaml
from sweepline.engine.wandbfile import WandbRun, read_wandb_run
from sweepline.training.config.loading import known_keys, load_config
from sweepline.training.reporting.tensorboard import start_tensorboard
from sweepline.training.reporting.trackers import Tracker
from sweepline.training.reporting.wandbrun import start_wandb
from tests.training.runs import Ended, train_once


def offline_run(ended: Ended) -> WandbRun:
    """Return what the only offline run of a run folder has recorded."""
    (path,) = ended.run_dir.glob("wandb/offline-run-*/*.wandb")
    return read_wandb_run(path)


def recorded(ended: Ended) -> list[dict[str, float]]:
    """Return the rows of a run's own metric file."""
    return pd.read_csv(ended.run_dir / "metrics.csv").to_dict("records")


# W&B offline, as a sweep asks for it


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Two epochs with everything that a sweep puts into the environment, and TensorBoard on."""
    return train_once(
        tmp_path_factory,
        "offline",
        *("wandb.mode=offline", "wandb.group=of the file", "wandb.name=of the file", "wandb.tags=[file]"),
        *("epochs=2", "evaluate.every=1", "tensorboard=true"),
        WANDB_RUN_GROUP="my sweep",
        WANDB_NAME="sgd-lr0.01-s0",
        WANDB_TAGS="mnist,two words",
        WANDB_JOB_TYPE="sweep",
        WANDB_RUN_ID="a415c7f4d5d2-1",
    )


def test_a_tracked_run_ends_with_exit_code_0_and_no_remark(offline: Ended) -> None:
    assert (offline.exit_code, offline.stderr) == (0, "")


def test_a_tracked_run_prints_metric_lines_only(offline: Ended) -> None:
    assert all(line.startswith("METRIC ") for line in offline.lines)


def test_wandb_has_the_project_of_the_config(offline: Ended) -> None:
    assert offline_run(offline).project == "hyperparameters_sweep"


def test_the_environment_wins_over_the_config_in_group_and_name(offline: Ended) -> None:
    found = offline_run(offline)
    assert (found.group, found.name) == ("my sweep", "sgd-lr0.01-s0")


def test_the_environment_wins_over_the_config_in_tags(offline: Ended) -> None:
    assert offline_run(offline).tags == ("mnist", "two words")


def test_wandb_has_the_job_type_of_the_environment(offline: Ended) -> None:
    assert offline_run(offline).job_type == "sweep"


def test_wandb_has_the_run_id_of_the_environment(offline: Ended) -> None:
    assert offline_run(offline).run_id == "a415c7f4d5d2-1"


def test_wandb_has_the_effective_config(offline: Ended) -> None:
    found = flatten(offline_run(offline).config)
    expected = flatten(read_yaml(offline.run_dir / "config.yaml").value)
    assert {key: found[key] for key in known_keys()} == expected


def test_wandb_has_one_history_row_per_epoch_with_its_metrics(offline: Ended) -> None:
    history = [{key: row[key] for key in row if not key.startswith("_")} for row in offline_run(offline).history]
    assert history == recorded(offline)


def test_wandb_counts_its_steps_in_epochs(offline: Ended) -> None:
    assert [row["_step"] for row in offline_run(offline).history] == [1, 2]


def test_wandb_has_the_last_metrics_as_its_summary(offline: Ended) -> None:
    summary = offline_run(offline).summary
    last = recorded(offline)[-1]
    assert {key: summary[key] for key in last} == last


def test_wandb_has_the_exit_code(offline: Ended) -> None:
    assert offline_run(offline).exit_code == 0


# Mode auto


@pytest.fixture(scope="module")
def without_key(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run on a machine that has no key, its names in the config."""
    return train_once(
        tmp_path_factory,
        "without-key",
        *("wandb.mode=auto", "wandb.project=mine", "wandb.group=my group", "wandb.name=my name", "wandb.tags=[a, b c]"),
    )


def test_without_a_key_a_run_is_kept_offline_without_a_remark(without_key: Ended) -> None:
    assert (without_key.exit_code, without_key.stderr) == (0, "")
    assert offline_run(without_key).exit_code == 0


def test_without_variables_wandb_has_the_names_of_the_config(without_key: Ended) -> None:
    found = offline_run(without_key)
    assert (found.project, found.group, found.name, found.tags) == ("mine", "my group", "my name", ("a", "b c"))


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    """A loopback port that is taken and on which nobody listens: it refuses every connection."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="module")
def unreachable(tmp_path_factory: pytest.TempPathFactory, closed_port: int) -> Ended:
    """A run with a key for a server that is not there."""
    return train_once(
        tmp_path_factory,
        "unreachable",
        *("wandb.mode=auto", "epochs=2"),
        WANDB_BASE_URL=f"http://127.0.0.1:{closed_port}",
        WANDB_API_KEY="x" * 40,
        WANDB_RUN_ID="one-id",
    )


def test_a_run_finishes_when_the_server_cannot_be_reached(unreachable: Ended) -> None:
    assert unreachable.exit_code == 0, unreachable.stderr
    assert len(recorded(unreachable)) == 2


def test_a_run_says_that_it_is_kept_offline_when_the_server_cannot_be_reached(unreachable: Ended) -> None:
    assert "train_single: W&B cannot be reached (Connection refused), the run is kept offline" in unreachable.stderr


def test_a_run_that_fell_back_to_offline_has_its_whole_history_under_its_id(unreachable: Ended) -> None:
    found = offline_run(unreachable)
    assert (found.run_id, [row["epoch"] for row in found.history], found.exit_code) == ("one-id", [1, 2], 0)


@pytest.mark.parametrize(
    ("in_config", "in_environment"), [("disabled", "offline"), ("auto", "disabled"), ("disabled", "disabled")]
)
def test_a_run_without_wandb_starts_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_config: str, in_environment: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", in_environment)
    assert start_wandb(load_config(None, [f"wandb.mode={in_config}"]), tmp_path) is None


# TensorBoard


def tensorboard_points(ended: Ended, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(ended.run_dir / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


@pytest.mark.parametrize("name", ["epoch_loss", "epoch_accuracy", "test_loss", "test_accuracy"])
def test_tensorboard_has_every_metric_at_its_optimizer_step(offline: Ended, name: str) -> None:
    expected = [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in recorded(offline)]
    assert tensorboard_points(offline, name) == expected


def test_tensorboard_is_off_unless_asked_for(tmp_path: Path) -> None:
    assert start_tensorboard(load_config(None), tmp_path) is None


# Trackers never fail a run


class Gone:
    """A place that nobody can reach."""

    def log(self, *_: object) -> None:
        raise ConnectionError("gone away")

    def finish(self, *_: object) -> None:
        raise ConnectionError("gone away")


def test_the_first_failure_of_a_tracker_is_said_and_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    tracker = Tracker("W&B", Gone())
    tracker.log({"epoch_loss": 1.0}, {"epoch": 1})
    tracker.log({"epoch_loss": 1.0}, {"epoch": 2})
    tracker.finish(0, {})
    said = capsys.readouterr().err
    assert said == "train_single: W&B failed and is left out from here on: ConnectionError: gone away\n"
