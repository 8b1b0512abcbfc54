"""One line per event, for pipes and for the log file; and several observers as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sweepline.display.formats import describe_end
from sweepline.engine.progress import ActiveRun, Observer, Progress
from sweepline.recording.events import RunRecord
from sweepline.runs import RunOutcome

N_TAIL_LINES_SHOWN = 5


class LineDisplay:
    """One line per event, to any text sink; for pipes, and for the log file."""

    def __init__(
        self,
        write_line: Callable[[str], None],
        *,
        refresh_s: float = 1.0,
        open_sink: Callable[[], None] = lambda: None,
        flush: Callable[[], None] = lambda: None,
    ) -> None:
        self.refresh_s = refresh_s
        self._write, self._open_sink, self._flush = write_line, open_sink, flush
        self._progress: Progress | None = None

    def begin(self) -> None:
        """Open the sink."""
        self._open_sink()

    def note(self, text: str) -> None:
        self._write(text)

    def run_started(self, active: ActiveRun) -> None:
        again = f" (attempt {active.attempt})" if active.attempt > 1 else ""
        self._write(f"started {active.run.name} on {active.slot.label}{again}")

    def run_ended(self, record: RunRecord, outcome: RunOutcome) -> None:
        progress = self._progress
        self._write(describe_end(record, progress.n_ended if progress else 0, progress.n_total if progress else None))
        for line in outcome.log_tail[-N_TAIL_LINES_SHOWN:]:
            self._write(f"    | {line}")

    def refresh(self, progress: Progress) -> None:
        self._progress = progress
        self._flush()


class Observers:
    """Several observers as one; refreshes as often as the most eager wants."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.observers = observers
        self.refresh_s = min(observer.refresh_s for observer in observers)

    def begin(self) -> None:
        for observer in self.observers:
            observer.begin()

    def note(self, text: str) -> None:
        for observer in self.observers:
            observer.note(text)

    def run_started(self, active: ActiveRun) -> None:
        for observer in self.observers:
            observer.run_started(active)

    def run_ended(self, record: RunRecord, outcome: RunOutcome) -> None:
        for observer in self.observers:
            observer.run_ended(record, outcome)

    def refresh(self, progress: Progress) -> None:
        for observer in self.observers:
            observer.refresh(progress)
