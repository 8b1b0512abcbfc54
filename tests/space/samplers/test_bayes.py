"""Proposals by a model: better than chance, never what is known or dropped, and the same from the same history."""

from __future__ import annotations

import importlib.metadata
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from sweepline.errors import ConfigError
from sweepline.runs import Objective, RunOutcome, State, canonical_json
from sweepline.space.constraints import parse_conditions, parse_constraint
from sweepline.space.dependent import Alternative, Computed, Conditional
from sweepline.space.distributions import (
    Beta,
    InvLogUniform,
    LogNormal,
    LogUniform,
    LogUniformValues,
    Normal,
    Quantized,
    Uniform,
)
from sweepline.space.expressions import parse_expression
from sweepline.space.parameters import Categorical, Constant, IntUniform, Parameter, WeightedCategorical
from sweepline.space.plan import Plan, SearchSpace
from sweepline.space.samplers.bayes import KINDS, N_STARTUP, BayesSampler, check_installed

pytest.importorskip("optuna", reason="Optuna is not installed")

LOSS = Objective(name="loss")
PLAIN: dict[str, Parameter] = {"lr": LogUniformValues(1e-5, 1.0), "dropout": Uniform(0.0, 0.9)}
EVERY: dict[str, Parameter] = {
    "uniform": Uniform(-1, 2),
    "log_uniform": LogUniform(-10, -3),
    "inv_log_uniform": InvLogUniform(1, 5),
    "normal": Normal(0, 2),
    "log_normal": LogNormal(0, 1),
    "beta": Beta(2, 5),
    "q_uniform": Quantized(Uniform(1, 9), 5),
    "q_normal": Quantized(Normal(0, 10), 3),
    "int_uniform": IntUniform(-3, 3),
    "weighted": WeightedCategorical(("a", "b"), (0.2, 0.8)),
    "twice": Categorical(("a", "a", "b")),
    "mixed": Categorical((1, "x", None, [1, 2], True)),
    "sizes": Categorical((16, 128, 32, 64)),
    "fixed": Constant(7),
}


def build(parameters: Mapping[str, Parameter], *, seed: int = 0, **fields: Any) -> BayesSampler:
    space = SearchSpace(parameters=parameters, method="bayes", objectives=[LOSS], sampler_seed=seed, **fields)
    sampler = Plan(space).sampler
    assert isinstance(sampler, BayesSampler)
    return sampler


def loss_of(params: Mapping[str, Any]) -> float:
    return float((math.log10(params["lr"]) + 2) ** 2 + params["dropout"] ** 2)


def ended(loss: float, *, n: int = 0, state: State = State.FINISHED) -> RunOutcome:
    return RunOutcome(state=state, metrics={"loss": loss}, duration_s=float(n))


def drive(sampler: BayesSampler, n: int, loss: Any = loss_of) -> list[Mapping[str, Any]]:
    """Propose and measure, one after the other; return what was proposed."""
    found = []
    for i in range(n):
        params = sampler.ask()
        if params is None:
            break
        found.append(params)
        sampler.tell(params, ended(loss(params), n=i))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_finds_better_than_chance(kind: str) -> None:
    """Random draws reach a median of about 0.1 here with as many runs."""
    if kind == "gp":
        pytest.importorskip("torch", reason="the Gaussian process needs torch")
    seeds = range(1 if kind == "gp" else 5)  # which takes ten times as long
    best = [min(map(loss_of, drive(build(PLAIN, seed=seed, sampler=kind), 25))) for seed in seeds]
    random = []
    for seed in range(5):
        space = SearchSpace(parameters=PLAIN, method="random", sampler_seed=seed, limit=25)
        random.append(min(loss_of(run.params) for run in Plan(space).runs()))
    assert statistics.median(best) < 0.6 * statistics.median(random)


def test_the_first_ones_are_those_of_random_search() -> None:
    space = SearchSpace(parameters=PLAIN, method="random", limit=N_STARTUP)
    assert drive(build(PLAIN), N_STARTUP) == [run.params for run in Plan(space).runs()]


def test_every_distribution_gives_values_of_its_own() -> None:
    found = drive(build(EVERY), 40, lambda params: params["uniform"] ** 2 + abs(params["int_uniform"]))
    assert len(found) == 40
    for params in found:
        assert list(params) == list(EVERY)
        assert all(EVERY[name].quantile(value) is not None for name, value in params.items())
    assert {type(params["sizes"]) for params in found} == {int}
    assert {canonical_json(params["mixed"]) for params in found} <= {"1", '"x"', "null", "[1,2]", "true"}


def test_a_very_fine_step_is_no_list_of_values() -> None:
    """A grid of it would have a hundred million, and be refused."""
    fine: dict[str, Parameter] = {"x": Quantized(Uniform(0.0, 1.0), 1e-8)}
    found = drive(build(fine), N_STARTUP + 3, lambda params: params["x"])
    assert len(found) == N_STARTUP + 3
    assert all(fine["x"].quantile(params["x"]) is not None for params in found)


def test_what_constraints_drop_or_set_is_never_proposed_otherwise() -> None:
    parameters: dict[str, Parameter] = {**PLAIN, "opt": Categorical(("sgd", "adam")), "momentum": Uniform(0.0, 1.0)}
    constraints = [
        parse_constraint({"exclude": "lr > 0.01 and dropout > 0.3"}),
        parse_constraint({"when": {"opt": "adam"}, "set": {"momentum": 0.0}}),
    ]
    found = drive(build(parameters, constraints=constraints), 80, lambda p: loss_of(p) + p["momentum"])
    assert len(found) == 80
    assert not any(params["lr"] > 0.01 and params["dropout"] > 0.3 for params in found)
    assert all(params["momentum"] == 0.0 for params in found if params["opt"] == "adam")
    assert any(params["opt"] == "adam" for params in found[N_STARTUP:])


def test_conditional_computed_and_zipped_parameters_belong_together() -> None:
    parameters: dict[str, Parameter] = {
        "lr": LogUniformValues(1e-5, 1.0),
        "dropout": Uniform(0.0, 0.9),
        "opt": Categorical(("sgd", "adam")),
        "momentum": Conditional((Alternative(parse_conditions({"opt": "sgd"}), Uniform(0.0, 0.99)),)),
        "half": Computed(parse_expression("lr / 2", ["lr"])),
        "width": Categorical((64, 128, 256)),
        "depth": Categorical((2, 3, 4)),
    }
    found = drive(build(parameters, zipped=[("width", "depth")]), 60)
    for params in found:
        assert ("momentum" in params) == (params["opt"] == "sgd")
        assert params["half"] == params["lr"] / 2
        assert {64: 2, 128: 3, 256: 4}[params["width"]] == params["depth"]
    assert {params["opt"] for params in found[N_STARTUP:]} == {"sgd", "adam"}


def test_nothing_is_proposed_twice_and_a_finite_space_ends() -> None:
    parameters: dict[str, Parameter] = {
        "lr": Categorical((0.1, 0.01, 0.001)),
        "dropout": Categorical((0.0, 0.5, 0.7, 0.9)),
    }
    found = drive(build(parameters), 100)
    assert len({canonical_json(params) for params in found}) == len(found) == 12


@pytest.mark.parametrize("n_pending", [0, 3])
def test_the_same_history_gives_the_same_proposals(n_pending: int) -> None:
    first = build(EVERY)
    done = drive(first, 25, lambda params: params["uniform"] ** 2)
    pending = [first.ask() for _ in range(n_pending)]
    again = build(EVERY)
    for params in [*done, *pending]:
        assert params is not None
        again.tell(params, RunOutcome(state=State.INTERRUPTED))
    for i, params in reversed(list(enumerate(done))):  # runs end in any order
        again.tell(params, ended(params["uniform"] ** 2, n=i))
    assert [again.ask() for _ in range(4)] == [first.ask() for _ in range(4)]


def test_combinations_that_are_under_way_are_not_proposed_around() -> None:
    """A model that did not know of them would propose the same place for all slots."""
    sampler = build(PLAIN)
    drive(sampler, 30)
    at_once = [sampler.ask() for _ in range(6)]
    rates = sorted(math.log10(params["lr"]) for params in at_once if params)
    assert len(rates) == 6
    assert rates[-1] - rates[0] > 0.05


@pytest.mark.parametrize(("kind", "n"), [("tpe", 60), ("gp", 14)])
def test_several_objectives_are_followed_all_along_their_front(kind: str, n: int) -> None:
    """The front is where ``y`` is 0, whatever ``x``."""
    if kind == "gp":
        pytest.importorskip("torch", reason="the Gaussian process needs torch")
    objectives = [Objective(name="near"), Objective(name="far", goal="maximize")]
    parameters = {"x": Uniform(0.0, 1.0), "y": Uniform(-1.0, 1.0)}
    sampler = Plan(SearchSpace(parameters=parameters, method="bayes", sampler=kind, objectives=objectives)).sampler
    found = []
    for _ in range(n):
        params = sampler.ask()
        assert params is not None
        found.append(params)
        metrics = {"near": (params["x"] - 1) ** 2 + params["y"] ** 2, "far": -(params["x"] ** 2) - abs(params["y"])}
        sampler.tell(params, RunOutcome(state=State.FINISHED, metrics=metrics))
    drawn, proposed = found[:N_STARTUP], found[N_STARTUP:]
    assert statistics.fmean(abs(p["y"]) for p in proposed) < statistics.fmean(abs(p["y"]) for p in drawn) - 0.1
    assert max(p["x"] for p in proposed) - min(p["x"] for p in proposed) > (0.5 if kind == "tpe" else 0.2)


def test_runs_that_were_stopped_early_teach_the_model_that_learns_from_parts() -> None:
    """No run comes further than its first rung, where what is good is told already."""
    sampler, losses = build(PLAIN, sampler="mfgp"), []
    for _ in range(20):
        params = sampler.ask()
        assert params is not None
        losses.append(loss_of(params))
        told = losses[-1] + 1
        sampler.tell(params, RunOutcome(state=State.PRUNED, metrics={"loss": told}, course={"1": told}))
    assert statistics.median(losses[N_STARTUP:]) < 0.1  # of random draws it is about 3


def test_a_run_that_goes_on_is_one_observation_of_what_it_had_at_last() -> None:
    sampler = build(PLAIN, sampler="mfgp")
    params = {"lr": 0.1, "dropout": 0.5}
    first = RunOutcome(state=State.PRUNED, metrics={"loss": 3.0}, course={"1": 3.0})
    then = RunOutcome(state=State.FINISHED, metrics={"loss": 1.0}, course={"1": 3.0, "9": 1.0})
    other_seed = RunOutcome(state=State.PRUNED, metrics={"loss": 5.0}, course={"1": 5.0})
    for outcome in (first, then, other_seed):
        sampler.tell(params, outcome)
    seen, pending, _ = sampler._seen()
    assert [(at, value) for _, at, value, _ in seen] == [(1.0, 4.0), (9.0, 1.0)]
    assert pending == []
    assert sampler.trials()[0].value == 1.0


def test_what_a_run_under_way_has_at_a_rung_is_known_before_its_end() -> None:
    sampler = build(PLAIN, sampler="mfgp")
    params = sampler.ask()
    assert params is not None
    sampler.tell(params, RunOutcome(state=State.RUNNING, course={"3": 2.0}))
    seen, pending, _ = sampler._seen()
    assert [(at, value) for _, at, value, _ in seen] == [(3.0, 2.0)]
    assert len(pending) == 1


class TestRungs:
    """What Optuna's samplers are told of runs that were stopped at rungs."""

    def values(self, *courses: Mapping[str, float], n_finished: int = 0) -> list[Any]:
        """Return what trials have, of runs with these courses, the first ones of which went to their end."""
        sampler = build(PLAIN)
        for i, course in enumerate(courses):
            state = State.FINISHED if i < n_finished else State.PRUNED
            last = course[max(course, key=float)]
            outcome = RunOutcome(state=state, metrics={"loss": last}, course=course, n_points=len(course))
            sampler.tell({"lr": 10 ** -(1 + i / 10), "dropout": 0.5}, outcome)
        return [trial.value for trial in sampler.trials()]

    def test_all_are_compared_at_the_furthest_rung_to_which_enough_came(self) -> None:
        short, long = [{"4": float(i)} for i in range(7)], [{"4": 9.0, "12": 0.1}]
        assert self.values(*long, *short) == [9.0, 0, 1, 2, 3, 4, 5, 6]
        assert self.values(*long * 8, *short) == [0.1] * 8

    def test_whole_runs_are_compared_with_whole_ones_once_there_are_enough(self) -> None:
        whole = [{"4": 9.0, "52": float(i)} for i in range(8)]
        assert self.values(*whole, *[{"4": 0.0}] * 8, n_finished=8) == list(range(8))
        assert self.values(*whole[:7], {"4": 1.0}, n_finished=7) == [9.0] * 7 + [1.0]

    def test_runs_that_were_stopped_anywhere_are_told_as_before(self) -> None:
        assert self.values({"52": 1.0}, {"17": 3.0}, {"31": 2.0}, n_finished=1) == [1.0, None, None]


class TestWhatIsTold:
    """What becomes of outcomes."""

    def told(self, outcomes: Sequence[RunOutcome], *, goal: str = "minimize") -> Any:
        """Return the trial of a combination with these outcomes, beside two others; None where it tells nothing."""
        space = SearchSpace(parameters=PLAIN, method="bayes", objectives=[Objective(name="loss", goal=goal)])
        sampler = Plan(space).sampler
        assert isinstance(sampler, BayesSampler)
        for lr, loss in ((0.1, 5.0), (0.01, 1.0)):
            sampler.tell({"lr": lr, "dropout": 0.5}, ended(loss))
        for outcome in outcomes:
            sampler.tell({"lr": 0.5, "dropout": 0.25}, outcome)
        return next((t for t in sampler.trials() if t.params["dropout"] == pytest.approx(0.25 / 0.9)), None)

    def test_repeats_are_one_observation_their_mean(self) -> None:
        assert self.told([ended(1.0, n=1), ended(2.0, n=2), ended(6.0, n=3)]).value == 3.0

    def test_what_is_told_again_counts_once(self) -> None:
        assert self.told([ended(1.0, n=1), ended(2.0, n=2), ended(2.0, n=2)]).value == 1.5

    def test_a_failed_run_is_no_number(self) -> None:
        assert self.told([RunOutcome(state=State.FAILED)]) is None
        assert self.told([RunOutcome(state=State.FAILED), ended(2.0)]).value == 2.0

    @pytest.mark.parametrize(("goal", "worst"), [("minimize", 5.0), ("maximize", 1.0)])
    def test_a_diverged_run_is_the_worst_that_was_seen(self, goal: str, worst: float) -> None:
        assert self.told([ended(math.nan)], goal=goal).value == worst
        assert self.told([ended(math.inf)], goal=goal).value == worst

    def test_a_run_that_was_stopped_early_tells_how_far_it_came(self) -> None:
        found = self.told([ended(3.0, state=State.PRUNED)])
        assert (found.state.name, found.intermediate_values) == ("PRUNED", {1: 3.0})

    def test_a_run_that_was_interrupted_is_under_way(self) -> None:
        assert self.told([RunOutcome(state=State.INTERRUPTED)]).state.name == "RUNNING"


def test_what_is_known_is_used_in_a_wider_space() -> None:
    done = drive(build(PLAIN), 20)
    wider: dict[str, Parameter] = {"lr": LogUniformValues(1e-6, 10.0), "dropout": Uniform(0.0, 0.9)}
    sampler = build(wider)
    for params in done:
        sampler.tell(params, ended(loss_of(params)))
    assert len(sampler.trials()) == 20
    narrower = build({"lr": LogUniformValues(1e-3, 1.0), "dropout": Uniform(0.0, 0.9)})
    for params in done:
        narrower.tell(params, ended(loss_of(params)))
    assert len(narrower.trials()) == sum(params["lr"] >= 1e-3 for params in done)


def test_a_sobol_sequence_is_spread_evenly_and_can_be_counted() -> None:
    pytest.importorskip("scipy", reason="SciPy is not installed")
    plan = Plan(SearchSpace(parameters=PLAIN, method="bayes", sampler="qmc", objectives=[LOSS], limit=64))
    assert plan.is_enumerable
    places = [PLAIN["dropout"].quantile(run.params["dropout"]) for run in plan.runs()]
    assert len(places) == 64
    assert sorted(int(place * 16) for place in places if place is not None) == sorted([*range(16)] * 4)


@pytest.mark.parametrize("version", [None, "4.9.0", "3.6"])
def test_without_an_optuna_that_serves_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    def installed(_: str) -> str:
        if version is None:
            raise importlib.metadata.PackageNotFoundError
        return version

    monkeypatch.setattr(importlib.metadata, "version", installed)
    with pytest.raises(ConfigError, match=r"method: bayes needs Optuna.*pip install 'sweepline\[bayes\]'"):
        check_installed()
