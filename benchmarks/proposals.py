"""What a proposal of a model takes when 1,000 runs are known, and whether constraints ever let one through."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.measure import Figure
from sweepline.runs import Objective, RunOutcome, State
from sweepline.space.constraints import parse_constraint
from sweepline.space.distributions import LogUniformValues, Uniform
from sweepline.space.parameters import Categorical, IntUniform, Parameter
from sweepline.space.plan import Plan, SearchSpace

SAMPLERS = ("tpe", "mfgp")
OBJECTIVE = Objective(name="loss")
SPACE: Mapping[str, Parameter] = {
    "lr": LogUniformValues(1e-5, 1.0),
    "dropout": Uniform(0.0, 0.9),
    "width": IntUniform(16, 512),
    "optimizer": Categorical(("sgd", "adam", "lamb")),
    "decay": LogUniformValues(1e-6, 1e-1),
    "momentum": Uniform(0.0, 0.99),
}
N_KNOWN, N_PROPOSALS, N_EACH = 1000, 10_000, 250


def loss_of(params: Mapping[str, Any]) -> float:
    """Return something that is to be made small."""
    return float((math.log10(params["lr"]) + 2) ** 2 + params["dropout"] ** 2 + abs(params["width"] - 256) / 256)


def is_allowed(params: Mapping[str, Any]) -> bool:
    """Whether a combination is none of those that the constraints exclude."""
    return not (params["optimizer"] == "sgd" and params["lr"] > 0.01) and not params["dropout"] > params["momentum"]


def _outcome(params: Mapping[str, Any]) -> RunOutcome:
    loss = loss_of(params)
    return RunOutcome(state=State.FINISHED, metrics={"loss": loss}, course={"9": loss})


def ask_s(sampler: str, n: int) -> list[float]:
    """Return how long proposals take, in seconds, once 1,000 random runs are known."""
    random = Plan(SearchSpace(parameters=SPACE, method="random", limit=N_KNOWN))
    plan = Plan(SearchSpace(parameters=SPACE, method="bayes", sampler=sampler, objectives=[OBJECTIVE]))
    for run in random.runs():
        plan.tell(run.params, _outcome(run.params))
    runs, found = plan.runs(), []
    for _ in range(n + 1):
        began = time.perf_counter()
        next(runs)
        found.append(time.perf_counter() - began)
    return found[1:]  # the first one makes what the others only add to


def count_infeasible(sampler: str, n: int) -> int:
    """Return how many of ``n`` proposals break a constraint, which exclude half of the space."""
    texts = ['optimizer == "sgd" and lr > 0.01', "dropout > momentum"]
    constraints = [parse_constraint({"exclude": text}, names=list(SPACE)) for text in texts]
    n_broken = 0
    for seed in range(n // N_EACH):
        space = SearchSpace(
            parameters=SPACE,
            constraints=constraints,
            method="bayes",
            sampler=sampler,
            objectives=[OBJECTIVE],
            sampler_seed=seed,
            limit=N_EACH,
        )
        plan = Plan(space)
        for run in plan.runs():
            n_broken += not is_allowed(run.params)
            plan.tell(run.params, _outcome(run.params))
    return n_broken


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured."""
    for sampler in SAMPLERS:
        yield Figure(f"a proposal of {sampler} when 1,000 runs are known", ask_s(sampler, 5 * n))
    for sampler in SAMPLERS:
        broken = count_infeasible(sampler, N_PROPOSALS)
        yield Figure(f"proposals of {sampler} that break a constraint, of {N_PROPOSALS:,}", [broken], "")


def main() -> None:
    """Print the figures."""
    for figure in figures(3):
        sys.stdout.write(f"{figure.title}: {figure}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
