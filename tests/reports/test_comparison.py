"""A comparison in words and tables: on what a word rests, what is missing for one, targets that are not reached."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from sweepline.analysis.compare import CompareOptions
from sweepline.analysis.series import STEP, TIME, RunHistory, Side, build_series
from sweepline.reports.comparison.result import Comparison, compare_sides

STEPS = [*range(100, 1100, 100)]
FALLING = [10.0 - step / 200 for step in STEPS]


def run(
    values: Sequence[float], *, seconds_a_step: float = 1.0, seed: int | None = None, **params: object
) -> RunHistory:
    places = {STEP: STEPS, TIME: [step * seconds_a_step for step in STEPS]}
    return RunHistory(name="r", seed=seed, params=params, series={"loss": build_series(values, places)})


def compared(*sides: Sequence[RunHistory], **options: object) -> Comparison:
    labels = ["base", "one", "two"]
    named = [Side(label=label, runs=runs) for label, runs in zip(labels, sides, strict=False)]
    return compare_sides(named, CompareOptions(**options))  # type: ignore[arg-type]


def test_what_depends_on_what_is_held_equal_is_said_so() -> None:
    slower = run([value - 1 for value in FALLING], seconds_a_step=4.0)
    words = str(compared([run(FALLING)], [slower]))
    assert "not conclusive: it depends on what is held equal (--by chooses what counts)" in words


def test_where_only_one_axis_is_open_the_others_are_told() -> None:
    alike_in_time = run([value - 1 for value in FALLING], seconds_a_step=1.25)
    words = str(compared([run(FALLING)], [alike_in_time]))
    reason = "at equal time within twice the tolerance (1 %); better along the others (--by chooses what counts)"
    assert f"not conclusive: {reason}" in words


def test_a_target_is_said_to_be_held_and_how_many_seeds_reached_it() -> None:
    one = [run([1.0] * 10, seed=0), run([1.1] * 10, seed=1)]
    other = [run([1.0] * 10, seed=0), run([2.0] * 10, seed=1)]
    found = compared(one, other, hold=3, tolerance=0.05)
    assert "best within 5 %, held 3 points" in str(found)
    assert any("> 1,000 (> 10x), 1 of 2 runs" in line for line in found.lines())


def test_a_run_that_diverged_is_told_with_the_step_and_its_document_is_plain_json() -> None:
    found = compared([run(FALLING)], [run([9.0, *[math.nan] * 8, math.inf])])
    assert "loss is nan or infinite in 9 points, first at step 200" in str(found)
    assert any(line.split()[:3] == ["nan", "or", "infinite"] for line in found.lines())
    (measure,) = json.loads(json.dumps(found.to_dict(), allow_nan=False))["metrics"]["loss"]["runs"]["one"]
    assert measure["last"] == "inf"


def test_a_run_without_a_finite_value_is_worse() -> None:
    assert "worse at equal steps: it has no finite value" in str(compared([run(FALLING)], [run([math.nan] * 10)]))


def test_parameters_that_are_the_same_are_not_shown_and_several_values_of_a_side_are() -> None:
    one = [run(FALLING, seed=seed, lr=0.1, net="cnn", wd=wd) for seed, wd in ((0, 0.0), (1, 0.1))]
    found = compared(one, [run(FALLING, seed=0, lr=0.2, net="cnn", wd=0.0)])
    assert found.tables.parameters == {"lr": [0.1, 0.2], "wd": [[0.0, 0.1], 0.0], "seed": [[0, 1], 0]}


def test_a_short_run_that_cuts_the_window_of_all_is_named() -> None:
    short = RunHistory(name="s", series={"loss": build_series([9.0, 8.0], {STEP: [100, 200], TIME: [100.0, 200.0]})})
    lines = compared([run(FALLING)], [run(FALLING)], [short]).lines()
    assert "note: the common window ends with two at step 200; without it, it would be 5 times as long" in lines


def test_the_words_without_an_objective_say_which_metrics_disagree_and_how_to_name_one() -> None:
    def both(loss: float, accuracy: float) -> RunHistory:
        series = {
            name: build_series([value] * 10, {STEP: STEPS}) for name, value in (("loss", loss), ("acc", accuracy))
        }
        return RunHistory(name="r", series=series)

    words = str(compared([both(1.0, 0.9)], [both(0.5, 0.8)]))
    assert (
        "metrics disagree: loss is lower (50 % at equal steps), which is better; acc is lower (11.1 % at equal steps), "
        "which is worse"
    ) in words
    assert words.endswith("--objective NAME says which one counts")
