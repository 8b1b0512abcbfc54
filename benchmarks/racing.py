"""How often a race is wrong, how often it finds the best, and with how many runs: simulated sweeps.

``python -m benchmarks.racing [--sweeps N] [--seeds N ...]``. Every sweep has 20 configurations with one normal result
each, the five leading ones race. The rules are the product's own.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.measure import Figure
from sweepline.analysis.racing import Race, judge_race, missing_seeds

N_CONFIGS, TOP = 20, 5


@dataclass(frozen=True)
class Outcome:
    """Of one sweep: whether anyone was dropped, who won, if any, whether the best raced, how many runs it took."""

    has_dropped: bool
    winner: int | None
    had_best: bool
    n_runs: int


def simulate(rng: random.Random, gap: float, spreads: Sequence[float], n_seeds: int) -> Outcome:
    """Do one sweep whose configuration 0 is better by ``gap`` than the others, equal but for their spreads."""
    first = [(rng.gauss(0, spread) - gap * (i == 0), i) for i, spread in enumerate(spreads)]
    chosen = [i for _, i in sorted(first)[:TOP]]
    race = Race(TOP, tuple(range(n_seeds)))
    results: list[dict[int, float]] = [{} for _ in chosen]
    verdict = judge_race(race, results, goal="minimize")
    while not verdict.is_over:
        for seed in missing_seeds(race, verdict):
            for place in verdict.left:
                if seed not in results[place]:
                    i = chosen[place]
                    results[place][seed] = rng.gauss(0, spreads[i]) - gap * (i == 0)
        verdict = judge_race(race, results, goal="minimize")
    winner = chosen[verdict.left[0]] if len(verdict.left) == 1 else None
    return Outcome(bool(verdict.dropped), winner, 0 in chosen, sum(map(len, results)))


def simulate_many(n: int, gap: float, spreads: Sequence[float], n_seeds: int) -> list[Outcome]:
    """Do so many sweeps."""
    return [simulate(random.Random(f"{i}/{gap}/{n_seeds}"), gap, spreads, n_seeds) for i in range(n)]


EQUAL = [1.0] * N_CONFIGS
UNEQUAL = [1.0, 3.0] * (N_CONFIGS // 2)


def figures(n: int) -> Iterator[Figure]:
    """Yield, of ``100 n`` sweeps of equal configurations, the share in which some were told apart."""
    found = simulate_many(100 * n, 0.0, EQUAL, 10)
    yield Figure("race: equal configurations told apart", [sum(one.has_dropped for one in found) / len(found)])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sweeps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 20])
    args = parser.parse_args()
    lines = [
        "| seeds | the best is better by | spread | any was dropped | another won | the best alone | runs (median) |",
        "|---|---|---|---|---|---|---|",
    ]
    for n_seeds in args.seeds:
        for gap in (0.0, 1.0, 2.0):
            for name, spreads in (("equal", EQUAL), ("half of them 3x", UNEQUAL)):
                if gap and spreads is UNEQUAL:
                    continue
                found = simulate_many(args.sweeps, gap, spreads, n_seeds)
                raced = [one for one in found if one.had_best] if gap else found
                n_alone = sum(one.winner == 0 for one in raced) if gap else sum(one.winner is not None for one in raced)
                n_wrong = sum(one.winner not in (0, None) for one in raced) if gap else 0
                n_runs = statistics.median(one.n_runs for one in raced)
                lines.append(
                    f"| {n_seeds} | {gap:g} sd | {name} | {sum(one.has_dropped for one in raced) / len(raced):.1%} | "
                    f"{n_wrong / len(raced):.1%} | {n_alone / len(raced):.1%} | {n_runs:.0f} of {TOP * n_seeds} |"
                )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
