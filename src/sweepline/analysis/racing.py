"""A race: the leading configurations get more seeds until the best of them is clear, or the seeds are used up.

As in irace (López-Ibáñez et al. 2016) all meet on the same seeds, and who is clearly worse is dropped. Pairs are told
apart by Student's t as :mod:`sweepline.analysis.significance` does, corrected by Holm's method for all pairs that are
left; that they are looked at after every seed is allowed for by the boundary of O'Brien and Fleming (1979). The runs
for which configurations were chosen do not count.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from sweepline.analysis.ranking import RankedConfig, config_key
from sweepline.analysis.significance import Compared, Standing, judge_best, noise_floor, without_twins
from sweepline.analysis.statistics import holm, mean_interval
from sweepline.config.schema import RaceModel
from sweepline.recording.events import RACE, RunRecord
from sweepline.runs import Objective
from sweepline.space.samplers.random import draw_seeds

MIN_SEEDS = 3  # before which nothing is judged
_LOOKS_FACTOR = 0.0265  # so the constants are those of Jennison and Turnbull (2000, table 2.3) within 1 %


@dataclass(frozen=True, slots=True)
class Race:
    """What a race is: ``top`` configurations, these ``seeds`` in this order, and how often it may be wrong."""

    top: int
    seeds: tuple[int, ...]
    alpha: float = 0.05

    def level(self, n_seeds: int) -> float:
        """Return the level at which configurations are told apart after so many seeds."""
        normal, n_looks = statistics.NormalDist(), len(self.seeds) - MIN_SEEDS + 1
        boundary = normal.inv_cdf(1 - self.alpha / 2) * (1 + _LOOKS_FACTOR * math.log(n_looks))
        return 2 * (1 - normal.cdf(boundary * math.sqrt(len(self.seeds) / n_seeds)))


def plan_race(wanted: RaceModel, taken: Sequence[int | None], sampler_seed: int) -> Race:
    """Return a race on seeds that the sweep itself does not use."""
    drawn = [seed for seed in draw_seeds(sampler_seed, wanted.seeds + len(taken)) if seed not in taken]
    return Race(wanted.top, tuple(drawn[: wanted.seeds]), wanted.alpha)


def read_race(plan: Mapping[str, Any]) -> Race | None:
    """Return the race that ``plan.json`` tells of."""
    told = plan.get("race")
    return None if not told else Race(told["top"], tuple(told["seeds"]), told["alpha"])


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a race stands: who is ``left``, by their places among the entrants, after ``n_seeds`` that were judged.

    ``dropped`` tells after how many seeds the others were found to be worse, or to have no result.
    """

    left: tuple[int, ...]
    dropped: Mapping[int, int]
    n_seeds: int
    is_over: bool


def judge_race(race: Race, entrants: Sequence[Mapping[int, float]], *, goal: str) -> Verdict:
    """Return how a race stands, which follows from its results alone.

    Args:
        race: what it is.
        entrants: the results of each configuration by seed, in the race's runs alone: no finite number where a run has
            ended without one, nothing where it has not ended.
        goal: ``minimize`` or ``maximize``.
    """
    left, dropped = list(range(len(entrants))), dict[int, int]()
    for n, seed in enumerate(race.seeds, 1):
        if any(seed not in entrants[i] for i in left):
            return Verdict(tuple(left), dropped, n - 1, is_over=False)
        sound = [i for i in left if math.isfinite(entrants[i][seed])]
        worse = [i for i in left if i not in sound] if sound else []
        if n >= MIN_SEEDS and len(sound) > 1:
            worse += _find_worse(race, {i: entrants[i] for i in sound}, race.seeds[:n], goal)
        dropped |= dict.fromkeys(worse, n)
        left = [i for i in left if i not in worse]
        is_idle = n >= MIN_SEEDS and not any(_varies(entrants[i], race.seeds[:n]) for i in left)
        if len(left) < 2 or is_idle or not sound:
            return Verdict(tuple(left), dropped, n, is_over=True)
    return Verdict(tuple(left), dropped, len(race.seeds), is_over=True)


def missing_seeds(race: Race, verdict: Verdict) -> tuple[int, ...]:
    """Return the seeds that everyone who is left has to have next."""
    return () if verdict.is_over else race.seeds[: max(MIN_SEEDS, verdict.n_seeds + 1)]


def _find_worse(race: Race, results: Mapping[int, Mapping[int, float]], seeds: Sequence[int], goal: str) -> list[int]:
    """Return who can be told from the one with the best mean."""
    places = list(results)
    compared = Compared([{seed: results[i][seed] for seed in seeds} for i in places])
    means = [statistics.fmean(results[i][seed] for seed in seeds) for i in places]
    first = means.index((max if goal == "maximize" else min)(means))
    if not any(_varies(results[i], seeds) for i in places):
        return []  # the seeds change nothing, so that nothing is known of what chance does
    pairs = {f"{i} {j}": (i, j) for i, j in itertools.combinations(range(len(places)), 2)}
    adjusted = holm({name: compared.p_value(i, j) for name, (i, j) in pairs.items()})
    level = race.level(len(seeds))
    return [places[i + j - first] for name, (i, j) in pairs.items() if first in (i, j) and adjusted[name] <= level]


def _varies(results: Mapping[int, float], seeds: Sequence[int]) -> bool:
    return len({results[seed] for seed in seeds}) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceStanding(Standing):
    """How the best configuration stands by a race: ``n_tied`` are left of ``n_compared``, after ``n_seeds``."""

    n_seeds: int
    n_runs: int
    n_runs_at_most: int
    is_over: bool
    is_idle: bool

    def __str__(self) -> str:
        seeds = f"{self.n_seeds} seeds that none was chosen by"
        how = "t-tests by seed, Holm, O'Brien-Fleming"
        spent = f"{self.n_runs} runs of at most {self.n_runs_at_most}"
        if not self.is_over:
            return f"race under way: {self.n_tied} of {self.n_compared} are left after {self.n_seeds} seeds"
        if self.is_idle:
            return "race: no seed changed a result, so nothing can be told; does the program take its seed?"
        if self.n_tied == 1:
            return f"race: the first is better than the other {self.n_compared - 1} ({seeds}; {how}; {spent})"
        dropped = self.n_compared - self.n_tied
        who = f"the first {self.n_tied} cannot be told apart" if dropped else f"no difference among {self.n_compared}"
        worse = f", {dropped} {'was' if dropped == 1 else 'were'} worse" if dropped else ""
        more = f"; about {self.n_more_seeds} more seeds each would tell the first two" if self.n_more_seeds else ""
        return f"race: {who}{worse} ({seeds}; {how}; {spent}){more}"


def find_standing(
    records: Iterable[RunRecord],
    ranked: Sequence[RankedConfig],
    objective: Objective,
    race: Race | None,
    idle: Set[str] = frozenset(),
) -> Standing | None:
    """Return how the first of the configurations stands to the others: by their race where they were in one.

    Of those that differ in parameters ``idle`` alone, which have no effect, one is compared.
    """
    ranked = without_twins(ranked, idle)
    raced = [config for config in ranked if config.is_raced]
    if race is None or len(raced) < 2:
        return judge_best(ranked, objective.name)
    found = race_results(records, objective.name)
    results = [found[config_key(config.runs[0])] for config in raced]
    verdict = judge_race(race, results, goal=objective.goal)
    seeds, left = race.seeds[: verdict.n_seeds], list(verdict.left)
    n_more = None
    if verdict.is_over and len(left) > 1:
        compared = Compared([{seed: results[i][seed] for seed in seeds} for i in left])
        n_more = compared.seeds_to_tell(0, 1) if compared.df else None
    return RaceStanding(
        interval=mean_interval(raced[0].values_of(objective.name)),
        n_compared=len(raced),
        n_tied=len(left),
        n_more_seeds=n_more,
        noise=noise_floor(raced, objective.name),
        is_paired=True,
        n_seeds=verdict.n_seeds,
        n_runs=sum(len(config.runs) for config in raced),
        n_runs_at_most=race.top * len(race.seeds),
        is_over=verdict.is_over,
        is_idle=len(left) > 1 and not any(_varies(results[i], seeds) for i in left),
    )


def race_results(records: Iterable[RunRecord], metric: str) -> dict[Hashable, dict[int, float]]:
    """Return the results of the race's runs that have ended, by configuration and seed; nan where there is none."""
    found: dict[Hashable, dict[int, float]] = {}
    for record in records:
        if record.in_sweep == RACE and record.seed is not None and record.is_ended and not record.goes_on:
            value = record.metrics.get(metric, math.nan) if record.has_result else math.nan
            found.setdefault(config_key(record), {})[record.seed] = value
    return found
