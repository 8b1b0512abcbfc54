"""``sweepline completion``: a script by which a shell completes commands, options, their values and runs."""

from __future__ import annotations

import argparse
import csv
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from sweepline.errors import ConfigError

HELP = "a script that lets bash, zsh or fish complete commands, options and runs"
DESCRIPTION = (
    "Prints a script for a shell, which then completes commands, options with their values, and where a run is asked "
    "for the names and ids of the runs below ./outputs. It is made from the commands of this version: after an "
    "upgrade, print it anew."
)
EXAMPLES = (
    (
        "sweepline completion bash > ~/.local/share/bash-completion/completions/sweepline",
        "bash, for the next shell",
    ),
    ("sweepline completion zsh > ~/.zfunc/_sweepline", "zsh, where ~/.zfunc is in fpath before compinit"),
    ("sweepline completion fish > ~/.config/fish/completions/sweepline.fish", "fish"),
)
MAX_RUNS = 2000
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+,-]*")
"""What a shell takes as one word, and as nothing but a word."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", nargs="?", choices=["bash", "zsh", "fish"], help="for which shell")
    parser.add_argument("--runs", action="store_true", help=argparse.SUPPRESS)  # what the scripts ask


def run(args: argparse.Namespace) -> int:
    """Print the script, or the runs.

    Raises:
        ConfigError: no shell is named.
    """
    if args.runs:
        for name in itertools.islice(find_names(Path("outputs")), MAX_RUNS):
            print(name)
        return 0
    if args.shell is None:
        raise ConfigError("completion: name the shell: bash, zsh or fish")
    from sweepline.cli.shells import SCRIPTS, describe_all

    print(SCRIPTS[args.shell](describe_all()), end="")
    return 0


def find_names(outputs: Path) -> Iterator[str]:
    """Yield the names and ids of runs, the latest sweep first, as far as they can be typed without quotes."""
    met: set[str] = set()
    for name in itertools.chain(_names_in_tables(outputs), (path.name for path in outputs.glob("*/runs/*"))):
        if name not in met and _PLAIN.fullmatch(name):
            met.add(name)
            yield name


def _names_in_tables(outputs: Path) -> Iterator[str]:
    for table in sorted(outputs.glob("*/runs.csv"), key=lambda path: path.stat().st_mtime, reverse=True):
        with open(table, encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                yield from (row.get("run_name") or "", row.get("run_id") or "")
