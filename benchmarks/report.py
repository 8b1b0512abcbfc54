"""From what was measured to ``docs/benchmarks.md``: the machine, the tables, and the goals, reached or not."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, spread
from benchmarks.peers.compare import JOBS, WORKLOADS, table

REMARKS = Path(__file__).with_name("remarks.md")
TITLES = {
    "train": "16 runs that train a small CNN for an epoch on 5,000 MNIST images, one thread each",
    "noop": "200 runs that print one metric",
    "imports": "16 runs that import torch and torchvision and print one metric",
}


@dataclass(frozen=True)
class Goal:
    """A figure to reach: what it is, what is asked, and the values that tell whether it is reached."""

    title: str
    asked: str
    values: Callable[[Measured], Sequence[float]]
    is_reached: Callable[[float], bool]
    unit: str = "s"


class Measured:
    """All figures by key, and the sweeps of the peers."""

    def __init__(self, figures: Sequence[Figure], peers: Sequence[Mapping[str, Any]]) -> None:
        self.by_key = {figure.key: figure for figure in figures if figure.key}
        self.peers = [result for result in peers if not result["fault"]]

    def __getitem__(self, key: str) -> Sequence[float]:
        return self.by_key[key].values if key in self.by_key else ()

    def rounds(self, tool: str, workload: str, n: int, field: str = "wall_s") -> list[float]:
        """Return a figure of a tool, round by round."""
        found = [r for r in self.peers if (r["tool"], r["workload"], r["n"]) == (tool, workload, n)]
        return [float(r[field]) for r in found]

    def ratio(self, tool: str, other: str, *, n: int) -> list[float]:
        """Return the ratios of wall time, round by round."""
        pairs = zip(self.rounds(tool, "train", n), self.rounds(other, "train", n), strict=False)
        return [a / b for a, b in pairs]

    def later_overhead(self) -> list[float]:
        """Return the slot seconds beyond training of each run after the first 16, round by round."""
        few, many = WORKLOADS["train"], 64
        beyond = {
            n: [seconds * n for seconds in self.rounds("ours-warm", "train", n, "overhead_s")] for n in (few, many)
        }
        return [(b - a) / (many - few) for a, b in zip(beyond[few], beyond[many], strict=False)]

    def same_bits(self) -> list[float]:
        """Return the share of runs whose weights are those of the plain pool, warm and cold."""
        digests = {
            tool: next(
                (r["digests"] for r in self.peers if (r["tool"], r["workload"], r["n"]) == (tool, "train", 16)), {}
            )
            for tool in ("pool", "ours-warm", "ours-cold")
        }
        pool = digests["pool"]
        same = [
            sum(digests[tool].get(key) == value for key, value in pool.items()) for tool in ("ours-warm", "ours-cold")
        ]
        return [n / len(pool) for n in same] if pool else []


GOALS = (
    Goal("overhead per run after the first 16 (slot seconds beyond reading data and training)", "< 0.05", Measured.later_overhead, lambda x: x < 0.05),
    Goal("16 runs, warm, against the plain pool", "<= 0.30", lambda m: m.ratio("ours-warm", "pool", n=16), lambda x: x <= 0.30, "x"),
    Goal("16 runs, warm, against two long-lived processes", "<= 0.95", lambda m: m.ratio("ours-warm", "long-lived", n=16), lambda x: x <= 0.95, "x"),
    Goal("64 runs, warm, against two long-lived processes", "<= 0.85", lambda m: m.ratio("ours-warm", "long-lived", n=64), lambda x: x <= 0.85, "x"),
    Goal("cold start of our trainer against the script of the pool", "<= 0.5", lambda m: m["cold_start"], lambda x: x <= 0.5, "x"),
    Goal("what W&B offline adds to a warm run of our trainer", "< 0.2", lambda m: m["wandb_warm"], lambda x: x < 0.2),
    Goal("no-op runs, recorded durably, cold", ">= 100", lambda m: m["noop_cold"], lambda x: x >= 100, "runs/s"),
    Goal("no-op runs, recorded durably, warm", ">= 300", lambda m: m["noop_warm"], lambda x: x >= 300, "runs/s"),
    Goal("memory of orchestrator and keeper, cold", "< 60", lambda m: m.rounds("ours-cold", "train", 16, "own_mb"), lambda x: x < 60, "MB"),
    Goal("memory of orchestrator and keeper, warm", "< 60", lambda m: m.rounds("ours-warm", "train", 16, "own_mb"), lambda x: x < 60, "MB"),
    Goal("`--dry-run` of the default sweep", "< 0.35", lambda m: m["dry_run"], lambda x: x < 0.35),
    Goal("planning a million combinations with a rule and merging", "< 15", lambda m: m["plan_s"], lambda x: x < 15),
    Goal("memory of that", "< 300", lambda m: m["plan_mb"], lambda x: x < 300, "MB"),
    Goal("its first run started", "< 2", lambda m: m["first_run"], lambda x: x < 2),
    Goal("a free slot in use again, a shell script, bash included", "< 5", lambda m: m["refill_cold"], lambda x: x < 5, "ms"),
    Goal("a free slot in use again, a warm Python program", "< 5", lambda m: m["refill_warm"], lambda x: x < 5, "ms"),
    Goal("an MNIST epoch, the classic loop against ours", ">= 2", lambda m: m["epoch"], lambda x: x >= 2, "x"),
    Goal("report of 1,000 runs x 100 points, read and written", "< 5", lambda m: m["page_points_all"], lambda x: x < 5),
    Goal("its size", "< 10", lambda m: m["page_points_mb"], lambda x: x < 10, "MB"),
    Goal("report of 10,000 runs x 9 columns, written beyond reading", "<= 1", lambda m: m["page_runs_write"], lambda x: x <= 1),
    Goal("its size without the library", "<= 4.25", lambda m: m["page_runs_own_mb"], lambda x: x <= 4.25, "MB"),
    Goal("its first picture drawn by a browser", "<= 2", lambda m: m["page_first"], lambda x: x <= 2),
    Goal("a filter of its runs, to repaint, the table in view", "< 100", lambda m: m["page_filter with #runs in view"], lambda x: x < 100, "ms"),
    Goal("the same, with four pictures in view", "< 100", lambda m: m["page_filter with #parallel in view"], lambda x: x < 100, "ms"),
    Goal("a brush in its parallel coordinates, to repaint", "< 100", lambda m: m["page_brush in #parallel"], lambda x: x < 100, "ms"),
    Goal("a brush in its scatter plot, to repaint", "< 100", lambda m: m["page_brush in #scatter"], lambda x: x < 100, "ms"),
    Goal("the same bits as in the pool, warm and cold", "1", Measured.same_bits, lambda x: x == 1, "of all runs"),
)  # fmt: skip


def render(machine: str, figures: Sequence[Figure], peers: Sequence[Mapping[str, Any]]) -> str:
    """Return the page."""
    return "\n".join(_lines(machine, figures, peers)) + "\n"


def _lines(machine: str, figures: Sequence[Figure], peers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    measured = Measured(figures, peers)
    yield "# Measured"
    yield ""
    yield f"By `make bench`. {machine} Median (lowest .. highest) of the rounds; within a round every tool has its turn."
    yield "Ratios within one run count, absolute seconds are those of a small shared machine."
    for workload, title in TITLES.items():
        if any(result["workload"] == workload for result in peers):
            yield from ["", f"## {title}, {JOBS} at a time", ""]
            yield from table(peers, workload, n_runs=WORKLOADS[workload])
    many = sorted({result["n"] for result in peers if result["workload"] == "train"} - {WORKLOADS["train"]})
    for n in many:
        yield from ["", f"## {n} runs of the same training", ""]
        yield from table(peers, "train", n_runs=n)
    yield from ["", "## Ourselves", "", "| figure | measured |", "|---|---|"]
    for figure in figures:
        yield f"| {figure.title} | {figure} |"
    yield from ["", REMARKS.read_text().rstrip(), ""]
    yield "## Goals"
    yield ""
    yield "| figure | goal | measured | |"
    yield "|---|---|---|---|"
    for goal in GOALS:
        values = goal.values(measured)
        verdict = "" if not values else "reached" if goal.is_reached(statistics.median(values)) else "**not reached**"
        yield f"| {goal.title} | {goal.asked} | {spread(values, goal.unit) if values else 'not measured'} | {verdict} |"
