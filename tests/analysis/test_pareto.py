"""The Pareto front of several objectives."""

from __future__ import annotations

import math

from sweepline.analysis.pareto import describe_front, find_front, read_objectives
from sweepline.analysis.ranking import rank_configs
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective, State
from tests.fakes import recorded

LOSS, SPEED = Objective(name="loss"), Objective(name="speed", goal="maximize")


def run(name: str, *, seed: int = 0, state: State = State.FINISHED, **metrics: float) -> RunRecord:
    return recorded(f"{name}-{seed}", params={"name": name}, seed=seed, state=state, metrics=metrics)


def front_of(*runs: RunRecord, objectives: tuple[Objective, ...] = (LOSS, SPEED)) -> list[str]:
    return [config.params["name"] for config in find_front(rank_configs(runs, objectives[0]), objectives)]


def test_who_is_beaten_in_nothing_or_only_where_it_is_better_elsewhere_is_on_the_front() -> None:
    assert front_of(
        run("quick", loss=3, speed=30),
        run("good", loss=1, speed=10),
        run("between", loss=2, speed=20),
        run("worse in one, equal in the other", loss=2, speed=15),
        run("worse in both", loss=3, speed=9),
    ) == ["good", "between", "quick"]


def test_equal_ones_are_all_on_it() -> None:
    assert front_of(run("a", loss=1, speed=1), run("b", loss=1, speed=1), run("c", loss=2, speed=1)) == ["a", "b"]


def test_of_one_objective_it_is_the_best() -> None:
    assert front_of(run("a", loss=2), run("b", loss=1), objectives=(LOSS,)) == ["b"]


def test_means_over_seeds_count_and_what_has_no_number_is_left_out() -> None:
    assert front_of(
        run("lucky", seed=0, loss=0, speed=1),
        run("lucky", seed=1, loss=4, speed=1),
        run("steady", loss=1, speed=1),
        run("diverged", loss=math.nan, speed=100),
        run("silent", loss=0),
        run("failed", state=State.FAILED, loss=0, speed=99),
    ) == ["steady"]


def test_three_objectives_are_compared_in_all() -> None:
    size = Objective(name="size")
    found = front_of(
        run("a", loss=1, speed=1, size=9),
        run("b", loss=1, speed=1, size=8),
        run("c", loss=2, speed=2, size=9),
        objectives=(LOSS, SPEED, size),
    )
    assert found == ["b", "c"]


def test_a_plan_tells_its_objectives_also_an_older_one() -> None:
    told = [{"name": "loss", "goal": "minimize"}, {"name": "speed", "goal": "maximize"}]
    assert read_objectives({"objective": told[0], "objectives": told}) == [LOSS, SPEED]
    assert read_objectives({"objective": told[0]}) == [LOSS]
    assert read_objectives({"objective": None, "objectives": []}) == []


def test_it_is_told_in_words() -> None:
    assert describe_front(1, 4, [LOSS, SPEED]).startswith(
        "1 configuration is on the Pareto front of loss (minimize), speed (maximize): no other of 4"
    )
