"""The command of a run: W&B's macros for any program, dotted overrides for our trainer. Lists, never a shell."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepline.errors import did_you_mean
from sweepline.runs import Params
from sweepline.values import format_value

NATIVE_PROGRAM = "train_single.py"
ARGS_JSON_FILE = "args.json"
DEFAULT_COMMAND = ("${interpreter}", "${program}", "${args}")
_MACRO = re.compile(r"\$\{([^${}]*)\}")
_ENVVAR = "envvar:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How runs are started. ``items`` is None for our own trainer, which takes dotted overrides.

    ``config_files`` are ``config`` and the files it inherits from; ``paths`` maps a parameter's dotted name to its path
    of nested names; ``passes_seed`` adds ``seed`` to the arguments of other programs; ``policy`` holds what the sweep
    file asks of our trainer beside the parameters.
    """

    program: str
    program_path: Path | None
    working_dir: Path
    items: Sequence[str] | None = None
    config: Path | None = None
    config_files: Sequence[Path] = ()
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    passes_seed: bool = False
    policy: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_native(self) -> bool:
        """Whether the program is our trainer, spoken to by overrides and proved by its effective config."""
        return self.items is None

    def build(self, params: Params, seed: int | None, *, device: str, run_dir: Path, reveal: bool = True) -> list[str]:
        """Return the argument list of one run.

        ``device`` is what the program is told, ``cuda`` or ``cpu``. With ``reveal`` off, ``${envvar:X}`` stays as it is
        written, for lines that are shown or stored.
        """
        if self.items is None:
            return self._native(params, seed, device)
        macros = _Macros(self, self.arguments(params, seed), params, seed, run_dir)
        argv: list[str] = []
        for item in self.items:
            argv += macros.expand(item, reveal=reveal)
        return argv

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

    def _native(self, params: Params, seed: int | None, device: str) -> list[str]:
        argv = [sys.executable, str(self.program_path or self.program)]
        if self.config:
            argv += ["--config", str(self.config)]
        argv.append("--")
        return argv + [f"{key}={format_value(value)}" for key, value in self.overrides(params, seed, device).items()]


def format_python(value: Any) -> str:
    """Write a value as W&B does on a command line: text as it is, everything else in Python's spelling."""
    return value if isinstance(value, str) else repr(value)


def _flags_without_booleans(arguments: Mapping[str, Any]) -> Iterator[str]:
    for key, value in arguments.items():
        if value is True:
            yield f"--{key}"
        elif value is not False:
            yield f"--{key}={format_python(value)}"


_ARGS: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "args": lambda a: [f"--{k}={format_python(v)}" for k, v in a.items()],
    "args_no_hyphens": lambda a: [f"{k}={format_python(v)}" for k, v in a.items()],
    "args_no_boolean_flags": lambda a: list(_flags_without_booleans(a)),
    "args_no_equals": lambda a: [text for k, v in a.items() for text in (f"--{k}", format_python(v))],
    "args_append_hydra": lambda a: [f"+{k}={format_python(v)}" for k, v in a.items()],
    "args_override_hydra": lambda a: [f"++{k}={format_python(v)}" for k, v in a.items()],
    "args_json": lambda a: [json.dumps(a)],
}
MACROS_WHOLE = (*_ARGS, "env", "interpreter", "program", "args_json_file")
MACROS = (*MACROS_WHOLE, "seed")


@dataclass(frozen=True, slots=True)
class _Macros:
    """The values of all macros for one run."""

    command: Command
    arguments: Mapping[str, Any]
    params: Params
    seed: int | None
    run_dir: Path

    def expand(self, item: str, *, reveal: bool) -> list[str]:
        whole = _MACRO.fullmatch(item)
        if whole is None:
            return [_MACRO.sub(lambda match: self._embedded(match, reveal), item)]
        if whole[1] in _ARGS:
            return _ARGS[whole[1]](self.arguments)
        value = self._builtin(whole[1])
        if value is None:
            value = self._value(whole[1], reveal)
        return [] if value is None else [value]

    def _embedded(self, match: re.Match[str], reveal: bool) -> str:
        value = self._value(match[1], reveal) if match[1] not in MACROS_WHOLE else None
        return match[0] if value is None else value

    def _builtin(self, name: str) -> str | None:
        """Return what W&B's macros of one item stand for; they win over parameters of the same name."""
        values = {
            "env": "/usr/bin/env",
            "interpreter": sys.executable,
            "program": str(self.command.program_path or self.command.program),
            "args_json_file": str(self.run_dir / ARGS_JSON_FILE),
        }
        return values.get(name)

    def _value(self, name: str, reveal: bool) -> str | None:
        """Return what may also stand inside an item: a variable of the environment, a parameter, the seed."""
        if name.startswith(_ENVVAR):
            return os.environ.get(name.removeprefix(_ENVVAR), "") if reveal else f"${{{name}}}"
        for source in (self.params, self.arguments):
            if name in source:
                return format_python(source[name])
        return str(self.seed) if name == "seed" and self.seed is not None else None


def check_macros(items: Sequence[str], params: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield ``(position, sentence)`` for every macro that means nothing here, or whose variable is not set."""
    known = (*MACROS, *params)
    for i, item in enumerate(items):
        for match in _MACRO.finditer(item):
            name = match[1]
            if name.startswith(_ENVVAR):
                variable = name.removeprefix(_ENVVAR)
                if variable not in os.environ:
                    yield i, f"environment variable {variable} is not set; it is passed as empty text"
            elif name in MACROS_WHOLE and match[0] != item:
                yield i, f"{match[0]} stands for a whole item only; inside one it stays as it is"
            elif name not in known:
                fate = "the item is dropped" if match[0] == item else "it stays as it is"
                yield i, f"unknown macro {match[0]}: {fate}{did_you_mean(name, known)}"


def missing_program(command: Command) -> str | None:
    """Return a sentence when the command cannot start because its program or executable is not there."""
    needs_program = command.is_native or any("${program}" in item for item in command.items or ())
    if needs_program and command.program_path is None:
        return f"program {command.program!r} not found"
    argv, shown = (command.build({}, None, device="cpu", run_dir=Path(), reveal=reveal) for reveal in (True, False))
    place = next((i for i, word in enumerate(argv) if word != "/usr/bin/env" and "=" not in word), None)
    executable = None if place is None else argv[place]
    if executable is None:
        return "command is empty"
    where = executable if os.sep not in executable else str(command.working_dir / executable)
    if shutil.which(where) is None:
        why = "is there but not executable" if Path(where).exists() else "not found"
        return f"command: {shown[place or 0]!r} {why}"
    return None
