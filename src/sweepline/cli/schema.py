"""``sweepline schema``: the JSON schema of sweep files, for editors."""

from __future__ import annotations

import argparse
import json

from sweepline.config.jsonschema import json_schema

HELP = "print the JSON schema of sweep files, for editors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing."""


def run(_args: argparse.Namespace) -> int:
    """Print it."""
    print(json.dumps(json_schema(), indent=2))
    return 0
