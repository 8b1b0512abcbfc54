"""``train_single.py`` where it does not train: what is refused, in which words, and ``--prepare``."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from sweepline.errors import ConfigError
from sweepline.training.commandline import prepare
from tests.training.runs import DIGITS, sentences, train_single


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--", "learner.stepsize=0.1"],
            "override learner.stepsize=0.1: unknown key 'learner.stepsize'; did you mean 'learner.step_size'?",
        ),
        (["--", "epochs=0"], "override epochs=0: epochs should be greater than or equal to 1, got 0"),
        (["--", "device=gpu"], "override device=gpu: device should be auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
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


# --prepare


def test_prepare_tells_every_fault_of_every_variation_once(tmp_path: Path) -> None:
    variations = [["learner.stepsize=1"], ["epochs=0", "batch_size=0"], ["epochs=0"], ["seed=3"]]
    ended = train_single(
        tmp_path,
        ["--prepare", "--", *DIGITS],
        stdin="".join(f"{json.dumps([*DIGITS, *words])}\n" for words in variations),
    )
    assert sentences(ended) == [
        "exit code 2",
        "train_single: override learner.stepsize=1: unknown key 'learner.stepsize'; did you mean 'learner.step_size'?",
        "override epochs=0: epochs should be greater than or equal to 1, got 0",
        "override batch_size=0: batch_size should be greater than or equal to 1, got 0",
    ]


def test_prepare_accepts_sound_variations_and_writes_nothing(tmp_path: Path) -> None:
    ended = train_single(
        tmp_path,
        ["--prepare", "--", *DIGITS],
        stdin='["data.name=digits", "seed=1"]\n\n["data.name=digits", "seed=2"]\n',
    )
    assert sentences(ended) == ["exit code 0"]
    assert not list(tmp_path.iterdir())


def test_prepare_refuses_an_optimizer_that_torch_does_not_offer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys,
        "stdin",
        io.StringIO("".join(f'["data.name=digits", "learner.opt={name}"]\n' for name in ("SGD", "Adamm", "Optimizer"))),
    )
    with pytest.raises(ConfigError, match=r"unknown learner.opt 'Adamm'; did you mean 'adam'\?") as caught:
        prepare(None, DIGITS)
    assert "unknown learner.opt 'Optimizer'" in str(caught.value)
