"""What users bring: models, data sets, modes and optimizers in files of their own, or installed with another package.

A name such as ``my_models.py:TinyNet`` or ``mypackage.models:TinyNet`` in a config stands for a function or a class.
How one is called: ``calling``.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from sweepline.errors import ConfigError, did_you_mean
from sweepline.training import places
from sweepline.training.calling import blame

_NAME = re.compile(r"(?P<where>[^:]+):(?P<attribute>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_MARK = "__sweepline__"

KINDS = {
    "model.name": "model",
    "data.name": "dataset",
    "training.mode": "task",
    "learner.opt": "optimizer",
}
"""By the key that names one, the decorator that marks it, and the group of entry points (``sweepline.models`` ...)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mark:
    """What a decorated object says of itself."""

    kind: str
    n_parameters: Callable[..., int] | None = None
    modes: tuple[str, ...] | None = None


def model(
    target: T | None = None,
    *,
    n_parameters: Callable[..., int] | None = None,
    modes: Sequence[str] | None = None,
) -> Any:
    """Mark a class or function that returns a network; it works unmarked too.

    Args:
        target: the class or function; None: return a decorator.
        n_parameters: from the ``args`` and what is on offer, how many parameters there should be, which smoke compares.
        modes: the modes that it can be trained in; None: any.
    """
    return _mark(target, Mark("model", n_parameters, None if modes is None else tuple(modes)))


def dataset(target: T | None = None) -> Any:
    """Mark a function that returns the examples of a portion: ``(split) -> (inputs, targets)``."""
    return _mark(target, Mark("dataset"))


def task(target: T | None = None) -> Any:
    """Mark a :class:`~sweepline.training.tasks.base.Task`: a mode of training."""
    return _mark(target, Mark("task"))


def optimizer(target: T | None = None) -> Any:
    """Mark a :class:`torch.optim.Optimizer`."""
    return _mark(target, Mark("optimizer"))


def _mark(target: T | None, mark: Mark) -> Any:
    if target is None:
        return partial(_mark, mark=mark)
    setattr(target, _MARK, mark)
    return target


def mark_of(target: object, kind: str) -> Mark:
    """Return what an object says of itself; what any of its kind is where it says nothing."""
    found = vars(target).get(_MARK) if hasattr(target, "__dict__") else None
    return found if isinstance(found, Mark) else Mark(kind)


def is_own(name: str) -> bool:
    """Whether a name stands for something that a user brings, by its form."""
    return ":" in name


def check_form(key: str, name: str) -> None:
    """Refuse a name that stands for nothing.

    Raises:
        ValueError: it is not ``file.py:name`` or ``module:name``.
    """
    match = _NAME.fullmatch(name)
    where = match["where"] if match else ""
    if match is None or not (where.endswith(".py") or _MODULE.fullmatch(where)):
        raise ValueError(f"{key} {name!r}: write file.py:Name or package.module:Name for something of your own")


def installed(key: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of installed packages for a key, by name."""
    return _installed(key, tuple(sys.path))


@functools.lru_cache(maxsize=32)
def _installed(key: str, _: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """Look once for each state of the path of modules: a look reads the metadata of all packages."""
    return {point.name: point for point in entry_points(group=f"sweepline.{KINDS[key]}s")}


def load(key: str, name: str) -> Any:
    """Import what a name of a user's own, or of an entry point, stands for.

    Raises:
        ConfigError: there is no such file, module or name in it; it cannot be imported; it is of another kind.
    """
    if not is_own(name):
        point = installed(key).get(name)
        if point is None:
            raise ConfigError(f"unknown {key} {name!r}")
        name = point.value
    check_form(key, name)
    where, _, attribute = name.rpartition(":")
    found: Any = _import(key, name, where)
    for part in attribute.split("."):
        names = [other for other in dir(found) if not other.startswith("_")]
        if not hasattr(found, part):
            raise ConfigError(f"{key} {name}: {where} has no {part!r}{did_you_mean(part, names)}")
        found = getattr(found, part)
    if not callable(found) or _is_network(found):
        hint = "; name the class, or a function that returns one" if callable(found) else ""
        raise ConfigError(f"{key} {name}: is a {type(found).__name__}, not a class or a function{hint}")
    mark = mark_of(found, KINDS[key])
    if mark.kind != KINDS[key]:
        raise ConfigError(f"{key} {name}: is marked as {mark.kind}, not as {KINDS[key]}")
    return found


def _is_network(found: object) -> bool:
    """Whether it is a network that is made already; none is where torch was not imported."""
    nn = sys.modules.get("torch.nn")
    return nn is not None and isinstance(found, nn.Module)


def source_file(key: str, name: str) -> Path | None:
    """Return the file in which a user's own object stands; None where that is not known. The file is not imported.

    Raises:
        ConfigError: there is no such file.
    """
    if not is_own(name):
        point = installed(key).get(name)
        if point is None:
            return None
        name = point.value
    where, _, _ = name.rpartition(":")
    if where.endswith(".py"):
        return _find(key, name, where)
    places.let_import()
    try:
        spec = importlib.util.find_spec(where)
    except Exception:  # whatever importing the packages above it comes to
        return None
    return Path(spec.origin) if spec is not None and spec.origin and Path(spec.origin).is_file() else None


def code_digest(key: str, name: str) -> str | None:
    """Return a digest of the file in which a user's own object stands, and of those beside it that it imports."""
    path = source_file(key, name)
    if path is None:
        return None
    digest = hashlib.sha256()
    for file in local_files(path):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def local_files(path: Path) -> list[Path]:
    """Return a file, and those beside it or in its package that its import statements lead to, in a fixed order."""
    found, left = {path: None}, [path]
    while left:
        file = left.pop()
        for at in sorted(_imported(file, [path.parent, _above_packages(file)])):
            for other in (at.with_suffix(".py"), at / "__init__.py"):
                if other.is_file() and other not in found:
                    found[other] = None
                    left.append(other)
    return list(found)


def _above_packages(file: Path) -> Path:
    """Return the folder in which the outermost package of a file stands, or the file where it is in none."""
    folder = file.parent
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        folder = folder.parent
    return folder


def _imported(file: Path, roots: Sequence[Path]) -> set[Path]:
    """Return where the modules would stand that a file's import statements name, without a suffix."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # said when it is imported
        return set()
    found: set[Path] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {root.joinpath(*alias.name.split(".")) for alias in node.names for root in roots}
        elif isinstance(node, ast.ImportFrom):
            above = [file.parents[min(node.level, len(file.parents)) - 1]] if node.level else roots
            for root in above:
                base = root.joinpath(*(node.module or "").split(".")) if node.module else root
                found |= {base, *(base / alias.name for alias in node.names)}
    return found


def size_word(args: Mapping[str, Any]) -> str:
    """Return a word for arguments, for the names of folders and files."""
    text = "_".join(f"{name}_{value}" for name, value in args.items()) or "default"
    word = re.sub(r"[^\w.+-]+", "_", text)
    return word if len(word) <= 60 else hashlib.sha256(text.encode()).hexdigest()[:12]


def file_word(name: str) -> str:
    """Return a name as a part of folder names: ``my_models.py:TinyNet`` is ``my_models.TinyNet``."""
    where, _, attribute = name.rpartition(":")
    return re.sub(r"[^\w.+-]+", "_", f"{where.removesuffix('.py')}.{attribute}").strip("._") if where else name


def _find(key: str, name: str, where: str) -> Path:
    found = places.find(where)
    if found is None or not found.is_file():
        raise ConfigError(f"{key} {name}: no file {where} in {places.describe()}")
    return found


def _import(key: str, name: str, where: str) -> Any:
    if not where.endswith(".py"):
        places.let_import()
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name is not None and (where == error.name or where.startswith(f"{error.name}.")):
                raise ConfigError(
                    f"{key} {name}: no module {error.name!r}; is it installed, or beside the config?"
                ) from None
            raise ConfigError(f"{key} {name}: {where} cannot be imported: {blame(error)}") from error
        except (Exception, SystemExit) as error:
            raise ConfigError(f"{key} {name}: {where} cannot be imported: {blame(error)}") from error
    path = _find(key, name, where).resolve()
    try:
        return _import_file(path)
    except ImportError as error:
        hint = f"; write {_in_package(path)}:{name.rpartition(':')[2]}" if "relative import" in str(error) else ""
        raise ConfigError(f"{key} {name}: {where} cannot be imported: {blame(error)}{hint}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{key} {name}: {where} cannot be imported: {blame(error)}") from error


def _in_package(path: Path) -> str:
    """Return a file as a module of the package that it is in: of its folder, and of those above that are packages."""
    parts = [path.stem, path.parent.name]
    for folder in path.parents[1:]:
        if not (folder / "__init__.py").is_file():
            break
        parts.append(folder.name)
    return ".".join(reversed(parts))


def _import_file(path: Path) -> Any:
    """Import a file under its own name, so that what it pickles is found again; under another where that is taken."""
    for known in list(sys.modules.values()):
        if getattr(known, "__file__", None) == str(path):
            return known
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    if path.stem not in sys.modules and path.stem.isidentifier():
        found = importlib.util.find_spec(path.stem)
        if found is not None and found.origin == str(path):  # and no installed package of that name
            return importlib.import_module(path.stem)
    word = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(word, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[word] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[word]
        raise
    return module
