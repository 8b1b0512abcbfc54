"""Killed at every moment that could matter, a run ends with the same weights, history and lines as one that was not.

320 examples in batches of 32 are 10 steps an epoch.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.conftest import ASSETS
from tests.forked import run_forked
from tests.reliability import SEED, scaled

PROGRAM = ASSETS / "killed_training.py"
BASE = (
    "data.name=digits",
    "data.limit=320",
    "batch_size=32",
    "epochs=3",
    "model.width=8",
    "wandb.mode=disabled",
    "device=cpu",
)
EACH_STEP = ("checkpoint.interval_s=1e-9",)
EACH_EPOCH = ("checkpoint.interval_s=0",)
VALID = ("data.limit=400", "data.valid_fraction=0.2", "evaluate.every=1", "evaluate.split=valid")
ADAM = ("learner.opt=adam", "learner.step_size=0.002", "learner.beta1=0.95", "learner.beta2=0.999")
RESTARTS = ("schedule.name=cosine_warm_restarts", "schedule.T_0=7", "schedule.unit=step", "schedule.warmup_steps=3")
# What is trained, and at which moments one attempt after the other is killed.
MOMENTS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "first batch of an epoch": (EACH_STEP, ["step:11"]),
    "last batch of an epoch": (EACH_STEP, ["step:10"]),
    "inside accumulation": ((*EACH_STEP, "accumulate=4", "batch_size=8"), ["part:22"]),
    "inside a warm restart": ((*EACH_STEP, *ADAM, *RESTARTS), ["step:9"]),
    "at a warm restart": ((*EACH_STEP, *ADAM, *RESTARTS), ["step:7"]),
    "inside warm-up": ((*EACH_STEP, *RESTARTS), ["step:2"]),
    "a schedule by epochs": ((*EACH_EPOCH, "schedule.name=step", "schedule.every=1"), ["step:25"]),
    "right after an evaluation": ((*EACH_STEP, *VALID), ["evaluated:2"]),
    "twice within an epoch": (EACH_STEP, ["step:13", "step:3"]),
    "twice within an epoch without a checkpoint between": (EACH_EPOCH, ["step:13", "step:3"]),
    "at the end of an epoch": (EACH_EPOCH, ["told:2"]),
    "right after the checkpoint of an epoch": (EACH_EPOCH, ["saved:2"]),
    "while a checkpoint is saved": (EACH_STEP, ["saving:5"]),
    "right after the first checkpoint of a resumed run": (EACH_STEP, ["step:12", "saved:1"]),
    "at the first step of a resumed run": (EACH_STEP, ["step:12", "step:1"]),
    "with early stopping pending": (
        (
            *EACH_EPOCH,
            *VALID,
            "epochs=12",
            "early_stopping.monitor=valid_loss",
            "early_stopping.patience=2",
            "early_stopping.min_delta=0.4",
        ),
        ["told:3", "step:4"],
    ),
    "after the best weights were kept": ((*EACH_STEP, *VALID, "evaluate.final_test=best"), ["best:2"]),
    "Adam": ((*EACH_STEP, *ADAM, "gradient_clip=0.5"), ["step:14"]),
    "SGD with momentum": ((*EACH_STEP, "learner.momentum=0.9"), ["step:14"]),
    "two threads": ((*EACH_STEP, *ADAM, "threads=2"), ["step:14"]),
    "bf16-mixed": ((*EACH_STEP, *ADAM, "precision=bf16-mixed", "gradient_clip=1"), ["step:14"]),
    "the noise scale": ((*EACH_STEP, "noise_every=3"), ["step:14"]),
    "an unfinished last batch": ((*EACH_STEP, "data.limit=330"), ["step:11"]),
    "the last step of all": (EACH_STEP, ["step:30"]),
    "before anything was saved": (EACH_EPOCH, ["step:2"]),
}


def attempt(folder: Path, words: tuple[str, ...], kill_at: str = "") -> CompletedProcess[str]:
    """Run the trainer once in a folder."""
    environ = {**os.environ, "SWEEPLINE_RUN_DIR": str(folder / "run"), "CUDA_VISIBLE_DEVICES": "", "KILL_AT": kill_at}
    own = (*BASE, *words, "run_numbers=always", f"output_dir={folder / 'outputs'}")
    return run_forked([str(PROGRAM), "--", *own], cwd=folder, environ=environ)


def results(folder: Path, ended: CompletedProcess[str]) -> tuple[str, bytes, dict[str, str]]:
    """Return what a run has come to: its lines, its history, and the digests of its weights."""
    assert ended.returncode == 0, ended.stderr
    files = [*(folder / "outputs").rglob("*.pth"), *(folder / "run").glob("best.pt")]
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    lines = "".join(line for line in ended.stdout.splitlines(keepends=True) if line.startswith("METRIC"))
    return lines, (folder / "run" / "metrics.csv").read_bytes(), digests


def whole_and_killed(tmp_path: Path, words: tuple[str, ...], kills: list[str], *, are_all_reached: bool = True) -> None:
    folders = tmp_path / "whole", tmp_path / "killed"
    for folder in folders:
        folder.mkdir()
    whole = results(folders[0], attempt(folders[0], words))
    for kill_at in [*kills, ""]:
        ended = attempt(folders[1], words, kill_at)
        if ended.returncode == 0:
            break
        assert ended.returncode == -9, ended.stderr
    assert kill_at == "" or (not are_all_reached and kill_at != kills[0]), f"{kill_at} lies behind the end of the run"
    assert len(whole[2]) >= 1
    assert results(folders[1], ended) == whole, ended.stderr


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_goes_on_exactly_wherever_it_was_killed(tmp_path: Path, moment: str) -> None:
    words, kills = MOMENTS[moment]
    whole_and_killed(tmp_path, words, kills)


@pytest.mark.parametrize("number", range(scaled(50)))
def test_a_run_goes_on_exactly_after_kills_at_random_moments(tmp_path: Path, number: int) -> None:
    rng = random.Random(f"{SEED}/{number}")
    words = (*rng.choice([EACH_STEP, EACH_EPOCH]), *rng.choice([ADAM, RESTARTS, VALID, ("accumulate=2",)]))
    n_of = {"part": 60, "step": 30, "told": 3, "saved": 2}
    place = rng.choice([*n_of])
    n = n_of[place] // 2 if "accumulate=2" in words else n_of[place]
    kills = [f"{place}:{rng.randint(1, max(1, n // 2))}" for _ in range(rng.randint(1, 2))]
    whole_and_killed(tmp_path, words, kills, are_all_reached=False)


def test_a_newest_checkpoint_that_is_cut_falls_back_to_the_one_before(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    expected = results(whole, attempt(whole, (*EACH_STEP, *ADAM)))
    assert attempt(killed, (*EACH_STEP, *ADAM), "step:17").returncode == -9
    newest = max((killed / "run" / "ckpt").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])
    ended = attempt(killed, (*EACH_STEP, *ADAM))
    assert f"{newest.name} is unreadable: passed over" in ended.stderr
    assert results(killed, ended) == expected


def resume(folder: Path, *words: str) -> CompletedProcess[str]:
    """Run ``train_single.py --resume`` on the run in a folder."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SWEEPLINE_")}
    argv = [str(PROGRAM), "--resume", str(folder / "run"), "--", *words]
    return run_forked(argv, cwd=folder, environ={**environ, "CUDA_VISIBLE_DEVICES": ""})


def test_a_folder_of_a_run_is_gone_on_with_by_hand(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    expected = results(whole, attempt(whole, EACH_STEP))
    assert attempt(killed, EACH_STEP, "step:17").returncode == -9
    ended = resume(killed)
    assert "goes on from ckpt_000016.pt" in ended.stderr
    assert results(killed, ended) == expected
    longer = resume(killed, "epochs=5")
    assert longer.returncode == 0, longer.stderr
    assert len((killed / "run" / "metrics.csv").read_text().splitlines()) == 6


def test_what_is_no_folder_of_a_run_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    ended = resume(tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no folder of a run: it needs config.yaml and config.sha256" in ended.stderr


def test_a_run_without_a_checkpoint_begins_anew_and_says_so(tmp_path: Path) -> None:
    assert attempt(tmp_path, EACH_EPOCH, "step:2").returncode == -9
    ended = resume(tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "holds no checkpoint: the run begins anew" in ended.stderr


def test_another_run_is_not_made_of_a_folder(tmp_path: Path) -> None:
    expected = results(tmp_path, attempt(tmp_path, EACH_STEP))
    ended = resume(tmp_path, "learner.step_size=0.5")
    assert ended.returncode == 2
    assert "learner.step_size=0.5 would make another run of it" in ended.stderr
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == expected[1]


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    assert attempt(tmp_path, EACH_STEP, "step:17").returncode == -9
    fd = os.open(tmp_path / "run", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    ended = resume(tmp_path)
    os.close(fd)
    assert ended.returncode == 2
    assert "another process is training in this folder" in ended.stderr
    assert resume(tmp_path).returncode == 0


def test_best_weights_of_another_run_are_not_tested_as_its_own(tmp_path: Path) -> None:
    words = (*VALID, "evaluate.final_test=best")
    attempt(tmp_path, words)
    diverged = attempt(tmp_path, (*words, "learner.step_size=1e30"))
    assert diverged.returncode == 0, diverged.stderr
    assert not (tmp_path / "run" / "best.pt").exists()
    assert "METRIC test_loss=nan" in diverged.stdout
