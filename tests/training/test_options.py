"""Precision, schedules, early stopping and the final test, each in a run of ``train_single.py``."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.training.runs import Ended, sentences, train_single

BASE = ("data.name=digits", "data.limit=300", "batch_size=50", "wandb.mode=disabled", "learner.step_size=0.2", "seed=1")
VALID = ("data.valid_fraction=0.2", "evaluate.every=1", "evaluate.split=valid")


def train(folder: Path, *overrides: str, name: str = "run") -> Ended:
    """Train to the end into a folder of its own."""
    run_dir = folder / name
    run_dir.mkdir(exist_ok=True)
    return train_single(folder, ["--", *BASE, *overrides], SWEEPLINE_RUN_DIR=str(run_dir))


def history(folder: Path, name: str = "run") -> pd.DataFrame:
    return pd.read_csv(folder / name / "metrics.csv")


def test_bf16_mixed_trains_within_the_noise_of_single_precision(tmp_path: Path) -> None:
    for precision in ("32", "bf16-mixed"):
        ended = train(tmp_path, f"precision={precision}", "epochs=4", "gradient_clip=1.0", name=precision)
        assert ended.exit_code == 0, ended.stderr
    single, mixed = history(tmp_path, "32").epoch_loss, history(tmp_path, "bf16-mixed").epoch_loss
    assert mixed.iloc[0] != single.iloc[0]
    # Rounding differs from processor to processor, and each step makes more of it: the beginning is alike.
    assert mixed.to_numpy()[:2] == pytest.approx(single.to_numpy()[:2], rel=0.05)
    assert max(single.iloc[-1], mixed.iloc[-1]) < single.iloc[0] / 3
    saved = max((tmp_path / "bf16-mixed" / "ckpt").glob("*.pt"), default=None)
    assert saved is None or torch.load(saved, weights_only=True)["model"]["fc1.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ("precision=16-mixed", "device=cpu"),
            "precision 16-mixed needs a GPU, the device is cpu; use bf16-mixed, or 32",
        ),
        (("schedule.name=step",), "schedule.name step needs schedule.every, a number of epochs"),
        (
            ("schedule.name=cosine_warm_restarts", "schedule.unit=step"),
            "schedule.name cosine_warm_restarts needs schedule.T_0, a number of steps",
        ),
        (
            ("early_stopping.monitor=valid_loss",),
            "early_stopping.monitor valid_loss is not measured: there is epoch_loss",
        ),
        (("early_stopping.monitor=test_loss",), "makes the test examples a part of training; use valid_loss"),
        (
            ("early_stopping.monitor=epoch_score",),
            "whether epoch_score is better low or high is not known; set early_stopping.mode",
        ),
        (("evaluate.final_test=best",), "nothing says which epoch is the best; set early_stopping.monitor"),
        (
            ("evaluate.final_test=last", "evaluate.every=1"),
            "the test examples are evaluated in training already; set evaluate.split: valid",
        ),
        (
            ("early_stopping.monitor=epoch_acc", "early_stopping.mode=max"),
            "early_stopping.monitor epoch_acc is not measured; did you mean 'epoch_accuracy'",
        ),
        (("precision=16",), "precision should be 32, '16-mixed' or 'bf16-mixed', got 16"),
        (("schedule.name=cosin",), "schedule.name should be"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path: Path, overrides: tuple[str, ...], sentence: str) -> None:
    ended = train(tmp_path, *overrides)
    assert ended.exit_code == 2
    assert [line for line in sentences(ended) if sentence in line]
    assert "Traceback" not in ended.stderr


def test_the_step_size_of_each_epoch_is_told(tmp_path: Path) -> None:
    ended = train(tmp_path, "schedule.name=step", "schedule.every=1", "schedule.gamma=0.5", "epochs=3")
    assert ended.exit_code == 0, ended.stderr
    assert list(history(tmp_path).step_size) == [0.2, 0.1, 0.05]


def test_a_key_that_a_schedule_ignores_is_said(tmp_path: Path) -> None:
    ended = train(tmp_path, "schedule.name=cosine", "schedule.T_0=3")
    assert "schedule cosine ignores T_0" in ended.stderr


def test_a_run_ends_when_it_no_longer_gets_better(tmp_path: Path) -> None:
    stop = ("early_stopping.monitor=valid_loss", "early_stopping.patience=2", "learner.step_size=1e-9")
    ended = train(tmp_path, *VALID, *stop, "early_stopping.min_delta=0.01", "epochs=50", "learner.momentum=0")
    assert ended.exit_code == 0, ended.stderr
    assert list(history(tmp_path).epoch) == [1, 2, 3]
    assert "in 2 measurements: training ends after epoch 3" in ended.stderr
    assert any(line.startswith("METRIC valid_loss=") for line in ended.lines)


def test_a_run_that_diverges_ends_at_once(tmp_path: Path) -> None:
    ended = train(tmp_path, "early_stopping.monitor=epoch_loss", "learner.step_size=1e20", "epochs=50")
    assert ended.exit_code == 0, ended.stderr
    assert len(history(tmp_path)) < 4
    assert "is nan after epoch" in ended.stderr or "is inf after epoch" in ended.stderr


def test_a_run_that_was_stopped_early_stays_so_when_it_is_started_again(tmp_path: Path) -> None:
    words = ("early_stopping.monitor=epoch_loss", "early_stopping.patience=1", "learner.step_size=1e-9", "epochs=50")
    always = ("checkpoint.interval_s=0", "early_stopping.min_delta=1")
    first = train(tmp_path, *words, *always)
    again = train(tmp_path, *words, *always)
    assert len(history(tmp_path)) == 2
    assert again.lines == first.lines


def test_the_best_weights_are_kept_apart_and_tested(tmp_path: Path) -> None:
    words = (*VALID, "epochs=6", "learner.step_size=0.5", "learner.momentum=0.9", "run_numbers=always")
    ended = train(tmp_path, *words, "evaluate.final_test=best", f"output_dir={tmp_path / 'outputs'}")
    assert ended.exit_code == 0, ended.stderr
    found = history(tmp_path)
    best = torch.load(tmp_path / "run" / "best.pt", weights_only=True)
    kept = next((tmp_path / "outputs").rglob("*_run_001_best.pth"))
    assert torch.equal(torch.load(kept, weights_only=True)["fc1.weight"], best["fc1.weight"])
    last = next(path for path in (tmp_path / "outputs").rglob("*_run_001.pth"))
    is_last_best = int(found.valid_loss.argmin()) == len(found) - 1
    assert torch.equal(torch.load(last, weights_only=True)["fc1.weight"], best["fc1.weight"]) == is_last_best
    results = dict(line.split()[1].split("=") for line in ended.lines if line.startswith("METRIC test_"))
    assert {*results} == {"test_loss", "test_accuracy"}
    assert "test_loss" not in found


def test_a_final_test_of_the_last_weights_is_that_of_an_evaluation_after_the_last_epoch(tmp_path: Path) -> None:
    asked = train(tmp_path, "epochs=2", "evaluate.final_test=last", name="asked")
    every = train(tmp_path, "epochs=2", "evaluate.every=1", name="every")
    lines = [[line for line in ended.lines if line.startswith("METRIC test_")] for ended in (asked, every)]
    assert sorted(lines[0]) == sorted(lines[1])
    assert len(lines[0]) == 2


def test_best_weights_that_are_damaged_are_said_and_the_last_are_tested(tmp_path: Path) -> None:
    first = ("early_stopping.monitor=valid_loss", "early_stopping.min_delta=100")  # the first epoch stays the best
    words = (*VALID, *first, "epochs=2", "evaluate.final_test=best", "checkpoint.interval_s=0")
    train(tmp_path, *words)
    (tmp_path / "run" / "best.pt").write_bytes(b"no weights")
    ended = train(tmp_path, *words)
    assert ended.exit_code == 0, ended.stderr
    assert "best.pt cannot be used, the last weights are" in ended.stderr


def test_the_effective_config_says_what_trained(tmp_path: Path) -> None:
    ended = train(tmp_path, "precision=bf16-mixed", "schedule.name=cosine")
    assert ended.exit_code == 0, ended.stderr
    text = (tmp_path / "run" / "config.yaml").read_text()
    assert "precision: bf16-mixed" in text
    assert json.dumps(None) in text
