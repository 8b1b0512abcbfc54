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
from dataclasses import dataclass, replace
from typing import Any

from sweepline.analysis.effects import find_no_effects
from sweepline.analysis.ranking import RankedConfig, config_key, rank_configs
from sweepline.analysis.significance import Compared, Standing, judge_best, noise_floor, without_twins
from sweepline.analysis.statistics import holm, mean_interval
from sweepline.config.schema import RaceModel
from sweepline.recording.events import IN_SWEEP, RACE, RunRecord
from sweepline.runs import Objective
from sweepline.space.samplers.random import draw_seeds

MIN_SEEDS = 3  # before which nothing is judged
_LOOKS_FACTOR = 0.0265  # so the constants are those of Jennison and Turnbull (2000, table 2.3) within 1 %


@dataclass(frozen=True, slots=True)
class Race:
    """What a race is: ``top`` configurations by a ``metric``, ``seeds`` in their order, how often it may be wrong."""

    top: int
    seeds: tuple[int, ...]
    alpha: float = 0.05
    metric: str = ""

    def level(self, n_seeds: int) -> float:
        """Return the level at which configurations are told apart after so many seeds."""
        normal, n_looks = statistics.NormalDist(), len(self.seeds) - MIN_SEEDS + 1
        boundary = normal.inv_cdf(1 - self.alpha / 2) * (1 + _LOOKS_FACTOR * math.log(n_looks))
        return 2 * (1 - normal.cdf(boundary * math.sqrt(len(self.seeds) / n_seeds)))


def plan_race(wanted: RaceModel, metric: str, taken: Sequence[int | None], sampler_seed: int) -> Race:
    """Return a race on seeds that the sweep itself does not use."""
    drawn = [seed for seed in draw_seeds(sampler_seed, wanted.seeds + len(taken)) if seed not in taken]
    return Race(wanted.top, tuple(drawn[: wanted.seeds]), wanted.alpha, metric)


def read_race(plan: Mapping[str, Any]) -> Race | None:
    """Return the race that ``plan.json`` tells of."""
    told = plan.get("race")
    return None if not told else Race(told["top"], tuple(told["seeds"]), told["alpha"], told["metric"])


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


@dataclass(frozen=True)
class RunRace:
    """A race as far as it has been run: its entrants, by the runs for which they were chosen, and their results."""

    entrants: Sequence[RankedConfig]
    results: Sequence[Mapping[int, float]]
    verdict: Verdict

    @property
    def is_judged(self) -> bool:
        """Whether anything can be said yet."""
        return self.verdict.n_seeds >= MIN_SEEDS or self.verdict.is_over


def find_race(records: Sequence[RunRecord], objective: Objective, race: Race | None) -> RunRace | None:
    """Return how a race stands by the records of a sweep; None where there is none, or nobody to race.

    Who takes part follows from the runs of the sweep itself; configurations that equal another but for what has no
    effect are left out.
    """
    if race is None or race.metric != objective.name:
        return None
    searched = [record for record in records if record.in_sweep == IN_SWEEP]
    idle = {effect.parameter for effect in find_no_effects(searched, objective.name)}
    ranked = without_twins(rank_configs(searched, objective), idle)
    sound = [config for config in ranked if math.isfinite(config.means.get(objective.name, math.nan))]
    entrants = sound[: race.top]
    if len(entrants) < 2:
        return None
    found = _race_results(records, objective.name)
    results = [found.get(config_key(config.runs[0]), {}) for config in entrants]
    return RunRace(entrants, results, judge_race(race, results, goal=objective.goal))


def rank_raced(records: Sequence[RunRecord], objective: Objective | None, race: Race | None) -> list[RankedConfig]:
    """Return the configurations, best first: those of a race that has been judged, then the others.

    Of those that raced the runs of the race count alone: they were chosen for the others, in which the leading ones
    were lucky. A race that has not been judged yet changes nothing.
    """
    found = None if objective is None else find_race(records, objective, race)
    if found is None or objective is None or not found.is_judged:
        own = [record for record in records if record.in_sweep != RACE] if found is not None else records
        return rank_configs(own, objective)
    raced: dict[Hashable, list[RunRecord]] = {}
    for record in records:
        if record.in_sweep == RACE and record.has_result:
            raced.setdefault(config_key(record), []).append(record)
    keys = [config_key(config.runs[0]) for config in found.entrants]
    entrants = [
        RankedConfig(raced.get(key) or config.runs, config.runs if key in raced else ())
        for key, config in zip(keys, found.entrants, strict=True)
    ]
    dropped, last = found.verdict.dropped, math.inf
    entrants_in_order = sorted(
        range(len(entrants)),
        key=lambda i: (-dropped.get(i, last), objective.sort_key(entrants[i].mean_of(objective.name))),
    )
    others = [c for c in rank_configs(records, objective) if config_key(c.runs[0]) not in keys]
    return [*(entrants[i] for i in entrants_in_order), *others]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceStanding(Standing):
    """How the best configuration stands by a race: ``n_tied`` are left of ``n_compared``, after ``n_seeds``.

    ``n_without`` of those that are not left had a run without a result.
    """

    n_seeds: int
    n_without: int
    n_runs: int
    n_runs_at_most: int
    is_over: bool
    is_idle: bool
    has_results: bool = True

    def __str__(self) -> str:
        if self.is_over and not self.has_results:
            return "race: none of its runs has a result, so nothing can be told; see why they failed"
        seeds = f"{self.n_seeds} seeds that none was chosen by"
        how = "t-tests by seed, Holm, O'Brien-Fleming"
        spent = f"{self.n_runs} runs of at most {self.n_runs_at_most}"
        if not self.is_over:
            return f"race under way: {self.n_tied} of {self.n_compared} are left after {self.n_seeds} seeds"
        if self.is_idle:
            return "race: no seed changed a result, so nothing can be told; does the program take its seed?"
        n_worse = self.n_compared - self.n_tied - self.n_without
        without = f"{self.n_without} had runs without a result" if self.n_without else ""
        if self.n_tied == 1 and n_worse:
            told = f"the first is better than the other {n_worse}"
        elif self.n_tied == 1:
            told = "one is left"
        else:
            told = f"the first {self.n_tied} cannot be told apart" if n_worse else f"no difference among {self.n_tied}"
            told += f", {n_worse} {'was' if n_worse == 1 else 'were'} worse" if n_worse else ""
        more = f"; about {self.n_more_seeds} more seeds each would tell the first two" if self.n_more_seeds else ""
        return f"race: {', '.join(filter(None, (told, without)))} ({seeds}; {how}; {spent}){more}"


def find_standing(
    records: Sequence[RunRecord],
    ranked: Sequence[RankedConfig],
    objective: Objective,
    race: Race | None,
    idle: Set[str] = frozenset(),
) -> Standing | None:
    """Return how the first of the configurations stands to the others: by their race where that has been judged.

    Of those that differ in parameters ``idle`` alone, which have no effect, one is compared.
    """
    found = find_race(records, objective, race)
    if race is None or found is None or not found.is_judged:
        others = without_twins(ranked, idle)
        standing = judge_best(others, objective.name)
        has_twins = standing is not None and len(others) < len(ranked)
        return replace(standing, idle=sorted(idle)) if standing is not None and has_twins else standing
    verdict, results = found.verdict, found.results
    seeds, left = race.seeds[: verdict.n_seeds], list(verdict.left)
    is_idle = len(left) > 1 and not any(_varies(results[i], seeds) for i in left)
    has_results = any(map(math.isfinite, (value for own in results for value in own.values())))
    n_more = None
    if verdict.is_over and len(left) > 1 and not is_idle and has_results:
        by_mean = sorted(left, key=lambda i: objective.sort_key(statistics.fmean(results[i][seed] for seed in seeds)))
        compared = Compared([{seed: results[i][seed] for seed in seeds} for i in by_mean])
        n_more = compared.seeds_to_tell(0, 1) if compared.df else None
    return RaceStanding(
        interval=mean_interval(ranked[0].values_of(objective.name)),
        n_compared=len(found.entrants),
        n_tied=len(left),
        n_more_seeds=n_more,
        noise=noise_floor([config for config in ranked if config.is_raced], objective.name),
        is_paired=True,
        n_seeds=verdict.n_seeds,
        n_without=sum(not all(map(math.isfinite, results[i].values())) for i in verdict.dropped),
        n_runs=sum(map(len, results)),
        n_runs_at_most=race.top * len(race.seeds),
        is_over=verdict.is_over,
        is_idle=is_idle,
        has_results=has_results,
    )


def _race_results(records: Iterable[RunRecord], metric: str) -> dict[Hashable, dict[int, float]]:
    """Return the results of the race's runs that have ended, by configuration and seed; nan where there is none."""
    found: dict[Hashable, dict[int, float]] = {}
    for record in records:
        if record.in_sweep == RACE and record.seed is not None and record.is_ended and not record.goes_on:
            value = record.metrics.get(metric, math.nan) if record.has_result else math.nan
            found.setdefault(config_key(record), {})[record.seed] = value
    return found
