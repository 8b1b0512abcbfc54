"""``method: bayes`` with real processes: it learns, goes on after kills as it would have gone, and is extended."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

import pytest

from tests.conftest import Project, wait_until

pytest.importorskip("optuna", reason="Optuna is not installed")

PROGRAM = """
    import math, sys, time
    given = dict(word.lstrip("-").split("=") for word in sys.argv[1:])
    loss = (math.log10(float(given["lr"])) + 2) ** 2 + float(given.get("momentum", 0.0)) / 10
    time.sleep(0.05)
    if given["opt"] == "broken":
        sys.exit("no such optimizer")
    print(f"METRIC loss={loss}")
"""
SWEEP = """
    program: train.py
    name: small
    method: bayes
    run_cap: 24
    metric: {name: loss}
    parameters:
      lr: {distribution: log_uniform_values, min: 0.00001, max: 1.0}
      opt: {values: {sgd: {parameters: {momentum: {min: 0.0, max: 0.99}}}, adam: , broken: }}
    devices: cpu
    max_concurrent: 1
    report: never
    seeds: [0, 1]
"""
SEED = random.randrange(10**6)


@pytest.fixture
def sweep(project: Project) -> Project:
    project.write("train.py", PROGRAM)
    project.write("sweep.yaml", SWEEP)
    return project


def proposed(project: Project) -> list[tuple[Any, ...]]:
    """Return the combinations in the order in which they were first started, each once."""
    rows = project.rows()
    momentum = rows.momentum.map(str)
    return list(dict.fromkeys(zip(rows.lr, rows.opt, momentum, strict=True)))


def test_a_sweep_that_is_killed_time_and_again_goes_on_with_the_same_proposals(sweep: Project) -> None:
    sweep.run("--keep-going")
    whole, rows = proposed(sweep), sweep.rows()
    assert len(whole) == 24
    assert set(rows[rows.opt == "broken"].state) <= {"failed"}
    assert set(rows[rows.opt != "broken"].state) == {"finished"}
    assert rows[rows.opt == "adam"].momentum.isna().all()
    chance = random.Random(SEED)
    for i in range(6):
        process = sweep.start("run", "--keep-going", *([] if i else ["--fresh"]))
        time.sleep(chance.uniform(0.5, 2.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_until(lambda: not sweep.survivors(), f"nothing of it lives (seed {SEED})")
    sweep.run("--keep-going")
    assert proposed(sweep) == whole, f"seed {SEED}"
    again = sweep.rows()
    assert len(again) == len(rows) == 48
    assert again.run_id.is_unique


def test_the_dry_run_shows_the_first_proposals_and_then_the_next(sweep: Project) -> None:
    dry = sweep.run("--dry-run", "--commands").stdout
    assert "24 combinations, 2 seeds; the first 10 drawn, the others by tpe from what was measured" in dry
    first = [line for line in dry.splitlines() if line.startswith("mkdir")]
    assert len(first) == 10
    sweep.run("--keep-going", "--count", "30")
    told = proposed(sweep)
    assert len(told) == 15
    assert "/48" in sweep.command("status").stdout
    assert f"--lr={told[0][0]}" in first[0]
    following = sweep.run("--dry-run", "--commands").stdout.splitlines()
    assert "# 30 runs have ended already" in following
    sweep.run("--keep-going", "--count", "2")
    assert f"--lr={proposed(sweep)[15][0]}" in next(line for line in following if line.startswith("mkdir"))


def test_a_sweep_is_extended_with_all_that_is_known(sweep: Project) -> None:
    sweep.run("--keep-going")
    known = proposed(sweep)
    sweep.write("sweep.yaml", SWEEP.replace("run_cap: 24", "run_cap: 30").replace("max: 1.0}", "max: 5.0}"))
    more = sweep.run("--keep-going")
    assert proposed(sweep)[:24] == known
    assert len(proposed(sweep)) == 30
    assert "60 runs: " in more.stdout
    new = [lr for lr, _, _ in proposed(sweep)[24:]]
    assert sum(0.001 < lr < 0.1 for lr in new) >= 3  # where the best are, not drawn anew


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("metric: {name: loss}", "description: x", "bayes needs metric"),
        ("run_cap: 24", "description: x", "bayes search needs an end: set samples or run_cap, or --count N"),
        ("method: bayes", "method: random\n    sampler: tpe", "tpe goes with method: bayes, this is random"),
        ("method: bayes", "method: bayes\n    sampler: tpee", "did you mean 'tpe'"),
    ],
)
def test_what_it_lacks_is_a_sentence(sweep: Project, old: str, new: str, sentence: str) -> None:
    sweep.write("sweep.yaml", SWEEP.replace(old, new))
    refused = sweep.run()
    assert refused.returncode == 2
    assert sentence in refused.stderr
