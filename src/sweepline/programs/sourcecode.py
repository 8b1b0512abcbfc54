"""Which files of the user's own a program is made of, and what they hold: so that results of other code are told apart.

Read as text, never imported: the program, the modules beside it that it imports anywhere (and they in turn), what a
shell script calls by name, Hydra's configs. Installed packages and names that are computed are not looked at.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sweepline.contract.text import name_some

MAX_FILES, MAX_FILE_BYTES = 500, 2**20
_CONFIG_SUFFIXES = frozenset({".yaml", ".yml", ".toml", ".ini", ".cfg"})
_SCRIPT_NAME = re.compile(r"[\w./-]+\.(?:py|sh|bash|R|jl|pl|rb)\b")
_MODULE_OPTION = re.compile(r"\s-m\s+([A-Za-z_][\w.]*)")
_INSTALLED = frozenset({"site-packages", "dist-packages"})


class SourceCode:
    """The files of a program, looked at again whenever a run starts: they may be edited while a sweep runs.

    ``roots`` are the folders in which its own modules are found, the first one first.
    """

    def __init__(self, programs: Sequence[Path], *, roots: Sequence[Path], module: str | None = None) -> None:
        self._roots, self._module = [root.resolve() for root in roots], module
        self._programs = [path.resolve() for path in programs]
        self._seen: dict[Path, tuple[int, int, int]] = {}
        self._hashes: dict[str, str] = {}
        self._digest = ""

    @property
    def files(self) -> Mapping[str, str]:
        """A short hash of each file, by its path relative to the first root."""
        return self._hashes

    @property
    def paths(self) -> list[Path]:
        """Its files, resolved."""
        self.digest()
        return list(self._seen)

    @property
    def folder(self) -> Path:
        """Where the program lies."""
        return self._roots[0] if self._roots else Path.cwd()

    def digest(self) -> str:
        """Return a short hash of all files as they are now; empty where the program is none of the user's files."""
        if not self._seen or any(_stamp(path) != stamp for path, stamp in self._seen.items()):
            self._read()
        return self._digest

    def mentions(self, word: bytes) -> bool:
        """Whether any of the files holds a word, in any case; True where there are no files that could tell."""
        contents = [content.lower() for _, content in self._walk()]
        return not contents or any(word in content for content in contents)

    def contents(self) -> Iterator[tuple[Path, bytes]]:
        """Yield its files as they are now, the program first, and what they hold."""
        yield from self._walk()

    def _read(self) -> None:
        contents = dict(self._walk())
        self._seen = {path: _stamp(path) for path in contents}
        base = self._roots[0] if self._roots else Path.cwd()
        self._hashes = {os.path.relpath(path, base): _hash(content) for path, content in sorted(contents.items())}
        self._digest = _hash(repr(self._hashes).encode("utf-8", "surrogateescape")) if contents else ""

    def _walk(self) -> Iterator[tuple[Path, bytes]]:
        waiting = list(self._programs)
        if self._module is not None:
            waiting += [*self._find(f"{self._module}.__main__"), *self._find(self._module)]
        waiting = list(dict.fromkeys(waiting))
        met = set(waiting)
        while waiting and len(met) <= MAX_FILES:
            path = waiting.pop(0)
            try:
                with path.open("rb") as file:
                    content = file.read(MAX_FILE_BYTES)
            except OSError:
                continue
            yield path, content
            for found in self._imported_by(path, content):
                if found not in met:
                    met.add(found)
                    waiting.append(found)

    def _imported_by(self, path: Path, content: bytes) -> Iterator[Path]:
        if path.suffix in _CONFIG_SUFFIXES or (path.suffix != ".py" and path not in self._programs):
            return
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError, RecursionError):  # a shell script, or one that its own run will complain of
            yield from self._named_by(path, content)
            return
        yield from _hydra_configs(tree, path.parent)
        for name, level in _imports(tree):
            roots = [path.parents[level - 1]] if 0 < level <= len(path.parents) else [path.parent, *self._roots]
            for root in roots:
                found = _module_files(root, name)
                if found:
                    yield from found
                    break

    def _named_by(self, path: Path, content: bytes) -> Iterator[Path]:
        """Yield the scripts and modules that a shell script names, as far as they are told by plain words."""
        text = content.decode("utf-8", "replace")
        for word in _SCRIPT_NAME.findall(text):
            found = [root / word for root in (path.parent, *self._roots) if (root / word).is_file()]
            yield from (script.resolve() for script in found[:1])
        for module in _MODULE_OPTION.findall(text):
            yield from [*self._find(f"{module}.__main__"), *self._find(module)]

    def _find(self, name: str) -> list[Path]:
        return next((found for root in self._roots if (found := _module_files(root, name))), [])


def changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the files that differ between two states of a program, those that came or went included."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the modules that a file imports anywhere, and the dots before their names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.Call) and _is_called(node, "import_module", "__import__") and node.args:
            name = getattr(node.args[0], "value", None)
            if isinstance(name, str) and not name.startswith("."):
                yield name, 0
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield from ((f"{base}.{alias.name}".strip("."), node.level) for alias in node.names)
            if base:
                yield base, node.level


def _is_called(node: ast.Call, *names: str) -> bool:
    return getattr(node.func, "attr", getattr(node.func, "id", "")) in names


def _hydra_configs(tree: ast.AST, folder: Path) -> Iterator[Path]:
    """Yield the files of the folder that ``@hydra.main(config_path=...)`` names: they decide what a run does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "config_path" and isinstance(node.value, ast.Constant):
            place = folder / str(node.value.value)
            if node.value.value and place.is_dir():
                yield from (path.resolve() for path in sorted(place.rglob("*.yaml"))[:MAX_FILES])


def _module_files(root: Path, name: str) -> list[Path]:
    """Return the files that importing ``name`` executes, its packages' first; none where it is not below ``root``."""
    found: list[Path] = []
    here = root
    for part in filter(None, name.split(".")):
        here = here / part
        package, module = here / "__init__.py", here.with_name(f"{part}.py")
        if package.is_file():
            found.append(package.resolve())
        elif module.is_file():
            found.append(module.resolve())
            break  # what follows is a name within it
        elif not here.is_dir():
            break
    return [path for path in found if _INSTALLED.isdisjoint(path.parts)]


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_size, status.st_mtime_ns


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:10]


def describe_change(states: Iterable[Mapping[str, str]], now: Mapping[str, str]) -> str:
    """Return how a program's files differ from those of earlier states of it, as the beginning of a sentence.

    A file that another one began or ceased to import, or that a value of a sweep names no more, was not changed itself.
    """
    before = list(states)
    names = {name for state in before for name in changed_files(state, now)}
    gone, met = names - now.keys(), {name for state in before for name in state}
    come = names - met if all(before) else set()  # of a state whose files are not known nothing is new
    edited = names - gone - come
    kinds = [(edited, "changed"), (come, "new in the program"), (gone, "no longer part of the program")]
    told = [f"{name_some(sorted(found))} {_verb(found, how)}" for found, how in kinds if found]
    return " and ".join(told) or "the program has changed"


def _verb(names: Collection[str], how: str) -> str:
    one, many = ("has", "have") if how == "changed" else ("is", "are")
    return f"{many if len(names) > 1 else one} {how}"
