"""``sweepline smoke``: whether what is trained is sound; our models and tasks, or any program from outside."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweepline.cli.asjson import add_json, print_json
from sweepline.cli.manual import new_parser
from sweepline.cli.progress import write_progress
from sweepline.config.sweepfile import load_sweep
from sweepline.contract.text import printable
from sweepline.contract.values import parse_value
from sweepline.display.lines import LineDisplay
from sweepline.engine.smoke import Check, smoke, subject_of_command, subject_of_sweep
from sweepline.errors import ConfigError

HELP = "whether models and modes are sound, in seconds; with -- python train.py ...: any program, from outside"
DESCRIPTION = (
    "Looks at a program before a sweep is trusted to it, from outside: whether two runs repeat, seeds matter, options "
    "do something, and nothing leaks. Without a program it looks at the models and modes of the built-in trainer, in "
    "seconds."
)
EXAMPLES = (
    ("sweepline smoke -- python train.py --epochs 1", "any program"),
    (
        "sweepline smoke --vary lr=0.1,0.01 --seed-flag seed -- python train.py",
        "and whether an option and the seed do something",
    ),
    ("sweepline smoke --sweep sweep.yaml --json", "the program of a sweep file, as JSON"),
    ("sweepline smoke --config cfg/config.yaml", "what a config of the built-in trainer names"),
)
EXIT_CODES = {
    0: "all is sound",
    1: "something is not",
}
_WORDS = {True: "ok    ", False: "FAILED", None: "-     "}


def run_with_words(argv: Sequence[str]) -> int:
    """Look at the program after ``--``, at that of ``--sweep``, or at what our trainer has; return the exit code.

    Raises:
        SweeplineError: nothing could start.
    """
    at = argv.index("--") if "--" in argv else len(argv)
    words = list(argv[at + 1 :])
    args = build_parser().parse_args(list(argv[:at]))
    if at < len(argv) and not words:
        raise ConfigError("smoke: name the program after --, as in sweepline smoke -- python train.py")
    if args.config is not None or (args.sweep is None and not words):
        options = [*(["--json"] if args.json else []), *(["--config", str(args.config)] if args.config else []), *words]
        return subprocess.run([sys.executable, "-m", "sweepline.training.smoke", *options], check=False).returncode
    if words and args.sweep is not None:
        raise ConfigError("smoke: either --sweep FILE or a program after --")
    if args.sweep is not None:
        subject = subject_of_sweep(load_sweep(args.sweep))
    else:
        vary = dict(_read_vary(text) for text in args.vary)
        subject = subject_of_command(words, vary, seed_name=args.seed_flag, folder=Path.cwd())
    lines = LineDisplay(lambda line: write_progress(f"{line}\n"))
    return _report(smoke(subject, lines, timeout_s=args.timeout), is_json=args.json)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of what stands before ``--``."""
    usage = (
        "sweepline smoke [--json] | --config FILE [-- key=value ...] | --sweep FILE | "
        "[--vary NAME=A,B ...] [--seed-flag NAME] -- PROGRAM ..."
    )
    parser = new_parser("smoke", sys.modules[__name__], usage=usage)
    parser.add_argument("--sweep", type=Path, metavar="FILE", help="the program of a sweep file, and what it searches")
    parser.add_argument("--config", type=Path, metavar="FILE", help="what a config of our trainer names, your own too")
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="NAME=A,B",
        help="an option that should matter: two of its values",
    )
    parser.add_argument("--seed-flag", metavar="NAME", help="the option by which the program takes a seed")
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="S", help="longest time of a run (default: 600)"
    )
    add_json(parser)
    return parser


def _read_vary(text: str) -> tuple[str, list[Any]]:
    name, equals, values = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"--vary {text}: write NAME=A,B")
    return name.lstrip("-"), [parse_value(value) for value in values.split(",")]


def _report(checks: Iterator[Check], *, is_json: bool) -> int:
    found: list[Mapping[str, Any]] = []
    is_ok = True
    for check in checks:
        is_ok = is_ok and check.is_ok is not False
        found.append({"name": check.name, "is_ok": check.is_ok, "found": check.found})
        if not is_json:
            print(printable(f"{_WORDS[check.is_ok]}  {check.name}: {check.found}"), flush=True)
    if is_json:
        print_json({"is_ok": is_ok, "checks": found})
    return 0 if is_ok else 1
