"""Checkpoints: a run that is stopped or killed goes on as if nothing had happened; a bad file never runs anything."""

from __future__ import annotations

import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sweepline.training.checkpoints import Checkpoints, random_states, set_random_states
from sweepline.training.config.loading import load_config
from sweepline.training.config.schema import TrainConfig
from sweepline.training.loop import EpochResult, LoopState
from sweepline.training.optim.optimization import Optimization
from sweepline.training.run import run
from tests.conftest import DEADLINE_S, EXPERIMENT, wait_until
from tests.forked import run_forked
from tests.reliability import SEED, scaled
from tests.training.gpus import FakeGpus, put_in

COMMON = ("data.name=digits", "data.limit=400", "epochs=6", "batch_size=32", "wandb.mode=disabled", "evaluate.every=2")


def command(run_dir: Path, *overrides: str) -> tuple[list[str], dict[str, str]]:
    argv = [sys.executable, str(EXPERIMENT / "train_single.py"), "--", *COMMON, *overrides]
    return argv, {**os.environ, "SWEEPLINE_RUN_DIR": str(run_dir), "CUDA_VISIBLE_DEVICES": ""}


def train(run_dir: Path, *overrides: str) -> str:
    argv, environ = command(run_dir, *overrides)
    ended = run_forked(argv[1:], cwd=run_dir, environ=environ)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def stop_when(
    run_dir: Path, n_epochs: int, number: signal.Signals, *overrides: str
) -> subprocess.CompletedProcess[str]:
    """Start a run, and signal it once it has told ``n_epochs`` epochs."""
    argv, environ = command(run_dir, *overrides)
    out, err = run_dir / "out", run_dir / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(argv, env=environ, stdout=stdout, stderr=stderr)
        wait_until(lambda: out.read_text().count("METRIC epoch=") >= n_epochs, "epochs were told")
        process.send_signal(number)
        code = process.wait(DEADLINE_S)
    return subprocess.CompletedProcess(argv, code, out.read_text(), err.read_text())


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir()
    return made


@pytest.mark.parametrize("opt", ["sgd", "adam"])
def test_a_run_stopped_by_sigterm_goes_on_bit_for_bit(run_dir: Path, tmp_path: Path, opt: str) -> None:
    chosen = (f"learner.opt={opt}", "learner.step_size=0.01", "learner.momentum=0.5")
    (tmp_path / "whole").mkdir()
    whole = train(tmp_path / "whole", *chosen)
    stopped = stop_when(run_dir, 2, signal.SIGTERM, *chosen)
    resumed = train(run_dir, *chosen)
    assert stopped.returncode == 143, stopped.stderr
    assert stopped.stdout.count("METRIC epoch=") < 6
    assert resumed == whole
    assert (run_dir / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


def test_a_run_killed_between_checkpoints_goes_on_bit_for_bit(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = train(tmp_path / "whole", "checkpoint.interval_s=0")
    stop_when(run_dir, 3, signal.SIGKILL, "checkpoint.interval_s=0")
    assert train(run_dir, "checkpoint.interval_s=0") == whole


SAVER = """
import itertools, json, os, signal, sys, time, torch
from pathlib import Path
from sweepline.training.checkpoints import Checkpoints, random_states, set_random_states
from sweepline.training.config.schema import TrainConfig
from sweepline.training.loop import LoopState
from sweepline.training.optim.optimization import Optimization

def save_without_end(run_dir, told):
    model = torch.nn.Linear(300, 300)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kept = Checkpoints(run_dir, config_hash="x", keep=2, interval_s=0.0, say=lambda text: None)
    for step in itertools.count(1):
        kept.save(model, Optimization(optimizer, TrainConfig()), LoopState(step=step), [])
        os.write(told, b"%d " % step)

torch.optim.SGD([torch.zeros(1)])  # imports seconds' worth of modules, here instead of in every child
for i, delay in enumerate(json.loads(sys.argv[2])):
    run_dir = Path(sys.argv[1], str(i))
    run_dir.mkdir()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        save_without_end(run_dir, writing)
    os.close(writing)
    first = os.read(reading, 2)
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print((first + os.read(reading, 1 << 16)).split()[-1].decode(), flush=True)
"""


def test_no_kill_while_saving_loses_a_checkpoint_that_was_told(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    delays = [rng.uniform(0.0, 0.02) for _ in range(scaled(100))]
    argv = [sys.executable, "-c", SAVER, str(tmp_path), json.dumps(delays)]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    lost = [i for i, step in enumerate(told) if restored_step(tmp_path / str(i)) < int(step)]
    assert (len(told), lost) == (len(delays), []), f"seed {SEED}"
    assert list(tmp_path.glob("*/ckpt/*.tmp")) == []


def restored_step(run_dir: Path) -> int:
    found = restore(run_dir, torch.nn.Linear(300, 300), "x")
    return found.step if found else 0


def optimization_of(model: torch.nn.Module) -> Optimization:
    return Optimization(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5), TrainConfig())


def restore(run_dir: Path, model: torch.nn.Module, config_hash: str, said: list[str] | None = None) -> LoopState | None:
    said = [] if said is None else said
    kept = Checkpoints(run_dir, config_hash=config_hash, keep=2, interval_s=0.0, say=said.append)
    found = kept.restore(model, optimization_of(model))
    return found[0] if found else None


def save_steps(run_dir: Path, *steps: int) -> torch.nn.Module:
    """Save a checkpoint per step, each with other weights; return the model as it was last."""
    model = torch.nn.Linear(8, 4)
    optimization = optimization_of(model)
    kept = Checkpoints(run_dir, config_hash="x", keep=2, interval_s=0.0, say=print)
    for step in steps:
        model(torch.randn(2, 8)).sum().backward()
        optimization.apply(model)
        kept.save(model, optimization, LoopState(step=step), [EpochResult(1, step, 2 * step, {"loss": 0.1})])
    return model


def test_two_generations_are_kept(run_dir: Path) -> None:
    save_steps(run_dir, 1, 2, 30)
    assert sorted(path.name for path in (run_dir / "ckpt").iterdir()) == ["ckpt_000002.pt", "ckpt_000030.pt"]


def test_weights_come_back_bit_for_bit(run_dir: Path) -> None:
    saved, fresh = save_steps(run_dir, 1), torch.nn.Linear(8, 4)
    restore(run_dir, fresh, "x")
    assert torch.equal(saved.weight, fresh.weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [i / 20 for i in range(20)])
def test_a_checkpoint_cut_anywhere_gives_way_to_the_one_before(run_dir: Path, share: float) -> None:
    save_steps(run_dir, 11, 12)
    newest = run_dir / "ckpt" / "ckpt_000012.pt"
    newest.write_bytes(newest.read_bytes()[: int(newest.stat().st_size * share)])
    said: list[str] = []
    state = restore(run_dir, torch.nn.Linear(8, 4), "x", said)
    assert state is not None
    assert state.step == 11
    assert re.search(r"ckpt_000012.pt is .*: passed over", said[0])


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("dump", [torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb))])
def test_a_planted_checkpoint_is_refused_and_runs_nothing(run_dir: Path, tmp_path: Path, dump: object) -> None:
    save_steps(run_dir, 1)
    dump(Bomb(tmp_path / "hacked"), run_dir / "ckpt" / "ckpt_000002.pt")  # type: ignore[operator]
    said: list[str] = []
    state = restore(run_dir, torch.nn.Linear(8, 4), "x", said)
    assert not (tmp_path / "hacked").exists()
    assert state is not None
    assert "ckpt_000002.pt" in said[0]


def test_a_checkpoint_of_another_config_is_passed_over(run_dir: Path) -> None:
    save_steps(run_dir, 1)
    said: list[str] = []
    assert restore(run_dir, torch.nn.Linear(8, 4), "another", said) is None
    assert said == ["ckpt_000001.pt is of another config: passed over"]


def test_random_states_go_on_where_they_were(run_dir: Path) -> None:
    save_steps(run_dir, 1)
    drawn = random.random(), torch.rand(1).item()
    restore(run_dir, torch.nn.Linear(8, 4), "x")
    assert (random.random(), torch.rand(1).item()) == drawn


@pytest.mark.parametrize("device", [torch.device("cuda:3"), None], ids=["of a run", "of a loop of one's own"])
def test_the_state_of_the_own_gpu_goes_along_to_one_of_another_number(
    monkeypatch: pytest.MonkeyPatch, device: torch.device | None
) -> None:
    put_in(monkeypatch, FakeGpus(8, uses={3}))
    states = random_states(device)
    there = put_in(monkeypatch, FakeGpus(4, uses={1}))
    set_random_states(states, torch.device("cuda:1") if device else None)
    assert [there.states[gpu].item() for gpu in range(4)] == [0, 3, 2, 3]


@pytest.mark.parametrize(("n_saved", "found"), [(2, [0, 11, 2]), (1, [0, 1, 2]), (8, [0, 11, 2])])
def test_of_an_old_checkpoint_the_state_of_the_gpu_of_this_number_is_taken(
    monkeypatch: pytest.MonkeyPatch, n_saved: int, found: list[int]
) -> None:
    states = random_states(torch.device("cpu")) | {"cuda": [torch.tensor([10 + gpu]) for gpu in range(n_saved)]}
    there = put_in(monkeypatch, FakeGpus(3))
    set_random_states(states, torch.device("cuda:1"))
    assert [there.states[gpu].item() for gpu in range(3)] == found


def test_a_run_on_the_cpu_asks_no_gpu(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = put_in(monkeypatch, FakeGpus(8, is_initialized=False))
    save_steps(run_dir, 1)
    assert not gpus.is_initialized
    kept = torch.load(run_dir / "ckpt" / "ckpt_000001.pt", weights_only=True)["random"]
    assert sorted(kept) == ["numpy", "python", "torch"]


def test_a_folder_that_cannot_be_written_stops_no_run(run_dir: Path) -> None:
    (run_dir / "ckpt").write_text("in the way")
    said: list[str] = []
    model = torch.nn.Linear(8, 4)
    kept = Checkpoints(run_dir, config_hash="x", keep=2, interval_s=0.0, say=said.append)
    kept.save(model, torch.optim.SGD(model.parameters(), lr=0.1), LoopState(step=1), [])
    assert said[0].startswith("ckpt_000001.pt could not be saved: ")


def test_a_run_goes_on_from_between_two_steps_and_for_more_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end_of(folder: str, *overrides: str) -> dict[str, float] | None:
        monkeypatch.setenv("SWEEPLINE_RUN_DIR", str(tmp_path / folder))
        return run(load_config(None, [*COMMON, "noise_every=3", *overrides]))

    end_of("run", "epochs=1", "checkpoint.interval_s=1e-9")
    names = sorted(path.name for path in (tmp_path / "run" / "ckpt").iterdir())
    assert names == ["ckpt_000012.pt", "ckpt_000013.pt"]  # of the 13 steps of its only epoch
    longer = end_of("run", "epochs=2", "wandb.tags=[late]", "checkpoint.keep=3", "checkpoint.interval_s=60")
    assert "goes on from ckpt_000013.pt: epoch 2, step 13" in capsys.readouterr().err
    assert longer == end_of("whole", "epochs=2")


def test_a_checkpoint_of_a_later_epoch_than_the_last_is_passed_over(run_dir: Path) -> None:
    save_steps(run_dir, 1)
    model = torch.nn.Linear(8, 4)
    kept = Checkpoints(run_dir, config_hash="x", keep=2, interval_s=0.0, say=print)
    optimization = optimization_of(model)
    kept.save(model, optimization, LoopState(epoch=5, step=9), [])
    found = kept.restore(model, optimization, n_epochs=3)
    assert found is not None
    assert found[0].step == 1
