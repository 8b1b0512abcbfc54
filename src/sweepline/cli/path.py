"""``sweepline path``: the folder of a run, for other programs."""

from __future__ import annotations

import argparse

from sweepline.cli.chosen import add_run
from sweepline.cli.show import run_dir_of
from sweepline.engine.rundiff import find_run
from sweepline.errors import ConfigError

HELP = "print the folder of a run, such as for cd $(sweepline path RUN)"
DESCRIPTION = (
    "Prints the folder of a run and nothing else, for other programs and for the shell. The folder holds its "
    "logs, the line that does it again, and the files that it wrote."
)
EXAMPLES = (
    ("sweepline path lr0.1-s3", "the folder of a run"),
    ("sweepline path 3f2a --sweep outputs/lr", "of a sweep that lies elsewhere"),
)

add_arguments = add_run


def run(args: argparse.Namespace) -> int:
    """Print where the files of a run are.

    Raises:
        SweeplineError: there is no such run, or its folder is gone.
    """
    path = run_dir_of(find_run(args.run_name, args.sweep))
    if not path.is_dir():
        raise ConfigError(f"{path}: the run's folder is gone")
    print(path.resolve())
    return 0
