"""The golden middle: the knee of quality and cost, how sure it is, or that it lies beyond what was tried."""

from __future__ import annotations

import random

import pytest

from sweepline.analysis.tradeoff import find_golden_middle
from sweepline.recording.events import RunRecord
from sweepline.runs import Objective
from tests.fakes import recorded

TIME = Objective(name="time")
BATCH_AND_SPEED = {  # setting: (best time in s, steps in millions until it)
    (2048, 160): (24.560, 3.658),
    (8192, 160): (24.770, 5.806),
    (512, 512): (24.630, 2.192),
    (128, 768): (25.180, 1.390),
    (64, 1024): (25.100, 2.370),
}


def runs_of(results: dict[tuple[float, ...], tuple[float, float]], names: list[str]) -> list[RunRecord]:
    return [
        recorded(str(setting), params=dict(zip(names, setting, strict=True)), metrics={"time": t, "steps": s})
        for setting, (t, s) in results.items()
    ]


def curve(n_seeds: int, noise: float, values: list[float], best: float) -> list[RunRecord]:
    """Return runs of one parameter whose loss is least at ``best``."""
    rng = random.Random(0)
    return [
        recorded(
            f"{value} {seed}",
            params={"lr": value},
            seed=seed,
            metrics={"time": (value - best) ** 2 + rng.gauss(0, noise)},
        )
        for value in values
        for seed in range(n_seeds)
    ]


def test_the_middle_of_batch_size_and_speed_is_the_knee_not_an_end() -> None:
    found = find_golden_middle(
        runs_of(BATCH_AND_SPEED, ["batch_size", "speed"]), TIME, ["batch_size", "speed"], cost="steps"
    )
    assert found is not None
    assert found.middle.setting == (512, 512)
    assert [cell.setting for cell in found.front] == [(2048, 160), (512, 512), (128, 768)]
    assert str(found) == (
        "golden middle of quality and steps: batch_size=512, speed=512 has 24.6 at steps 2.19 "
        "(no setting ran twice, so how sure that is is not known)"
    )


def test_without_a_cost_it_is_the_best_between_its_neighbours() -> None:
    found = find_golden_middle(curve(5, 0.01, [1, 2, 3, 4, 5], 3), TIME, ["lr"])
    assert found is not None
    assert found.middle.setting == (3,)
    assert [cell.setting for cell in found.neighbours] == [(2,), (4,)]
    assert found.support == 1.0
    assert not found.is_at_edge


def test_seeds_that_disagree_make_it_less_sure_and_name_the_rival() -> None:
    found = find_golden_middle(curve(4, 1.0, [1, 2, 3, 4, 5], 3.4), TIME, ["lr"])
    assert found is not None
    assert found.support is not None
    assert 0.3 < found.support < 1.0
    assert found.rival is not None
    assert "else mostly lr=" in str(found)


@pytest.mark.parametrize(
    ("values", "best", "expected"),
    [
        ([0.001, 0.01, 0.1], 0.0001, {"lr": [0.0001, 1e-05]}),
        ([16, 32, 64, 128], 500, {"lr": [256, 512]}),
        ([0.1, 0.2, 0.3], 9, {"lr": [0.4, 0.5]}),
        ([1, 2, 4, 8], 0, {}),  # nothing whole lies below 1
        ([5], 5, {}),
    ],
)
def test_at_the_edge_of_what_was_tried_it_names_what_to_try_next(
    values: list[float], best: float, expected: dict[str, list[float]]
) -> None:
    found = find_golden_middle(curve(2, 1e-9, values, best), TIME, ["lr"])
    assert found is not None
    assert {name: pytest.approx(tries) for name, tries in found.next_values.items() if tries} == expected


def test_runs_without_a_number_for_the_parameter_are_left_out() -> None:
    runs = [
        recorded("a", params={"lr": None}, metrics={"time": 1.0}),
        recorded("b", params={"lr": True}, metrics={"time": 1.0}),
    ]
    assert find_golden_middle(runs, TIME, ["lr"]) is None


def test_the_cost_is_called_by_its_name() -> None:
    runs = [recorded(str(i), params={"x": i}, metrics={"loss": 1.0 * i, "tokens_per_s": 9.0 - i}) for i in range(3)]
    costs = {"tokens_per_s": "of quality and tokens_per_s", "duration_s": "of quality and duration"}
    for cost, words in costs.items():
        assert f"{words} " in str(find_golden_middle(runs, Objective(name="loss"), ["x"], cost=cost)).replace(":", " ")
