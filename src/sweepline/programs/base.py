"""What is started: the same questions for every program, answered by a class each kind."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sweepline.programs.wandb import WandbSettings
from sweepline.runs import Params

NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(ABC):
    """How runs are started.

    ``program_path`` is None where the program is a module or was not found; ``not_found`` says then what to do.
    ``interpreter`` runs programs that are not ours. ``config_files`` are ``config`` and the files it inherits from;
    ``paths`` maps a parameter's dotted name to its path of nested names; those ``unpassed`` are not handed over.
    """

    proves_overrides: ClassVar[bool]
    """Whether the program writes down all that it really uses, so that a missing proof is a failure."""

    program: str
    program_path: Path | None
    working_dir: Path
    is_module: bool = False
    not_found: str = ""
    interpreter: str = sys.executable
    config: Path | None = None
    config_files: Sequence[Path] = ()
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unpassed: Collection[str] = frozenset()

    @property
    def items(self) -> Sequence[str]:
        """The words of a command that the user may write, macros and all; none where the program has its own form."""
        return ()

    @property
    @abstractmethod
    def needs_program(self) -> bool:
        """Whether nothing can start while the program is not found."""

    @abstractmethod
    def build(
        self,
        params: Params,
        seed: int | None,
        *,
        device: str,
        run_dir: Path,
        of_run: Mapping[str, str] = NOTHING,
        reveal: bool = True,
    ) -> list[str]:
        """Return the argument list of one run.

        ``device`` is what the program is told, ``cuda`` or ``cpu``; ``run_dir`` is the run's folder; ``of_run`` is what
        the macros of the run stand for. With ``reveal`` off, ``${envvar:X}`` stays as it is written, for lines that are
        shown or stored.
        """

    @abstractmethod
    def asked(self, params: Params, seed: int | None, device: str) -> Mapping[str, Any]:
        """Return what a run's effective config has to show, by dotted name."""

    def arguments(self, params: Params, seed: int | None) -> dict[str, Any]:
        """Return the parameters as one item per top-level name, nested names as mappings."""
        tree: dict[str, Any] = {}
        for name, value in params.items():
            if name in self.unpassed:
                continue
            *parents, last = self.paths.get(name, (name,))
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = value
        return tree

    @property
    def names_run_dir(self) -> bool:
        """Whether the command hands over a folder for the program's own files."""
        return False

    @property
    def takes_port(self) -> bool:
        """Whether a run may listen on a port, and is offered one of its own."""
        return True

    def may_ask_wandb(self, is_mentioned: Callable[[], bool]) -> bool:
        """Whether a run may take its parameters from W&B's file; ``is_mentioned`` looks whether its text names W&B."""
        return is_mentioned()

    def wandb_variables(self, settings: WandbSettings | None, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return how W&B is told whether to go online, and how long to wait, where the program does not decide that."""
        return {}

    @abstractmethod
    def write_inputs(self, run_dir: Path, params: Params, seed: int | None, device: str) -> None:
        """Write the files that the program reads its parameters from."""

    def steps_by_hand(self, run_dir: Path, params: Params, seed: int | None) -> list[str] | None:
        """Return the shell commands that write these files by hand; None where nothing is needed, not even a folder."""
        return None
