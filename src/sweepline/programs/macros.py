"""The macros of a command and what they stand for in one run. Expands text, never twice; knows no files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweepline.errors import did_you_mean
from sweepline.programs.arguments import WRITERS, Arguments, format_python
from sweepline.programs.hydra import format_hydra
from sweepline.runs import Params

MACROS_OF_THE_COMMAND = ("env", "interpreter", "program", "args_json_file")
WHOLE_MACROS = (*WRITERS, *MACROS_OF_THE_COMMAND)
RUN_MACROS = ("run_dir", "run_id", "run_name")
CONFIG_FILE = "config_file"
MACROS = (*WHOLE_MACROS, *RUN_MACROS, "seed", CONFIG_FILE)
RUN_VARIABLES = frozenset(
    {
        *("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "MASTER_PORT", "PWD", "PYTHONUNBUFFERED"),
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
        *("SWEEPLINE_RUN_DIR", "SWEEPLINE_RUN_ID", "SWEEPLINE_RUNS_PER_DEVICE", "SWEEPLINE_SEED", "SWEEPLINE_SWEEP"),
        *("WANDB_DIR", "WANDB_JOB_TYPE", "WANDB_NAME", "WANDB_RESUME", "WANDB_RUN_GROUP", "WANDB_RUN_ID"),
        "WANDB_SWEEP_PARAM_PATH",
    }
)
"""Variables that every run of another program has from the sweep, whatever the sweep's own environment holds."""

ENVVAR = "envvar:"
_MACRO = re.compile(r"\$\{([^${}]*)\}")
_RUN_MACRO = re.compile(rf"\$\{{({'|'.join(RUN_MACROS)})\}}")
_WHOLE_OVERRIDE = re.compile(r"([+~]*[^=\s]+=)\$\{([^${}]*)\}")
_SHELL_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Macros:
    """The values of all macros for one run.

    ``of_command`` are W&B's macros of one item, ``of_run`` the run's own, ``envvar:NAME`` among them for the variables
    that the sweep sets; ``writers`` write all arguments. With ``reveal`` off, other ``${envvar:X}`` stay as written.
    """

    params: Params
    arguments: Arguments
    of_command: Mapping[str, str]
    of_run: Mapping[str, str]
    writers: Mapping[str, Callable[[Arguments], list[str]]] = field(default_factory=lambda: WRITERS)
    speaks_hydra: bool = False
    reveal: bool = True

    def expand(self, item: str) -> list[str]:
        """Return the words that an item stands for."""
        whole = _MACRO.fullmatch(item)
        if whole is None:
            return [self._override(item) or _MACRO.sub(self._embedded, item)]
        name = whole[1]
        if name in self.writers:
            return self.writers[name](self.arguments)
        value = self.of_command.get(name)  # these win over parameters of the same name
        if value is None:
            value = self._text(name)
        return [] if value is None else [value]

    def _override(self, item: str) -> str | None:
        """Return ``key=${x}`` for a program that uses Hydra: the value in Hydra's spelling."""
        found = _WHOLE_OVERRIDE.fullmatch(item) if self.speaks_hydra else None
        if found is None or found[2] in WHOLE_MACROS:
            return None
        is_known, value = self._parameter(found[2])
        return f"{found[1]}{format_hydra(value)}" if is_known else None

    def _embedded(self, match: re.Match[str]) -> str:
        text = self._text(match[1]) if match[1] not in WHOLE_MACROS else None
        return match[0] if text is None else text

    def _parameter(self, name: str) -> tuple[bool, Any]:
        for source in (self.params, self.arguments):
            if name in source:
                return True, source[name]
        return False, None

    def _text(self, name: str) -> str | None:
        """Return what may also stand inside an item: a parameter, the run's own names, a variable."""
        is_known, value = self._parameter(name)
        if is_known:
            return format_python(value)
        if name in self.of_run:
            return self.of_run[name]
        if name.startswith(ENVVAR):
            return os.environ.get(name.removeprefix(ENVVAR), "") if self.reveal else f"${{{name}}}"
        return None


def names_run_dir(value: Any) -> bool:
    """Whether ``${run_dir}`` stands in a value, at any depth."""
    return any(name == "run_dir" for text in _texts(value) for name in _RUN_MACRO.findall(text))


def expand_run_macros(value: Any, of_run: Mapping[str, str]) -> Any:
    """Return a parameter's value with the run's folder, id and name in place of their macros."""
    if isinstance(value, str):
        return _RUN_MACRO.sub(lambda found: of_run.get(found[1], found[0]), value) if "${run_" in value else value
    if isinstance(value, Mapping):
        return {key: expand_run_macros(item, of_run) for key, item in value.items()}
    if isinstance(value, list):
        return [expand_run_macros(item, of_run) for item in value]
    return value


def check_macros(items: Sequence[str], params: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield ``(position, sentence)`` for every macro that means nothing here, or whose variable is not set."""
    known = (*MACROS, *params)
    is_shell_told = False
    for i, item in enumerate(items):
        for match in _MACRO.finditer(item):
            sentence = _check_macro(match[1], known, is_whole=match[0] == item)
            if sentence:
                yield i, sentence
        shell_word = None if is_shell_told else find_shell_word(item)
        if shell_word:
            is_shell_told = True
            yield i, f"{shell_word[0]} stays as it is, as no shell reads the command; write {shell_word[1]}"


def _check_macro(name: str, known: Sequence[str], *, is_whole: bool) -> str | None:
    if name.startswith(ENVVAR):
        variable = name.removeprefix(ENVVAR)
        is_set = variable in os.environ or variable in RUN_VARIABLES
        return None if is_set else f"environment variable {variable} is not set; it is passed as empty text"
    if name in WHOLE_MACROS and not is_whole:
        return f"${{{name}}} stands for a whole item only; inside one it stays as it is"
    if name in known:
        return None
    fate = "the item is dropped" if is_whole else "it stays as it is"
    hint = f"; did you mean ${{envvar:{name}}}?" if name in os.environ or name.isupper() else did_you_mean(name, known)
    return f"unknown macro ${{{name}}}: {fate}{hint}"


def find_shell_word(text: str) -> tuple[str, str] | None:
    """Return what a shell would replace in a text, ``$HOME`` or ``~``, and what to write instead."""
    if text.startswith("~/"):
        return "~", "${envvar:HOME}"
    found = next((m for m in _SHELL_VARIABLE.finditer(text) if m[1] in os.environ or m[1] in RUN_VARIABLES), None)
    return None if found is None else (found[0], f"${{envvar:{found[1]}}}")


def find_unread_macro(value: Any) -> str | None:
    """Return ``${envvar:X}``, ``$HOME`` or ``~`` in a parameter's value, where nothing replaces it; None without."""
    for text in _texts(value):
        macro = next((match[0] for match in _MACRO.finditer(text) if match[1].startswith(ENVVAR)), None)
        shell_word = find_shell_word(text)
        if macro or shell_word:
            return macro or (shell_word[0] if shell_word else None)
    return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
