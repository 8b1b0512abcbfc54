"""Which commands there are, in the groups in which ``sweepline --help`` shows them, and how each is loaded.

Each is a file of this package. It has ``HELP`` (a line), ``DESCRIPTION`` (a paragraph), ``EXAMPLES`` (pairs of a
command line and what it is for), where it has some of its own ``EXIT_CODES``, and either ``add_arguments`` and ``run``,
or ``run_with_words``.
"""

from __future__ import annotations

import importlib
import itertools
import keyword
from types import ModuleType

GROUPS = {
    "start": ("init", "import", "run", "queue", "train", "batch-size", "studies", "data"),
    "look": ("status", "top", "attach", "wait", "best", "importance", "report", "sql"),
    "single runs": ("ls", "show", "log", "path", "explain", "tag", "retry", "repeat", "rerun", "forget"),
    "compare": ("compare", "extract", "diff", "align"),
    "change": ("set", "pause", "resume", "drain", "stop", "merge", "rebuild-csv", "repair"),
    "check": ("check", "doctor", "smoke", "verify"),
    "set up": ("export", "schema", "completion"),
}
COMMANDS = tuple(itertools.chain.from_iterable(GROUPS.values()))


def load(name: str) -> ModuleType:
    """Return the module of a command."""
    file = f"{name}_" if keyword.iskeyword(name) else name.replace("-", "_")
    return importlib.import_module(f"sweepline.cli.{file}")
