"""``sweepline studies``: the studies of an experiment, and what each is about."""

from __future__ import annotations

import argparse
from pathlib import Path

from sweepline.cli.asjson import add_json, print_json
from sweepline.config.studies import find_studies
from sweepline.config.sweepfile import load_sweep
from sweepline.errors import ConfigError
from sweepline.space.plan import Plan, count_all

HELP = "the studies in cfg/studies: sweeps that are run by name (sweepline run --study NAME)"
DESCRIPTION = (
    "Lists the studies of an experiment: sweep files in cfg/studies, each with a name, what it is about, how many "
    "runs it has and the options that it takes. They are run by name: sweepline run --study NAME."
)
EXAMPLES = (
    ("sweepline studies", "the studies of this folder"),
    ("sweepline studies experiments/hyperparameters_sweep --json", "those of another, as JSON"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(), metavar="FOLDER", help="the experiment (default: this folder)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List them; return the exit code.

    Raises:
        ConfigError: there are none, or one cannot be read.
    """
    found = find_studies(args.folder)
    if not found:
        raise ConfigError(f"{args.folder}: no cfg/studies/*.yaml with study: {{about: ...}} in it or one level below")
    told = []
    for study in found:
        settings = load_sweep(study.path)
        plan = Plan(settings.space)
        n_runs = count_all(plan).n_kept * plan.n_seeds if plan.is_small else None
        options = [f"--{name}" for name in study.model.options]
        told.append({"name": study.name, "runs": n_runs, "about": study.model.about, "options": options})
        if not args.json:
            words = f"  ({' '.join(options)})" if options else ""
            print(f"{study.name:24} {n_runs if n_runs is not None else '':>5} runs  {study.model.about}{words}")
    if args.json:
        print_json(told)
    return 0
