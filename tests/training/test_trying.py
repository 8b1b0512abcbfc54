"""What users bring is tried before anything is trained: what would fail in the midst of a run is a sentence."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweepline.errors import ConfigError
from sweepline.training import commandline, smoke, trying
from sweepline.training.building import build_task, build_training
from sweepline.training.config.loading import load_config
from sweepline.training.datasets.splits import load_data
from sweepline.training.loop import train

OWN = """
import threading
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from sweepline.training import Outcome, Task

class Net(nn.Module):
    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.a, self.b = nn.Linear(n_inputs, 8), nn.Linear(8, n_outputs)

    def forward(self, x):
        return self.b(self.a(x).relu())

class Normed(Net):
    def __init__(self, n_inputs, n_outputs):
        super().__init__(n_inputs, n_outputs)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x):
        return self.b(self.norm(self.a(x)))

class Pair(Net):
    def forward(self, x):
        return (super().forward(x), x) if self.training else super().forward(x)

class InPlace(Net):
    def forward(self, x):
        hidden = self.a(x).exp()
        hidden += 1
        return self.b(hidden)

class Detached(Net):
    def forward(self, x):
        return super().forward(x).detach()

def data(split, n=21):
    x = np.random.default_rng(0).normal(size=(n, 4))
    return x, (x[:, 0] > 0).astype(int)

class Closure(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    def step(self, closure):
        closure()

class NoStep(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

class NoRate(torch.optim.SGD):
    def __init__(self, params, lr):
        torch.optim.Optimizer.__init__(self, params, {})

class BadStep(NoStep):
    def step(self, closure=None):
        raise ValueError("no such step")

class Passing(torch.optim.SGD):
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)

class Noisy(NoStep):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad + 0.01 * torch.randn_like(p), alpha=-group["lr"])

class Own(Task):
    def _outcome(self, examples, index):
        inputs, targets = examples.batch(index)
        loss = functional.cross_entropy(self.model(inputs) + torch.randn(()), targets)
        return Outcome(loss, len(index), {"loss_sum": loss.detach() * len(index)})

    def __init__(self, model, training, held_out, seed):
        super().__init__(model, training, held_out, seed=seed)
        self.n_asked = torch.zeros(())

    def loss(self, index):
        self.n_asked += 1
        return self._outcome(self.training, index)

    def evaluate(self, index):
        return self._outcome(self.held_out, index)

    def zero_sums(self):
        return {"loss_sum": torch.zeros((), device=self.device)}

    def metrics(self, sums, n):
        return {"loss": sums["loss_sum"] / n}

class Fails(Own):
    def loss(self, index):
        return self.lost

class Bytes(Own):
    def loss(self, index):
        return functional.cross_entropy(self.model(self.training.inputs[index]), self.training.targets[index])

class NoGraph(Own):
    def loss(self, index):
        with torch.no_grad():
            return super().loss(index)

class OtherSums(Own):
    def zero_sums(self):
        return {"loss": torch.zeros(())}

class Integers(Own):
    def zero_sums(self):
        return {"loss_sum": torch.zeros((), dtype=torch.int64)}

class PerExample(Own):
    def loss(self, index):
        loss = self.model(self.training.batch(index)[0]).square().mean(1)
        return Outcome(loss, len(index), {})

class EvaluateFails(Own):
    def evaluate(self, index):
        raise KeyError("top2")

class MetricsFail(Own):
    def metrics(self, sums, n):
        return {"loss": sums["loss"] / n}

class Pairs(Own):
    def loss(self, index):
        assert len(index) % 4 == 0, "four at a time"
        return super().loss(index)

class Listed(Own):
    def order(self, epoch):
        return list(range(self.n_examples))

class Disordered(Own):
    def order(self, epoch):
        return self.orders[epoch]

class Held(Own):
    def __init__(self, model, training, held_out, seed):
        super().__init__(model, training, held_out, seed)
        self.lock = threading.Lock()
"""
COMMON = ("model.name=own.py:Net", "data.name=own.py:data", "device=cpu", "batch_size=7", "evaluate.every=1")


@pytest.fixture(autouse=True)
def folder(own_folder: Path) -> Path:
    (own_folder / "own.py").write_text(OWN)
    return own_folder


def built(*words: str) -> list[float]:
    """Return the losses of two epochs, after asking what was left behind by what was tried."""
    config = load_config(None, [*COMMON, "epochs=2", *words])
    training, _, test = load_data(config)
    model, optimization, _ = build_training(config, training)
    task = build_task(config, model, training, test)
    assert float(getattr(task, "n_asked", 0)) == 0
    assert all(parameter.grad is None for parameter in model.parameters())
    return [result.metrics["epoch_loss"] for result in train(task, optimization, config)]


def fault(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        built(*words)
    (found,) = caught.value.faults
    assert "\n" not in found
    return str(found)


def line(text: str, nth: int = 0) -> int:
    return [i for i, own in enumerate(OWN.splitlines(), 1) if own.strip() == text][nth]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Closure", "step(closure) cannot be called: gradients are there, and no closure is given"),
        ("NoStep", "has no step(): write step(self, closure=None)"),
        ("NoRate", "has no lr: take lr, and give it on"),
        ("BadStep", "own.py:{}: ValueError: no such step"),
    ],
)
def test_an_optimizer_does_a_step_before_anything_is_trained(name: str, sentence: str) -> None:
    place = line('raise ValueError("no such step")')
    found = fault(f"learner.opt=own.py:{name}")
    assert found.startswith(f"learner.opt own.py:{name}: ")
    assert sentence.format(place) in found


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Fails", "own.py:{}: AttributeError: 'Fails' object has no attribute 'lost'"),
        ("Bytes", "loss() returns a Tensor, not Outcome(loss, n, sums)"),
        ("NoGraph", "loss() returns a loss without a graph"),
        ("OtherSums", "loss() sums loss_sum, which zero_sums() does not have: loss"),
        ("Integers", "loss(): adding its loss_sum to that of zero_sums() fails: RuntimeError: result type Float"),
        ("PerExample", "loss(): the loss should be a tensor of one number, (), got (7,)"),
        ("EvaluateFails", "evaluate() fails: "),
        ("EvaluateFails", "KeyError: 'top2'"),
        ("MetricsFail", "metrics() fails: "),
        ("Listed", "order() returns a list, not a tensor of int64, (n,)"),
        ("Disordered", "order() fails: "),
    ],
)
def test_a_task_is_asked_for_all_that_a_run_asks_of_it(name: str, sentence: str) -> None:
    found = fault(f"training.mode=own.py:{name}")
    assert found.startswith(f"training.mode own.py:{name}: ")
    assert sentence.format(line("return self.lost")) in found


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Pair", "returns tuple for inputs (2, 4) in training, not (2, 2)"),
        ("InPlace", "its gradient fails for inputs (2, 4): RuntimeError: one of the variables needed for gradient"),
        ("Detached", "its gradient fails for inputs (2, 4): RuntimeError: element 0 of tensors does not require grad"),
    ],
)
def test_a_network_is_tried_as_it_is_trained(name: str, sentence: str) -> None:
    assert f"model own.py:{name}: {sentence}" in fault(f"model.name=own.py:{name}")


def test_trying_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = built("training.mode=own.py:Own", "learner.opt=own.py:Noisy")
    assert built("training.mode=own.py:Held", "learner.opt=own.py:Noisy") == tried, "one that cannot be copied"
    monkeypatch.setattr(trying, "check_optimizer", lambda *_: None)
    assert built("training.mode=own.py:Held", "learner.opt=own.py:Noisy") == tried


def test_a_task_that_needs_more_than_two_examples_is_tried_with_a_batch() -> None:
    assert built("training.mode=own.py:Pairs", "batch_size=8", "drop_last=true")


def test_an_optimizer_takes_what_its_base_class_names() -> None:
    assert built("learner.opt=own.py:Passing", "learner.momentum=0.9") == built("learner.momentum=0.9")
    assert "takes no args.nestrov; did you mean 'nesterov'?" in fault(
        "learner.opt=own.py:Passing", "learner.args.nestrov=true"
    )
    assert "args.lr cannot be set, the trainer gives lr itself, as learner.step_size has it" in fault(
        "learner.args.lr=0.1"
    )


LAST = "the last batch of an epoch of 21 has 1 example, which model own.py:Normed cannot be trained on ("


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["batch_size=20"], LAST),
        (["batch_size=20"], "ValueError: Expected more than 1 value per channel"),
        (["batch_size=20"], "set drop_last: true or another batch_size"),
        (["batch_size=5"], LAST),
        (["batch_size=10", "accumulate=2"], LAST),
        (["batch_size=1"], "a batch has 1 example, which"),
        (["batch_size=4", "batch_size_config.target_batch_size=13"], "a step's 13 examples leave a batch of 1 example"),
        (["batch_size=5", "model.name=other.py:Sum"], "the last batch"),
    ],
)
def test_a_batch_of_one_is_tried_before_it_is_met(folder: Path, words: Sequence[str], sentence: str) -> None:
    forward = "self.b(torch.stack([self.a(x)[0], self.a(x)[1]])) if self.training else self.b(self.a(x))"
    (folder / "other.py").write_text(
        f"import torch\nfrom own import Net\nclass Sum(Net):\n    def forward(self, x):\n        return {forward}\n"
    )
    assert sentence in fault("model.name=own.py:Normed", *words)


@pytest.mark.parametrize("words", [["batch_size=20", "drop_last=true"], ["batch_size=7"], ["batch_size=64"]])
def test_without_a_batch_of_one_such_a_network_is_trained(words: list[str]) -> None:
    assert built("model.name=own.py:Normed", *words)


def test_one_that_needs_no_others_is_trained_by_one() -> None:
    assert built("batch_size=20")
    assert built("batch_size=1", "data.args.n=3")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["training.mode=own.py:Fails"], "has no attribute 'lost'"),
        (["learner.opt=own.py:NoStep"], "has no step()"),
        (["model.name=own.py:Normed", "batch_size=5"], "the last batch of an epoch of 21 has 1 example"),
    ],
)
def test_smoke_and_preparing_say_it_too(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    config = folder / "config.yaml"
    config.write_text("model: {name: 'own.py:Net'}\ndata: {name: 'own.py:data'}\nbatch_size: 7\n")
    assert smoke.main(["--config", str(config), "--", *words]) == 2
    assert sentence in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        commandline.prepare(config, words)
