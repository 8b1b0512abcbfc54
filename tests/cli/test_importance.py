"""``sweepline importance`` and the intervals of ``sweepline best``, of a real sweep."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Project

PROGRAM = """
import sys
given = dict(word.lstrip("-").split("=") for word in sys.argv[1:])
x, seed = float(given["x"]), int(given["seed"])
loss = "nan" if given["opt"] == "bad" and x > 2 else (x - 2) ** 2 + seed / 100
print(f"METRIC loss={loss}")
"""
SWEEP = """
program: train.py
method: grid
metric: {name: loss}
parameters: {x: [1.0, 2.0, 3.0], opt: [good, bad], idle: [0, 1]}
seeds: [0, 1, 2]
devices: cpu
max_concurrent: 2
report: never
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a sweep of 36 runs: ``x`` decides, ``opt`` lets some diverge, ``idle`` does nothing."""
    project = Project(tmp_path_factory.mktemp("swept"))
    project.write("train.py", PROGRAM)
    project.write("sweep.yaml", SWEEP)
    assert project.run().returncode == 0
    return project


def test_the_parameters_come_in_their_order_with_the_effect_of_each_value(swept: Project) -> None:
    lines = swept.command("importance").stdout.splitlines()
    assert lines[0] == "importance for loss (minimize), from 36 runs, the best 5 beside all (PED-ANOVA)"
    table = [line.split() for line in lines[2:]]
    assert table[0] == ["parameter", "share", "value", "mean", "loss", "±", "std", "runs", "diverged"]
    assert table[1][:3] == ["x", "100%", "1"]
    assert [row[:4] for row in table[2:4]] == [["2", "0.0100", "±", "0.0085"], ["3", "1.0100", "±", "0.0089"]]
    assert table[3][-2:] == ["6", "6"]
    assert "idle had no effect: 2 values, identical loss in all 15 groups" in lines


def test_json_has_the_shares_and_the_marginal_effects(swept: Project) -> None:
    told = json.loads(swept.command("importance", "--json").stdout)
    assert next(iter(told["importance"]["shares"])) == "x"
    assert told["without_effect"] == ["idle"]
    assert [effect["n_diverged"] for effect in told["marginal_effects"]["opt"]] == [0, 6]


def test_best_has_the_interval_of_each_mean(swept: Project) -> None:
    lines = swept.command("best").stdout.splitlines()
    header = next(line for line in lines if line.startswith("#"))
    assert "95 % interval" in header
    first = lines[lines.index(header) + 1]
    assert "-0.015 … 0.035" in first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--metric", "los"], "--metric los: no run has it; did you mean 'loss'?"),
        (["--metric", "loss", "--goal", "up"], "invalid choice: 'up'"),
    ],
)
def test_what_cannot_be_told_is_one_sentence(swept: Project, words: list[str], said: str) -> None:
    result = swept.command("importance", *words)
    assert result.returncode == 2
    assert said in result.stderr


def test_too_few_runs_are_said(project: Project) -> None:
    project.write("train.py", PROGRAM)
    project.write(
        "sweep.yaml", SWEEP.replace("[1.0, 2.0, 3.0]", "1.0").replace("[0, 1, 2]", "[0]").replace("[0, 1]", "0")
    )
    assert project.run().returncode == 0
    result = project.command("importance")
    assert result.returncode == 2
    assert "at least four runs that finished" in result.stderr
