"""The order of configurations: seeds together, best first, what has no number last."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sweepline.analysis.ranking import rank_configs, without_seed
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, State
from tests.fakes import recorded

LOSS = Objective(name="loss")
HIGHEST = Objective(name="loss", goal="maximize")


def run(lr: Any, seed: int = 0, *, state: State = State.FINISHED, **metrics: float) -> RunRecord:
    return recorded(f"{lr}-{seed}", params={"lr": lr}, seed=seed, state=state, metrics=metrics)


def order(*records: RunRecord, objective: Objective | None = LOSS) -> list[Any]:
    return [config.params["lr"] for config in rank_configs(records, objective)]


@pytest.mark.parametrize(("objective", "expected"), [(LOSS, [0.2, 0.1, 0.3]), (HIGHEST, [0.3, 0.1, 0.2])])
def test_the_best_configuration_comes_first(objective: Objective, expected: list[float]) -> None:
    runs = [run(0.1, loss=2), run(0.2, loss=1), run(0.3, loss=3)]
    assert order(*runs, objective=objective) == expected


@pytest.mark.parametrize("objective", [LOSS, HIGHEST])
def test_nan_comes_last_whatever_the_goal(objective: Objective) -> None:
    runs = [run("nan", loss=math.nan), run("good", loss=1), run("inf", loss=math.inf), run("-inf", loss=-math.inf)]
    assert order(*runs, objective=objective)[-1] == "nan"


def test_a_configuration_without_the_objective_comes_last() -> None:
    assert order(run("none", acc=1), run("good", loss=1)) == ["good", "none"]


def test_one_seed_that_diverged_makes_its_configuration_last() -> None:
    assert order(run("bad", 0, loss=0.1), run("bad", 1, loss=math.nan), run("good", 0, loss=5)) == ["good", "bad"]


def test_without_an_objective_configurations_stay_in_the_order_they_ran() -> None:
    assert order(run("b", loss=2), run("a", loss=1), objective=None) == ["b", "a"]


def test_equal_configurations_stay_in_the_order_they_ran() -> None:
    assert order(run("b", loss=1), run("a", loss=1)) == ["b", "a"]


@pytest.mark.parametrize("state", sorted(set(State) - {State.FINISHED, State.PRUNED}))
def test_only_runs_that_ended_well_are_ranked(state: State) -> None:
    assert order(run("good", loss=1), run("bad", state=state, loss=0)) == ["good"]


def test_nothing_ran_nothing_is_ranked() -> None:
    assert rank_configs([], LOSS) == []


# seeds


def test_runs_that_differ_in_their_seed_alone_are_one_configuration() -> None:
    (config,) = rank_configs([run(0.1, seed, loss=seed) for seed in (1, 2, 6)], LOSS)
    assert [record.seed for record in config.runs] == [1, 2, 6]


def test_a_configuration_has_mean_and_sample_deviation_over_its_seeds() -> None:
    (config,) = rank_configs([run(0.1, seed, loss=seed) for seed in (1, 2, 6)], LOSS)
    assert (config.means["loss"], config.spread["loss"]) == (3.0, pytest.approx(math.sqrt(7)))


def test_a_single_run_has_no_spread() -> None:
    (config,) = rank_configs([run(0.1, loss=5)], LOSS)
    assert (config.means["loss"], config.spread["loss"]) == (5.0, 0.0)


def test_a_seed_among_the_parameters_does_not_tell_configurations_apart() -> None:
    runs = [recorded(str(s), params={"lr": 0.1, "seed": s}, seed=s, state=State.FINISHED) for s in (0, 1)]
    (config,) = rank_configs(runs, None)
    assert config.params == {"lr": 0.1}


def test_a_metric_that_some_seeds_lack_is_averaged_over_the_others() -> None:
    (config,) = rank_configs([run(0.1, 0, loss=1, acc=4), run(0.1, 1, loss=3)], LOSS)
    assert config.means == {"loss": 2.0, "acc": 4.0}


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ([1, 2], (1, 2))], ids=repr)
def test_equal_values_make_one_configuration(one: Any, other: Any) -> None:
    assert len(rank_configs([run(one, 0), run(other, 1)], None)) == 1


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (0, False), ("1", 1), (None, "null"), (0.1, 0.1 + 1e-17 + 1e-16)], ids=repr
)
def test_unlike_values_make_two_configurations(one: Any, other: Any) -> None:
    assert len(rank_configs([run(one, 0), run(other, 1)], None)) == 2


@pytest.mark.parametrize(
    "values", [(math.nan, 1.0), (math.inf, 1.0), (math.inf, -math.inf), (1e308, 1e308), (1e308, -1e308)], ids=repr
)
def test_values_beyond_all_bounds_are_no_obstacle(values: tuple[float, ...]) -> None:
    runs = [run("wild", seed, loss=value) for seed, value in enumerate(values)]
    assert sorted(order(run("tame", loss=0.5), *runs)) == ["tame", "wild"]


def test_the_seed_is_no_part_of_a_configuration() -> None:
    assert without_seed({"lr": 0.1, "seed": 3}) == {"lr": 0.1}


def test_a_pruned_run_is_no_result_however_good_it_looked() -> None:
    finished = recorded("a", params={"lr": 0.1}, state=State.FINISHED, metrics={"loss": 2.0})
    pruned = recorded("b", params={"lr": 0.2}, state=State.PRUNED, metrics={"loss": 0.1})
    (only,) = rank_configs([finished, pruned], Objective(name="loss"))
    assert only.params == {"lr": 0.1}
