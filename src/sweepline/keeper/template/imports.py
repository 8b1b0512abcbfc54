"""Which modules a program imports, and importing them so that the process can still be forked."""

from __future__ import annotations

import ast
import os
import sys
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


class UnfitError(Exception):
    """Forking this process would not be safe, because of what importing ``module`` does."""

    def __init__(self, reason: str, module: str) -> None:
        super().__init__(reason)
        self.module = module


def preload(order: dict[str, Any], *, n_fds: int) -> tuple[list[str], list[str]]:
    """Import the modules that are named, else those of the program; return which are not there, and which were tried.

    Raises:
        UnfitError: an import started a thread or a process, or opened something that runs would share.
    """
    named = order["preload"]
    names = list(dict.fromkeys(named if named is not None else _find_imports(order)))
    implied = [more for name in names for more in IMPLIED.get(name, ())]
    missing, tried = [], []
    for name in [*names, *implied]:
        if name in order["without"] or name in order["unused"]:
            continue
        try:
            import_module(name)
        except Exception:  # the program will say it better
            missing += [name] if name in names else []
        else:
            tried += [name] if name in names else []
        _check_fit(name, n_fds)
    return missing if named is not None else [], tried


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
    return len(os.listdir("/proc/self/fd"))


def _readlink(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _find_imports(order: dict[str, Any]) -> Iterator[str]:
    """Yield the third-party modules that the program and its own modules import at their top level.

    The program's own modules are read, never imported: they may be edited between two runs.
    """
    words = order["words"]
    if words[0] == "-m":
        spec = _find_spec(words[1], order["folders"])
        first = spec.origin if spec and spec.origin else ""
        if spec and spec.submodule_search_locations:
            first = os.path.join(next(iter(spec.submodule_search_locations)), "__main__.py")
        package = words[1] if first.endswith("__main__.py") else words[1].rpartition(".")[0]
    else:
        first, package = words[0], ""
    to_read, met = [(first, package)], {first}
    while to_read and len(met) <= MAX_FILES_READ:
        path, package = to_read.pop(0)
        for name in _top_imports(path, package):
            spec = _find_spec(name, order["folders"])
            if spec is None or spec.origin in (None, "built-in", "frozen"):
                continue
            if _is_installed(spec.origin):
                yield name
            elif not _is_standard(name, spec.origin) and spec.origin.endswith(".py") and spec.origin not in met:
                met.add(spec.origin)
                is_package = os.path.basename(spec.origin) == "__init__.py"
                to_read.append((spec.origin, name if is_package else name.rpartition(".")[0]))


def _top_imports(path: str, package: str) -> Iterator[str]:
    """Yield the names of what a file imports when it is loaded: not what its functions import when they are called."""
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read(), path)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop(0)
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if node.level and package else []
            parts = parts[: len(parts) - (node.level - 1)] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            if base:
                yield base
            for alias in node.names:
                if alias.name != "*":
                    yield f"{base}.{alias.name}" if base else alias.name
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not _is_for_checkers(node):
            nodes[:0] = list(ast.iter_child_nodes(node))


def _is_for_checkers(node: ast.AST) -> bool:
    if not isinstance(node, ast.If):
        return False
    test = node.test
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


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


def _is_standard(name: str, origin: str) -> bool:
    return name.partition(".")[0] in sys.modules or os.path.dirname(os.__file__) in origin
