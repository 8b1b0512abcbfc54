"""What is kept of each rung is what a look through all courses says."""

from __future__ import annotations

import random

import pytest

from sweepline.config.earlystopping import Asha, Hyperband
from sweepline.contract.metrics import MetricPoint
from sweepline.engine.pruning.courses import Course
from sweepline.engine.pruning.pruner import Pruner
from sweepline.engine.pruning.rules import ladder_of, standing_at
from sweepline.engine.pruning.standings import Standings
from sweepline.runs import Objective

ASHA = Asha(type="asha", min=2, factor=2, by="epochs")


def point(rng: random.Random, epoch: int) -> MetricPoint:
    return MetricPoint({"loss": rng.choice([1.0, 2.0, rng.random(), float("nan")])}, {"epoch": epoch})


def play(pruner: Pruner, rng: random.Random, n: int) -> None:
    """Let runs tell, be stopped, end, go on where they were stopped, and begin anew."""
    epochs: dict[str, int] = {}
    waiting: set[str] = set()
    for _ in range(n):
        run_id = str(rng.randrange(30))
        if run_id not in epochs or rng.random() < 0.02:
            pruner.begin(run_id, {}, [[point(rng, 1)]] if rng.random() < 0.5 else [])
            epochs[run_id] = 1
            waiting.discard(run_id)
        if rng.random() < 0.02 and (promoted := pruner.promote(waiting.__contains__, n_first=1)) is not None:
            waiting.discard(promoted)
            pruner.begin(promoted, {}, [[point(rng, i + 1) for i in range(epochs[promoted])]])
            continue
        points = [point(rng, epochs[run_id] + i) for i in range(1, rng.choice([1, 1, 4]) + 1)]
        epochs[run_id] += len(points)
        if run_id in waiting:
            pruner.add(run_id, points)  # told after it was stopped
        elif pruner.note(run_id, points) is not None:
            waiting.add(run_id)


@pytest.mark.parametrize("n_first", [None, 0, 1])
@pytest.mark.parametrize("seed", range(10))
def test_the_standing_at_each_rung_is_what_all_courses_say(seed: int, n_first: int | None) -> None:
    pruner = Pruner([ASHA], Objective(name="loss"), n_first=n_first)
    play(pruner, random.Random(seed), 800)
    known = pruner._standings[0]

    assert known is not None
    for rung in (2.0, 4.0, 8.0, 16.0, 32.0):
        assert standing_at(ASHA, rung, {}, known) == standing_at(ASHA, rung, pruner._courses, None)


@pytest.mark.parametrize("is_strict", [False, True])
def test_a_band_of_hyperband_has_the_values_of_all_that_came_there(is_strict: bool) -> None:
    rule = Hyperband(type="hyperband", min_iter=1, eta=1.3, strict=is_strict)
    ladder, rng = ladder_of(rule), random.Random(0)
    assert ladder is not None
    standings, courses = Standings(ladder), [Course() for _ in range(20)]
    for _ in range(200):
        i = rng.randrange(20)
        courses[i].add(rng.random(), {})
        standings.note(str(i), courses[i])

    for band in (1, 2, 3, 4, 6):
        there = [course for course in courses if len(course.values) >= band]
        values = [course.values[band - 1] if is_strict else min(course.values[:band]) for course in there]
        assert standings.values(band) == sorted(values)
