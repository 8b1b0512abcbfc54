"""The live table on a terminal: a row per slot, the whole sweep's bar, the best run so far; never larger than it."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sweepline.contract.text import printable
from sweepline.display.formats import format_number, format_seconds
from sweepline.display.lines import N_TAIL_LINES_SHOWN
from sweepline.display.slottable import render_slots
from sweepline.display.tables import SPACE
from sweepline.display.widths import cut, shorten, shorten_apart, width_of, wrap
from sweepline.engine.progress import ActiveRun, Progress
from sweepline.recording.events import RunRecord
from sweepline.runs import UNSUCCESSFUL, Objective, RunOutcome

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live


_BARS = "▁▂▃▄▅▆▇█"
_MAX_BARS = 60
_MIN_BARS = 8
_LEAST_SAVED_S = 1.0
_BAR, _LEAST_BAR = 30, 10
_LEAST_ROWS = 4  # of the table, where the terminal is low: header, two runs, and how many more there are


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
            self._print(cut(f"    | {printable(line)}", self.console.width), "dim")

    def refresh(self, progress: Progress) -> None:
        if getattr(self.console.file, "is_blocked", False):
            return  # half a picture would spoil the next one
        with suppress(OSError):
            self._live.update(self.render(progress), refresh=True)

    def _print(self, text: str, style: str) -> None:
        """Print a text above the table; a path that is wider than the terminal stays whole, to be copied."""
        from rich.text import Text

        with suppress(OSError):
            for line in _wrapped(printable(text), self.console.width):
                self.console.print(Text(line, style=style), highlight=False, soft_wrap=True)

    def render(self, progress: Progress) -> RenderableType:
        """Return the whole picture."""
        from rich.console import Group
        from rich.text import Text

        width, height = self.console.size
        head = self._render_head(progress, width)
        active = sorted(progress.active, key=lambda a: a.slot.index)
        room = height - 1 - len(head)  # the cursor stands below
        foot = _fit_lines(self._foot(progress, active[:height], width), room - min(_LEAST_ROWS, len(active) + 2))
        rows = render_slots(
            active,
            n_slots=self.n_slots,
            objective=self.objective.name if self.objective else None,
            width=width,
            height=max(_LEAST_ROWS - 1, room - len(foot)),
        )
        has_header = bool(active)
        styled = [Text(row, style="dim" if i == 0 and has_header else "") for i, row in enumerate(rows)]
        return Group(*head, *styled, *(Text(text, style=style) for text, style in foot))

    def _render_head(self, progress: Progress, width: int) -> list[RenderableType]:
        """Return the bar of the whole sweep, and how it stands in time: in one line where that is wide enough."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        total, n_ended = progress.n_total, progress.n_ended
        count = f"{n_ended}/{total if total is not None else '?'}"
        rest = self._describe_rest(progress)
        title = shorten(self.title, max(_LEAST_BAR, width - len(count) - _LEAST_BAR - 2 * SPACE))
        needed = width_of(title) + len(count) + 2 * SPACE
        is_one = needed + _BAR + SPACE + len(rest) <= width
        bar = Table.grid(padding=(0, 1))
        cells: list[RenderableType] = [
            Text(title, style="bold"),
            ProgressBar(
                total=total or 1,
                completed=n_ended if total else 0,
                width=_BAR if is_one else max(1, min(_BAR, width - needed)),
                pulse=total is None,
            ),
            Text(count),
        ]
        if is_one:
            cells.append(Text(rest, style="dim"))
        bar.add_row(*cells)
        return [bar] if is_one else [bar, Text(shorten(rest, width), style="dim")]

    def _foot(self, progress: Progress, shown: Sequence[ActiveRun], width: int) -> list[tuple[int, str, str]]:
        """Return what stands below the table: how little it matters, the line, its style."""
        lines = []
        if progress.best is not None and self.objective is not None:
            metric = shorten(self.objective.name, width // 3)
            told = f"best {metric} {format_number(progress.best.metrics[self.objective.name])}  "
            names = [progress.best.name, *(a.run.name for a in shown)]
            lines.append((0, told + shorten_apart(names, max(1, width - width_of(told)))[0], "green"))
            bars = sparkline(self._results, width=width - width_of(metric) - 24)
            lines += [(3, f"latest {metric} {bars}", "dim")] if bars else []
        if progress.n_pruned:
            saved = f", {progress.n_points_saved:,} points saved" if progress.n_points_saved else ""
            lines.append((2, f"{progress.n_pruned} stopped early{saved}", "dim"))
        if progress.n_warm and progress.saved_s >= _LEAST_SAVED_S:
            saved = f"{format_seconds(progress.saved_s)} of imports saved in {progress.n_warm} runs"
            lines.append((4, f"warm starts: {saved}", "dim"))
        if progress.n_failed:
            lines.append((1, f"{progress.n_failed} failed", "red"))
        return lines

    def _describe_rest(self, progress: Progress) -> str:
        elapsed = time.monotonic() - progress.started
        text = f"elapsed {format_seconds(elapsed)}"
        if progress.n_total is not None and progress.n_session:
            n_left = max(0, progress.n_total - progress.n_ended)
            text += f", about {format_seconds(elapsed / progress.n_session * n_left)} left"
        return text


def _wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines; one that begins with spaces is shown as it is."""
    return [line for part in text.split("\n") for line in ([part] if part[:1] == " " else wrap(part, width, indent=2))]


def _fit_lines(lines: Sequence[tuple[int, str, str]], room: int) -> list[tuple[str, str]]:
    """Return as many lines as there is room for, and at least one, those that matter most."""
    kept = sorted(lines)[: max(1, room)]
    return [(text, style) for rank, text, style in lines if (rank, text, style) in kept]
