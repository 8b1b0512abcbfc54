"""``sweepline schema``: the JSON schema of sweep files, for editors."""

from __future__ import annotations

import argparse
import json

from sweepline.config.jsonschema import json_schema

HELP = "print the JSON schema of sweep files, for editors"
DESCRIPTION = (
    "Prints the JSON schema of sweep files. An editor that is given it completes keys and underlines mistakes while "
    "you type: name it in the first line of a sweep file, as in # yaml-language-server: $schema=sweep.schema.json."
)
EXAMPLES = (("sweepline schema > sweep.schema.json", "write it to a file beside the sweep file"),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing."""


def run(_args: argparse.Namespace) -> int:
    """Print it."""
    print(json.dumps(json_schema(), indent=2))
    return 0
