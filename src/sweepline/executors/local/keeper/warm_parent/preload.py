"""Which modules a program imports, and importing them so that the process can still be forked."""

from __future__ import annotations

import ast
import gc
import io
import os
import sys
from contextlib import contextmanager
from importlib import import_module, machinery, util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

IMPLIED = {  # what a library imports only when it is first used, at half a second and more a run
    "torch": ("torch._dynamo",),
    "wandb": (
        "wandb.sdk.launch.inputs.internal",
        "requests",
        "opentelemetry.exporter.otlp.proto.http._log_exporter",
        "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    ),
}
MAX_FILES_READ = 200
# jemalloc's variables: of pyarrow (which pandas, scikit-learn, datasets, xgboost ... import), of Rust, the plain one.
# Some builds of it start a thread when they are loaded, which only gives memory back sooner.
_ALLOCATORS = ("JE_ARROW_MALLOC_CONF", "_RJEM_MALLOC_CONF", "MALLOC_CONF")
_NO_THREAD = "background_thread:false"


class UnfitError(Exception):
    """Forking this process would not be safe: because of what importing ``module`` does, or whatever is imported."""

    def __init__(self, reason: str, module: str = "") -> None:
        super().__init__(reason)
        self.module = module


def preload(order: dict[str, Any], *, n_fds: int) -> tuple[list[str], list[str], str]:
    """Import the modules that are named, else those of the program.

    Returns those which are not there, those which are now, and where the program does something after which no import
    can be done for it in advance, empty when it does nothing of the kind.

    Raises:
        UnfitError: an import started a thread or a process, or opened something that runs would share.
    """
    named, program = order["preload"], Program(order["folders"])
    names = list(dict.fromkeys(named if named is not None else program.imports(order["words"])))
    implied = [more for name in names for more in IMPLIED.get(name, ())]
    missing, tried = [], []
    before = _per_run_variables()
    for name in [*names, *implied]:
        if name in order["without"] or name in order["unused"]:
            continue
        try:
            _import(name)
        except Exception:  # the program will say it better
            missing += [name] if name in names else []
        else:
            tried += [name] if name in names else []
        _check_fit(name, n_fds)
        if _per_run_variables() != before:
            raise UnfitError("sets a variable that is each run's own", name)
    return missing if named is not None else [], tried, program.stopped_by


def _import(name: str) -> None:
    """Do what ``import`` does with a name; one that is no module may be what a package imports once it is asked for."""
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        package, _, last = name.rpartition(".")
        if error.name != name or package not in sys.modules:
            raise
        getattr(sys.modules[package], last)


@contextmanager
def allocators_without_threads() -> Iterator[None]:
    """Have allocators that are loaded meanwhile start no thread, unless their variables are set; no run sees these."""
    added = [name for name in _ALLOCATORS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, _NO_THREAD))
    try:
        yield
    finally:
        for name in added:
            if os.environ.get(name) == _NO_THREAD:
                del os.environ[name]


def check_names(folders: list[str], at_start: set[str]) -> None:
    """Make sure that nothing imported in advance stands in the way of a module of the program's own.

    Raises:
        UnfitError: the program's folder holds a module of the same name, which a fresh interpreter would find first.
    """
    loaded = {name.partition(".")[0] for name in sys.modules} - {name.partition(".")[0] for name in at_start}
    for folder in folders:
        try:
            entries = os.listdir(folder)
        except OSError:
            continue
        for entry in entries:
            name = entry.partition(".")[0]
            path = os.path.join(folder, entry)
            if name in loaded and (entry.endswith((".py", ".so")) or os.path.isfile(os.path.join(path, "__init__.py"))):
                raise UnfitError(f"{path} has the name of a module that imports need")


_PER_RUN = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "MASTER_PORT", "ROCR_VISIBLE_DEVICES")


def _per_run_variables() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("SWEEPLINE_", "WANDB_")) or name in _PER_RUN
    }


def _check_fit(name: str, n_fds: int) -> None:
    if len(os.listdir("/proc/self/task")) > 1:
        middle = os.fork()  # OpenBLAS ends its threads before a fork, and starts them again when it needs them
        if middle == 0:
            os._exit(0)
        os.waitpid(middle, 0)
        n_threads = len(os.listdir("/proc/self/task"))
        if n_threads > 1:
            raise UnfitError(f"starts {n_threads - 1} thread{'s' * (n_threads > 2)}", name)
    if count_fds() > n_fds:
        gc.collect()  # what nobody refers to is closed by that
    if count_fds() > n_fds:
        opened = [_readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        of_gpu = any(path.startswith(("/dev/nvidia", "/dev/kfd", "/dev/dri")) for path in opened)
        what = "uses the GPU already" if of_gpu else "keeps a file or a connection open"
        raise UnfitError(what, name)
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return
    raise UnfitError("starts a process", name)


def count_fds() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def _readlink(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


class Program:
    """What a program imports at its top level, in the order in which it does.

    Its own modules are read, never imported: they may be edited between two runs.
    """

    def __init__(self, folders: list[str]) -> None:
        self.stopped_by = ""
        self._folders = folders
        self._met: set[str] = set()

    def imports(self, words: list[str]) -> Iterator[str]:
        """Yield the installed modules that the program imports, also through modules of its own."""
        first, package = words[0], ""
        if first == "-m":
            spec = _find_spec(words[1], self._folders)
            first = spec.origin if spec and spec.origin else ""
            package = words[1].rpartition(".")[0]
            if spec and spec.submodule_search_locations:
                first = os.path.join(next(iter(spec.submodule_search_locations)), "__main__.py")
                package = words[1]
        yield from self._imports_of(first, package, is_main=True)

    def _imports_of(self, path: str, package: str, *, is_main: bool = False) -> Iterator[str]:
        if path in self._met or len(self._met) > MAX_FILES_READ:
            return
        self._met.add(path)
        try:
            with io.open_code(path) as file:
                tree = ast.parse(file.read(), path)
        except (OSError, SyntaxError, ValueError, RecursionError):
            return
        for statement in _executed(tree.body, is_main=is_main):
            if changes_imports(statement):
                self.stopped_by = f"{os.path.basename(path)}:{statement.lineno}"
            for name in _imported(statement, package):
                if self.stopped_by:
                    return
                yield from self._imports_for(name)
            if self.stopped_by:
                return

    def _imports_for(self, name: str) -> Iterator[str]:
        """Yield a module if it is installed; if it is one of the program's own, what that imports."""
        spec = _find_spec(name, self._folders) or _find_spec(name.rpartition(".")[0], self._folders)
        if spec is None or spec.origin in (None, "built-in", "frozen"):
            return
        if _is_installed(spec.origin):
            yield name
        elif spec.origin.endswith(".py") and not _is_standard(spec.origin):
            is_package = os.path.basename(spec.origin) == "__init__.py"
            yield from self._imports_of(spec.origin, name if is_package else name.rpartition(".")[0])


def _executed(statements: list[ast.stmt], *, is_main: bool) -> Iterator[ast.stmt]:
    """Yield the statements that are executed whenever a file is, blocks opened: no branches, loops and functions."""
    for statement in statements:
        if isinstance(statement, ast.Try):
            yield from _executed([*statement.body, *statement.orelse, *statement.finalbody], is_main=is_main)
        elif isinstance(statement, (ast.With, ast.ClassDef)):
            yield from _executed(statement.body, is_main=is_main)
        elif isinstance(statement, ast.If):
            names = {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(statement.test)}
            if "TYPE_CHECKING" in names:
                yield from _executed(statement.orelse, is_main=is_main)
            elif "__name__" in names and is_main:
                yield from _executed(statement.body, is_main=is_main)
            elif any(changes_imports(inner) for inner in [*statement.body, *statement.orelse]):
                yield statement
        else:
            yield statement


def _imported(statement: ast.stmt, package: str) -> Iterator[str]:
    """Yield the modules that a statement names; what it takes from one may be a module too."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield alias.name
    elif isinstance(statement, ast.ImportFrom):
        parts = package.split(".") if statement.level and package else []
        parts = parts[: len(parts) - (statement.level - 1)] if statement.level else []
        base = ".".join([*parts, *([statement.module] if statement.module else [])])
        if base:
            yield base
        for alias in statement.names:
            if alias.name != "*":
                yield f"{base}.{alias.name}" if base else alias.name


def changes_imports(statement: ast.stmt) -> bool:
    """Whether a statement changes what later imports find or read: ``os.environ``, ``sys.modules``, ``sys.path``."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return False
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, method = _last_name(node.func.value), node.func.attr
            if method in ("putenv", "unsetenv") or (owner in _CHANGED and method in _CHANGED[owner]):
                return True
        elif isinstance(node, (ast.Subscript, ast.Attribute, ast.Name)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            target = node.value if isinstance(node, ast.Subscript) else node
            if _last_name(target) in ("environ", "environb", "modules") or (
                isinstance(target, ast.Attribute) and target.attr == "path" and _last_name(target.value) == "sys"
            ):
                return True
    return False


_CHANGED = {
    "environ": ("update", "setdefault", "pop", "clear", "popitem", "__setitem__"),
    "modules": ("update", "setdefault", "pop", "clear", "__setitem__"),
    "path": ("insert", "remove", "clear", "reverse", "sort", "__setitem__"),  # what is appended comes last
}


def _last_name(node: ast.expr) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


def _find_spec(name: str, folders: list[str]) -> machinery.ModuleSpec | None:
    """Find a module as the program will, its own folder first, without importing anything but installed packages."""
    top, _, rest = name.partition(".")
    spec = machinery.PathFinder.find_spec(top, [*folders, *sys.path])
    try:
        if spec is None:
            return None if top not in sys.builtin_module_names else util.find_spec(top)
        while rest and spec is not None:
            if spec.submodule_search_locations is None:
                return None
            head, _, rest = rest.partition(".")
            top = f"{top}.{head}"
            spec = machinery.PathFinder.find_spec(top, list(spec.submodule_search_locations))
    except (ImportError, AttributeError, ValueError):
        return None
    return spec


def _is_installed(origin: str) -> bool:
    return any(part in ("site-packages", "dist-packages") for part in origin.split(os.sep))


def _is_standard(origin: str) -> bool:
    return origin.startswith(os.path.dirname(os.__file__) + os.sep)
