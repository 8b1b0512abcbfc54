"""``sweepline init``: a first sweep file for a training script, from its text alone."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path

from sweepline.config.drafting.objective import describe_source
from sweepline.config.drafting.proposals import propose
from sweepline.config.drafting.sweeptext import REPLACE_ME, Draft, draft_sweep
from sweepline.config.drafting.writing import check_target, write_sweep
from sweepline.contract.text import display_path, name_some, printable
from sweepline.errors import ConfigError
from sweepline.programs.inspection.facts import Flag, Interface, ScriptFacts
from sweepline.programs.inspection.metricwords import goal_of
from sweepline.programs.inspection.script import inspect_script

HELP = "draft a sweep file for a training script, from its text; nothing is executed"
DESCRIPTION = (
    "Reads the text of a training script, and of files beside it that it uses, and drafts a sweep file: its flags "
    "and their types, how values are written for their parser, the metrics that it prints, an objective, and a "
    "few values around the defaults of likely hyperparameters. Nothing is executed; what was guessed is marked in "
    "the file."
)
EXAMPLES = (
    ("sweepline init train.py", "write ./sweep.yaml for a script"),
    ("sweepline init src/train.py -o sweeps/first.yaml", "under another name"),
    ("sweepline init train.py --force", "write over the file that is there"),
)
EXIT_CODES = {
    0: "the file is written",
    2: "the script takes nothing that could be swept, cannot be read, or the file is there already",
}

_CONFIG = re.compile(r"(?:.*_)?(?:config|cfg|conf|params|settings)(?:_?(?:file|path|yaml|yml))?", re.IGNORECASE)
"""How flags are called that name a file of settings."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("script", type=Path, metavar="SCRIPT", help="a training script in Python")
    parser.add_argument(
        "--output", "-o", type=Path, default=Path("sweep.yaml"), metavar="FILE", help="default: sweep.yaml"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def run(args: argparse.Namespace) -> int:
    """Write the file; say what was found.

    Raises:
        ConfigError: the script cannot be read or takes nothing, or there is such a file already.
    """
    check_target(args.output, is_forced=args.force)
    facts = inspect_script(args.script)
    program = _program(args.script, args.output, facts)
    if facts.interface is None:
        raise ConfigError(_explain_nothing(args.script, facts))
    draft = draft_sweep(program, facts, facts.interface, args.output.absolute().parent)
    if draft is None:
        raise ConfigError(_explain_no_number(args.script, facts.interface))
    notes = write_sweep(args.output, draft.text)
    _tell(draft, args.output, notes)
    return 0


def _program(script: Path, output: Path, facts: ScriptFacts) -> str:
    """Return what the sweep file calls the script: relative to its own folder, or as a module."""
    if facts.module:
        return facts.module
    return os.path.relpath(script.resolve().parent / script.name, output.resolve().parent)


def _explain_nothing(script: Path, facts: ScriptFacts) -> str:
    """Return why there is nothing to sweep, and what would change that."""
    label = display_path(script)
    if not facts.constants:
        return f"{label}: takes no arguments that its text tells, reads no wandb.config, has no settings at its top"
    named = name_some([_describe(flag) for flag in facts.constants[:6]], 3)
    likely = next((proposal.flag for proposal in propose(facts.constants)), facts.constants[0])
    name, default = likely.name, repr(likely.default)
    return (
        f"{label}: takes no arguments: its settings are constants ({named}), which nothing outside changes; let it "
        f"read them, as {name} = type({default})(os.environ.get({name!r}, {default})), and try again"
    )


def _explain_no_number(script: Path, interface: Interface) -> str:
    told = "".join(f"; {note}" for note in interface.notes)
    file = next((flag for flag in interface.flags if _CONFIG.fullmatch(flag.key)), None)
    if file is not None:
        told += (
            f"; what stands in the file of --{file.name} is swept by its dotted names: config: FILE in the sweep file, "
            f"and --{file.name}=${{config_file}} in its command (docs/recipes.md)"
        )
    return (
        f"{display_path(script)}: of {_count(interface.flags)} (read by {interface.parser}) none has a number as its "
        f"default, so that no values can be proposed{told}"
    )


def _count(flags: Sequence[Flag]) -> str:
    return f"{len(flags)} flag{'s' * (len(flags) != 1)}"


def _describe(flag: Flag) -> str:
    return f"{flag.name} = {flag.default!r} in {flag.where}"


def _tell(draft: Draft, output: Path, notes: list[str]) -> None:
    interface = draft.interface
    print(printable(f"found {_count(interface.flags)}, read by {interface.parser}"))
    for proposal in draft.swept:
        values = ", ".join(map(str, proposal.values))
        print(printable(f"  swept: {proposal.flag.name} = {values}  ({proposal.why})"))
    objective = draft.objective
    if objective is None:
        print('  no metric was found: print one in the script, such as print("METRIC accuracy=0.9")')
    else:
        print(printable(f"  objective: {goal_of(objective.name)} {objective.name}  ({describe_source(objective)})"))
        if not draft.is_read:
            print(printable(f'  it is not read from there: print(f"METRIC {objective.name}={{value}}") in the script'))
    for note in [*interface.notes, *notes]:
        print(printable(f"  note: {note}"))
    if draft.required:
        names = ", ".join(flag.name for flag in draft.required)
        print(printable(f"  to be filled in where {display_path(output)} says {REPLACE_ME} or required: {names}"))
    print(printable(f"wrote {display_path(output)}; look it over, then: sweepline run -n {display_path(output)}"))
