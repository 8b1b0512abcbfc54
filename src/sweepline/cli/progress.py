"""What commands say on standard error while they work."""

from __future__ import annotations

import sys

from sweepline.contract.text import printable


def write_progress(text: str) -> None:
    """Write a piece of a line, or one to its end; what a program printed cannot steer the terminal."""
    is_whole = text.endswith("\n")
    sys.stderr.write(printable(text.removesuffix("\n")) + ("\n" if is_whole else ""))
    sys.stderr.flush()
