"""Watching runs under way: their output as it grows, and the proof that their overrides arrived."""

from __future__ import annotations

import time
from collections.abc import Mapping

from sweepline.contract.metrics import MetricPoint
from sweepline.engine.outcome import find_difference, has_effective_config
from sweepline.engine.progress import ActiveRun
from sweepline.engine.state import SweepState
from sweepline.executors.base import StopReason
from sweepline.recording.events import ADDED
from sweepline.runs import RunOutcome, State

WATCH_S = 0.5
"""How often output is read, whatever the display's rate: a wrong override costs as much of a run, a log is read at once
at the end anyway."""


def take_watched(active: ActiveRun, *, has_ended: bool = False) -> list[MetricPoint]:
    """Return what a run has told of the objective since the last call: printed or logged to W&B, as it did first."""
    points, logged = active.tail.take_watched(), active.wandb
    if logged is None:
        return points
    if points and not logged.has_told:
        active.wandb = None  # what it prints may be logged as well
        return points
    return logged.take_new(has_ended=has_ended)


class Watching:
    """Reads the logs of active runs. ``due`` is the monotonic time of the next look."""

    def __init__(self, sweep: SweepState) -> None:
        self._sweep = sweep
        self._is_blindness_told = False
        self.due = time.monotonic()

    def look(self) -> None:
        """Read what active runs have written since the last look, where it is time to."""
        now = time.monotonic()
        if now < self.due:
            return
        self.due = now + WATCH_S
        note = self._sweep.folder.check_is_there()
        if note is not None:
            self._sweep.say(note)
        for active in self._sweep.active:
            active.tail.read_new()
            self._check_overrides(active)
            self._judge(active)

    def _judge(self, active: ActiveRun) -> None:
        """Stop a run that a rule of early stopping says is not worth going on."""
        pruner = self._sweep.pruner
        if self._sweep.book.records[active.run.run_id].in_sweep in ADDED:
            return  # its result is what it is for
        if pruner is None:
            return
        verdict = pruner.note(active.run.run_id, take_watched(active))
        if active.wandb is not None and active.wandb.is_blind and not self._is_blindness_told:
            self._is_blindness_told = True
            self._sweep.say(f"early stopping does not see what {active.run.name} logs to W&B: {active.wandb.why_blind}")
        if verdict is None:
            self._tell_course(active, pruner.course_of(active.run.run_id, has_ended=False))
            return
        try:
            pruner.write(verdict, active.run_dir)
        except OSError as error:  # the run is stopped all the same: its reason says less
            self._sweep.say(f"{active.run.name}: why it is stopped early cannot be written down: {error.strerror}")
        active.handle.cancel(StopReason.PRUNED)

    def _tell_course(self, active: ActiveRun, course: Mapping[str, float]) -> None:
        """Let a sampler that learns know what a run had at a rung, without waiting for its end."""
        if len(course) > active.n_rungs_told:
            active.n_rungs_told = len(course)
            self._sweep.plan.tell(active.run.params, RunOutcome(state=State.RUNNING, course=course))

    def _check_overrides(self, active: ActiveRun) -> None:
        """Stop a run as soon as its effective config shows that an override did not arrive."""
        if active.asked is None or active.is_proof_settled or not has_effective_config(active.run_dir):
            return
        active.is_proof_settled = True
        if find_difference(active.run_dir, active.asked, is_own=self._sweep.settings.command.proves_overrides):
            active.handle.cancel(StopReason.OVERRIDE_NOT_APPLIED)
