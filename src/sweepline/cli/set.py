"""``sweepline set``: change a sweep under way."""

from __future__ import annotations

import argparse

from sweepline.cli.steer import open_running
from sweepline.cli.target import add_target
from sweepline.contract.yamlfile import parse_yaml
from sweepline.engine.control import ask
from sweepline.engine.steering import SETTABLE, check_setting
from sweepline.errors import ConfigError

HELP = f"change a sweep under way: {', '.join(SETTABLE)}"
DESCRIPTION = (
    "Changes a sweep while it runs: how many runs at a time, further attempts, time limits. What a run is told "
    "when it starts holds for those that start from then on. The sweep file stays as it is, and says what the "
    "next start takes."
)
EXAMPLES = (
    ("sweepline set max_concurrent=2", "no more than two at a time"),
    ("sweepline set timeout=2h outputs/lr", "of a sweep that lies elsewhere"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("setting", metavar="KEY=VALUE", help="such as max_concurrent=2 or timeout=2h")
    add_target(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the sweep for it, and say what it answers.

    Raises:
        SweeplineError: the sweep does not run, or there is no such key, or the value does not fit.
    """
    key, equals, text = args.setting.partition("=")
    if not equals or not text:
        raise ConfigError(f"{args.setting!r} is no KEY=VALUE, such as max_concurrent=2")
    value = parse_yaml(text, args.setting).value
    check_setting(key.strip(), value)
    print(ask(open_running(args.sweep).folder.path, "set", key=key.strip(), value=value))
    return 0
