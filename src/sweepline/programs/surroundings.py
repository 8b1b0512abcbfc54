"""What surrounds a run beside its command: variables of the user's own, and the folder in which it starts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sweepline.programs.macros import ENVVAR, Macros, names_run_dir
from sweepline.runs import Params

RUN_FOLDER = "run"
"""The value of ``cwd`` by which each run starts in its own folder."""
_SECRET = re.compile(
    r"(^|_)(TOKENS?|KEYS?|SECRETS?|PASS|PASSWORDS?|PASSWD|PASSPHRASE|PAT|AUTH|CREDENTIALS?)$|API_?KEY", re.IGNORECASE
)
_ENVVAR = re.compile(rf"\$\{{{ENVVAR}([^${{}}]*)\}}")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``env`` are texts with macros by the name of a variable; those ``unset`` are not inherited.

    With ``has_own_folder`` a run starts in its own folder, else where the command says.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    unset: Collection[str] = ()
    has_own_folder: bool = False

    @property
    def names_run_dir(self) -> bool:
        """Whether a run needs a folder for its own files."""
        return self.has_own_folder or names_run_dir(list(self.env.values()))

    def variables(
        self, params: Params, seed: int | None, of_run: Mapping[str, str], *, reveal: bool = True
    ) -> dict[str, str]:
        """Return the variables of one run; without ``reveal`` what they take from the environment stays unread."""
        of_all = {**({} if seed is None else {"seed": str(seed)}), **of_run}
        macros = Macros(params=params, arguments=params, of_command={}, of_run=of_all, reveal=reveal)
        return {name: "".join(macros.expand(text)) for name, text in self.env.items()}


def looks_secret(name: str) -> bool:
    """Whether a variable's name says that its value is for nobody's eyes."""
    return _SECRET.search(name) is not None


def quote_variable(name: str, text: str) -> str:
    """Return ``NAME=value`` for a shell, which reads what the value takes from the environment."""
    parts = [
        f'"${{{part}}}"' if i % 2 else shlex.quote(part) if part else "" for i, part in enumerate(_ENVVAR.split(text))
    ]
    return f"{name}={''.join(parts)}"
