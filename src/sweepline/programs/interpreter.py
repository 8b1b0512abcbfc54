"""Which Python runs programs, and which words of a command are one with its options, so that a run can be forked."""

from __future__ import annotations

import ast
import functools
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PYTHON = re.compile(r"python(\d+(\.\d+)*)?")
_FLAGS = frozenset("bBdEIOPqRsSuv")
_WITH_VALUE = frozenset("WX")
_UNLIKE_A_FILE = (".pyc", ".pyz", ".zip", os.sep)


def find_interpreter(argv: Sequence[str], *, working_dir: Path) -> tuple[int, int] | None:
    """Return where the interpreter with its options begins and ends in ``argv``; None when it runs no Python program.

    A program is a source file or ``-m MODULE``; ``-c``, ``-i`` and standard input are none. A leading ``env`` without
    assignments is passed over, as it changes nothing.
    """
    first = 1 if argv and Path(argv[0]).name == "env" else 0
    if len(argv) < first + 2 or not _is_python(argv[first]):
        return None
    at = first + 1
    while at < len(argv) and argv[at].startswith("-") and argv[at] != "-m":
        letters = argv[at][1:]
        if letters[:1] in _WITH_VALUE:
            at += 1 if len(letters) > 1 else 2
        elif letters and set(letters) <= _FLAGS:
            at += 1
        else:
            return None
    is_module = argv[at : at + 1] == ["-m"] and len(argv) > at + 1
    is_file = len(argv) > at and argv[at] != "-m" and not argv[at].endswith(_UNLIKE_A_FILE)
    return (first, at) if is_module or (is_file and not (working_dir / argv[at]).is_dir()) else None


def _is_python(word: str) -> bool:
    return word == sys.executable or _PYTHON.fullmatch(Path(word).name) is not None


def find_python(environ: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the Python of the activated environment and the variable that names it; our own where none is."""
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        prefix = environ.get(variable)
        if not prefix:
            continue
        if os.path.realpath(prefix) == os.path.realpath(sys.prefix):
            break
        python = Path(prefix).absolute() / "bin" / "python"
        if python.is_file() and os.access(python, os.X_OK):
            return str(python), variable
    return sys.executable, None


@functools.cache
def editable_roots(python: str) -> tuple[Path, ...]:
    """Return the folders outside an interpreter's own from which it imports what is installed there to be edited.

    They stand in ``.pth`` files, or in the import hooks that setuptools writes. Ours is not among them.
    """
    found: dict[Path, None] = {}
    for site in site_folders(python):
        for path in sorted(site.glob("*.pth")):
            found |= dict.fromkeys(_folders_in(path))
        for path in sorted(site.glob("__editable___*_finder.py")):
            found |= dict.fromkeys(_mapped_in(path))
    own = Path(__file__).resolve().parents[2]
    return tuple(folder for folder in found if folder.is_dir() and folder.resolve() != own)


def site_folders(python: str) -> list[Path]:
    """Return where an interpreter's packages are, as far as its own path tells."""
    if python == sys.executable:
        return [path for entry in sys.path if (path := Path(entry)).name in ("site-packages", "dist-packages")]
    return sorted(Path(shutil.which(python) or python).absolute().parent.parent.glob("lib/python3*/site-packages"))


def _folders_in(path: Path) -> list[Path]:
    with suppress(OSError, ValueError):
        lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
        return [Path(line) for line in lines if line.startswith(os.sep)]
    return []


def _mapped_in(path: Path) -> list[Path]:
    """Return the folders above the packages that a hook of setuptools maps."""
    with suppress(OSError, ValueError, SyntaxError):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            target = node.target if isinstance(node, ast.AnnAssign) else None
            if (
                isinstance(target, ast.Name)
                and target.id == "MAPPING"
                and isinstance(node, ast.AnnAssign)
                and node.value
            ):
                mapping: dict[str, str] = ast.literal_eval(node.value)
                return [Path(folder).parent for folder in mapping.values()]
    return []
