"""Anybody's program: a command of words and macros, as a sweep file writes it or by default. Lists, never a shell."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sweepline.contract.runfolder import ARGS_JSON, OVERRIDES
from sweepline.programs.arguments import WANDB, WRITERS, ArgumentStyle, choose_writers
from sweepline.programs.base import NOTHING, Command
from sweepline.programs.configcopy import ConfigTemplate
from sweepline.programs.macros import CONFIG_FILE, Macros, names_run_dir
from sweepline.programs.wandb import WandbSettings, wandb_limits, wandb_mode, wandb_params
from sweepline.runs import Params

ENV = "/usr/bin/env"
DEFAULT_COMMAND = ("${interpreter}", "${program}", "${args}")
HYDRA_COMMAND = ("${interpreter}", "${program}", "${args_no_hyphens}", "hydra.run.dir=${run_dir}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramCommand(Command):
    """``words`` are the command; ``style`` says how values become arguments; ``passes_seed`` adds the seed to them.

    ``template`` is the config file of which each run gets a copy with its values, where the command names one.
    """

    proves_overrides: ClassVar[bool] = False
    words: Sequence[str]
    style: ArgumentStyle = WANDB
    speaks_hydra: bool = False
    passes_seed: bool = False
    template: ConfigTemplate | None = None

    @property
    def items(self) -> Sequence[str]:
        """The words."""
        return self.words

    @property
    def needs_program(self) -> bool:
        """Whether the command names it."""
        return any("${program}" in item for item in self.words)

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
        """Return the words with their macros expanded."""
        macros = Macros(
            params=params,
            arguments=self.arguments(params, seed),
            of_command={
                "env": ENV,
                "interpreter": self.interpreter,
                "program": str(self.program_path or self.program),
                "args_json_file": str(run_dir / ARGS_JSON),
            },
            of_run={**({} if seed is None else {"seed": str(seed)}), **self._config_of(run_dir), **of_run},
            writers=choose_writers(self.style, speaks_hydra=self.speaks_hydra),
            speaks_hydra=self.speaks_hydra,
            reveal=reveal,
        )
        return [word for item in self.words for word in macros.expand(item)]

    def asked(self, params: Params, seed: int | None, device: str) -> Mapping[str, Any]:
        """Return the parameters."""
        return params

    def arguments(self, params: Params, seed: int | None) -> dict[str, Any]:
        """Return the parameters, and the seed where it is handed over too."""
        tree = Command.arguments(self, params, seed)
        if self.passes_seed and seed is not None:
            tree.setdefault("seed", seed)
        return tree

    @property
    def uses_args_file(self) -> bool:
        """Whether a run needs its arguments in a file."""
        return any("${args_json_file}" in item for item in self.words)

    @property
    def passes_arguments(self) -> bool:
        """Whether the command hands over values itself; a program may also read them from W&B's file."""
        own = (*WRITERS, "args_json_file", CONFIG_FILE, "seed", *self.paths, *{path[0] for path in self.paths.values()})
        return any(f"${{{name}}}" in item for item in self.words for name in own)

    @property
    def names_run_dir(self) -> bool:
        """Whether it does."""
        return names_run_dir(list(self.words))

    def may_ask_wandb(self, is_mentioned: Callable[[], bool]) -> bool:
        """Whether it has no other way, or names W&B."""
        is_named = any("wandb" in item.lower() for item in self.words)
        return is_named or not self.passes_arguments or is_mentioned()

    def wandb_variables(self, settings: WandbSettings | None, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the mode that the sweep file names, or offline without a key, and how long to wait for the server."""
        return wandb_mode(settings, inherited) | wandb_limits(inherited)

    def write_inputs(self, run_dir: Path, params: Params, seed: int | None, device: str) -> None:
        """Write the file of arguments and the copy of the config, where the command names them."""
        if self.uses_args_file:
            (run_dir / ARGS_JSON).write_text(json.dumps(self.arguments(params, seed)), encoding="utf-8")
        if self.template is not None:
            text = self.template.write(self.arguments(params, seed))
            (run_dir / self.template.file_name).write_text(text, encoding="utf-8", errors="surrogateescape")

    def steps_by_hand(self, run_dir: Path, params: Params, seed: int | None) -> list[str]:
        """Return what writes the file of arguments, or W&B's where there is no other way."""
        arguments = self.arguments(params, seed)
        steps = [_writing(run_dir / ARGS_JSON, json.dumps(arguments))] if self.uses_args_file else []
        if self.template is not None:
            text = self.template.write(arguments, in_one_line=True)
            steps.append(_writing(run_dir / self.template.file_name, text))
        if self.passes_arguments:
            return steps
        return [*steps, _writing(run_dir / OVERRIDES, json.dumps(wandb_params(arguments)))]  # which YAML readers take

    def _config_of(self, run_dir: Path) -> dict[str, str]:
        return {} if self.template is None else {CONFIG_FILE: str(run_dir / self.template.file_name)}


def _writing(path: Path, text: str) -> str:
    """Return the shell command that writes a text of one line."""
    return f"printf %s {shlex.quote(text)} > {shlex.quote(str(path))}"
