"""Which parameters matter: those that set the best runs apart, and none by chance."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from typing import Any

import pytest

from sweepline.analysis.importance import MarginalEffect, find_importance, marginal_effects
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


def told(effects: list[MarginalEffect]) -> list[tuple[Any, ...]]:
    return [(e.low, e.high, round(e.mean, 3), e.n, e.n_diverged) for e in effects]


def test_the_effect_of_a_value_is_the_mean_over_all_that_have_it_whatever_the_rest() -> None:
    runs = [
        recorded(f"{x}{y}", params={"x": x, "y": y}, metrics={"loss": x + 10.0 * y}) for x in (3, 1) for y in (0, 1, 2)
    ]
    assert told(marginal_effects(runs, LOSS, "x")) == [(1, 1, 11.0, 3, 0), (3, 3, 13.0, 3, 0)]
    assert [effect.spread for effect in marginal_effects(runs, LOSS, "x")] == [10.0, 10.0]


def test_runs_that_diverged_are_counted_beside_the_mean_and_failed_ones_not_at_all() -> None:
    losses = [("a", 1.0), ("a", 3.0), ("a", math.nan), ("b", math.inf)]
    runs = [recorded(str(i), params={"x": x}, metrics={"loss": loss}) for i, (x, loss) in enumerate(losses)]
    runs.append(recorded("f", params={"x": "a"}, state=State.FAILED))
    a, b = marginal_effects(runs, LOSS, "x")
    assert told([a]) == [("a", "a", 2.0, 2, 1)]
    assert (b.low, b.n, b.n_diverged, math.isnan(b.mean), math.isnan(b.spread)) == ("b", 0, 1, True, True)


def test_many_values_are_told_in_ranges_that_hold_all_runs() -> None:
    runs = [recorded(str(i), params={"x": i / 10}, metrics={"loss": 1.0 * i}) for i in range(80)]
    effects = marginal_effects(runs, LOSS, "x")
    assert told(effects)[0] == (0.0, 0.9, 4.5, 10, 0)
    assert [effect.n for effect in effects] == [10] * 8
    assert all(a.high < b.low for a, b in itertools.pairwise(effects))


@pytest.mark.parametrize("values", [(True, False), ("b", "a"), ([1], [2]), (None, 1)])
def test_values_without_an_order_come_as_they_are_met(values: tuple[Any, ...]) -> None:
    runs = [recorded(str(i), params={"x": value}, metrics={"loss": 1.0}) for i, value in enumerate(values)]
    assert [effect.low for effect in marginal_effects(runs, LOSS, "x")] == list(values)


def test_results_whose_sum_is_beyond_a_float_have_a_mean() -> None:
    runs = [recorded(str(i), params={"x": 1}, metrics={"loss": 1.5e308}) for i in range(2)]
    assert marginal_effects(runs, LOSS, "x")[0].mean == math.inf
