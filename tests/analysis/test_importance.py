"""Which parameters matter: those that set the best runs apart, and none by chance."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import pytest

from sweepline.analysis.importance import find_importance
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, State
from tests.fakes import recorded

LOSS = Objective(name="loss")


def draw(n: int, rng: random.Random) -> list[RunRecord]:
    """Return runs whose loss depends on ``lr`` much, on ``size`` a little, on ``luck`` not at all."""
    runs = []
    for i in range(n):
        params: dict[str, Any] = {
            "lr": 10 ** rng.uniform(-4, 0),
            "size": rng.choice([16, 32, 64]),
            "luck": rng.random(),
        }
        loss = (math.log10(params["lr"]) + 2) ** 2 + 0.2 * (params["size"] == 16) + rng.gauss(0, 0.05)
        runs.append(recorded(str(i), params=params, metrics={"loss": loss}))
    return runs


def test_the_parameter_that_decides_comes_first_and_chance_gets_nothing() -> None:
    shares = [find_importance(draw(200, random.Random(i)), LOSS, ["luck", "size", "lr"]) for i in range(20)]
    assert all(found is not None and next(iter(found.shares)) == "lr" for found in shares)
    assert statistics.fmean(found.shares["luck"] for found in shares if found is not None) < 0.05


def test_it_says_what_it_rests_on() -> None:
    found = find_importance(draw(25, random.Random(0)), LOSS, ["lr", "size", "luck"])
    assert str(found) == "from 25 runs, the best 5 beside all (PED-ANOVA), few for 3 parameters"


def test_a_diverged_run_is_among_the_worst_and_a_failed_one_counts_for_nothing() -> None:
    runs = [recorded(str(i), params={"x": i % 2}, metrics={"loss": math.nan if i % 2 else 1.0 + i}) for i in range(40)]
    failed = [recorded(f"f{i}", params={"x": 1}, state=State.FAILED) for i in range(100)]
    found = find_importance([*failed, *runs], LOSS, ["x"])
    assert found is not None
    assert (found.n_runs, found.shares["x"]) == (40, 1.0)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_of_too_few_runs_nothing_is_said(n: int) -> None:
    assert find_importance(draw(n, random.Random(0)), LOSS, ["lr"]) is None


def test_a_parameter_without_effect_takes_nothing_over_from_one_that_it_is_tied_to() -> None:
    runs = [
        recorded(str(i), params={"x": i % 4, "idle": int(i % 4 == 0)}, metrics={"loss": float(i % 4)})
        for i in range(40)
    ]
    found = find_importance(runs, LOSS, ["x", "idle"], idle={"idle"})
    assert found is not None
    assert found.shares == {"x": 1.0, "idle": 0.0}
