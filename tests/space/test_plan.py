"""The plan: the same runs from one walk to the next, whole, by their ids, and those alone that are wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.config.sweepfile import load_sweep
from sweepline.space.plan import Plan

HEAD = "program: train.py\nmetric: {name: loss}\n"
SPACES = {
    "grid": "method: grid\nparameters: {x: [1, 2, 3], y: [a, b]}\n",
    "seeds": "method: grid\nparameters: {x: [1, 2, 3]}\nseeds: [0, 7]\n",
    "constraint": "method: grid\nparameters: {x: [1, 2, 3], y: [1, 2]}\nconstraints: [{exclude: x == y}]",
    "swept seed": "method: grid\nparameters: {x: [1, 2], seed: [3, 4]}\n",
    "one seed": "method: grid\nparameters: {x: [1, 2], seed: 5}\n",
    "random": "method: random\nsamples: 5\nparameters: {x: {min: 0.0, max: 1.0}}\nseeds: [0, 1]\n",
}


@pytest.fixture(params=SPACES)
def plan(tmp_path: Path, request: pytest.FixtureRequest) -> Plan:
    """The plan of a small sweep."""
    (tmp_path / "train.py").touch()
    (tmp_path / "sweep.yaml").write_text(HEAD + SPACES[request.param])
    return Plan(load_sweep(tmp_path / "sweep.yaml").space)


def test_ids_are_those_of_the_runs_in_their_order(plan: Plan) -> None:
    runs = list(plan.runs())
    assert len(runs) >= 2
    assert list(plan.ids()) == [run.run_id for run in runs]


def test_a_walk_is_the_same_once_the_ids_are_known(plan: Plan) -> None:
    runs = list(plan.runs())
    plan.ids()
    assert list(plan.runs()) == runs


@pytest.mark.parametrize("knows_ids", [False, True])
def test_runs_that_are_not_wanted_are_left_out_and_the_others_unchanged(plan: Plan, knows_ids: bool) -> None:
    runs = list(plan.runs())
    if knows_ids:
        plan.ids()
    wanted = {run.run_id for run in runs[1::2]}
    assert list(plan.runs(wanted.__contains__)) == runs[1::2]


def test_whether_a_run_is_wanted_is_asked_when_its_turn_comes(plan: Plan) -> None:
    asked: list[str] = []
    walk = plan.runs(lambda run_id: asked.append(run_id) is None)
    first = next(walk)
    assert asked == [first.run_id]
