"""Reads what a sweep file says of its program: ``program``, ``command``, ``arguments`` and ``config``."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweepline.config.faults import Faults
from sweepline.config.parameters import NamedParameter
from sweepline.config.schema import SweepModel
from sweepline.config.surroundings import read_start_folder
from sweepline.contract.configfile import read_chain
from sweepline.contract.text import display_path
from sweepline.contract.yamlfile import KeyPath, read_yaml
from sweepline.errors import ConfigError, did_you_mean
from sweepline.programs.arguments import choose_style, choose_writers, format_python
from sweepline.programs.base import Command
from sweepline.programs.command import ProgramCommand
from sweepline.programs.configcopy import ConfigTemplate, read_template
from sweepline.programs.interpreter import find_python
from sweepline.programs.location import (
    Program,
    complete_items,
    default_items,
    explain_absence,
    explain_function,
    find_program,
    imports_hydra,
    names_module,
)
from sweepline.programs.macros import CONFIG_FILE, check_macros, find_unread_macro, names_run_dir
from sweepline.programs.modules import (
    SOURCE_FOLDER,
    call_function,
    is_file,
    needs_source_folder,
    read_function,
    read_source,
)
from sweepline.programs.native import BUILT_IN_TRAINER, NATIVE_PROGRAM, NativeCommand
from sweepline.programs.outputs import (
    HYDRA_SENTENCE,
    find_multirun,
    find_shared_output,
    gives_hydra_folder,
    options_in,
)
from sweepline.programs.programtext import find_own_output
from sweepline.programs.sourcecode import SourceCode
from sweepline.programs.surroundings import RUN_FOLDER
from sweepline.runs import canonical_json
from sweepline.space.constraints import Constraint
from sweepline.space.dependent import Conditional
from sweepline.space.parameters import Categorical, Constant, WeightedCategorical

_ARGUMENTS_OF_OTHERS = ("args", "args_no_hyphens", "args_append_hydra", "args_override_hydra")


def is_native(model: SweepModel) -> bool:
    """Whether the file runs our own trainer, spoken to by dotted overrides."""
    return model.command is None and Path(model.program or NATIVE_PROGRAM).name == NATIVE_PROGRAM


class CommandReader:
    """Turns the keys about the program into a command; all faults into one place."""

    def __init__(self, path: Path, experiment_dir: Path, model: SweepModel, faults: Faults) -> None:
        self.path, self.experiment_dir, self.model, self.faults = path, experiment_dir, model, faults
        self.is_native = is_native(model)

    def read(self, parameters: Sequence[NamedParameter]) -> tuple[Command, str]:
        """Return the command, and what of it is part of every run's identity."""
        model, faults = self.model, self.faults
        interpreter, variable = find_python(os.environ)
        wanted = [str(item) for item in model.command or ()]
        program, not_found = self._find_program(wanted, interpreter)
        if model.program is None and (not wanted or any("${program}" in item for item in wanted)):
            faults.warn(("program",), not_found or f"no program given, {NATIVE_PROGRAM} is assumed")
        items = None if self.is_native else self._items(program, interpreter)
        if items is not None and variable and "${interpreter}" in items:
            faults.note(
                (), f"runs are started with {interpreter} ({variable}), the Python of the activated environment"
            )
        config = self._find_config(items or ())
        contents, config_files = _read_config_files(config, faults, is_chain=self.is_native)
        style = model.arguments
        policy = self._policy()
        start_folder = read_start_folder(model, faults, (self.path.parent, self.experiment_dir), program.path)
        if model.cwd is not None and self.is_native:
            faults.error(("cwd",), f"goes with programs of your own: {NATIVE_PROGRAM} has a folder for each run")
        of_any: dict[str, Any] = {
            "program": program.name,
            "program_path": program.path,
            "working_dir": start_folder or program.working_dir,
            "is_module": program.is_module,
            "not_found": not_found,
            "interpreter": interpreter,
            "config": config,
            "config_files": config_files,
            "paths": {parameter.name: parameter.path for parameter in parameters},
            "unpassed": frozenset(parameter.name for parameter in parameters if not parameter.is_passed),
        }
        command: Command
        if items is None:
            command = NativeCommand(**of_any, policy=policy)
        else:
            command = ProgramCommand(
                **of_any,
                words=items,
                style=choose_style(style.style, style.model_dump(exclude={"style"})),
                speaks_hydra=_names_hydra(items) or self._speaks_hydra(program, items),
                passes_seed=model.seeds is not None or model.repeats > 1,
                template=self._template(items, config),
            )
        if isinstance(command, ProgramCommand) and command.speaks_hydra:
            self._note_multirun(program, command.words)
        unpassed = sorted(parameter.name for parameter in parameters if not parameter.is_passed)
        told = style.model_dump(exclude_none=True, exclude_defaults=True)
        identity = canonical_json(
            [
                program.name,
                model.command,
                contents,
                policy.get("threads"),
                *([told] if told else []),
                *([unpassed] if unpassed else []),
                *([{"env": dict(model.env)}] if model.env else []),
            ]
        )
        return command, identity

    def _find_program(self, wanted: Sequence[str], interpreter: str) -> tuple[Program, str]:
        """Return the program, and a sentence where the command needs it and it is not there."""
        folders, name = (self.experiment_dir, Path.cwd()), self.model.program or NATIVE_PROGRAM
        is_module = names_module(wanted) and read_function(name) is None
        program = find_program(name, folders, is_module=is_module, interpreter=interpreter)
        if wanted and not any("${program}" in item for item in wanted):
            return program, ""
        if program.path is None and self.is_native and self.model.program == NATIVE_PROGRAM:
            return replace(program, path=BUILT_IN_TRAINER, working_dir=self.experiment_dir.resolve()), ""
        if program.path is None and not is_module:
            return program, explain_absence(self.model.program, folders)
        refusal = explain_function(program, wanted)
        return (replace(program, path=None, function=None), refusal) if refusal else (program, "")

    def _items(self, program: Program, interpreter: str) -> list[str]:
        if self.model.command is None:
            items = default_items(program)
        else:
            items = complete_items([format_python(item) for item in self.model.command], interpreter)
        called = call_function(items, program.function.code) if program.function else None
        return called or items

    def _speaks_hydra(self, program: Program, items: Sequence[str]) -> bool:
        """Whether the program imports Hydra; where the command has Hydra's form, also what it imports is looked at."""
        if program.speaks_hydra or program.source is None or "${args_no_hyphens}" not in items:
            return program.speaks_hydra
        return any(imports_hydra(content) for path, content in _source_of(program).contents() if path.suffix == ".py")

    def _note_multirun(self, program: Program, items: Sequence[str]) -> None:
        if program.source is None:
            return
        folder = program.working_dir.resolve()
        configs = (
            (os.path.relpath(path, folder), content)
            for path, content in _source_of(program).contents()
            if path.suffix in (".yaml", ".yml")
        )
        sentence = find_multirun(configs, items)
        if sentence is not None:
            self.faults.note((), sentence)

    def _policy(self) -> dict[str, Any]:
        """Return what our trainer is asked beside the parameters, where the sweep file says it."""
        policy: dict[str, Any] = {}
        if isinstance(self.model.threads, int):
            policy["threads"] = self.model.threads
        if self.model.logging.wandb is not None:
            policy["wandb.mode"] = self.model.logging.wandb.mode
        return policy

    def _find_config(self, items: Sequence[str]) -> Path | None:
        wanted = self.model.config or "config.yaml"
        for folder in (self.path.parent, self.experiment_dir, Path.cwd()):
            if is_file(folder / wanted) and (self.is_native or self.model.config):
                if not self.is_native and not _names_config(items):
                    self.faults.warn(
                        ("config",),
                        f"this program does not see it; --config=${{{CONFIG_FILE}}} in command hands over a copy of it "
                        "with the values of the run",
                    )
                return (folder / wanted).resolve()
        if self.model.config:
            self.faults.error(
                ("config",), f"no file {wanted!r} beside the sweep file or in {display_path(self.experiment_dir)}"
            )
        return None

    def _template(self, items: Sequence[str], config: Path | None) -> ConfigTemplate | None:
        if not _names_config(items):
            return None
        if self.model.config is None:
            self.faults.error(
                ("command",),
                f"${{{CONFIG_FILE}}} is a copy of a config file with the values of a run; add config: FILE",
            )
        if config is not None:
            with self.faults.at(("config",)):
                return read_template(config)
        return None

    def _check_config(self, command: ProgramCommand, parameters: Sequence[NamedParameter]) -> None:
        """Say which parameters the config file does not have, and refuse those that cannot be set in it."""
        template = command.template
        if template is None:
            return
        keys = {parameter.name: spread(parameter.path) for parameter in parameters if parameter.is_passed}
        for name in template.unknown(keys):
            with self.faults.at(keys[name]):
                template.write({name: None})
                hint = did_you_mean(name, template.names)
                self.faults.warn(keys[name], f"{template.label} has no {name}: it is added{hint}")

    def check(self, command: Command, parameters: Sequence[NamedParameter], constraints: Sequence[Constraint]) -> None:
        """Say what in the command or the values would not arrive as it is meant."""
        if not isinstance(command, ProgramCommand):
            return
        for position, sentence in check_macros(command.words, [parameter.name for parameter in parameters]):
            self.faults.warn(("command", position), sentence)
        self._check_config(command, parameters)
        self._note_source_folder(command)
        self._check_values(command, parameters, constraints)
        self._note_unread_macros(parameters)
        if len(parameters) > sum(isinstance(p.parameter, Constant) for p in parameters) or command.passes_seed:
            self._note_shared_output(command, parameters)

    def _note_source_folder(self, command: ProgramCommand) -> None:
        """Say that a module cannot be imported as its project is not installed."""
        items = command.words
        named = [word for before, word in itertools.pairwise(items) if before == "-m"]
        function = read_function(command.program) if "-c" in items else None
        modules = [command.program if word == "${program}" else word for word in named]
        for name in [*modules, *([function.module] if function else [])]:
            if needs_source_folder(name, folder=command.working_dir, interpreter=command.interpreter):
                package = name.partition(".")[0]
                self.faults.note(
                    (),
                    f"{package} lies in {SOURCE_FOLDER}/: install it (pip install -e .), or start sweepline with "
                    f"PYTHONPATH={SOURCE_FOLDER}",
                )

    def _check_values(
        self, command: ProgramCommand, parameters: Sequence[NamedParameter], constraints: Sequence[Constraint]
    ) -> None:
        """Refuse values that the command's way of writing arguments cannot write."""
        writers = choose_writers(command.style, speaks_hydra=command.speaks_hydra)
        used = [writers[name] for name in _ARGUMENTS_OF_OTHERS if f"${{{name}}}" in command.words]
        for key, path, value in _values(parameters, constraints):
            arguments = command.arguments({".".join(path): value}, None)
            for write in used:
                with self.faults.at(key):
                    write(arguments)

    def _note_unread_macros(self, parameters: Sequence[NamedParameter]) -> None:
        for key, _, value in _values(parameters, ()):
            macro = find_unread_macro(value)
            if macro:
                self.faults.note(
                    key,
                    f"{macro} in a value stays as it is; in command an item --{key[-1]}=${{envvar:NAME}} is replaced",
                )
                return

    def _note_shared_output(self, command: ProgramCommand, parameters: Sequence[NamedParameter]) -> None:
        items = command.words
        constants = {p.name: p.parameter.value for p in parameters if isinstance(p.parameter, Constant)}
        found = find_shared_output(items, constants)
        if found is not None:
            place, sentence = found
            self.faults.note(("command", place) if isinstance(place, int) else ("parameters", place), sentence)
        elif command.speaks_hydra and not gives_hydra_folder(items, [p.name for p in parameters]):
            self.faults.note((), HYDRA_SENTENCE)
        elif self.model.cwd != RUN_FOLDER and not names_run_dir([*items, *constants.values()]):
            given = [*(name for _, name, _, _ in options_in(items)), *(p.name for p in parameters)]
            self._note_own_output(command.program_path, given)

    def _note_own_output(self, program: Path | None, given: Collection[str]) -> None:
        if program is None or program.suffix != ".py":
            return
        try:
            source = read_source(program)
        except OSError:  # whoever starts it says so
            return
        found = find_own_output(source, given)
        if found is not None:
            line, what = found
            self.faults.note((), f"{program.name}:{line} {what}")


def _source_of(program: Program) -> SourceCode:
    assert program.source is not None
    roots = [program.source.parent, program.working_dir, program.working_dir / SOURCE_FOLDER]
    return SourceCode([program.source], roots=roots)


def _names_config(items: Sequence[str]) -> bool:
    return any(f"${{{CONFIG_FILE}}}" in item for item in items)


def _names_hydra(items: Sequence[str]) -> bool:
    return any("_hydra}" in item for item in items)


def _values(
    parameters: Sequence[NamedParameter], constraints: Sequence[Constraint]
) -> Iterator[tuple[KeyPath, tuple[str, ...], Any]]:
    """Yield every value that the file lists, with the key where it stands and the path of its parameter."""
    paths = {parameter.name: parameter.path for parameter in parameters}
    for named in parameters:
        key, own = spread(named.path), named.parameter
        for parameter in [a.parameter for a in own.alternatives] if isinstance(own, Conditional) else [own]:
            if isinstance(parameter, Constant):
                yield key, named.path, parameter.value
            elif isinstance(parameter, (Categorical, WeightedCategorical)):
                yield from ((key, named.path, value) for value in parameter.values)
    for i, constraint in enumerate(constraints):
        yield from ((("constraints", i), paths.get(name, (name,)), value) for name, value in constraint.assign.items())


def spread(path: tuple[str, ...]) -> KeyPath:
    """Return the key path in the file of a nested parameter: parameters, a, parameters, b."""
    keys: list[str] = []
    for part in path:
        keys += ["parameters", part]
    return tuple(keys)


def _read_config_files(config: Path | None, faults: Faults, *, is_chain: bool) -> tuple[list[Any], list[Path]]:
    """Return the values and the paths of a config file and, of ours, of every file it inherits from."""
    contents: list[Any] = []
    paths: list[Path] = []
    try:
        found = [] if config is None else read_chain(config) if is_chain else [(config, read_yaml(config))]
        for path, document in found:
            contents.append(document.value)
            paths.append(path.resolve())
    except ConfigError as error:
        faults.errors += error.faults
    return contents, paths
