"""``sweepline check``: what is wrong or doubtful about a sweep file, each thing once. Starts nothing."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweepline.config.sweepfile import load_sweep
from sweepline.contract.text import printable
from sweepline.errors import ConfigError
from sweepline.programs.location import missing_program

HELP = "all that is wrong or doubtful about sweep files, each thing once; starts and writes nothing"
DESCRIPTION = (
    "Reads sweep files and says all that is wrong or doubtful about them, each thing once, with its lines. "
    "Nothing is started or written."
)
EXAMPLES = (
    ("sweepline check", "./sweep.yaml"),
    ("sweepline check sweeps/a.yaml sweeps/b.yaml --strict", "fail where there is only a doubt"),
)
EXIT_CODES = {
    0: "the files can be run",
    2: "one cannot, or with --strict there is a doubt",
}
_PLACE = re.compile(r"^(?P<file>\S+?):(?P<line>\d+):\s*(?P<what>.*)$", re.DOTALL)
_MAX_LINES_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "files", nargs="*", type=Path, default=[Path("sweep.yaml")], metavar="SWEEP", help="default: sweep.yaml"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 2 where there is only a doubt")


def run(args: argparse.Namespace) -> int:
    """Print errors, warnings and notes; return 2 where a file cannot be run, else 0."""
    codes = [_check(path / "sweep.yaml" if path.is_dir() else path, is_strict=args.strict) for path in args.files]
    return max(codes, default=0)


def _check(path: Path, *, is_strict: bool) -> int:
    try:
        settings = load_sweep(path)
    except ConfigError as error:
        for line in str(error).splitlines():
            print(printable(f"error: {line}"))
        return 2
    problem = missing_program(settings.command)
    told = [*settings.warnings, *([problem] if problem else [])]
    for line in fold(told):
        print(printable(line))
    if not told:
        print(f"{path}: nothing to complain about")
    return 2 if problem or (is_strict and told) else 0


def fold(texts: Sequence[str]) -> Iterator[str]:
    """Yield sentences, those alike but for their line together with all lines."""
    alike: dict[tuple[str, str], list[str]] = {}
    for text in texts:
        place = _PLACE.match(text)
        key = ("", text) if place is None else (place["file"], place["what"])
        alike.setdefault(key, []).extend([] if place is None else [place["line"]])
    for (file, what), lines in alike.items():
        shown = ",".join(dict.fromkeys(lines[:_MAX_LINES_SHOWN]))
        more = f" and {len(lines) - _MAX_LINES_SHOWN} more" if len(lines) > _MAX_LINES_SHOWN else ""
        yield f"{file}:{shown}{more}: {what}" if file else what
