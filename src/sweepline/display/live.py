"""The live table on a terminal: a row per slot, the whole sweep's bar, the best run so far."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sweepline.contract.text import printable
from sweepline.display.formats import format_metrics, format_number, format_seconds
from sweepline.display.lines import N_TAIL_LINES_SHOWN
from sweepline.engine.progress import ActiveRun, Progress
from sweepline.recording.events import RunRecord
from sweepline.runs import UNSUCCESSFUL, Objective, RunOutcome

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live


_BARS = "▁▂▃▄▅▆▇█"
_MAX_BARS = 60
_MIN_BARS = 8


def sparkline(values: Sequence[float], *, width: int) -> str:
    """Return the latest values as bars, one a letter; nothing where there are few, or no room for eight.

    The lowest bar is the least of them. A value that is not finite leaves a gap.
    """
    latest = list(values)[-max(0, width) :] if width >= _MIN_BARS else []
    finite = [value for value in latest if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    low, range_ = min(finite) / 2, (max(finite) / 2 - min(finite) / 2) or 1.0  # halves: their difference is a float's
    shares = [(value / 2 - low) / range_ if math.isfinite(value) else None for value in latest]
    return "".join(" " if share is None else _BARS[round(share * (len(_BARS) - 1))] for share in shares)


class LiveDisplay:
    """A table that renews itself: a row per slot, the whole sweep's bar, ETA, best so far, failures."""

    refresh_s = 0.5

    def __init__(self, console: Console, *, title: str, n_slots: int, objective: Objective | None) -> None:
        from rich.live import Live

        self.console, self.title, self.n_slots, self.objective = console, title, n_slots, objective
        self._live: Live = Live(console=console, auto_refresh=False, transient=True)
        self._progress: Progress | None = None
        self._results: deque[float] = deque(maxlen=_MAX_BARS)

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        """Show the table from now on."""
        self._live.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the terminal is gone; a hangup says so, and the log goes on
            self._live.stop()

    def note(self, text: str) -> None:
        self._print(text, "yellow")

    def run_started(self, active: ActiveRun) -> None:
        """Seen at the next refresh."""

    def run_ended(self, record: RunRecord, outcome: RunOutcome) -> None:
        if self.objective is not None and record.has_result and self.objective.name in record.metrics:
            self._results.append(record.metrics[self.objective.name])
        if record.state not in UNSUCCESSFUL:
            return
        took = format_seconds(record.duration_s)
        self._print(f"{record.state.value} {record.name} after {took}: {record.reason}", "red")
        for line in outcome.log_tail[-N_TAIL_LINES_SHOWN:]:
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
            bars = sparkline(self._results, width=self.console.width - len(self.objective.name) - 24)
            if bars:
                lines.append(Text(f"latest {self.objective.name} {bars}", style="dim", no_wrap=True, overflow="crop"))
        if progress.n_pruned:
            saved = f", {progress.n_points_saved:,} points saved" if progress.n_points_saved else ""
            lines.append(Text(f"{progress.n_pruned} stopped early{saved}", style="dim"))
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
