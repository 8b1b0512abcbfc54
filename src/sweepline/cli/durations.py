"""Times on a command line."""

from __future__ import annotations

import argparse

from sweepline.config.quantities import parse_duration


def duration(text: str) -> float:
    """Return seconds, from a plain number too.

    Raises:
        argparse.ArgumentTypeError: it is no time above zero.
    """
    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
