"""What users bring is trained like what is built in, and what is wrong with it is one sentence with their line."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweepline.errors import ConfigError
from sweepline.training import plugins
from sweepline.training.building import build_task, build_training
from sweepline.training.config.identity import result_identity
from sweepline.training.config.loading import load_config
from sweepline.training.datasets.splits import load_data
from sweepline.training.loop import train
from sweepline.training.run import run

MINE = """
import numpy as np
import torch
from torch import nn
from sweepline.training import Outcome, Task, dataset, model, optimizer, task

@model(n_parameters=lambda n_inputs, n_outputs, hidden: (n_inputs + 1) * hidden + (hidden + 1) * n_outputs)
class TinyNet(nn.Module):
    def __init__(self, n_inputs, n_outputs, hidden=16):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(n_inputs, hidden), nn.ReLU(), nn.Linear(hidden, n_outputs))

    def forward(self, x):
        return self.net(x)

def plain(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, n_classes))

class Wrong(TinyNet):
    def forward(self, x):
        return self.net(x)[:, :1]

class Fails(TinyNet):
    def forward(self, x):
        return self.nett(x)

class Empty(nn.Module):
    def forward(self, x):
        return x

def broken(n_inputs):
    raise KeyError("no such thing")

@dataset
def moons(split, n=200, noise=0.1):
    generator = np.random.default_rng(0 if split == "train" else 1)
    labels = generator.integers(0, 2, n)
    angle = generator.uniform(0, np.pi, n)
    x = np.stack([np.cos(angle) + labels, np.sin(angle) * (1 - 2 * labels) + 0.5 * labels], 1)
    return x + noise * generator.normal(size=(n, 2)), labels

def curve(split):
    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    return x, x.square()

def no_split(n=10):
    return np.zeros((n, 2)), np.zeros(n, dtype=int)

def uneven(split):
    return np.zeros((4, 2)), np.zeros(3, dtype=int)

def text(split):
    return "no examples"

@optimizer
class SignSGD(torch.optim.Optimizer):
    def __init__(self, params, lr=0.01, weight_decay=0.0, decay=0.0):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad.sign(), alpha=-group["lr"])

@task
class Huber(Task):
    def __init__(self, model, training, held_out, *, seed, delta=1.0):
        super().__init__(model, training, held_out, seed=seed)
        self.delta = delta

    def _outcome(self, examples, index):
        inputs, targets = examples.batch(index)
        loss = nn.functional.huber_loss(self.model(inputs), targets, delta=self.delta)
        return Outcome(loss, len(index), {"loss_sum": loss.detach() * len(index)})

    def loss(self, index):
        return self._outcome(self.training, index)

    def evaluate(self, index):
        return self._outcome(self.held_out, index)

    def zero_sums(self):
        return {"loss_sum": torch.zeros((), device=self.device)}

    def metrics(self, sums, n):
        return {"loss": sums["loss_sum"] / n}

class Counted(Huber):
    def zero_sums(self):
        return {"samples": torch.zeros((), device=self.device), **super().zero_sums()}

    def metrics(self, sums, n):
        return {"share": sums.get("samples", 0.0) / n}

class Ratio(Huber):
    def metrics(self, sums, n):
        return {"ratio": n / sums["loss_sum"], "error": sums["loss_sum"] / n}

class Lost(Huber):
    def metrics(self, sums, n):
        return {"loss": sums["los_sum"] / n}

number = 5
"""
OWN = ("model.name=mine.py:TinyNet", "data.name=mine.py:moons", "device=cpu", "batch_size=20", "run_numbers=never")


@pytest.fixture(autouse=True)
def folder(own_folder: Path) -> Path:
    """A folder with a user's file, which is the working directory."""
    (own_folder / "mine.py").write_text(MINE)
    return own_folder


def trained(*words: str, epochs: int = 4) -> list[float]:
    config = load_config(None, [*OWN, f"epochs={epochs}", *words])
    data = load_data(config)
    model, optimization, _ = build_training(config, data[0])
    return [r.metrics["epoch_loss"] for r in train(build_task(config, model, data[0], None), optimization, config)]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["model.args.hidden=4", "data.args.noise=0.3"],
        ["model.name=mine.py:plain"],
        ["learner.opt=mine.py:SignSGD", "learner.args.decay=0.5"],
        ["data.name=mine.py:curve"],
        ["data.name=mine.py:curve", "training.mode=mine.py:Huber", "training.args.delta=0.5"],
        ["learner.args.nesterov=true", "learner.momentum=0.9"],
    ],
)
def test_what_a_user_brings_is_trained(words: list[str]) -> None:
    losses = trained(*words)
    assert losses[-1] < losses[0]
    assert trained(*words) == losses


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model.name=mine.py:TinyNett"], "mine.py has no 'TinyNett'; did you mean 'TinyNet'?"),
        (["model.name=other.py:Net"], "no file other.py in"),
        (["model.name=nopackage.models:Net"], "no module 'nopackage'"),
        (["model.name=mine.py:number"], "is a int, not a class or a function"),
        (["model.name=mine.py:moons"], "is marked as dataset, not as model"),
        (["model.args.hiden=3"], "takes no args.hiden; did you mean 'hidden'?"),
        (["model.name=mine.py:Wrong"], "returns (2, 1) for inputs (2, 2), not (2, 2)"),
        (["model.name=mine.py:Fails"], "AttributeError: 'Fails' object has no attribute 'nett'"),
        (["model.name=mine.py:Empty"], "has no parameters to train"),
        (["model.name=mine.py:broken"], "KeyError: 'no such thing'"),
        (["data.name=mine.py:no_split"], "must take split"),
        (["data.name=mine.py:uneven"], "needs inputs (N, ...) and as many targets"),
        (["data.name=mine.py:text"], "returns a str, not (inputs, targets)"),
        (["data.args.size=3"], "takes no args.size"),
        (["learner.opt=mine.py:TinyNet"], "is marked as model, not as optimizer"),
        (["learner.args.nestrov=true"], "takes no args.nestrov; did you mean 'nesterov'?"),
    ],
)
def test_what_is_wrong_is_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        trained(*words)
    (fault,) = caught.value.faults
    assert sentence in fault
    assert "\n" not in fault


WATCHED = ("evaluate.every=1", "evaluate.split=valid", "data.valid_fraction=0.2", "evaluate.final_test=best")


@pytest.mark.parametrize(
    ("mode", "words", "sentence"),
    [
        ("Counted", [], "a sum is named samples, as is a count of the loop; name it sum_of_samples"),
        ("Ratio", ["stop_diverged=true"], "stop_diverged needs a metric named loss; metrics returns ratio, error"),
        ("Ratio", WATCHED, "evaluate.final_test best needs a metric named loss; metrics returns ratio, error"),
        ("Lost", [], "KeyError: 'los_sum'"),
    ],
)
def test_what_a_mode_of_theirs_measures_is_looked_at(mode: str, words: Sequence[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        trained("data.name=mine.py:curve", f"training.mode=mine.py:{mode}", *words)
    (fault,) = caught.value.faults
    assert fault.startswith(f"training.mode mine.py:{mode}: ")
    assert sentence in fault


def test_a_mode_without_a_loss_is_trained_and_its_own_metric_watched(tmp_path: Path) -> None:
    words = ["data.name=mine.py:curve", "training.mode=mine.py:Ratio", "epochs=2", "wandb.mode=disabled"]
    watching = ["early_stopping.monitor=epoch_error", "early_stopping.mode=min"]
    found = run(load_config(None, [*OWN, *words, *watching]), outputs=tmp_path)
    assert found is not None
    assert found["epoch_error"] > 0


def test_an_error_of_theirs_names_their_line(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        trained("model.name=mine.py:Fails")
    line = MINE.splitlines().index("        return self.nett(x)") + 1
    assert f"{folder / 'mine.py'}:{line}: " in str(caught.value)


def test_trying_a_network_changes_nothing_of_it() -> None:
    losses = trained("model.name=mine.py:plain")
    (Path("other.py")).write_text("from mine import plain\n")
    assert trained("model.name=other.py:plain") == losses


def test_other_code_is_another_run(folder: Path) -> None:
    config = load_config(None, [*OWN])
    before = result_identity(config, 100)
    assert result_identity(load_config(None, [*OWN]), 100) == before
    with (folder / "mine.py").open("a") as file:
        file.write("# another line\n")
    assert result_identity(config, 100) != before


def test_arguments_are_part_of_what_a_run_is() -> None:
    one, other = (load_config(None, [*OWN, f"model.args.hidden={n}"]) for n in (3, 4))
    assert result_identity(one, 100) != result_identity(other, 100)
    assert (one.model.size_word, other.model.size_word) == ("hidden_3", "hidden_4")


def test_a_file_is_found_from_the_config_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cfg").mkdir()
    config = tmp_path / "cfg" / "config.yaml"
    config.write_text("model: {name: 'mine.py:TinyNet'}\ndata: {name: 'mine.py:moons'}\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    load_config(config)
    assert plugins.source_file("model.name", "mine.py:TinyNet") == tmp_path / "mine.py"


def test_an_entry_point_of_an_installed_package_is_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = folder / "site" / "their_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sweepline.models]\ntiny = theirs:TinyNet\n")
    (folder / "site" / "theirs.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(folder / "site"))
    losses = trained("model.name=tiny", "model.args.hidden=5")
    assert losses[-1] < losses[0]
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        load_config(None, ["model.name=tinyy"])


def test_a_run_of_their_own_goes_on_after_a_kill_and_is_tuned(folder: Path) -> None:
    argv = [sys.executable, "-m", "sweepline.training", "--", *OWN[:-1], "epochs=6", "checkpoint.interval_s=0"]
    whole = subprocess.run([*argv, "run_numbers=never"], capture_output=True, text=True, check=True)
    first = subprocess.run(
        [*argv[:-2], "epochs=3", "checkpoint.interval_s=0", "run_numbers=never"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SWEEPLINE_RUN_DIR": str(folder)},
    )
    again = subprocess.run(
        [*argv, "run_numbers=never"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SWEEPLINE_RUN_DIR": str(folder)},
    )
    assert "goes on from" in again.stderr
    assert first.stdout.splitlines()[:3] == whole.stdout.splitlines()[:3]
    assert again.stdout == whole.stdout
    tuned = subprocess.run(
        [
            *(word for word in argv if word != "batch_size=20"),
            *("batch_size_config.optimize_batch_size=true", "batch_size_config.max_batch_size=40"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Training batch size: 20" in tuned.stdout + tuned.stderr
    (frozen,) = (folder / "outputs").glob("experimentruns/mine.moons/mine.TinyNet/default/*/normal/configs/*_001.json")
    assert json.loads(frozen.read_text())["model"]["name"] == "mine.py:TinyNet"


def test_their_network_is_smoked(folder: Path) -> None:
    words = ["--config", "cfg.yaml", "--", "learner.opt=adam", "learner.step_size=0.01"]
    (folder / "cfg.yaml").write_text("model: {name: 'mine.py:TinyNet'}\ndata: {name: 'mine.py:moons'}\n")
    argv = [sys.executable, "-m", "sweepline.cli.main", "smoke", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "parameters as declared: 82 of 82" in done.stdout
    bad = subprocess.run([*argv, "model.name=mine.py:Wrong"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert "returns (2, 1) for inputs (2, 2)" in bad.stderr


def test_a_split_at_random_is_the_same_for_both_portions_and_disturbs_no_run(folder: Path) -> None:
    source = "import numpy as np\ndef split_at_random(split):\n    order = np.random.permutation(100)\n"
    source += "    part = order[:80] if split == 'train' else order[80:]\n"
    source += "    return np.stack([part, part], 1) / 100.0, part % 2\n"
    (folder / "drawn.py").write_text(source)
    config = load_config(None, [*OWN, "data.name=drawn.py:split_at_random", "seed=5", "evaluate.every=1"])
    train_part, _, test_part = load_data(config)
    both = {float(x) for part in (train_part, test_part) for x in part.inputs[:, 0]}
    assert len(both) == 100


def test_other_code_that_a_file_imports_is_another_run(folder: Path) -> None:
    (folder / "helper.py").write_text("F = 1\n")
    (folder / "using.py").write_text("import helper\nfrom mine import TinyNet\n")
    config = load_config(None, [*OWN, "model.name=using.py:TinyNet"])
    before = result_identity(config, 100)
    (folder / "helper.py").write_text("F = 5\n")
    assert result_identity(config, 100) != before


@pytest.mark.parametrize("line", ["from .parts.layers import WIDTH", "from mypkg.parts.layers import WIDTH"])
def test_code_of_the_package_that_a_module_imports_belongs_to_it(folder: Path, line: str) -> None:
    package = folder / "mypkg" / "parts"
    package.mkdir(parents=True)
    for place in (package.parent, package):
        (place / "__init__.py").touch()
    (package.parent / "net.py").write_text(f"{line}\n")
    (package / "layers.py").write_text("from ..common import WIDTH\n")
    (package.parent / "common.py").write_text("WIDTH = 1\n")
    found = {str(path.relative_to(folder)) for path in plugins.local_files(package.parent / "net.py")}
    assert {"mypkg/net.py", "mypkg/parts/layers.py", "mypkg/common.py"} <= found


def test_a_file_of_the_name_of_an_installed_package_is_the_users_own(folder: Path) -> None:
    (folder / "tomllib.py").write_text((folder / "mine.py").read_text())
    assert math.isfinite(trained("model.name=tomllib.py:TinyNet", epochs=1)[0])
    assert not hasattr(importlib.import_module("tomllib"), "TinyNet")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import sys\nsys.exit(0)\n", "cannot be imported"),
        ("from torch import nn\ndef net():\n    return nn.Sequential(nn.LazyLinear(2))\n", "has lazy layers"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def net(:\n", "SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(folder: Path, source: str, sentence: str) -> None:
    (folder / "odd.py").write_text(source)
    with pytest.raises(ConfigError, match=sentence):
        trained("model.name=odd.py:net")
