"""Grids: order, constraints, merging, and memory that does not grow with the number of combinations."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from sweepline.errors import ConfigError
from sweepline.space.constraints import parse_constraint
from sweepline.space.distributions import Uniform
from sweepline.space.parameters import Categorical, IntUniform, Parameter
from sweepline.space.plan import Plan, SearchSpace, count_all
from sweepline.space.samplers.base import Tally
from sweepline.space.samplers.grid import Grid

LEARNER: dict[str, list[Any]] = {
    "learner.opt": ["sgd", "adam"],
    "learner.step_size": [1e-1, 1e-2, 1e-3],
    "learner.momentum": [0.0, 0.9],
    "learner.weight_decay": [0.0, 1e-2],
    "batch_size": [64, 128, 256],
}
ADAM_HAS_NO_MOMENTUM = {"when": {"learner.opt": "adam"}, "set": {"learner.momentum": 0.0}}
MILLION: dict[str, Parameter] = {name: Categorical(tuple(range(100))) for name in "abc"}


def space_of(lists: Mapping[str, Sequence[Any]], *constraints: Any, **more: Any) -> SearchSpace:
    """Return a grid space of lists of values."""
    parameters = {name: Categorical(tuple(values)) for name, values in lists.items()}
    return SearchSpace(parameters=parameters, constraints=[parse_constraint(raw) for raw in constraints], **more)


def plan_of(lists: Mapping[str, Sequence[Any]], *constraints: Any, **more: Any) -> Plan:
    return Plan(space_of(lists, *constraints, **more))


def kept(lists: Mapping[str, Sequence[Any]], *constraints: Any) -> list[tuple[Any, ...]]:
    """Return the combinations that remain, as tuples in the order of the file."""
    return [tuple(params.values()) for params in plan_of(lists, *constraints).combinations(Tally())]


def peak_mib_of_walking(parameters: Mapping[str, Parameter], *constraints: Any, n: int | None = None) -> float:
    """Return the peak of memory in MiB while the first ``n`` combinations, or all, are walked."""
    space = SearchSpace(parameters=parameters, constraints=[parse_constraint(raw) for raw in constraints])
    tracemalloc.start()
    try:
        deque(itertools.islice(Plan(space).count(), n), maxlen=0)
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def test_72_combinations_are_54_after_merging() -> None:
    assert count_all(plan_of(LEARNER, ADAM_HAS_NO_MOMENTUM)) == Tally(n_walked=72, n_skipped=0, n_merged=18)


def test_of_the_54_are_36_sgd_and_18_adam() -> None:
    combinations = plan_of(LEARNER, ADAM_HAS_NO_MOMENTUM).combinations(Tally())

    assert Counter(params["learner.opt"] for params in combinations) == {"sgd": 36, "adam": 18}


def test_the_same_rule_as_text_leaves_the_same_combinations() -> None:
    assert kept(LEARNER, "learner.opt=adam -> learner.momentum=0.0") == kept(LEARNER, ADAM_HAS_NO_MOMENTUM)


def test_no_two_remaining_combinations_are_equal() -> None:
    assert max(Counter(kept(LEARNER, ADAM_HAS_NO_MOMENTUM)).values()) == 1


def test_the_last_name_in_byte_order_varies_fastest() -> None:
    combinations = list(plan_of({"b": [1, 2], "a": [3, 4], "B": [5, 6]}).combinations(Tally()))

    assert [(c["B"], c["a"], c["b"]) for c in combinations[:4]] == [(5, 3, 1), (5, 3, 2), (5, 4, 1), (5, 4, 2)]


def test_values_stand_in_the_order_of_the_file() -> None:
    assert [list(params) for params in plan_of({"b": [1], "a": [3]}).combinations(Tally())] == [["b", "a"]]


def test_values_are_walked_in_the_order_of_their_list() -> None:
    assert kept({"a": [3, 1, 2]}) == [(3,), (1,), (2,)]


def test_equal_values_of_a_list_make_one_combination() -> None:
    assert kept({"a": [1, 1.0, True], "b": ["x"]}) == [(1, "x"), (True, "x")]


@pytest.mark.parametrize(
    ("constraint", "left"),
    [
        ({"when": {"a": 1}, "skip": True}, [(2, "x"), (2, "y")]),
        ("a=1 -> skip", [(2, "x"), (2, "y")]),
        ({"when": {"a": ">=2"}, "skip": True}, [(1, "x"), (1, "y")]),
        ({"when": {"a": 1, "b": "x"}, "skip": True}, [(1, "y"), (2, "x"), (2, "y")]),
        ("a=1 and b=x -> skip", [(1, "y"), (2, "x"), (2, "y")]),
        ("a=1, b=x -> skip", [(1, "y"), (2, "x"), (2, "y")]),
        ({"when": {"b": ["x", "z"]}, "skip": True}, [(1, "y"), (2, "y")]),
        ("b=[x, z] -> skip", [(1, "y"), (2, "y")]),
        ({"when": {"a": "!=1"}, "skip": True}, [(1, "x"), (1, "y")]),
        ({"exclude": "a == 1 and b == 'x'"}, [(1, "y"), (2, "x"), (2, "y")]),
        ({"exclude": "a * 2 > 3"}, [(1, "x"), (1, "y")]),
        ({"when": {"a": 1}, "set": {"b": "x"}}, [(1, "x"), (2, "x"), (2, "y")]),
        ("a=1 -> b=x", [(1, "x"), (2, "x"), (2, "y")]),
        ({"when": {"a": 1}, "set": {"b": "z"}}, [(1, "z"), (2, "x"), (2, "y")]),
        ({"when": {"a": 1}, "set": {"a": 2}}, [(2, "x"), (2, "y")]),
        ({"when": {"a": 7}, "skip": True}, [(1, "x"), (1, "y"), (2, "x"), (2, "y")]),
    ],
    ids=str,
)
def test_a_constraint_leaves_exactly_these(constraint: Any, left: list[tuple[Any, ...]]) -> None:
    assert kept({"a": [1, 2], "b": ["x", "y"]}, constraint) == left


def test_constraints_apply_in_order() -> None:
    lists = {"a": [1, 2], "b": [0]}

    assert kept(lists, "a=1 -> a=2", "a=2 -> b=5") == [(2, 5)]


def test_a_constraint_does_not_see_what_a_later_one_sets() -> None:
    assert kept({"a": [1, 2], "b": [0]}, "a=2 -> b=5", "a=1 -> a=2") == [(2, 0), (2, 5)]


def test_a_value_that_only_a_constraint_sets_is_seen_by_later_constraints() -> None:
    assert kept({"a": [1, 2], "b": [0]}, "a=1 -> b=9", "b=9 -> skip") == [(2, 0)]


def test_combinations_merge_on_values_outside_the_list_too() -> None:
    lists: dict[str, list[Any]] = {"opt": ["sgd", "adam"], "momentum": [0.5, 0.9]}

    assert sorted(kept(lists, "opt=adam -> momentum=0.0")) == [("adam", 0.0), ("sgd", 0.5), ("sgd", 0.9)]


def test_a_set_value_that_equals_one_of_the_list_takes_its_type() -> None:
    (first, *_) = kept({"a": [1.0, 2.0], "b": ["x", "y"]}, "b=x -> a=1")

    assert repr(first) == "(1.0, 'x')"


def test_true_does_not_merge_with_one() -> None:
    assert kept({"a": [True, False], "b": [0]}, "a=true -> b=1", "a=false -> b=true") == [(True, 1), (False, True)]


def test_skipped_and_merged_combinations_are_counted_apart() -> None:
    tally = count_all(plan_of({"a": [1, 2, 3], "b": [1, 2]}, "a=3 -> skip", "a=1 -> b=1"))

    assert (tally.n_walked, tally.n_skipped, tally.n_merged, tally.n_kept) == (6, 2, 1, 3)


def test_a_grid_that_constraints_empty_names_them() -> None:
    with pytest.raises(ConfigError, match=r"0 of 4 combinations pass the constraints \('a=1 -> skip', 'a=2 -> skip'\)"):
        count_all(plan_of({"a": [1, 2], "b": [1, 2]}, "a=1 -> skip", "a=2 -> skip"))


def test_an_expression_that_cannot_be_computed_names_the_values() -> None:
    with pytest.raises(ConfigError, match="opt='sgd'"):
        count_all(plan_of({"opt": ["sgd", "adam"], "lr": [1, 2]}, {"exclude": "opt > 1"}))


def test_a_combination_by_index_agrees_with_walking() -> None:
    grid = Grid({name: Categorical(tuple(values)) for name, values in LEARNER.items()}, ())

    assert [grid.combination(i) for i in range(len(grid))] == [grid.params(digits) for digits in grid.walk(Tally())]


@pytest.mark.parametrize("index", [-1, 6, 10**20])
def test_a_combination_outside_the_product_is_refused(index: int) -> None:
    with pytest.raises(IndexError):
        Grid({"a": Categorical((1, 2)), "b": Categorical((1, 2, 3))}, ()).combination(index)


def test_a_grid_of_10_to_the_30_is_counted_and_indexed_without_walking() -> None:
    grid = Grid({f"p{i}": IntUniform(1, 1000) for i in range(10)}, ())

    assert (grid.n_combinations, set(grid.combination(10**30 - 1).values())) == (10**30, {1000})


def test_a_continuous_parameter_in_a_grid_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^lr has no finite list of values$"):
        Grid({"lr": Uniform(0.0, 1.0)}, ())


def test_a_limit_takes_the_first_combinations() -> None:
    assert count_all(plan_of({"a": [1, 2, 3]}, limit=2)).n_kept == 2


def test_every_combination_meets_the_same_seeds() -> None:
    runs = list(plan_of({"a": ["x", "y"]}, seeds=[7, 8]).runs())

    assert [(run.params["a"], run.seed, run.index, run.name) for run in runs] == [
        ("x", 7, 0, "x-s7"),
        ("x", 8, 1, "x-s8"),
        ("y", 7, 2, "y-s7"),
        ("y", 8, 3, "y-s8"),
    ]


def test_a_parameter_called_seed_is_the_seed() -> None:
    runs = list(plan_of({"a": ["x"], "seed": [3, 4]}, seeds=[7, 8]).runs())

    assert [(run.seed, run.name) for run in runs] == [(3, "x-s3"), (4, "x-s4")]


def test_a_plan_gives_the_same_runs_again() -> None:
    plan = plan_of(LEARNER, ADAM_HAS_NO_MOMENTUM, seeds=[1, 2])

    assert list(plan.runs()) == list(plan.runs())


def test_all_run_ids_of_a_plan_differ() -> None:
    assert len({run.run_id for run in plan_of(LEARNER, ADAM_HAS_NO_MOMENTUM, seeds=[1, 2]).runs()}) == 108


def test_a_million_combinations_are_counted() -> None:
    space = SearchSpace(parameters=MILLION, constraints=[parse_constraint("a=1 -> b=2")])

    assert count_all(Plan(space)) == Tally(n_walked=1_000_000, n_skipped=0, n_merged=9_900)


def test_a_million_combinations_are_never_held() -> None:
    assert peak_mib_of_walking(MILLION) < 30


def test_constraints_hold_no_combination_either() -> None:
    constraints = ["a=1 -> b=2", "c=99 -> skip", {"exclude": "a == 0 and b == 0"}]

    assert peak_mib_of_walking(MILLION, *constraints, n=100_000) < 3


def test_a_list_of_a_million_integers_is_not_held_for_a_value_outside_it() -> None:
    parameters: dict[str, Parameter] = {"a": IntUniform(1, 1_000_000), "b": Categorical((0,))}

    assert peak_mib_of_walking(parameters, "a=7 -> a=0", n=10) < 30
