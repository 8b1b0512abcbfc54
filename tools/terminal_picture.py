"""Draws ``docs/images/terminal.svg``: the live table of the MNIST sweep, once it has run for a while.

MNIST is looked for below ``$SWEEPLINE_DATA``. Nothing of the sweep is kept.
"""

from __future__ import annotations

import io
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from sweepline.config.sweepfile import load_sweep
from sweepline.display.live import LiveDisplay
from sweepline.engine.preparation import prepare_sweep
from sweepline.engine.progress import Progress
from sweepline.engine.session import run_sweep
from sweepline.engine.signals import StopRequests
from sweepline.engine.state import SweepOptions
from sweepline.runs import Objective

REPOSITORY = Path(__file__).resolve().parents[1]
SWEEP = REPOSITORY / "experiments" / "hyperparameters_sweep" / "cfg" / "sweep.yaml"
PICTURE = REPOSITORY / "docs" / "images" / "terminal.svg"
COLUMNS, ROWS = 110, 20
_CODE = """\
<svg class="rich-terminal" viewBox="0 0 {terminal_width} {terminal_height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<rect fill="#1c1c1c" width="100%" height="100%" rx="8"/>
<defs>{lines}</defs>
<g transform="translate(9, 9)" class="{unique_id}-matrix">{backgrounds}{matrix}</g>
</svg>
"""


class Picture(LiveDisplay):
    """The live table, which is drawn into a file once so many runs have ended while others are under way."""

    def __init__(self, requests: StopRequests, *, n_ended: int, title: str, n_slots: int, objective: Objective) -> None:
        console = Console(file=io.StringIO(), record=True, force_terminal=True, width=COLUMNS, height=ROWS)
        super().__init__(console, title=title, n_slots=n_slots, objective=objective)
        self._requests, self._n_ended = requests, n_ended

    def begin(self) -> None:
        """Show nothing on the way."""

    def refresh(self, progress: Progress) -> None:
        """Draw the picture when it is time to, and end the sweep."""
        is_lively = len(progress.active) == self.n_slots and all(active.tail.results for active in progress.active)
        if progress.n_ended >= self._n_ended and is_lively and self._requests.first is None:
            console = Console(file=io.StringIO(), record=True, force_terminal=True, width=COLUMNS, height=ROWS)
            console.print(self.render(progress))
            PICTURE.write_text(console.export_svg(title="", code_format=_CODE), encoding="utf-8")
            self._requests.request()


def main(n_ended: int = 12) -> int:
    """Run the sweep as far as the picture needs; return 0."""
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(load_sweep(SWEEP), records_dir=Path(folder) / "mnist", csv_path=None)
        prepared = prepare_sweep(settings, SweepOptions(max_concurrent=2))
        requests = StopRequests()
        assert settings.objective is not None
        title = f"{settings.name} · {prepared.slots.n_max} slots"
        picture = Picture(
            requests, n_ended=n_ended, title=title, n_slots=prepared.slots.n_max, objective=settings.objective
        )
        run_sweep(prepared, picture, requests=requests)
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
