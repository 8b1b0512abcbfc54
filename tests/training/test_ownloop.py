"""For a loop of one's own: a size that fits, numbers, frozen configs and checkpoints, as a script uses them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sweepline.errors import ConfigError
from sweepline.training import Checkpoints, freeze_config, load_frozen_config, reserve_run_number

SCRIPT = """
import sys
import torch
from sweepline.training import tune_batch_size

def make(device):
    weight = torch.nn.Parameter(torch.zeros(1000, device=device))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    def step(n):
        {fault}
        optimizer.zero_grad()
        (torch.ones(n, 1000, device=device) * weight).sum().backward()
        optimizer.step()
    return step

if __name__ == "__main__":
    found = tune_batch_size(
        make, first=10000, cap=100000, memory_gib=0.2, max_trials=3, key={{"n": 1000}}, folder="outputs",
        tell=lambda _: None,
    )
    print(found.batch_size, found.largest, found.is_reused)
"""


def test_a_size_is_tuned_with_ones_own_step_and_known_the_next_time(tmp_path: Path) -> None:
    script = SCRIPT.format(fault="pass").replace("first=10000", "first=3000").replace("max_trials=3", "max_trials=4")
    (tmp_path / "mine.py").write_text(script)
    first, again = (
        subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    size, largest, is_reused = first.split()
    assert (is_reused, again.split()) == ("False", [size, largest, "True"])
    assert int(size) == int(largest) // 2
    assert 10000 <= int(largest) < 60000
    (record,) = json.loads((tmp_path / "outputs" / "tuned_batch_sizes.json").read_text()).values()
    assert record["key"] == {"n": 1000}
    assert {probe["status"] for probe in record["probes"]} <= {"ok", "oom"}
    sizes = [probe["batch_size"] for probe in record["probes"]]
    assert sizes[:2] == [3000, 6000]
    assert 12000 < sizes[2] < 17000, "what they took tells which is next"
    assert [probe["status"] for probe in record["probes"]].count("oom") <= 1


def test_a_fault_of_the_step_is_shown_and_no_other_size_is_tried(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SCRIPT.format(fault="raise ValueError('nothing to do')"))
    done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "not for want of memory: ValueError: nothing to do" in done.stderr


UNGUARDED = """
from sweepline.training import tune_batch_size

def make(device):
    return {returned}

tune_batch_size(make, first=1, cap=2, memory_gib=1)
"""


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (UNGUARDED, 'mine.py: guard the main part with if __name__ == "__main__":, since each size is tried by'),
        (
            SCRIPT.replace("return step", "return"),
            "make(device) must return step(n), or step and evaluate; got NoneType",
        ),
        (SCRIPT.replace("return step", "return step, 3"), "step and evaluate; got (function, int)"),
        (
            SCRIPT.replace("        make, first", "        lambda device: make(device), first"),
            "make must be a function of a module",
        ),
    ],
    ids=["unguarded", "returns nothing", "returns a number", "lambda"],
)
def test_what_is_wrong_with_make_is_one_sentence(tmp_path: Path, script: str, sentence: str) -> None:
    (tmp_path / "mine.py").write_text(script.format(fault="pass", returned="None"))
    done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("sweepline.errors.ConfigError: ")
    assert sentence in last


def test_what_is_typed_in_cannot_be_tried(tmp_path: Path) -> None:
    code = SCRIPT.format(fault="pass")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "make must be a function of a module or of a script file, since each size" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("number", ["9", -1, True, 1.5, None])
def test_a_number_is_a_whole_one(tmp_path: Path, number: Any) -> None:
    with pytest.raises(ConfigError, match=r"number needs a whole number, 1 or more, got .*: reserve_run_number gives"):
        freeze_config({"a": 1}, tmp_path, number)
    with pytest.raises(ConfigError, match="step needs a whole number, 0 or more, got "):
        Checkpoints(tmp_path).save(number)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_frozen_config_is_json(tmp_path: Path, value: float) -> None:
    with pytest.raises(ConfigError, match="write NaN and infinities as texts, or leave them out"):
        freeze_config({"lr": [value]}, tmp_path, 1)


def test_a_host_kill_of_a_probe_is_a_result(tmp_path: Path) -> None:
    fault = "import os, signal\n        if n > 10000: os.kill(os.getpid(), signal.SIGKILL)"
    (tmp_path / "mine.py").write_text(SCRIPT.format(fault=fault))
    done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[1]) == 10000


def test_a_config_is_frozen_once(tmp_path: Path) -> None:
    number = reserve_run_number(str(tmp_path))
    path = freeze_config({"lr": 0.1, "layers": [1, 2]}, tmp_path, number)
    assert (number, path.name) == (1, "frozen_config_run_001.json")
    assert load_frozen_config(path) == {"lr": 0.1, "layers": [1, 2]}
    with pytest.raises(ConfigError, match="run 1 has a frozen config, which is not changed"):
        freeze_config({"lr": 0.2}, tmp_path, number)
    with pytest.raises(ConfigError, match="a config holds numbers, texts"):
        freeze_config({"model": object()}, tmp_path, 2)
    with pytest.raises(ConfigError, match="is no frozen config"):
        load_frozen_config(tmp_path / "nowhere.json")
    assert reserve_run_number(tmp_path) == 2


def parts() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(4, 4)
    return model, torch.optim.Adam(model.parameters())


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, n: int) -> None:
    for _ in range(n):
        optimizer.zero_grad()
        model(torch.randn(3, 4)).square().mean().backward()
        optimizer.step()


def test_a_loop_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    model, optimizer = parts()
    with Checkpoints(tmp_path, identity={"lr": 1}) as checkpoints:
        assert checkpoints.restore(model=model, optimizer=optimizer) is None
        steps(model, optimizer, 3)
        checkpoints.save(3, model=model, optimizer=optimizer, best=0.5)
        steps(model, optimizer, 4)
    again, its_own = parts()
    torch.manual_seed(99)
    with Checkpoints(tmp_path, identity={"lr": 1}) as checkpoints:
        assert checkpoints.restore(model=again, optimizer=its_own) == 3
        assert checkpoints.values == {"best": 0.5}
        steps(again, its_own, 4)
    assert torch.equal(model.weight, again.weight)  # type: ignore[arg-type]


def test_what_is_damaged_planted_or_of_another_identity_is_passed_over(tmp_path: Path) -> None:
    model, optimizer = parts()
    kept = Checkpoints(tmp_path, identity=1)
    for step in (1, 2, 3):
        kept.save(step, model=model)
    assert sorted(path.name for path in (tmp_path / "ckpt").iterdir()) == ["ckpt_000002.pt", "ckpt_000003.pt"]
    (tmp_path / "ckpt" / "ckpt_000003.pt").write_bytes(b"damaged")
    assert kept.restore(model=model) == 2
    assert re.search(r"ckpt_000003.pt is .*: passed over", kept.remarks[0])
    other = Checkpoints(tmp_path, identity=2)
    assert other.restore(model=model) is None
    assert "of another identity" in other.remarks[-1]
    assert kept.restore(model=model, optimizer=optimizer) is None
    assert "holds no optimizer" in kept.remarks[-1]


def test_a_kill_while_it_saves_leaves_the_one_before(tmp_path: Path) -> None:
    code = (
        "import sys, torch\nfrom sweepline.training import Checkpoints\nmodel = torch.nn.Linear(400, 400)\n"
        "with Checkpoints(sys.argv[1]) as c:\n    step = c.restore(model=model) or 0\n"
        "    while True:\n        step += 1\n        c.save(step, model=model)\n        print(step, flush=True)\n"
    )
    last = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        told = int(process.stdout.readline())
        assert told >= last + 1 or last == 0
        time.sleep(0.15)
        os.kill(process.pid, signal.SIGKILL)
        rest = [int(line) for line in process.stdout.read().split()]
        process.stdout.close()
        process.wait()
        last = max([told, *rest])
        with Checkpoints(tmp_path) as kept:
            assert (kept.restore(model=nn.Linear(400, 400)) or 0) >= last
        assert not list((tmp_path / "ckpt").glob("*.tmp"))


def test_saves_over_checkpoints_of_another_identity_stay_and_those_are_set_aside(tmp_path: Path) -> None:
    model, optimizer = parts()
    with Checkpoints(tmp_path, identity={"lr": 1}) as other:
        for step in (9000, 10000):
            other.save(step, model=model, optimizer=optimizer)
    with Checkpoints(tmp_path, identity={"lr": 2}) as begun_anew:
        begun_anew.save(50, model=model, optimizer=optimizer)
        begun_anew.save(100, model=model, optimizer=optimizer)
    with Checkpoints(tmp_path, identity={"lr": 2}) as again:
        assert again.restore(model=model, optimizer=optimizer) == 100
    assert {path.name for path in (tmp_path / "ckpt").glob("other_*")} == {
        "other_ckpt_009000.pt",
        "other_ckpt_010000.pt",
    }


def test_what_could_not_be_read_back_is_refused_when_it_is_saved(tmp_path: Path) -> None:
    model, optimizer = parts()
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(ConfigError, match=r"best holds a numpy\S* and could not be read back; .* float\(x\)"),
    ):
        checkpoints.save(1, model=model, optimizer=optimizer, best=np.float64(0.5))
    assert not list(tmp_path.glob("ckpt/*"))


def test_searches_for_one_set_up_at_once_try_sizes_once(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SCRIPT.format(fault="pass"))
    both = [
        subprocess.Popen([sys.executable, "mine.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [process.communicate()[0].split() for process in both]
    assert sorted(words[2] for words in told) == ["False", "True"]
    assert told[0][:2] == told[1][:2]
