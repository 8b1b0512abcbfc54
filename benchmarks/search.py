"""How soon samplers and early stopping find what random search finds at the end, on real tuning problems.

``python -m benchmarks.search [--quick] [--tasks ID ...] [--seeds N]``. The problems are ten of LCBench, small networks
on tabular data with seven parameters and 52 epochs, by a surrogate in ``$SWEEPLINE_HPO_BENCH`` (a folder with
``lcbench.py``; needs onnxruntime). Sampler and rules are the product's own; training is a table, four runs at once.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure
from sweepline.config.earlystopping import RULES, Rule
from sweepline.contract.metrics import MetricPoint
from sweepline.engine.pruning.pruner import Pruner
from sweepline.runs import Objective, RunOutcome, State
from sweepline.space.distributions import LogUniformValues, Quantized, Uniform
from sweepline.space.parameters import IntUniform, Parameter
from sweepline.space.plan import Plan, SearchSpace

TASKS = (3945, 7593, 34539, 126026, 146212, 167152, 167168, 189873, 189906, 168908)
QUICK = TASKS[:3]
BUDGET, N_EPOCHS, N_SLOTS = 2600, 52, 4
OBJECTIVE = Objective(name="accuracy", goal="maximize")
SPACE: Mapping[str, Parameter] = {
    "batch_size": Quantized(LogUniformValues(16, 512), 1),
    "learning_rate": LogUniformValues(1e-4, 1e-1),
    "momentum": Uniform(0.1, 0.99),
    "weight_decay": Uniform(1e-5, 1e-1),
    "num_layers": IntUniform(1, 5),
    "max_units": Quantized(LogUniformValues(64, 1024), 1),
    "max_dropout": Uniform(0.0, 1.0),
}
METHODS: Mapping[str, tuple[str, Sequence[Mapping[str, Any]]]] = {
    "random": ("random", ()),
    "tpe": ("tpe", ()),
    "tpe + median": ("tpe", ({"type": "median", "warmup": 4},)),
    "random + asha": ("random", ({"type": "asha", "min": 4},)),
    "tpe + asha, min 3": ("tpe", ({"type": "asha", "min": 3},)),
    "tpe + asha, min 4": ("tpe", ({"type": "asha", "min": 4},)),
    "tpe + asha, min 6": ("tpe", ({"type": "asha", "min": 6},)),
    "tpe + hyperband, min_iter 4": ("tpe", ({"type": "hyperband", "min_iter": 4},)),
}


@dataclass
class Search:
    """One search: the best result so far, and the best value seen so far, after each epoch that was trained."""

    results: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    n_runs: int = 0
    n_finished: int = 0
    ask_s: float = 0.0


def search(task: int, seed: int, sampler: str, rules: Sequence[Rule], *, budget: int = BUDGET) -> Search:
    """Search with four runs at once until so many epochs are trained."""
    method = "random" if sampler == "random" else "bayes"
    kind = "tpe" if sampler == "random" else sampler
    space = SearchSpace(parameters=SPACE, method=method, sampler=kind, objectives=[OBJECTIVE], sampler_seed=seed)
    plan = Plan(space)
    pruner = Pruner(rules, OBJECTIVE)
    runs, found = plan.runs(), Search()
    active: dict[str, tuple[Any, Any, int]] = {}
    while True:
        while len(active) < N_SLOTS:
            began = time.perf_counter()
            run = next(runs)
            found.ask_s += time.perf_counter() - began
            pruner.begin(run.run_id, run.params)
            active[run.run_id] = (run, curve_of(task, run.params), 0)
            found.n_runs += 1
        for run_id, (run, curve, epoch) in list(active.items()):
            value = float(curve[epoch])
            found.seen.append(max(value, found.seen[-1] if found.seen else value))
            verdict = pruner.note(run_id, [MetricPoint({"accuracy": value}, {"epoch": epoch + 1})])
            is_whole = epoch + 1 == N_EPOCHS
            best = found.results[-1] if found.results else 0.0
            found.results.append(max(best, value) if is_whole else best)
            found.n_finished += is_whole
            if len(found.results) == budget:
                return found
            if is_whole or verdict is not None:
                del active[run_id]
                state = State.FINISHED if is_whole else State.PRUNED
                plan.tell(run.params, RunOutcome(state=state, metrics={"accuracy": value}, n_points=epoch + 1))
            else:
                active[run_id] = (run, curve, epoch + 1)


@functools.cache
def _problem() -> Any:
    folder = os.environ.get("SWEEPLINE_HPO_BENCH", "")
    path = Path(folder) / "lcbench.py"
    if not path.is_file():
        raise SystemExit("SWEEPLINE_HPO_BENCH: set it to the folder with lcbench.py")
    spec = importlib.util.spec_from_file_location("lcbench", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def curve_of(task: int, params: Mapping[str, Any]) -> Any:
    """Return the accuracy after each epoch."""
    return _problem().curve(task, params)


def measure(job: tuple[int, int, str]) -> tuple[int, str, int, Search]:
    """Do one search in a process of its own."""
    task, seed, name = job
    sampler, raw = METHODS[name]
    rules = [RULES[one["type"]].model_validate(one) for one in raw]
    return task, name, seed, search(task, seed, sampler, rules)


def summarize(found: Mapping[tuple[int, str], Sequence[Search]], tasks: Sequence[int], *, by: str) -> list[str]:
    """Return a table: speed against random search's end, misses, and the end beside plain TPE's."""
    lines = [
        f"| method | epochs to random's end ({by}) | misses | worse than tpe | at most by | runs |",
        "|---|---|---|---|---|---|",
    ]
    goal = {task: statistics.median(getattr(s, by)[-1] for s in found[task, "random"]) for task in tasks}
    plain = {task: statistics.median(getattr(s, by)[-1] for s in found[task, "tpe"]) for task in tasks}
    for name in dict.fromkeys(name for _, name in found):
        speeds, losses, n_missed = [], [], 0
        for task in tasks:
            epochs = []
            for one in found[task, name]:
                at = next((i for i, value in enumerate(getattr(one, by), 1) if value >= goal[task]), None)
                n_missed += at is None
                epochs.append(2 * BUDGET if at is None else at)
            speeds.append(BUDGET / statistics.median(epochs))
            losses.append(plain[task] - statistics.median(getattr(s, by)[-1] for s in found[task, name]))
        n_worse = sum(loss > 0.005 for loss in losses)
        n_runs = statistics.median(s.n_runs for task in tasks for s in found[task, name])
        speed = f"{statistics.median(speeds):.1f} [{min(speeds):.1f}-{max(speeds):.1f}]"
        lines.append(f"| {name} | {speed} | {n_missed} | {n_worse} | {max(losses):.2f} | {n_runs:.0f} |")
    return lines


def figures(n: int) -> Iterator[Figure]:
    """Yield for three problems and ``n`` seeds how many epochs each method needs to where random search ends."""
    if not os.environ.get("SWEEPLINE_HPO_BENCH"):
        yield Figure("search on LCBench", note="not measured: SWEEPLINE_HPO_BENCH is not set")
        return
    found = _search_all(QUICK, range(n), list(METHODS), jobs=os.cpu_count())
    goal = {task: statistics.median(s.results[-1] for s in found[task, "random"]) for task in QUICK}
    for name in METHODS:
        epochs = [
            next((i for i, value in enumerate(one.results, 1) if value >= goal[task]), 2 * BUDGET)
            for task in QUICK
            for one in found[task, name]
        ]
        yield Figure(f"search on LCBench, {name}: epochs to the end of random search", epochs, unit="epochs")


def _search_all(
    tasks: Sequence[int], seeds: Iterable[int], names: Sequence[str], *, jobs: int | None
) -> dict[tuple[int, str], list[Search]]:
    todo = [(task, seed, name) for task in tasks for name in names for seed in seeds]
    found: dict[tuple[int, str], list[Search]] = {}
    with ProcessPoolExecutor(jobs) as pool:
        for task, name, _, one in pool.map(measure, todo):
            found.setdefault((task, name), []).append(one)
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="three tasks and three seeds instead of ten of each")
    parser.add_argument("--tasks", nargs="+", type=int)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    tasks = args.tasks or (QUICK if args.quick else TASKS)
    seeds = range(args.seeds or (3 if args.quick else 10))
    names = list(dict.fromkeys(["random", "tpe", *args.methods]))
    found = _search_all(tasks, seeds, names, jobs=args.jobs)
    for by in ("results", "seen"):
        sys.stdout.write("\n".join([*summarize(found, tasks, by=by), "", ""]))
    n_asked = sum(s.n_runs for own in found.values() for s in own)
    seconds = sum(s.ask_s for own in found.values() for s in own) / n_asked
    sys.stdout.write(f"{json.dumps({'seconds a proposal': seconds})}\n")


if __name__ == "__main__":
    main()
