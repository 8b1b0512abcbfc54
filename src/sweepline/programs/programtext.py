"""Where a program writes by itself, as far as its own text tells: folders that its runs would share. Only says so.

Text alone: nothing of the program is imported, and what it does with a folder's name is not followed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from typing import Any

# A format of strftime to the second that no clock shows, as it has neither blanks nor colons: a folder's name; such a
# format, or whole seconds, within an f-string without blanks. And what TensorBoard does by itself.
_NAMED_BY_TIME = re.compile(
    rb"""
    ["'] [^"'\n\ :]* %S [^"'\n\ :%]* ["']
    | \b [fF][rR]? ["'] [^"'\n\ ]{0,200}
        (?: :% [^"'\n\ :{}]{0,200} %S [^"'\n\ :%{}]{0,200}
            | \{(?:int|round)\((?:time\.)?time\(\)\)
            | \{(?:time\.)?time\(\):\.0f )
        \} [^"'\n\ ]{0,200} ["']
    | \b str\((?:int|round)\((?:time\.)?time\(\)\)\)
    | SummaryWriter\(\s*\)
    """,
    re.VERBOSE,
)
_FOLDER_NAME = re.compile(
    r"out|(?:out|output|save)_?(?:dir|folder|path)|(?:logs?|results?|ckpt|checkpoints?|tb|tensorboard)_?(?:dir|folder)|"
    r"default_root_dir",
    re.IGNORECASE,
)
_FILE = re.compile(r".*[^/][.][A-Za-z][A-Za-z0-9]{0,7}", re.DOTALL)
_BY_TIME = (
    "seems to name its output folder by the time to the second: runs that start in the same second share one; hand "
    "each its own with ${run_dir} in command"
)
_BY_DEFAULT = (
    "runs share that folder and may overwrite each other's files; hand each its own with ${run_dir} in command"
)
_BY_LIGHTNING = (
    "has Lightning take the next free lightning_logs/version_N, which runs that start at one moment may share; hand "
    "each its own default_root_dir or save_dir with ${run_dir} in command"
)
_OPTION_MAKERS = ("add_argument", "option", "DEFINE_string")
_LIGHTNING = ("lightning", "pytorch_lightning")
_LIGHTNING_LOGGERS = ("TensorBoardLogger", "CSVLogger")


def find_own_output(source: bytes, given: Collection[str]) -> tuple[int, str] | None:
    """Return the line where a program seems to choose a folder that its runs would share, and what to say of it.

    ``given`` are the names of options and parameters that every run is handed.
    """
    found = _NAMED_BY_TIME.search(source)
    if found is not None:
        return source.count(b"\n", 0, found.start()) + 1, _BY_TIME
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # its runs will complain of it
        return None
    handed = {_plain(name) for name in given}
    for line, name, folder in _default_folders(tree):
        if _plain(name) not in handed:
            return line, f"seems to write to {name}={folder!r} unless told otherwise: {_BY_DEFAULT}"
    numbered = _find_numbered_folder(tree)
    return None if numbered is None else (numbered, _BY_LIGHTNING)


def _plain(name: str) -> str:
    return name.lstrip("-+~").rpartition(".")[2].replace("-", "_")


def _default_folders(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Yield line, name and folder of options of a parser, of settings at the top of a program, and of data classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in _OPTION_MAKERS:
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            is_absl = _called(node) == "DEFINE_string"
            default = names[1:2] if is_absl else [_constant(k.value) for k in node.keywords if k.arg == "default"]
            for name in names[:1] if is_absl else names:
                yield from _if_folder(node.lineno, name, default[0] if default else None)
        elif isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value is not None:
                    yield from _if_folder(field.lineno, field.target.id, _constant(field.value))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield from _if_folder(node.lineno, node.targets[0].id, _constant(node.value))


def _if_folder(line: int, name: str, value: Any) -> Iterator[tuple[int, str, str]]:
    is_told = isinstance(value, str) and value not in ("", "/dev/null") and _FILE.fullmatch(value) is None
    if is_told and _FOLDER_NAME.fullmatch(_plain(name)):
        yield line, name, value


def _find_numbered_folder(tree: ast.Module) -> int | None:
    """Return the line at which Lightning is left to number a folder, or to keep checkpoints in one for all."""
    nodes = list(ast.walk(tree))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    if not any(name.split(".")[0] in _LIGHTNING for name in imported):
        return None
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        keywords = {keyword.arg: _constant(keyword.value) for keyword in node.keywords}
        if None in keywords:  # **more
            continue
        if _called(node) == "Trainer" and "default_root_dir" not in keywords:
            if keywords.get("logger", True) is True:
                return node.lineno
        elif _called(node) in _LIGHTNING_LOGGERS and "version" not in keywords:
            folder = keywords.get("save_dir", _constant(node.args[0]) if node.args else None)
            if isinstance(folder, str):
                return node.lineno
    return None


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _constant(node: ast.expr) -> Any:
    return node.value if isinstance(node, ast.Constant) else ...
