"""Which file a module, or a function that is called ``module:function``, stands in. Imports none of it."""

from __future__ import annotations

import os
import re
import subprocess
import symtable
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepline.errors import did_you_mean

SOURCE_FOLDER = "src"
_MAX_SOURCE_BYTES = 1 << 20
_FUNCTION = re.compile(
    r"(?P<module>(?:.*/)?[^:./]+\.py|[\w-]+(?:\.[\w-]+)*):(?P<function>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
)
_PYTHON = re.compile(r"(?:.*/)?python[\d.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function of a module, as a sweep file of W&B's agent names it: ``train:main``, ``train.py:Trainer.run``."""

    module: str
    function: str

    @property
    def file(self) -> str:
        """The module's file as it would be looked for."""
        return self.module if self.module.endswith(".py") else f"{self.module.replace('.', os.sep)}.py"

    def find(self, folder: Path) -> tuple[Path, Path] | None:
        """Return the module's file and the folder that it is imported from."""
        if self.module.endswith(".py"):
            path = folder / self.module
            return (path, path.parent) if is_file(path) else None
        found = module_file(folder, self.module, of_package=("__init__.py",))
        return None if found is None else (found, folder)

    @property
    def code(self) -> str:
        """What Python is told to call it."""
        name = Path(self.module).stem if self.module.endswith(".py") else self.module
        return (
            f"import importlib; r = importlib.import_module({name!r}).{self.function}(); "
            "hasattr(r, '__await__') and __import__('asyncio').run(r)"  # an async def has done nothing yet
        )

    def explain_absence(self, path: Path) -> str | None:
        """Return a sentence when the file defines no such name; None where it does, or where that cannot be told."""
        try:
            names = _names(read_source(path))
        except (OSError, SyntaxError, ValueError, RecursionError):  # its runs will complain of it
            return None
        outermost = self.function.split(".")[0]
        if names is None or outermost in names:
            return None
        return f"{path.name} has no function {self.function!r}{did_you_mean(outermost, names)}"


def read_function(name: str) -> Function | None:
    """Return the function that a program's name stands for; None for any other program."""
    found = _FUNCTION.fullmatch(name)
    return Function(**found.groupdict()) if found else None


def call_function(items: Sequence[str], code: str) -> list[str] | None:
    """Return a command that has Python execute ``code`` where it names the program; None where it is not Python's."""
    for i, item in enumerate(items):
        if item == "${program}" and not _follows_python(items[:i]):
            return None
    return [word for item in items for word in (("-c", code) if item == "${program}" else (item,))]


def _follows_python(words: Sequence[str]) -> bool:
    options = [word for word in words if word.startswith("-")]
    before = [word for word in words if not word.startswith("-")][-1:]
    return "-m" not in options and any(word == "${interpreter}" or _PYTHON.fullmatch(word) for word in before)


def _names(source: bytes) -> set[str] | None:
    """Return the names that a module binds; None where others are imported by ``*``."""
    table = symtable.symtable(source, "module", "exec")  # type: ignore[arg-type]  # bytes, as compile does
    if b"import *" in source:
        return None
    bound = (s for s in table.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace())
    return {symbol.get_name() for symbol in bound}


def module_file(
    folder: Path,
    name: str,
    *,
    sources: Sequence[str] = (SOURCE_FOLDER,),
    of_package: Sequence[str] = ("__main__.py", "__init__.py"),
) -> Path | None:
    """Return the file that ``-m name`` would execute where its package lies in ``folder`` or in the ``src`` there."""
    for root in (folder, *(folder / source for source in sources)):
        base = root.joinpath(*name.split("."))
        for path in (base.with_name(f"{base.name}.py"), *(base / file for file in of_package)):
            if is_file(path):
                return path
    return None


def needs_source_folder(name: str, *, folder: Path, interpreter: str) -> bool:
    """Whether a module's package lies in the ``src`` of a folder alone, where the interpreter does not look for it."""
    package = name.partition(".")[0]
    if not package.isidentifier() or module_file(folder, name, sources=()) or not module_file(folder, name):
        return False
    search = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    try:
        done = subprocess.run([interpreter, "-c", search, package], cwd=folder, capture_output=True, check=False)
    except OSError:  # its runs say so
        return False
    return done.returncode == 1


def read_source(path: Path) -> bytes:
    """Return the text of a program, as much of it as any has."""
    with path.open("rb") as file:
        return file.read(_MAX_SOURCE_BYTES)


def is_file(path: Path) -> bool:
    """Whether a path is a file; False for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
