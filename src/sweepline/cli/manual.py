"""What ``--help`` says, made from the strings in each command's file. Only the command that is asked is loaded."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from sweepline import __version__
from sweepline.cli.commands import GROUPS, load
from sweepline.cli.exitcodes import MEANINGS

ABOUT = (
    "Runs hyperparameter sweeps of a training script on the machine you have: one process per run, METRIC lines read "
    "from its output, every result kept in runs.csv. A sweep that is stopped goes on by the same command."
)
EXAMPLES = (
    ("sweepline doctor", "what works on this machine, and what will not"),
    ("sweepline run -n", "what ./sweep.yaml would run; nothing is started"),
    ("sweepline run", "run it; Ctrl-C stops, the same command goes on"),
    ("sweepline status", "how it stands, from another terminal"),
    ("sweepline best", "what was best, and how sure that is"),
)
_MAX_COLUMNS = 100


def build_top_parser() -> argparse.ArgumentParser:
    """Return the parser of ``sweepline`` without a command: ``--help``, ``--version``, or what is wrong."""
    parser = argparse.ArgumentParser(
        prog="sweepline",
        usage="sweepline [-h] [--version] COMMAND ...",
        description=_fill(ABOUT),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sweepline {__version__}")
    parser.add_argument("command", metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


def describe_commands() -> str:
    """Return the commands by group, each with its line; then examples and exit codes."""
    width = max(len(name) for names in GROUPS.values() for name in names) + 4
    parts = [
        f"{group}:\n" + _table([(name, load(name).HELP) for name in names], width) for group, names in GROUPS.items()
    ]
    parts += [_examples(EXAMPLES), "exit codes:\n" + _table([(str(n), text) for n, text in MEANINGS.items()], 6)]
    parts.append("sweepline COMMAND --help tells of a command: its arguments, examples, and exit codes of its own.")
    return "\n\n".join(parts)


def new_parser(name: str, command: ModuleType, **given: Any) -> argparse.ArgumentParser:
    """Return a parser for a command, without arguments yet: it has what its file says of it."""
    return argparse.ArgumentParser(
        prog=f"sweepline {name}",
        description=_fill(getattr(command, "DESCRIPTION", command.HELP)),
        epilog=_epilog(command),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **given,
    )


def build_parser(name: str, command: ModuleType) -> argparse.ArgumentParser | None:
    """Return the parser of a command; None for one that hands all its words to another program."""
    if hasattr(command, "add_arguments"):
        parser = new_parser(name, command)
        command.add_arguments(parser)
        return parser
    return command.build_parser() if hasattr(command, "build_parser") else None


def print_words_help(name: str, command: ModuleType) -> int:
    """Print the help of a command that reads its words itself, and that of the program behind it; return its code."""
    parser = build_parser(name, command) or new_parser(name, command, usage=command.USAGE)
    parser.print_help()
    if not hasattr(command, "print_program_help"):
        return 0
    print(flush=True)
    return int(command.print_program_help())


def _epilog(command: ModuleType) -> str:
    codes: Mapping[int, str] = getattr(command, "EXIT_CODES", {})
    parts = [_fill(command.NOTES)] if hasattr(command, "NOTES") else []
    parts += [_examples(command.EXAMPLES)] if hasattr(command, "EXAMPLES") else []
    if codes:
        told = _table([(str(number), text) for number, text in codes.items()], 6)
        parts.append(f"exit codes:\n{told}\n  others: sweepline --help")
    return "\n\n".join(parts)


def _examples(examples: Sequence[tuple[str, str]]) -> str:
    return "examples:\n" + "\n".join(f"  {line}\n{_fill(what, indent='      ')}" for line, what in examples)


def _table(rows: Sequence[tuple[str, str]], width: int) -> str:
    return "\n".join(
        textwrap.fill(
            text,
            _columns(),
            initial_indent=f"  {name:{width - 2}}",
            subsequent_indent=" " * width,
            break_on_hyphens=False,
        )
        for name, text in rows
    )


def _fill(text: str, *, indent: str = "") -> str:
    return textwrap.fill(
        text,
        _columns(),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _columns() -> int:
    """Return how wide text may be: as argparse takes it, and no wider than is easy to read."""
    return min(_MAX_COLUMNS, max(40, shutil.get_terminal_size().columns - 2))
