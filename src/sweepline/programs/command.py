"""The command of a run: macros for any program, dotted overrides for our trainer. Lists, never a shell."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepline.contract.runfolder import ARGS_JSON
from sweepline.contract.values import format_value
from sweepline.programs.arguments import WANDB, WRITERS, ArgumentStyle, choose_writers
from sweepline.programs.macros import Macros, names_run_dir
from sweepline.runs import Params

NATIVE_PROGRAM = "train_single.py"
ENV = "/usr/bin/env"
DEFAULT_COMMAND = ("${interpreter}", "${program}", "${args}")
_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How runs are started. ``items`` is None for our own trainer, which takes dotted overrides.

    ``program_path`` is None where the program is a module or was not found; ``not_found`` says then what to do.
    ``interpreter`` runs programs that are not ours. ``config_files`` are ``config`` and the files it inherits from;
    ``paths`` maps a parameter's dotted name to its path of nested names; ``passes_seed`` adds ``seed`` to the arguments
    of other programs; ``policy`` holds what the sweep file asks of our trainer beside the parameters.
    """

    program: str
    program_path: Path | None
    working_dir: Path
    items: Sequence[str] | None = None
    is_module: bool = False
    not_found: str = ""
    interpreter: str = sys.executable
    style: ArgumentStyle = WANDB
    speaks_hydra: bool = False
    config: Path | None = None
    config_files: Sequence[Path] = ()
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    passes_seed: bool = False
    policy: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_native(self) -> bool:
        """Whether the program is our trainer, spoken to by overrides and proved by its effective config."""
        return self.items is None

    def build(
        self,
        params: Params,
        seed: int | None,
        *,
        device: str,
        run_dir: Path,
        of_run: Mapping[str, str] = _NOTHING,
        reveal: bool = True,
    ) -> list[str]:
        """Return the argument list of one run.

        ``device`` is what the program is told, ``cuda`` or ``cpu``; ``run_dir`` is the run's folder; ``of_run`` is what
        the macros of the run stand for. With ``reveal`` off, ``${envvar:X}`` stays as it is written, for lines that are
        shown or stored.
        """
        if self.items is None:
            return self._native(params, seed, device)
        macros = Macros(
            params=params,
            arguments=self.arguments(params, seed),
            of_command={
                "env": ENV,
                "interpreter": self.interpreter,
                "program": str(self.program_path or self.program),
                "args_json_file": str(run_dir / ARGS_JSON),
            },
            of_run={**({} if seed is None else {"seed": str(seed)}), **of_run},
            writers=choose_writers(self.style, speaks_hydra=self.speaks_hydra),
            speaks_hydra=self.speaks_hydra,
            reveal=reveal,
        )
        return [word for item in self.items for word in macros.expand(item)]

    def overrides(self, params: Params, seed: int | None, device: str) -> dict[str, Any]:
        """Return what our trainer is asked to use, by dotted name."""
        asked: dict[str, Any] = {} if "device" in params else {"device": device}
        asked.update({name: value for name, value in self.policy.items() if name not in params})
        asked.update(params)
        if seed is not None and "seed" not in asked:
            asked["seed"] = seed
        return asked

    def arguments(self, params: Params, seed: int | None) -> dict[str, Any]:
        """Return what another program is given: one item per top-level name, nested names as mappings."""
        tree: dict[str, Any] = {}
        for name, value in params.items():
            *parents, last = self.paths.get(name, (name,))
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = value
        if self.passes_seed and seed is not None:
            tree.setdefault("seed", seed)
        return tree

    @property
    def uses_args_file(self) -> bool:
        """Whether a run needs its arguments in a file."""
        return any("${args_json_file}" in item for item in self.items or ())

    @property
    def passes_arguments(self) -> bool:
        """Whether the command hands over values itself; a program may also read them from W&B's file."""
        own = (*WRITERS, "args_json_file", "seed", *self.paths, *{path[0] for path in self.paths.values()})
        return any(f"${{{name}}}" in item for item in self.items or () for name in own)

    @property
    def names_run_dir(self) -> bool:
        """Whether the command hands over a folder for the program's own files."""
        return names_run_dir(list(self.items or ()))

    def _native(self, params: Params, seed: int | None, device: str) -> list[str]:
        argv = [sys.executable, str(self.program_path or self.program)]
        if self.config:
            argv += ["--config", str(self.config)]
        argv.append("--")
        return argv + [f"{key}={format_value(value)}" for key, value in self.overrides(params, seed, device).items()]
