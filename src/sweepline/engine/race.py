"""The race at the end of a sweep: which runs it needs next, by what is recorded."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence

from sweepline.analysis.effects import find_no_effects
from sweepline.analysis.racing import Race, judge_race, missing_seeds, race_results
from sweepline.analysis.ranking import RankedConfig, config_key, rank_configs
from sweepline.analysis.significance import without_twins
from sweepline.recording.events import IN_SWEEP, RunRecord
from sweepline.runs import Objective, Run
from sweepline.space.plan import Plan


class RaceRuns:
    """Makes the runs of a race, once every run of the sweep has ended. ``begun`` are the ids of those it has made."""

    def __init__(self, race: Race, objective: Objective, plan: Plan) -> None:
        self.race, self.begun = race, set[str]()
        self._objective, self._plan = objective, plan

    def next_runs(self, records: Iterable[RunRecord]) -> list[Run]:
        """Return the runs that are to be started now; none where the race is over.

        Args:
            records: of the sweep, all of whose runs have ended.
        """
        own = [record for record in records if record.belongs and record.identity == self._plan.identity]
        entrants = self._entrants(own)
        found = race_results(own, self._objective.name)
        results = [found.get(key, {}) for key in entrants]
        verdict = judge_race(self.race, results, goal=self._objective.goal)
        configs = list(entrants.values())
        runs = [
            run
            for seed in missing_seeds(self.race, verdict)
            for i in verdict.left
            if seed not in results[i]
            for run in self._plan.runs_with(configs[i].params, [seed])
        ]
        self.begun.update(run.run_id for run in runs)
        return runs

    def _entrants(self, records: Sequence[RunRecord]) -> dict[Hashable, RankedConfig]:
        """Return the leading configurations by the runs of the sweep itself, those that equal another left out."""
        searched, metric = [record for record in records if record.in_sweep == IN_SWEEP], self._objective.name
        idle = {effect.parameter for effect in find_no_effects(searched, metric)}
        ranked = without_twins(rank_configs(searched, self._objective), idle)
        sound = [config for config in ranked if math.isfinite(config.means.get(metric, math.nan))]
        leading = sound[: self.race.top] if len(sound) > 1 else []
        return {config_key(config.runs[0]): config for config in leading}
