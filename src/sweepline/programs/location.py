"""Where the program of a sweep is: a file, a folder, a module, a command; else what the user should write."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepline.contract.text import display_path
from sweepline.programs.base import Command
from sweepline.programs.command import DEFAULT_COMMAND, ENV, HYDRA_COMMAND, ProgramCommand
from sweepline.programs.macros import MACROS_OF_THE_COMMAND, WHOLE_MACROS
from sweepline.programs.modules import Function, call_function, is_file, module_file, read_function, read_source

_SHELL_SUFFIXES = (".sh", ".bash")
_RUNNERS = {".r": "Rscript", ".jl": "julia", ".js": "node", ".pl": "perl", ".rb": "ruby", ".lua": "lua"}
_MAX_PLACES_LOOKED_AT, _MAX_DEPTH, _MAX_NAMED = 2000, 3, 3
_NOT_LOOKED_INTO = ("outputs", "wandb", "node_modules", "__pycache__", "site-packages")
_SPLIT = ("-S", "--split-string")  # with which env takes a whole command as one word
_LIKELY_SCRIPT = re.compile(r"train|main|run|sweep|fit|experiment")
_HYDRA_MAIN = re.compile(rb"^@(?:hydra\.)?main\(|\bhydra_main\(", re.MULTILINE)
_HYDRA_IMPORT = re.compile(rb"^\s*(?:import|from)\s+hydra(?:_zen)?\b", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that was looked for: its path, or None for a module and for what is nowhere."""

    name: str
    path: Path | None
    working_dir: Path
    is_module: bool = False
    function: Function | None = None
    """What is called of the file at ``path``, which is imported rather than executed."""

    @property
    def source(self) -> Path | None:
        """The Python file that is run, as far as it can be told."""
        if not self.is_module:
            return self.path
        return module_file(self.working_dir, self.name)

    @property
    def speaks_hydra(self) -> bool:
        """Whether the program's source imports Hydra."""
        return imports_hydra(self._text)

    @property
    def is_hydra_main(self) -> bool:
        """Whether Hydra reads the program's command line."""
        return self.speaks_hydra and _HYDRA_MAIN.search(self._text) is not None

    @property
    def _text(self) -> bytes:
        source = self.source
        return read_source(source) if source is not None and source.suffix == ".py" and is_file(source) else b""


def imports_hydra(source: bytes) -> bool:
    """Whether a program's source imports Hydra."""
    return _HYDRA_IMPORT.search(source) is not None


def find_program(name: str, folders: Sequence[Path], *, is_module: bool, interpreter: str) -> Program:
    """Return the program and the folder that its runs start in: where it was found, else the working directory.

    A file that is a link keeps its own name, as it would on a command line.
    """
    for folder in folders:
        if is_module and module_file(folder, name):
            return Program(name=name, path=None, working_dir=folder.resolve(), is_module=True)
        path = folder / name
        if not is_module and (is_file(path) or is_file(path / "__main__.py")):
            return Program(name=name, path=path.parent.resolve() / path.name, working_dir=folder.resolve())
    function = read_function(name)
    for found in (function.find(folder) for folder in folders) if function else ():
        if found:
            path, root = found
            path = path.parent.resolve() / path.name
            return Program(name=name, path=path, working_dir=root.resolve(), function=function)
    executable = None if is_module else find_executable(name, interpreter)
    return Program(name=name, path=executable, working_dir=Path.cwd(), is_module=is_module)


def find_executable(name: str, interpreter: str) -> Path | None:
    """Return a command of the PATH, or one that was installed beside the interpreter."""
    if os.sep in name or not name:
        return None
    folders = [str(Path(python).parent) for python in (interpreter, sys.executable)]
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(folders))
    return None if found is None else Path(found)


def names_module(items: Sequence[str] | None) -> bool:
    """Whether ``${program}`` stands right of ``-m``."""
    pairs = zip(items or (), (items or ())[1:], strict=False)
    return any(pair == ("-m", "${program}") for pair in pairs)


def default_items(program: Program) -> list[str]:
    """Return the command of a program whose file names none: by itself, by its ``#!`` line, by Python, for Hydra."""
    path = program.path
    rest = list(DEFAULT_COMMAND[1:])
    if program.is_hydra_main and program.function is None:
        return list(HYDRA_COMMAND)
    if path is None or path.suffix == ".py" or not path.is_file():
        return list(DEFAULT_COMMAND)
    words = _shebang(path)
    if os.access(path, os.X_OK) and (words or path.suffix not in _SHELL_SUFFIXES):
        return rest
    if words and not _is_python(words):
        return [*words, *rest]
    return ["bash", *rest] if path.suffix in _SHELL_SUFFIXES else list(DEFAULT_COMMAND)


def _shebang(path: Path) -> list[str]:
    """Return the words of a ``#!`` line as the kernel splits them: the interpreter, and all the rest as one."""
    with path.open("rb") as file:
        line = file.read(256).split(b"\n")[0]
    if not line.startswith(b"#!"):
        return []
    return [os.fsdecode(word.strip()) for word in line[2:].strip().split(None, 1)]


def _is_python(words: Sequence[str]) -> bool:
    return "python" in " ".join([Path(words[0]).name, *words[1:]])


def complete_items(items: Sequence[str], interpreter: str) -> list[str]:
    """Return a command whose executable, where it is not on the PATH, is the one beside the interpreter."""
    place = find_executable_place(items)
    if place is None or "$" in items[place] or os.sep in items[place] or shutil.which(items[place]):
        return list(items)
    found = find_executable(items[place], interpreter)
    return [*items[:place], str(found), *items[place + 1 :]] if found else list(items)


def find_executable_place(words: Sequence[str]) -> int | None:
    """Return which word is started: the first, or the one after ``env`` and its options; None where none can be."""
    place = 0
    if not words or (Path(words[0]).name != "env" and words[0] != "${env}"):
        return place if words else None
    for i, word in enumerate(words[1:], 1):
        if i <= place:
            continue
        if word in ("-u", "--unset", "-C", "--chdir"):
            place = i + 1
        elif word.startswith(_SPLIT):
            return None
        elif not word.startswith("-") and "=" not in word:
            return i
    return None


def explain_absence(name: str | None, folders: Sequence[Path]) -> str:
    """Return a sentence for a program that is nowhere: what the file should say instead."""
    if name is None:
        scripts = _likely_scripts(folders)
        beside = f" (there is {', '.join(scripts)})" if scripts else ""
        return f"names no program: write program: FILE, the script that trains once{beside}"
    function = read_function(name)
    file, call = (Path(name), "") if function is None else (Path(function.file), f":{function.function}")
    elsewhere = [path for folder in folders for path in _walk(folder) if path.name == file.name]
    shown = dict.fromkeys(os.path.relpath(path, folders[0]) + call for path in elsewhere)
    hint = f"; there is {' and '.join(list(shown)[:_MAX_NAMED])}: write program: {next(iter(shown))}" if shown else ""
    return f"program {name!r} not found{hint}"


def explain_function(program: Program, items: Sequence[str]) -> str | None:
    """Return a sentence where a program's function is not there, or where the command cannot call one."""
    function, path = program.function, program.path
    if function is None or path is None:
        return None
    absence = function.explain_absence(path)
    if absence:
        return f"program {program.name!r}: {absence}"
    if call_function(items, function.code) is None:
        return (
            f"program {program.name!r} is a function, which Python alone can call: write command: "
            f"['${{interpreter}}', '${{program}}', '${{args}}'], or program: FILE, a script that calls it"
        )
    return None


def _likely_scripts(folders: Sequence[Path]) -> list[str]:
    scripts = [path for folder in folders for path in _walk(folder) if path.suffix == ".py" and path.stem[0] != "_"]
    likely = [path for path in scripts if _LIKELY_SCRIPT.search(path.stem)] or scripts
    names = dict.fromkeys(os.path.relpath(path, folders[0]) for path in likely)
    return sorted(names, key=lambda name: name.count(os.sep))[:_MAX_NAMED]


def _walk(folder: Path) -> Iterator[Path]:
    """Yield files near a folder, as far as that takes no time worth speaking of."""
    n_seen = 0
    for place, folders, files in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        is_deep = depth >= _MAX_DEPTH
        folders[:] = sorted(n for n in folders if not is_deep and not n.startswith(".") and n not in _NOT_LOOKED_INTO)
        for name in sorted(files):
            n_seen += 1
            if n_seen > _MAX_PLACES_LOOKED_AT:
                return
            yield Path(place) / name


def missing_program(command: Command) -> str | None:
    """Return a sentence when the command cannot start because its program or executable is not there, or no command."""
    if command.needs_program and command.program_path is None and not command.is_module:
        return command.not_found or f"program {command.program!r} not found"
    if not isinstance(command, ProgramCommand):
        return None
    return _wrong_start(command.words) or _wrong_interpreter(command) or _missing_executable(command)


def _wrong_start(items: Sequence[str]) -> str | None:
    if not items:
        return "command is empty"
    macro = items[0].removeprefix("${").removesuffix("}")
    is_argument = items[0] == f"${{{macro}}}" and macro in WHOLE_MACROS and macro not in MACROS_OF_THE_COMMAND
    if not is_argument:
        return None
    return f"command: program and interpreter are missing: write ${{interpreter}} and ${{program}} before {items[0]}"


def _wrong_interpreter(command: ProgramCommand) -> str | None:
    """Return a sentence for a script of another language that is handed to Python."""
    path = command.program_path
    pairs = zip(command.words, command.words[1:], strict=False)
    if path is None or not path.is_file() or ("${interpreter}", "${program}") not in pairs:
        return None
    words = [] if path.suffix == ".py" else _shebang(path)
    if words:
        runner = None if _is_python(words) else words[-1]
    else:
        runner = "bash" if path.suffix in _SHELL_SUFFIXES else _RUNNERS.get(path.suffix.lower())
    if runner is None:
        return None
    return (
        f"program {display_path(path)} would be run by Python, which it is not written for: write "
        f"command: [{runner}, '${{program}}', '${{args}}']"
    )


def _missing_executable(command: ProgramCommand) -> str | None:
    argv, shown = (command.build({}, None, device="cpu", run_dir=Path(), reveal=reveal) for reveal in (True, False))
    place = find_executable_place(argv)
    if place is None:
        return None if any(word.startswith(_SPLIT) for word in argv) else "command is empty"
    executable = argv[place]
    where = executable if os.sep not in executable else str(command.working_dir / executable)
    if executable == ENV or shutil.which(where) is not None:
        return None
    if is_file(Path(where)):
        before = ", or write bash before it" if where.endswith(_SHELL_SUFFIXES) else ""
        return f"command: {shown[place]!r} is there but not executable: chmod +x {display_path(Path(where))}{before}"
    return f"command: {shown[place]!r} not found"
