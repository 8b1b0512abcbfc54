"""Looking at something again and again: on a terminal in place, without a flicker; elsewhere line by line."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

INTERVAL_S = 2.0


def add_watch(parser: argparse.ArgumentParser) -> None:
    """Declare the option."""
    parser.add_argument("--watch", action="store_true", help=f"look again every {INTERVAL_S:.0f} s, until Ctrl-C")


def watch(look: Callable[[], tuple[Sequence[str], bool]]) -> int:
    """Show what ``look`` returns: lines, and whether there will be news; return the exit code.

    A line that is wider than the terminal is cut, so that nothing wraps. Ctrl-C ends it, as it is meant to.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    lines, goes_on = look()
    if not console.is_terminal:
        sys.stdout.writelines(f"{line}\n" for line in lines)
        return 0

    def text() -> Text:
        return Text("\n".join(lines[: max(1, console.height - 1)]), no_wrap=True, overflow="ellipsis")

    try:
        with Live(text(), console=console, auto_refresh=False) as live:
            while goes_on:
                time.sleep(INTERVAL_S)
                lines, goes_on = look()
                live.update(text(), refresh=True)
    except KeyboardInterrupt:
        pass
    return 0
