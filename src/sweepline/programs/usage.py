"""Whether a run ended with a usage message or a module that is not found, and what would help. Reads text only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweepline.programs.arguments import WANDB
from sweepline.programs.base import Command
from sweepline.programs.command import ProgramCommand
from sweepline.runs import Params

# Each parser's words for an argument that it cannot take; typer prints click's in a box.
_COMPLAINTS = {
    "tyro": re.compile(r"Unrecognized options:|^│ For full helptext, see "),
    "typer": re.compile(r"╭─ Error ─"),
    "click": re.compile(
        r"^Error: (?:No such option|Invalid value for|Option .* (?:does not take|requires)|Missing opt)"
    ),
    "absl": re.compile(
        r"FATAL Flags parsing error|^(?:absl\.flags\.)?_?\w*\.?(?:IllegalFlag|UnrecognizedFlag)\w*Error"
    ),
    "fire": re.compile(r"^ERROR: (?:Could not consume arg|The function received no value)"),
    "argparse": re.compile(r": error: (?:argument |unrecognized arguments: |ambiguous option: )"),
}
_NO_MODULE = re.compile(r"No module named '?([\w.]+)")


def find_hint(log_tail: Sequence[str], params: Params, command: Command) -> str | None:
    """Return a sentence for a run that failed at something which the user can mend beside the program."""
    return find_usage_hint(log_tail, params, command) or find_module_hint(log_tail, command.working_dir)


def find_module_hint(log_tail: Sequence[str], working_dir: Path) -> str | None:
    """Return a sentence for a run that missed a module of the user's own, which lies where Python does not look."""
    names = [found[1] for line in log_tail for found in _NO_MODULE.finditer(line)]
    for place in ("src", ".") if names else ():
        module = working_dir.joinpath(place, *names[-1].split("."))
        if module.with_name(f"{module.name}.py").is_file() or any(module.glob("*.py")):
            return (
                f"{names[-1]} is in {working_dir / place}, where the runs' Python does not look: install it "
                f"(pip install -e .) or start with PYTHONPATH={place}"
            )
    return None


def find_usage_hint(log_tail: Sequence[str], params: Params, command: Command) -> str | None:
    """Return a sentence for a run whose parser refused how null, a list or a boolean was written; None for others."""
    if not isinstance(command, ProgramCommand) or not any(map(_is_written_variously, params.values())):
        return None
    style = next((name for name, words in _COMPLAINTS.items() if any(map(words.search, log_tail))), None)
    if style is None:
        return None
    advice = None
    if command.style == WANDB:
        advice = f"arguments: {style} in the sweep file writes null, lists and booleans for ${{args}} as it takes them"
    elif any("--no-" in line for line in log_tail):
        advice = f"arguments: {{style: {style}, booleans: flag}} leaves a false one out, as store_true wants"
    return advice and f"the program's parser ({style}) refuses an argument: {advice}"


def _is_written_variously(value: Any) -> bool:
    return value is None or isinstance(value, (bool, list, dict))
