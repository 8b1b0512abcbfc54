"""What a person sees of a running sweep: one-line events, the plain log file, and the live table on a terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sweepline.contract.text import printable
from sweepline.engine.progress import ActiveRun, Observer, Progress
from sweepline.errors import RecordError
from sweepline.recording.events import RunRecord
from sweepline.runs import UNSUCCESSFUL, Objective, RunOutcome

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

MAX_METRICS_SHOWN = 4
N_TAIL_LINES_SHOWN = 5


def format_number(value: float) -> str:
    """Return a metric in six significant digits at most."""
    return f"{value:.6g}"


def format_metrics(metrics: Mapping[str, float], limit: int = MAX_METRICS_SHOWN) -> str:
    """Return ``name=value`` pairs, and how many more there are."""
    shown = [f"{name}={format_number(value)}" for name, value in list(metrics.items())[:limit]]
    more = len(metrics) - len(shown)
    return " ".join([*shown, f"(+{more} more)"] if more > 0 else shown)


def format_seconds(seconds: float) -> str:
    """Return a time as a person says it: ``9.3 s``, ``4 min 05 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def describe_end(record: RunRecord, n_ended: int, n_total: int | None) -> str:
    """Return the one line that tells a run's end."""
    parts = [f"[{n_ended}/{n_total if n_total is not None else '?'}]", record.state.value, record.name]
    if record.metrics:
        parts.append(format_metrics(record.metrics))
    where = record.device if record.device == "cpu" else f"gpu {record.device}"
    parts.append(f"{format_seconds(record.duration_s)} on {where}")
    if record.reason:
        parts.append(f"({record.reason})")
    return printable(" ".join(parts))


class LineDisplay:
    """One line per event, to any text sink; for pipes, and for the log file."""

    def __init__(
        self, write_line: Callable[[str], None], *, refresh_s: float = 1.0, flush: Callable[[], None] | None = None
    ) -> None:
        self.refresh_s = refresh_s
        self._write, self._flush = write_line, flush
        self._progress: Progress | None = None

    def note(self, text: str) -> None:
        self._write(text)

    def run_started(self, active: ActiveRun) -> None:
        again = f" (attempt {active.attempt})" if active.attempt > 1 else ""
        self._write(f"started {active.run.name} on {active.slot.label}{again}")

    def run_ended(self, record: RunRecord, outcome: RunOutcome, log_tail: Sequence[str]) -> None:
        progress = self._progress
        self._write(describe_end(record, progress.n_ended if progress else 0, progress.n_total if progress else None))
        for line in log_tail[-N_TAIL_LINES_SHOWN:]:
            self._write(f"    | {line}")

    def refresh(self, progress: Progress) -> None:
        self._progress = progress
        if self._flush is not None:
            self._flush()


class LogFile:
    """The sweep's log: what the terminal shows, in plain text, each line with its time."""

    _n_lost = 0

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.fdopen(os.open(path, flags, 0o644), "ab", buffering=0)
        except OSError as error:
            raise RecordError(f"{path}: cannot be written: {error.strerror}") from None

    def write_line(self, text: str) -> None:
        """Write one line, with the time of day; what a full disk does not take is counted and told later."""
        lost = f"({self._n_lost} lines could not be written)\n" if self._n_lost else ""
        try:
            self._file.write(f"{lost}{datetime.now():%H:%M:%S} {printable(text)}\n".encode(errors="backslashreplace"))
        except OSError:
            self._n_lost += 1
        else:
            self._n_lost = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class LiveDisplay:
    """A table that renews itself: a row per slot, the whole sweep's bar, ETA, best so far, failures."""

    refresh_s = 0.5

    def __init__(self, console: Console, *, title: str, n_slots: int, objective: Objective | None) -> None:
        from rich.live import Live

        self.console, self.title, self.n_slots, self.objective = console, title, n_slots, objective
        self._live: Live = Live(console=console, auto_refresh=False, transient=True)
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the terminal is gone; a hangup says so, and the log goes on
            self._live.stop()

    def note(self, text: str) -> None:
        self._print(text, "yellow")

    def run_started(self, active: ActiveRun) -> None:
        """Seen at the next refresh."""

    def run_ended(self, record: RunRecord, outcome: RunOutcome, log_tail: Sequence[str]) -> None:
        if record.state not in UNSUCCESSFUL:
            return
        took = format_seconds(record.duration_s)
        self._print(f"{record.state.value} {record.name} after {took}: {record.reason}", "red")
        for line in log_tail[-N_TAIL_LINES_SHOWN:]:
            self._print(f"    | {line}", "dim")

    def refresh(self, progress: Progress) -> None:
        if getattr(self.console.file, "is_blocked", False):
            return  # half a picture would spoil the next one
        with suppress(OSError):
            self._live.update(self.render(progress), refresh=True)

    def _print(self, text: str, style: str) -> None:
        from rich.text import Text

        with suppress(OSError):
            self.console.print(Text(printable(text), style=style), highlight=False)

    def render(self, progress: Progress) -> RenderableType:
        """Return the whole picture."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        n_ended = progress.n_ended
        bar = Table.grid(padding=(0, 1))
        total = progress.n_total
        bar.add_row(
            Text(self.title, style="bold"),
            ProgressBar(total=total or 1, completed=n_ended if total else 0, width=30, pulse=total is None),
            Text(f"{n_ended}/{total if total is not None else '?'}"),
            Text(self._describe_rest(progress), style="dim"),
        )
        slots = Table(box=None, padding=(0, 1), header_style="dim", expand=False)
        for heading, options in _COLUMNS:
            slots.add_column(heading, **options)
        for active in sorted(progress.active, key=lambda a: a.slot.index):
            slots.add_row(*self._row(active))
        for _ in range(self.n_slots - len(progress.active)):
            slots.add_row("", Text("free", style="dim"), "", "", "")
        lines: list[RenderableType] = [bar, slots]
        if progress.best is not None and self.objective is not None:
            value = format_number(progress.best.metrics[self.objective.name])
            lines.append(Text(f"best {self.objective.name} {value}  {progress.best.name}", style="green"))
        if progress.n_failed:
            lines.append(Text(f"{progress.n_failed} failed", style="red"))
        return Group(*lines)

    def _row(self, active: ActiveRun) -> tuple[RenderableType, ...]:
        from rich.text import Text

        place = active.tail.place
        where = " ".join(f"{name} {value}" for name, value in list(place.items())[:1])
        return (
            active.slot.label,
            Text(active.run.name),
            where,
            Text(format_metrics(active.tail.results)),
            format_seconds(time.monotonic() - active.started),
        )

    def _describe_rest(self, progress: Progress) -> str:
        elapsed = time.monotonic() - progress.started
        text = f"elapsed {format_seconds(elapsed)}"
        if progress.n_total is not None and progress.n_session:
            n_left = max(0, progress.n_total - progress.n_ended)
            text += f", about {format_seconds(elapsed / progress.n_session * n_left)} left"
        if progress.n_warm:
            text += f", warm starts: {format_seconds(progress.saved_s)} of imports saved"
        return text


_COLUMNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("slot", {"no_wrap": True}),
    ("run", {"no_wrap": True, "overflow": "ellipsis", "max_width": 44}),
    ("at", {"no_wrap": True}),
    ("latest metrics", {"no_wrap": True, "overflow": "ellipsis"}),
    ("elapsed", {"no_wrap": True, "justify": "right"}),
)


class Observers:
    """Several observers as one; refreshes as often as the most eager wants."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.observers = observers
        self.refresh_s = min(observer.refresh_s for observer in observers)

    def note(self, text: str) -> None:
        for observer in self.observers:
            observer.note(text)

    def run_started(self, active: ActiveRun) -> None:
        for observer in self.observers:
            observer.run_started(active)

    def run_ended(self, record: RunRecord, outcome: RunOutcome, log_tail: Sequence[str]) -> None:
        for observer in self.observers:
            observer.run_ended(record, outcome, log_tail)

    def refresh(self, progress: Progress) -> None:
        for observer in self.observers:
            observer.refresh(progress)
