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

from benchmarks import hpolib
from benchmarks.measure import Figure
from sweepline.analysis.statistics import holm
from sweepline.config.earlystopping import RULES
from sweepline.contract.metrics import MetricPoint
from sweepline.engine.pruning.pruner import Pruner, choose_n_first
from sweepline.runs import Objective, Run, RunOutcome, State
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


@dataclass(frozen=True)
class Method:
    """A sampler, and rules of early stopping; ``may_resume``: runs go on from checkpoints."""

    sampler: str
    rules: Sequence[Mapping[str, Any]] = ()
    may_resume: bool = False


def asha(least: int, **more: Any) -> list[dict[str, Any]]:
    """Return the rule of successive halving over whole runs of 52 epochs."""
    return [{"type": "asha", "min": least, "max": N_EPOCHS, **more}]


METHODS: Mapping[str, Method] = {
    "random": Method("random"),
    "tpe": Method("tpe"),
    "mfgp": Method("mfgp"),
    "tpe + median": Method("tpe", [{"type": "median", "warmup": 4}]),
    "random + asha": Method("random", asha(4)),
    "tpe + asha, min 4": Method("tpe", asha(4)),
    "tpe + hyperband, min_iter 4": Method("tpe", [{"type": "hyperband", "min_iter": 4}]),
    "mfgp + hyperband, min_iter 4": Method("mfgp", [{"type": "hyperband", "min_iter": 4}]),
    "mfgp + asha, min 3": Method("mfgp", asha(3)),
    "mfgp + asha, min 4": Method("mfgp", asha(4)),
    "mfgp + asha, min 3, resumable": Method("mfgp", asha(3), may_resume=True),
    "mfgp + asha, min 4, resumable": Method("mfgp", asha(4), may_resume=True),
}


@dataclass
class Search:
    """One search: the best result so far, and the best value seen so far, after each epoch that was trained."""

    results: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    n_runs: int = 0
    n_finished: int = 0
    ask_s: float = 0.0


@dataclass
class _Training:
    """A run under way or waiting: its curve, how many epochs are trained, at how many rungs the sampler knows it."""

    run: Run
    curve: Any
    epoch: int = 0
    n_rungs_told: int = 0


def search(task: int, seed: int, method: Method, *, budget: int = BUDGET) -> Search:
    """Search with four runs at once until so many epochs are trained."""
    return _Searching(task, seed, method).go(budget)


class _Searching:
    """What the engine does with a sweep, with a table in the place of processes."""

    def __init__(self, task: int, seed: int, method: Method) -> None:
        is_random = method.sampler == "random"
        space = SearchSpace(
            parameters=SPACE,
            method="random" if is_random else "bayes",
            sampler="tpe" if is_random else method.sampler,
            objectives=[OBJECTIVE],
            sampler_seed=seed,
        )
        self._task, self._plan, self._found = task, Plan(space), Search()
        self._may_resume = method.may_resume
        rules = [RULES[one["type"]].model_validate(one) for one in method.rules]
        self._pruner = Pruner(rules, OBJECTIVE, n_first=choose_n_first(may_resume=method.may_resume, plan=self._plan))
        self._runs = self._plan.runs()
        self._active: dict[str, _Training] = {}
        self._waiting: dict[str, _Training] = {}

    def go(self, budget: int) -> Search:
        """Train until the budget is gone."""
        found = self._found
        while True:
            while len(self._active) < N_SLOTS:
                self._start_next()
            for run_id, training in list(self._active.items()):
                self._train_epoch(run_id, training)
                if len(found.results) == budget:
                    return found

    def _start_next(self) -> None:
        run_id = self._pruner.promote(self._waiting.__contains__) if self._may_resume else None
        if run_id is not None:
            training = self._active[run_id] = self._waiting.pop(run_id)
            told = [
                MetricPoint({"accuracy": float(training.curve[i])}, {"epoch": i + 1}) for i in range(training.epoch)
            ]
            self._pruner.begin(run_id, training.run.params, [told])
            return
        began = time.perf_counter()
        run = next(self._runs)
        self._found.ask_s += time.perf_counter() - began
        self._found.n_runs += 1
        self._pruner.begin(run.run_id, run.params)
        self._active[run.run_id] = _Training(run, curve_of(self._task, run.params))

    def _train_epoch(self, run_id: str, training: _Training) -> None:
        found, value = self._found, float(training.curve[training.epoch])
        training.epoch += 1
        is_whole = training.epoch == N_EPOCHS
        found.seen.append(max(value, found.seen[-1] if found.seen else value))
        best = found.results[-1] if found.results else 0.0
        found.results.append(max(best, value) if is_whole else best)
        found.n_finished += is_whole
        point = MetricPoint({"accuracy": value}, {"epoch": training.epoch})
        verdict = self._pruner.note(run_id, [point])
        if is_whole or verdict is not None:
            self._waiting[run_id] = self._active.pop(run_id)
            state, course = State.FINISHED if is_whole else State.PRUNED, self._pruner.course_of(run_id)
            metrics = {"accuracy": value}
            outcome = RunOutcome(state=state, metrics=metrics, n_points=training.epoch, course=course)
            self._plan.tell(training.run.params, outcome)
        else:
            course = self._pruner.course_of(run_id, has_ended=False)
            if len(course) > training.n_rungs_told:
                training.n_rungs_told = len(course)
                self._plan.tell(training.run.params, RunOutcome(state=State.RUNNING, course=course))


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
    return task, name, seed, search(task, seed, METHODS[name])


Found = Mapping[tuple[int, str], Sequence[Search]]


def epochs_needed(found: Found, name: str, task: int, *, by: str) -> list[int]:
    """Return after how many epochs each search had what random search ends with; twice the budget where none did."""
    goal = statistics.median(getattr(one, by)[-1] for one in found[task, "random"])
    return [
        next((i for i, value in enumerate(getattr(one, by), 1) if value >= goal), 2 * BUDGET)
        for one in found[task, name]
    ]


def summarize(found: Found, tasks: Sequence[int], *, by: str) -> list[str]:
    """Return a table: speed against random search's end, misses, and the end beside plain TPE's."""
    lines = [
        f"| method | epochs to random's end ({by}) | misses | worse than tpe | at most by | runs |",
        "|---|---|---|---|---|---|",
    ]
    plain = {task: statistics.median(getattr(s, by)[-1] for s in found[task, "tpe"]) for task in tasks}
    for name in dict.fromkeys(name for _, name in found):
        epochs = {task: epochs_needed(found, name, task, by=by) for task in tasks}
        speeds = [BUDGET / statistics.median(own) for own in epochs.values()]
        losses = [plain[t] - statistics.median(getattr(s, by)[-1] for s in found[t, name]) for t in tasks]
        n_missed = sum(own.count(2 * BUDGET) for own in epochs.values())
        n_worse = sum(loss > 0.005 for loss in losses)
        n_runs = statistics.median(s.n_runs for task in tasks for s in found[task, name])
        speed = f"{statistics.median(speeds):.1f} [{min(speeds):.1f}-{max(speeds):.1f}]"
        lines.append(f"| {name} | {speed} | {n_missed} | {n_worse} | {max(losses):.2f} | {n_runs:.0f} |")
    return lines


def compare(found: Found, tasks: Sequence[int], name: str, *, by: str) -> dict[str, float]:
    """Return, for each other method, how likely its epochs differ so by chance: Wilcoxon, paired, Holm's correction."""
    from scipy.stats import wilcoxon

    def all_epochs(method: str, n: int) -> list[int]:
        return [epochs for task in tasks for epochs in epochs_needed(found, method, task, by=by)[:n]]

    p_values = {}
    for other in dict.fromkeys(other for _, other in found if other != name):
        n = min(len(found[tasks[0], other]), len(found[tasks[0], name]))
        first, second = all_epochs(name, n), all_epochs(other, n)
        p_values[other] = float(wilcoxon(first, second).pvalue) if first != second else 1.0
    return holm(p_values)


def figures(n: int) -> Iterator[Figure]:
    """Yield for three problems and ``n`` seeds how many epochs each method needs to where random search ends."""
    if not os.environ.get("SWEEPLINE_HPO_BENCH"):
        yield Figure("search on LCBench", note="not measured: SWEEPLINE_HPO_BENCH is not set; HPOLib instead")
        yield from hpolib.figures(n)
        return
    found = _search_all(QUICK, range(n), list(METHODS), jobs=os.cpu_count())
    for name in METHODS:
        epochs = [one for task in QUICK for one in epochs_needed(found, name, task, by="results")]
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
    best = names[-1]
    for by in ("results", "seen"):
        told = compare(found, tasks, best, by=by)
        shown = ", ".join(f"{other} {p:.1g}" for other, p in told.items())
        sys.stdout.write(f"{best} beside others, epochs ({by}), Wilcoxon with Holm: p = {shown}\n")
    n_asked = sum(s.n_runs for own in found.values() for s in own)
    seconds = sum(s.ask_s for own in found.values() for s in own) / n_asked
    sys.stdout.write(f"{json.dumps({'seconds a proposal': seconds})}\n")


if __name__ == "__main__":
    main()
