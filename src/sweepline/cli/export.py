"""``sweepline export``: a sweep file as W&B takes it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sweepline.config.drafting.writing import check_target
from sweepline.config.exporting import export_wandb
from sweepline.contract.files import write_whole
from sweepline.contract.text import display_path, printable
from sweepline.errors import record_error

HELP = "write a sweep file as W&B takes it (--wandb), and say what W&B cannot do"
DESCRIPTION = (
    "Writes a sweep file as W&B takes it: short forms spelled out, and the way in which values are written as a "
    "command. Keys of sweepline stand in it as comments, and what W&B cannot do is said."
)
EXAMPLES = (
    ("sweepline export --wandb", "print ./sweep.yaml as W&B takes it"),
    ("sweepline export --wandb lr.yaml -o wandb.yaml", "write a file"),
    ("sweepline export --wandb --own-keys", "keep the keys of sweepline live"),
)
EXIT_CODES = {
    0: "it was written",
    2: "the sweep file has a fault, or the file is there already",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "sweep", nargs="?", type=Path, default=Path("sweep.yaml"), metavar="SWEEP", help="default: sweep.yaml"
    )
    parser.add_argument("--wandb", action="store_true", required=True, help="as W&B's sweep.yaml")
    parser.add_argument("--output", "-o", type=Path, metavar="FILE", help="default: to standard output")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    parser.add_argument(
        "--own-keys",
        action="store_true",
        help="keep sweepline's keys under x-sweepline, of which W&B's schema warns, instead of as comments",
    )


def run(args: argparse.Namespace) -> int:
    """Write the file, or print it; say what W&B cannot do.

    Raises:
        ConfigError: the sweep file has a fault, or there is a file of that name already.
    """
    if args.output is not None:
        check_target(args.output, is_forced=args.force)
    text, notes = export_wandb(args.sweep, has_own_keys=args.own_keys)
    for note in notes:
        print(printable(f"note: {note}"), file=sys.stderr)
    if args.output is None:
        print(text, end="")
        return 0
    try:
        write_whole(args.output, text.encode(), is_durable=False)
    except OSError as error:
        raise record_error(display_path(args.output), "cannot be written", error) from None
    print(f"wrote {display_path(args.output)}; start it with: wandb sweep {display_path(args.output)}")
    return 0
