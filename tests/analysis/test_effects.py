"""Parameters that changed nothing are named, in the words that the product promises, and no others are."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sweepline.analysis.effects import EffectWatch, find_no_effects, primary_metric
from sweepline.recording.events import RunRecord
from sweepline.runs import RunOutcome, State
from tests.fakes import recorded

AXES: dict[str, tuple[Any, ...]] = {
    "learner.opt": ("sgd", "adam"),
    "learner.step_size": (0.1, 0.01, 0.001),
    "learner.momentum": (0.0, 0.9),
    "learner.weight_decay": (0.0, 0.01),
    "batch_size": (64, 128, 256),
}
Measure = Callable[[Mapping[str, Any], int | None], float]


def combinations() -> list[dict[str, Any]]:
    """Return the 54 combinations of the default sweep: Adam ignores momentum, so equal ones are left out."""
    product = (dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values()))
    return [params for params in product if params["learner.opt"] == "sgd" or params["learner.momentum"] == 0.0]


def runs_of(
    measure: Measure, *, seeds: tuple[int | None, ...] = (0,), state: State = State.FINISHED
) -> list[RunRecord]:
    """Return a record of each of the 54 combinations with each seed."""
    return [
        recorded(f"{i}-{seed}", params=params, seed=seed, state=state, metrics={"epoch_loss": measure(params, seed)})
        for i, params in enumerate(combinations())
        for seed in seeds
    ]


def depends_on(*names: str) -> Measure:
    """Return a loss that differs wherever one of these parameters does."""
    return lambda params, seed: float(zlib.crc32(repr([{**params, "seed": seed}[name] for name in names]).encode()))


def sentences(records: list[RunRecord], metric: str = "epoch_loss") -> list[str]:
    return [str(effect) for effect in find_no_effects(records, metric)]


def test_the_constructed_sweep_has_54_runs() -> None:
    assert len(runs_of(depends_on("seed"))) == 54


def test_a_parameter_that_changed_nothing_is_named_in_one_sentence() -> None:
    records = runs_of(depends_on("learner.opt", "learner.momentum", "learner.weight_decay", "batch_size"))
    assert sentences(records) == ["learner.step_size had no effect: 3 values, identical epoch_loss in all 18 groups"]


def test_parameters_with_an_effect_are_not_named() -> None:
    assert sentences(runs_of(depends_on(*AXES))) == []


def test_an_effect_in_a_single_group_is_an_effect() -> None:
    records = runs_of(depends_on("learner.opt", "learner.momentum", "learner.weight_decay", "batch_size"))
    (metric,) = records[0].metrics.values()
    records[0].outcome = RunOutcome(state=State.FINISHED, metrics={"epoch_loss": math.nextafter(metric, math.inf)})
    assert sentences(records) == []


def test_when_nothing_has_an_effect_every_parameter_is_named() -> None:
    assert [effect.parameter for effect in find_no_effects(runs_of(lambda *_: 2.3), "epoch_loss")] == list(AXES)


def test_a_parameter_that_a_constraint_fixes_is_judged_where_it_varies() -> None:
    others = ("learner.opt", "learner.step_size", "learner.weight_decay", "batch_size")
    assert sentences(runs_of(depends_on(*others))) == [
        "learner.momentum had no effect: 2 values, identical epoch_loss in all 18 groups"
    ]


def test_a_seed_without_effect_is_named() -> None:
    records = runs_of(depends_on(*AXES), seeds=(0, 1, 2))
    assert sentences(records) == ["seed had no effect: 3 values, identical epoch_loss in all 54 groups"]


def test_a_seed_with_an_effect_is_not_named() -> None:
    assert sentences(runs_of(depends_on(*AXES, "seed"), seeds=(0, 1, 2))) == []


@pytest.mark.parametrize("seeds", [(0,), (None,)])
def test_one_seed_alone_says_nothing(seeds: tuple[int | None, ...]) -> None:
    assert sentences(runs_of(depends_on(*AXES), seeds=seeds)) == []


def test_a_single_group_is_called_the_only_one() -> None:
    records = [recorded(str(x), params={"x": x}, state=State.FINISHED, metrics={"loss": 1.0}) for x in (1, 2)]
    assert sentences(records, "loss") == ["x had no effect: 2 values, identical loss in the only group"]


def test_a_parameter_of_a_single_value_says_nothing() -> None:
    records = [recorded(str(x), params={"x": x, "y": 1}, state=State.FINISHED, metrics={"loss": x}) for x in (1, 2)]
    assert sentences(records, "loss") == []


def test_equal_values_are_one_value() -> None:
    records = [recorded(str(x), params={"x": x}, state=State.FINISHED, metrics={"loss": 1.0}) for x in (1, 1.0)]
    assert sentences(records, "loss") == []


@pytest.mark.parametrize("state", [State.FAILED, State.INTERRUPTED, State.RUNNING, State.TIMEOUT])
def test_runs_that_did_not_finish_say_nothing(state: State) -> None:
    assert sentences(runs_of(lambda *_: 2.3, state=state)) == []


def test_runs_without_the_metric_say_nothing() -> None:
    assert sentences(runs_of(lambda *_: 2.3), "epoch_accuracy") == []


def test_random_draws_that_never_meet_say_nothing() -> None:
    records = [
        recorded(str(i), params={"x": i, "y": -i}, state=State.FINISHED, metrics={"loss": 1.0}) for i in range(9)
    ]
    assert sentences(records, "loss") == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [(["loss", "acc"], "loss"), (["missing", "acc"], "acc"), ([], "acc"), (["missing"], "acc")],
)
def test_the_first_wanted_metric_that_was_measured_is_judged(wanted: list[str], found: str) -> None:
    records = [recorded("a", metrics={"acc": 1.0}), recorded("b", metrics={"loss": 2.0})]
    assert primary_metric(records, wanted) == found


def test_without_metrics_nothing_is_judged() -> None:
    assert primary_metric([recorded("a")], ["loss"]) is None


def test_a_parameter_that_lets_runs_diverge_has_an_effect() -> None:
    losses = {(1, "a"): 0.5, (1, "b"): 0.5, (2, "a"): 0.25, (2, "b"): math.nan}
    runs = [recorded(f"{x}{y}", params={"x": x, "y": y}, metrics={"loss": v}) for (x, y), v in losses.items()]
    assert find_no_effects(runs, "loss") == []
    assert [effect.parameter for effect in find_no_effects(runs[:3], "loss")] == ["y"]


def test_where_all_runs_diverged_nothing_is_said() -> None:
    runs = [recorded(str(x), params={"x": x}, metrics={"loss": math.inf if x else math.nan}) for x in (0, 1, 2)]
    assert find_no_effects(runs, "loss") == []


def ended(name: str, metrics: dict[str, float], *, seed: int | None = 0, **params: Any) -> RunRecord:
    outcome = RunOutcome(state=State.FINISHED, metrics=metrics)
    return RunRecord(name, name=name, params=params, seed=seed, outcome=outcome)


def watched(*records: RunRecord, names: tuple[str, ...] = ("lr", "width")) -> list[str]:
    watch = EffectWatch(names)
    return [sentence for record in records for sentence in watch.note_end(record)]


def test_the_first_pair_that_differs_in_nothing_but_an_ignored_parameter_is_told() -> None:
    said = watched(
        ended("a", {"loss": 0.5, "acc": 0.9}, lr=0.1, width=1),
        ended("b", {"loss": 0.4, "acc": 0.9}, lr=0.2, width=1),
        ended("c", {"loss": 0.5, "acc": 0.9}, lr=0.1, width=2),
        ended("d", {"loss": 0.4, "acc": 0.9}, lr=0.2, width=2),
    )
    assert said == [
        "width may have no effect: a and c differ in it alone, and all 2 metrics of both are the same to the last "
        "digit; does the program take it?"
    ]


def test_an_effect_that_shows_later_is_told_as_well() -> None:
    said = watched(
        ended("a", {"loss": 0.5}, lr=0.1, width=1),
        ended("b", {"loss": 0.5}, lr=0.1, width=2),
        ended("c", {"loss": 0.6}, lr=0.1, width=3),
    )
    assert said[1:] == ["width has an effect after all (a, c)"]


@pytest.mark.parametrize(
    "other",
    [
        ended("b", {"loss": 0.5}, lr=0.1, width=2, seed=1),  # another seed
        ended("b", {"loss": 0.5}, lr=0.2, width=2),  # another rate too
        ended("b", {"loss": 0.5}, lr=0.1, width=1),  # no other width
        ended("b", {"loss": 0.5000001}, lr=0.1, width=2),
        ended("b", {"loss": math.nan}, lr=0.1, width=2),
    ],
)
def test_what_is_no_such_pair_is_not_told(other: RunRecord) -> None:
    assert watched(ended("a", {"loss": 0.5}, lr=0.1, width=1), other) == []


def test_times_do_not_hide_that_nothing_changed() -> None:
    one, other = {"loss": 0.5, "train_time": 1.0, "samples_per_sec": 9.0}, {"loss": 0.5, "train_time": 2.0}
    said = watched(ended("a", one, lr=0.1, width=1), ended("b", other, lr=0.1, width=2))
    assert len(said) == 1
    assert "and loss of both" in said[0]


def test_a_run_that_failed_tells_nothing() -> None:
    failed = ended("b", {"loss": 0.5}, lr=0.1, width=2)
    failed.outcome = RunOutcome(state=State.FAILED, metrics={"loss": 0.5})
    assert watched(ended("a", {"loss": 0.5}, lr=0.1, width=1), failed) == []
