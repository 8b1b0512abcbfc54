"""The race at the end of a sweep: which runs it needs next, by what is recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sweepline.analysis.racing import Race, find_race, missing_seeds
from sweepline.recording.events import RACE, RunRecord
from sweepline.runs import SETTLED, Objective, Run
from sweepline.space.plan import Plan


class RaceRuns:
    """Makes the runs of a race, once every run of the sweep has ended. ``begun`` are the ids of those it has made.

    With ``retry_failed`` runs of earlier starts that failed are made again.
    """

    def __init__(self, race: Race, objective: Objective, plan: Plan, *, retry_failed: bool = False) -> None:
        self.race, self.begun = race, set[str]()
        self._objective, self._plan, self._retry_failed = objective, plan, retry_failed

    def next_runs(self, records: Iterable[RunRecord]) -> list[Run]:
        """Return the runs that are to be started now; none where the race is over.

        Args:
            records: of the sweep, all of whose runs have ended.
        """
        own = [
            replace(record, outcome=None) if self._is_to_go_again(record) else record
            for record in records
            if record.belongs and record.identity == self._plan.identity
        ]
        found = find_race(own, self._objective, self.race)
        if found is None:
            return []
        runs = [
            run
            for seed in missing_seeds(self.race, found.verdict)
            for i in found.verdict.left
            if seed not in found.results[i]
            for run in self._plan.runs_with(found.entrants[i].params, [seed])
        ]
        self.begun.update(run.run_id for run in runs)
        return runs

    def _is_to_go_again(self, record: RunRecord) -> bool:
        has_failed = record.in_sweep == RACE and record.is_ended and record.state not in SETTLED
        return self._retry_failed and has_failed and record.run_id not in self.begun
