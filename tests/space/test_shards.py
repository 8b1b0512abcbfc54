"""Which runs are those of one machine of several: disjoint, complete, equal, and the same after an edit."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from sweepline.errors import ConfigError
from sweepline.runs import Objective
from sweepline.space.distributions import Uniform
from sweepline.space.parameters import Categorical, Parameter
from sweepline.space.plan import Plan, SearchSpace
from sweepline.space.shards import Part, parse_shard, split_ids, take_part


def ids_of(n: int) -> list[str]:
    return [hashlib.sha256(str(i).encode()).hexdigest()[:12] for i in range(n)]


def plan_of(method: str = "grid", **more: object) -> Plan:
    parameters: dict[str, Parameter] = {
        "lr": Categorical((1, 2, 3, 4, 5)) if method == "grid" else Uniform(0.0, 1.0),
        "width": Categorical((16, 32)),
    }
    return Plan(SearchSpace(parameters=parameters, method=method, **more))  # type: ignore[arg-type]


def parts_of(plan: Plan, n_parts: int) -> list[list[str]]:
    return [[run.run_id for run in take_part(plan, Part(i, n_parts))[0].runs()] for i in range(1, n_parts + 1)]


@pytest.mark.parametrize("n_parts", [1, 2, 3, 7])
@pytest.mark.parametrize("n_runs", [7, 8, 100, 1001])
def test_every_run_is_in_one_part_and_parts_differ_by_one_at_most(n_runs: int, n_parts: int) -> None:
    parts = split_ids(ids_of(n_runs), n_parts)
    assert sorted(run_id for part in parts for run_id in part) == sorted(ids_of(n_runs))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_order_of_a_file_decides_nothing() -> None:
    assert split_ids(ids_of(50), 3) == split_ids(reversed(ids_of(50)), 3)


def test_an_edit_that_adds_runs_leaves_nearly_all_others_where_they_were() -> None:
    before, after = (split_ids(ids_of(n), 2)[0] for n in (400, 440))
    assert len(before - after) < 0.1 * len(before)


def test_no_value_of_a_parameter_is_gathered_in_one_part() -> None:
    plan = plan_of(seeds=(0, 1, 2, 3))
    widths = {run.params["width"] for run in take_part(plan, Part(1, 2))[0].runs()}
    assert widths == {16, 32}


@pytest.mark.parametrize("plan", [plan_of(seeds=(0, 1, 2)), plan_of("random", limit=31, seeds=(0, 1))])
def test_grids_draws_and_seeds_are_split_whole(plan: Plan) -> None:
    parts = parts_of(plan, 3)
    assert sorted(itertools.chain.from_iterable(parts)) == sorted(plan.ids())
    assert {len(part) for part in parts} <= {len(plan.ids()) // 3, len(plan.ids()) // 3 + 1}


def test_what_was_picked_is_what_is_split() -> None:
    picked = plan_of(seeds=(0, 1, 2)).pick(lambda params, _: params["width"] == 16)
    parts = parts_of(picked, 2)
    assert sorted(itertools.chain.from_iterable(parts)) == sorted(picked.ids())
    assert sorted(map(len, parts)) == [7, 8]


def test_a_part_tells_how_many_of_how_many_runs_it_has() -> None:
    assert str(take_part(plan_of(), Part(2, 2))[1]) == "part 2 of 2: 5 of 10 runs"


def test_too_many_runs_to_know_beforehand_are_split_by_their_ids_alone() -> None:
    parameters: dict[str, Parameter] = {name: Categorical(tuple(range(100))) for name in "abc"}
    plan, part = take_part(Plan(SearchSpace(parameters=parameters)), Part(1, 2))
    first = [run for run, _ in zip(plan.runs(), range(20), strict=False)]
    assert all(part.holds(run.run_id) for run in first)
    assert str(part) == "part 1 of 2"


def test_a_part_that_would_be_empty_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--shard \d+/12: 10 runs in all, and none is left for this part"):
        parts_of(plan_of(), 12)


def test_runs_that_are_proposed_by_what_others_have_come_to_cannot_be_split() -> None:
    plan = plan_of("bayes", limit=20, objectives=(Objective(name="loss"),))
    with pytest.raises(ConfigError, match=r"known beforehand.*method: random"):
        take_part(plan, Part(1, 2))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "-1/2", ""])
def test_what_names_no_part_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="needs K/N"):
        parse_shard(text)
