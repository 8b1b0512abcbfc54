"""``sweepline import``: a config of another tool as a sweep file."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sweepline.config.drafting.filetext import format_sweep
from sweepline.config.drafting.writing import check_target, write_sweep
from sweepline.config.importers.base import REPLACE_ME, Imported
from sweepline.config.importers.registry import import_file
from sweepline.contract.text import display_path, one_line, printable

HELP = "make a sweep file of a config of Hydra-Optuna, NNI, Determined, Katib, Azure ML, seml, Guild or Ray Tune"
DESCRIPTION = (
    "Makes a sweep file of a config of another tool: a Hydra sweeper, NNI, Determined, Katib, Azure ML, seml, "
    "Guild or Ray Tune. What cannot be carried over is named, key by key, in the file and on the terminal. A W&B "
    "file needs no import: it runs as it is."
)
EXAMPLES = (
    ("sweepline import experiment.yaml", "write ./sweep.yaml"),
    ("sweepline import katib.yaml -o lr.yaml", "under another name"),
)
EXIT_CODES = {
    0: "the file is written",
    2: "it is the file of no known tool, has a fault, or the sweep file is there already",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the other tool's file")
    parser.add_argument(
        "--output", "-o", type=Path, default=Path("sweep.yaml"), metavar="FILE", help="default: sweep.yaml"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def run(args: argparse.Namespace) -> int:
    """Write the sweep file; say what could not be carried over.

    Raises:
        ConfigError: the file is of no known tool or has a fault, or there is a sweep file already.
    """
    check_target(args.output, is_forced=args.force)
    what, found = import_file(args.file)
    _place_program(found, args.output)
    told = [f"{key}: {one_line(sentence)}" for key, sentence in found.notes]
    head = f"Imported by `sweepline import` from {display_path(args.file)}, {what}."
    text = format_sweep(found.keys, [head, *(["What was not carried over, or differs:"] if told else []), *told])
    warnings = write_sweep(args.output, text)
    label = display_path(args.output)
    print(printable(f"{what}: {_count(found)}, method {found.keys['method']}"))
    for sentence in [*told, *(f"note: {warning}" for warning in warnings)]:
        print(printable(f"  {sentence}"))
    if REPLACE_ME in text.partition("\nmethod:")[2] + str(found.keys.get("program")):
        print(printable(f"  {label} says {REPLACE_ME} where something has to be filled in"))
    print(printable(f"wrote {label}; look it over, then: sweepline run -n {label}"))
    return 0


def _count(found: Imported) -> str:
    n = len(found.keys.get("parameters", {}))
    return f"{n} parameter{'s' * (n != 1)}"


def _place_program(found: Imported, output: Path) -> None:
    """Write a program's absolute path as it is seen from the sweep file's folder."""
    program = found.keys.get("program")
    if isinstance(program, str) and Path(program).is_absolute() and Path(program).is_file():
        found.keys["program"] = os.path.relpath(program, output.absolute().parent)
