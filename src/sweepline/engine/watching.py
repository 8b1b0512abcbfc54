"""Watching runs under way: their output as it grows, and the proof that their overrides arrived."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

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
SLICE_S = 0.05
"""After so long the other runs wait for the next turn: a free slot shall not wait for ten thousand logs."""
MANY_RUNS = 200
"""With more runs than this reading spares the machine, as follows."""
REST = 2
"""After what took a second nothing is read for so many: a third of the time is what reading takes, however many runs
there are and however slow their disk is."""
REOPEN_S = 10.0
"""A log is opened when its size says that it has grown, else so often."""


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
    """Reads the logs of active runs, all of them in a round, which may take several turns of the loop.

    ``due`` is the time of the next look, by ``clock``, which counts seconds as ``time.monotonic`` does.
    """

    def __init__(self, sweep: SweepState, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sweep, self._clock = sweep, clock
        self._is_blindness_told = False
        self._round: Iterator[ActiveRun] | None = None
        self._rest, self._reopen_s = 0, 0.0
        self._next_round = self.due = clock()

    def look(self) -> None:
        """Read what active runs have written since the last look, where it is time to."""
        now = self._clock()
        if now < self.due:
            return
        if self._round is None:
            self._begin_round(now)
        is_over = self._go_on(until=now + SLICE_S)
        ended = self._clock()
        self.due = ended + self._rest * (ended - now)
        if is_over:
            self._round = None
            self.due = max(self.due, self._next_round)

    def _begin_round(self, now: float) -> None:
        self._next_round = now + WATCH_S
        are_many = len(self._sweep.active) > MANY_RUNS
        self._rest, self._reopen_s = (REST, REOPEN_S) if are_many else (0, 0.0)
        note = self._sweep.folder.check_is_there()
        if note is not None:
            self._sweep.say(note)
        self._round = iter(tuple(self._sweep.active))

    def _go_on(self, *, until: float) -> bool:
        """Look at the runs that are left of a round, until that time; return whether these were all."""
        for active in self._round or ():
            if active.has_ended:
                continue  # all that it wrote is read elsewhere
            active.tail.read_new(reopen_s=self._reopen_s)
            self._check_overrides(active)
            self._judge(active)
            if self._clock() >= until:
                return False
        return True

    def _judge(self, active: ActiveRun) -> None:
        """Stop a run that a rule of early stopping says is not worth going on."""
        pruner = self._sweep.pruner
        if pruner is None:
            return
        if self._sweep.book.records[active.run.run_id].in_sweep in ADDED:
            return  # its result is what it is for
        points = take_watched(active)
        if active.wandb is not None and active.wandb.is_blind and not self._is_blindness_told:
            self._is_blindness_told = True
            self._sweep.say(f"early stopping does not see what {active.run.name} logs to W&B: {active.wandb.why_blind}")
        if not points and active.is_judged:
            return
        active.is_judged = True
        verdict = pruner.note(active.run.run_id, points)
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
        if active.asked is None or active.is_proof_settled:
            return
        if not has_effective_config(active.run_dir):
            # It is there before training begins; one that comes later all the same is looked at when the run has ended.
            active.is_proof_settled = bool(self._rest) and active.tail.has_told
            return
        active.is_proof_settled = True
        if find_difference(active.run_dir, active.asked, is_own=self._sweep.settings.command.proves_overrides):
            active.handle.cancel(StopReason.OVERRIDE_NOT_APPLIED)
