"""``sweepline compare``: runs against a baseline, by numbers and in words."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sweepline.analysis.compare import CompareOptions
from sweepline.analysis.series import AXES
from sweepline.contract.text import printable
from sweepline.errors import ConfigError
from sweepline.reports.comparison.result import compare_runs

HELP = "how runs compare with a baseline, at equal steps, time and samples: in numbers, and better or worse in words"
DESCRIPTION = (
    "Compares runs with a baseline at equal steps, equal time and equal samples: in numbers, and better, worse or not "
    "conclusive in words. Each side may be a run folder, a whole sweep, a TensorBoard log or a W&B file; several "
    "seeds of one setting make one side."
)
EXAMPLES = (
    ("sweepline compare outputs/base outputs/wide", "one sweep against another"),
    (
        "sweepline compare runs/a,runs/b runs/c,runs/d --objective accuracy",
        "two settings of two seeds each, decided by one metric",
    ),
    ("sweepline compare outputs/lr@lr=0.1 outputs/lr@lr=0.01 --json", "two settings of one sweep, as JSON"),
)
NAMES_HELP = (
    "a run's folder or W&B file, a TensorBoard log, or a sweep (its folder, file or runs.csv), of which SWEEP@lr=0.1 "
    "chooses; A,B,C are seeds of one setting, A+B is one run in two parts"
)
_GOALS = {"min": "min", "max": "max", "minimize": "min", "maximize": "max"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("baseline", metavar="BASELINE", help=NAMES_HELP)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="compared with the baseline, named alike")
    add_reading(parser)
    parser.add_argument(
        "--metrics", nargs="+", default=[], metavar="NAME", help="compare these alone, by their exact names"
    )
    parser.add_argument("--objective", metavar="NAME", help="the metric that decides")
    parser.add_argument(
        "--goal",
        action="append",
        default=[],
        metavar="NAME=min|max",
        help="whether less or more is better, where a name does not tell or tells wrong; may be repeated",
    )
    parser.add_argument(
        "--tolerance",
        type=_parse_share,
        default=0.005,
        metavar="SHARE",
        help="how near to the baseline's best the target is: 0.005 or 0.5%% (default)",
    )
    parser.add_argument(
        "--hold", type=int, default=1, metavar="K", help="a target counts when K points in a row reach it (default: 1)"
    )
    parser.add_argument(
        "--by", nargs="+", choices=AXES, default=[], help="what to hold equal (default: all that is known)"
    )
    parser.add_argument(
        "--spike", type=float, default=100.0, metavar="NORM", help="a gradient norm above it is a spike (default: 100)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document, with all metrics and seeds")


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Declare where runs are looked for."""
    parser.add_argument(
        "--logdir", type=Path, metavar="DIR", help="where the names are looked for, as of TensorBoard logs"
    )
    parser.add_argument(
        "--no-merge",
        action="store_false",
        dest="merges",
        help="do not read NAME_2, NAME_3 ... as continuations of NAME where their steps go on",
    )


def run(args: argparse.Namespace) -> int:
    """Print how runs compare."""
    options = CompareOptions(
        metrics=args.metrics,
        objective=args.objective,
        goals=dict(_parse_goal(text) for text in args.goal),
        tolerance=args.tolerance,
        hold=args.hold,
        axes=args.by,
        spike=args.spike,
    )
    found = compare_runs(args.baseline, args.runs, logdir=args.logdir, merges=args.merges, options=options)
    if args.json:
        print(json.dumps(found.to_dict(), indent=1, allow_nan=False))
    else:
        print("\n".join(map(printable, found.lines())))
    return 0


def _parse_goal(text: str) -> tuple[str, str]:
    name, equals, goal = text.rpartition("=")
    if not equals or not name or goal not in _GOALS:
        raise ConfigError(f"--goal {text}: write NAME=min or NAME=max")
    return name, _GOALS[goal]


def _parse_share(text: str) -> float:
    number = text.strip()
    try:
        return float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no share: write 0.005 or 0.5%") from None
