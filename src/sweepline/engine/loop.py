"""The loop of a sweep: one turn after another, until nothing is left or somebody wants it to stop."""

from __future__ import annotations

import signal
import time

from sweepline.engine.ends import Ends
from sweepline.engine.starts import Starts
from sweepline.engine.state import SweepState
from sweepline.engine.steering import Steering
from sweepline.engine.watching import Watching
from sweepline.errors import DiskFullError, RecordError
from sweepline.executors.base import StopReason

ADMISSION_S = 1.0  # how long to wait before a GPU that was refused is asked for again
THOUGHT_S = 0.05  # how often to look whether a study has thought of the next run


class Loop:
    """Launches, waits, records. Single-threaded: every wait ends by a run's end, a signal, or the next thing due."""

    def __init__(self, sweep: SweepState) -> None:
        self._sweep = sweep
        self.starts = Starts(sweep)
        self.ends, self.watching = Ends(sweep, self.starts.runs_to_do), Watching(sweep)
        self.steering = Steering(sweep)
        sweep.backlog.feed(self.starts.runs_to_do())
        self._next_refresh = time.monotonic()
        self._n_stops_handled = 0
        self._is_drain_told = False

    def run(self) -> None:
        """Run everything that is missing; returns when all of it has ended or the sweep was stopped.

        Raises:
            RecordError: what happens can no longer be written down; nothing runs any more.
        """
        sweep, is_sound = self._sweep, False
        try:
            try:
                self._take_turns()
            except KeyboardInterrupt:  # where nobody has set up signals: it is a wish to stop like any other
                sweep.requests.request(signal.SIGINT)
                self._take_turns()
            self._note_stop()
            is_sound = True
        except RecordError as error:
            sweep.say(f"{error}: the {len(sweep.active)} runs under way are stopped")
            self._end_all(now=False)
            sweep.folder.check_is_there()  # says it better, if that is why
            raise
        finally:
            self._end_all(now=True)
            sweep.executor.close()
            sweep.book.close(is_sound=is_sound)

    def _take_turns(self) -> None:
        sweep = self._sweep
        while True:
            # Wishes first: what is asked for now shall not wait for launches.
            self._handle_requests()
            self._handle_pause()
            # A run that goes again waits for the end of its last attempt on the disk. With nothing else under way that
            # is now, else its slot would go to a run of the plan.
            if self.ends.go_again and not sweep.active:
                self.ends.commit()
            # Free slots next: an empty slot costs time, an end that is not written down yet costs none.
            self.starts.fill_slots()
            # Ends that came close together share one sync of the disk; the last ones do not wait for company.
            due = sweep.book.commit_due
            if (sweep.book.has_uncommitted and not sweep.active) or (due is not None and time.monotonic() >= due):
                self.ends.commit()
                self.starts.fill_slots()  # what goes again
            self._look_at_study()
            if self._is_done():
                break
            self.watching.look()
            self.steering.look()
            sweep.hooks.look()
            self._refresh_if_due()
            is_walking = sweep.progress.walk_plan()
            self._wait(is_busy=is_walking or self.ends.is_reading or self.starts.is_filling)
            self.ends.collect()
            for note in sweep.executor.take_notes():
                sweep.say(note)
        self.ends.settle()
        self._refresh()

    def _look_at_study(self) -> None:
        """Take the proposal that it has thought about; launch nothing more where it cannot propose any more."""
        sweep = self._sweep
        if sweep.study is None:
            return
        if sweep.study.has_thought and not sweep.is_stopping:
            sweep.backlog.feed(self.starts.runs_to_do())
            self.starts.fill_slots()
        if sweep.study.fault and sweep.guard.halted is None:
            sweep.guard.halt(f"{sweep.study.fault}: nothing more is proposed")
            sweep.say(sweep.guard.halted or "")

    def _is_done(self) -> bool:
        """Whether nothing runs and nothing more will; what could be written down is in the books then."""
        sweep = self._sweep
        if sweep.active or sweep.book.has_uncommitted or self.ends.is_reading:
            return False
        if sweep.is_stopping:
            return sweep.is_stopped or not self.starts.feed_race()
        if not sweep.backlog.is_empty or self.ends.are_held or (sweep.study is not None and sweep.study.is_thinking):
            return False
        return not self.starts.promote_last() and not self.starts.feed_race()

    def _wait(self, *, is_busy: bool) -> None:
        """Wait for news until the next thing is due; not at all while there is output to read or a plan to walk."""
        sweep, now = self._sweep, time.monotonic()
        times = [self._next_refresh, self.watching.due, self.steering.due, sweep.book.commit_due, sweep.pause.due]
        if sweep.slots.has_free and not sweep.backlog.is_empty:
            times.append(now + ADMISSION_S)
        if sweep.study is not None and sweep.study.is_thinking:
            times.append(now + THOUGHT_S)
        until = min(at for at in times if at is not None)
        sweep.executor.wait(0.0 if is_busy else max(0.0, until - now))

    def _refresh_if_due(self) -> None:
        now = time.monotonic()
        if now >= self._next_refresh:
            self._refresh()
            self._next_refresh = now + self._sweep.observer.refresh_s

    def _refresh(self) -> None:
        sweep = self._sweep
        sweep.progress.active = tuple(sweep.active)
        sweep.observer.refresh(sweep.progress)

    def _handle_pause(self) -> None:
        sweep = self._sweep
        if sweep.pause.try_end():
            sweep.say("there is room on the disk again: going on")
            self.ends.record()
            self.ends.commit()

    def _handle_requests(self) -> None:
        sweep, requests = self._sweep, self._sweep.requests
        requests.clear()
        if sweep.executor.ended_by is not None:
            requests.note_elsewhere(sweep.executor.ended_by)
        if requests.is_draining and not self._is_drain_told:
            self._is_drain_told = True
            sweep.say(f"SIGUSR1: nothing more is launched; waiting for {len(sweep.active)} runs")
        n_received = requests.n_received
        if n_received == self._n_stops_handled:
            return
        is_first = self._n_stops_handled == 0
        self._n_stops_handled = n_received
        sweep.backlog.clear_retries()
        for active in sweep.active:
            active.handle.cancel(StopReason.INTERRUPTED, now=n_received > 1)
        if is_first:
            name = signal.Signals(requests.first or signal.SIGINT).name
            sweep.say(
                f"{name}: stopping: SIGTERM sent to {len(sweep.active)} runs, {sweep.settings.grace_s:.0f} s grace; "
                "Ctrl-C again to kill"
            )
        else:
            sweep.say(f"killing {len(sweep.active)} runs")

    def _note_stop(self) -> None:
        sweep = self._sweep
        try:
            sweep.book.note_event("sweep_stop", signal=sweep.requests.first, halted=sweep.guard.halted)
        except DiskFullError as error:  # no run's end is in it
            sweep.say(f"{error}: the journal ends without the sweep's own end")

    def _end_all(self, *, now: bool) -> None:
        """Leave no process behind when the loop ends by an error; a stop signal meanwhile ends the grace."""
        sweep = self._sweep
        n_stops = sweep.requests.n_received
        for active in sweep.active:
            active.handle.cancel(StopReason.INTERRUPTED, now=now)
        while sweep.active and (now or sweep.requests.n_received == n_stops):
            sweep.executor.wait(1.0)
            sweep.requests.clear()
            sweep.active[:] = [active for active in sweep.active if active.handle.poll() is None]
