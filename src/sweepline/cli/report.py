"""``sweepline report``: one file that shows what sweeps found, and their pictures as files."""

from __future__ import annotations

import argparse
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from sweepline.contract.text import display_path
from sweepline.errors import ConfigError
from sweepline.reports.collect import ReportedSweep, collect
from sweepline.reports.page import REPORT, write_page
from sweepline.reports.vega import KINDS

FIGURES = "figures"
HELP = "one file that shows what sweeps found"
DESCRIPTION = (
    "Writes one HTML file that shows what sweeps found: what is best and how sure that is, what had no effect, what "
    "failed, and the pictures. It needs no server and no network. Every sweep writes it at its end; here it is "
    "written anew, of several sweeps together, or with the pictures as files."
)
EXAMPLES = (
    ("sweepline report", "write report.html of ./sweep.yaml anew"),
    ("sweepline report outputs/lr outputs/width -o both.html", "one page of two sweeps"),
    ("sweepline report --plots", "list the pictures that there are"),
    ("sweepline report --plots 'heat-*' --format pdf", "write some of them as files"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "sweeps",
        nargs="*",
        type=Path,
        default=[Path("sweep.yaml")],
        metavar="SWEEP",
        help="sweep files, folders of sweeps, or tables such as a runs.csv (default: sweep.yaml)",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=f"default: {REPORT} beside the runs")
    parser.add_argument("--metric", metavar="NAME", help="rank by this metric instead of each sweep's objective")
    parser.add_argument(
        "--goal", choices=["minimize", "maximize"], help="whether less or more of that metric is better"
    )
    parser.add_argument("--figures", type=Path, metavar="DIR", help="write the pictures as files too")
    parser.add_argument(
        "--format",
        action="append",
        choices=KINDS,
        dest="formats",
        help="of the figures; may be repeated (default: all)",
    )
    parser.add_argument(
        "--plots",
        nargs="*",
        metavar="NAME",
        help=f"write these pictures as files, names or patterns such as 'heat-*' (default folder: {FIGURES} beside the "
        "report); without a name list those that there are",
    )
    parser.add_argument("--open", action="store_true", help="show it in the browser")


def run(args: argparse.Namespace) -> int:
    """Write the report; return the exit code.

    Raises:
        SweeplineError: nothing was run there, or it cannot be written.
    """
    sweeps = collect(args.sweeps, objective=args.metric, goal=args.goal)
    if args.plots == []:
        return _list_plots(sweeps)
    first = sweeps[0].path
    path = args.output or (first if first.is_dir() else first.parent) / REPORT
    if path.is_dir():
        raise ConfigError(f"--output {display_path(path)}: is a folder; name the file, such as {REPORT}")
    write_page(sweeps, path)
    print(display_path(path))
    folder = args.figures if args.figures is not None or args.plots is None else path.parent / FIGURES
    if folder is not None:
        from sweepline.reports.figures import write_figures

        for written in write_figures(sweeps, folder, kinds=args.formats or KINDS, names=args.plots):
            print(display_path(written))
    if args.open:
        webbrowser.open(path.resolve().as_uri())
    return 0


def _list_plots(sweeps: Sequence[ReportedSweep]) -> int:
    from sweepline.reports.figures import build_figures

    names = [figure.name for figure in build_figures(sweeps) if not figure.is_turned]
    if not names:
        raise ConfigError("--plots: no run has a result yet, so there is nothing to draw")
    print("\n".join(names))
    return 0
