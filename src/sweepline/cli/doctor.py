"""``sweepline doctor``: what works here, what will not, and what to do."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sweepline.cli.asjson import add_json, print_json
from sweepline.contract.text import printable
from sweepline.engine.doctor.examination import examine
from sweepline.engine.doctor.finding import Standing

HELP = "what works on this machine, what will not, and what to do"
DESCRIPTION = (
    "Looks at what a sweep needs, a line each, with a mark and what to do: Python and packages, torch and whether it "
    "sees the GPUs, the driver, processors, memory, limits of processes and descriptors, and whether the current "
    "folder can hold a sweep's records. Nothing is started or changed, and no key is shown."
)
EXAMPLES = (
    ("sweepline doctor", "before the first sweep on a machine, in the folder where it shall run"),
    ("sweepline doctor --json", "the same for a program"),
)
EXIT_CODES = {0: "sweeps can run here", 1: "something keeps them from running"}
_MARKS = {Standing.OK: "ok    ", Standing.NOTE: "note  ", Standing.FAILED: "FAILED"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print what is found; return 0 when sweeps can run, else 1."""
    found = []
    for finding in examine(Path.cwd(), os.environ):
        found.append(finding)
        if not args.json:
            advice = f"; {finding.advice}" if finding.advice else ""
            print(printable(f"{_MARKS[finding.standing]} {finding.name}: {finding.found}{advice}"), flush=True)
    works = all(finding.standing != Standing.FAILED for finding in found)
    if args.json:
        print_json({"works": works, "findings": found})
    return 0 if works else 1
