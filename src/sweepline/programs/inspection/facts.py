"""What is known of a script that was looked at: its flags, how its command line is read, what it tells of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

UNKNOWN: Any = ...
"""A default that is there, but that the text does not tell: it is computed."""
KINDS = ("int", "float", "bool", "str", "list", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One setting of a script. ``name`` is what a sweep file calls it.

    ``kind`` is one of :data:`KINDS`; of a list ``item_kind`` is that of its items. ``boolean`` says how one that is
    true or false is written: ``flag`` (there or not), ``no_flag`` (``--k`` or ``--no-k``) or ``text``.
    """

    name: str
    kind: str = "unknown"
    default: Any = None
    choices: Sequence[Any] = ()
    boolean: str = ""
    item_kind: str = ""
    help: str = ""
    where: str = ""
    is_required: bool = False
    is_positional: bool = False
    short_only: str = ""
    """``-b``, where it has no name with two hyphens."""
    dest: str = ""
    """What the program calls it, where that is not its name."""

    @property
    def key(self) -> str:
        """The name by which its meaning is told, without groups, with ``_`` between words."""
        return (self.dest or self.name).rpartition(".")[2].replace("-", "_").lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlace:
    """A file or a folder that a script writes or reads: ``path`` has ``*`` where its text does not tell.

    ``setting`` is what the program calls the setting that it begins with, such as ``out`` of ``args.out + "/x.csv"``;
    ``path`` is then relative to that. ``is_relative`` is one that begins where the program was started.
    """

    path: str
    where: str
    setting: str = ""
    is_relative: bool = False
    call: str = ""
    """What writes or reads it, such as ``SummaryWriter``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A metric that a script tells.

    ``source`` is ``line`` (METRIC), ``print``, ``wandb``, ``trackio``, ``mlflow``, ``lightning`` (its progress bar),
    ``csv``, ``json``, ``tensorboard``, or ``log`` for other trackers; ``context`` is what it stands in, such as a
    function's name; ``pattern`` finds it in the output, where it is printed; ``file`` is where it is written.
    """

    name: str
    source: str
    pattern: str = ""
    context: str = ""
    where: str = ""
    example: str = ""
    file: FilePlace | None = None
    line: str = ""
    """Which printed line it stands on, and ``at`` as which of its pieces."""
    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A regular expression that finds metrics on a printed line: one, or several by named groups."""

    names: Sequence[str]
    pattern: str
    key: str
    """What it is called where it finds several."""
    where: str = ""
    example: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """How a script is handed values: which parser, its flags, and the words of its command where it needs some.

    ``before`` are words left of the flags (a subcommand, a config file), ``after`` those right of them.
    """

    parser: str
    flags: Sequence[Flag] = ()
    style: Mapping[str, str] = field(default_factory=dict)
    args_macro: str = "${args}"
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    targets: Sequence[str] = ()
    """Dotted names of classes that it makes without importing them."""
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptFacts:
    """Everything that was found in a script."""

    interface: Interface | None
    told: Sequence[Told]
    module: str = ""
    """Its name right of ``-m``, where it imports its neighbours relatively."""
    constants: Sequence[Flag] = ()
    """Settings at its top that nothing from outside changes."""
    expressions: Sequence[Expression] = ()
    writes: Sequence[FilePlace] = ()
    reads: Sequence[FilePlace] = ()
    variables: Sequence[Flag] = ()
    """Environment variables that it reads."""
    preparations: Sequence[str] = ()
    """Programs beside it that look as if they fetch its data."""
