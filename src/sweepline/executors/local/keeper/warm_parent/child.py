"""Forked from the warm parent, becoming a run: what a fresh interpreter would be when its program begins."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import time
import types
from importlib import machinery
from typing import Any

from .proctitle import ProcTitle, die_with_parent, mark_process, name_process
from .shutdown import Shutdown


def become(
    fds: list[int],
    *,
    label: ProcTitle,
    printed: list[bytes],
    changes: dict[bytes, bytes | None],
    known: set[str],
) -> tuple[types.CodeType, dict[str, Any], Shutdown]:
    """Be what a fresh interpreter would be. ``fds`` came with the request: two logs, where to answer, what is asked."""
    stdout, stderr, fault, request_fd = fds
    request = json.loads(read_whole(request_fd))
    argv = request["argv"]
    if hasattr(sys, "orig_argv"):
        argv[0] = sys.orig_argv[0]  # the interpreter itself, where the command names a script that starts it
        sys.orig_argv[:] = argv
    label.write(request["token"], argv)
    if request["mark"] is not None:
        mark_process(request["mark"])
    try:
        os.write(fault, b"%d\n" % os.getpid())  # now that it is marked as this run
    except OSError:  # which waits no more
        os._exit(1)
    try:
        for number, fd in enumerate((stdout, stderr), start=1):
            os.dup2(fd, number)
            _write_all(number, printed[number - 1])
        _take_environment(request, changes)
        name_process(os.path.basename(sys.executable))
        if request["cpus"]:
            os.sched_setaffinity(0, request["cpus"])
        os.chdir(request["working_dir"])
    except OSError as error:
        told = f"{error.errno} {error.strerror}: '{request['working_dir']}'"
        os.write(fault, told.encode("utf-8", "surrogateescape")[:4096])
        os._exit(127)
    for fd in fds:
        os.close(fd)
    _take_out_own_modules()
    words = request["words"]
    main = sys.modules["__main__"]
    if words[0] == "-m":
        return _module_code(words), {}, Shutdown(known, n_frames=2)
    leave = Shutdown(known, n_frames=1)
    return _script_code(words, main, leave), main.__dict__, leave


def _take_environment(request: dict[str, Any], changes: dict[bytes, bytes | None]) -> None:
    """Take on what a run's variables have beside this process's, and then what imports make of them."""
    for name in request["unset"]:
        os.environ.pop(name, None)
    for name, value in request["set"].items():
        os.environb[os.fsencode(name)] = os.fsencode(value)
    for key, change in changes.items():
        if change is None:
            os.environb.pop(key, None)
        else:
            os.environb[key] = change


def fork_for(keeper: int) -> tuple[bool, int]:
    """Fork twice, so that the keeper becomes the parent; return whether this is the child, and an errno, 0 for none.

    The child has a session and random states of its own.
    """
    try:
        middle = os.fork()
    except OSError as error:
        return False, error.errno or errno.EAGAIN
    if middle != 0:
        try:
            _, status = os.waitpid(middle, 0)
        except ChildProcessError:  # a library reaps all children; whether the child lives it tells itself
            return False, 0
        if not os.WIFEXITED(status):
            os._exit(1)  # something that runs at forks ends them
        return False, os.WEXITSTATUS(status)
    middle = os.getpid()
    try:
        is_child = os.fork() == 0
    except OSError as error:
        os._exit(error.errno or errno.EAGAIN)
    if not is_child:
        os._exit(0)
    while os.getppid() == middle:
        time.sleep(0.0001)
    die_with_parent()
    if os.getppid() != keeper:  # it died before it could be said
        os._exit(1)
    os.setsid()
    name_process("sweepline-next")
    _reseed()
    return True, 0


def _is_path_safe() -> bool:
    """Whether the interpreter was told not to look for modules where the program lies."""
    return bool(getattr(sys.flags, "safe_path", False) or sys.flags.isolated)


def make_main(words: list[str]) -> types.ModuleType:
    """Return the module ``__main__`` as the program will find it, as far as imports before it can look at it."""
    main = types.ModuleType("__main__")
    if sys.version_info < (3, 14):
        main.__dict__.update(__annotations__={})
    main.__dict__.update(__builtins__=sys.modules["builtins"])
    if words[0] != "-m":
        main.__dict__.update(__file__=full_path(words[0]))
    return main


def full_path(path: str) -> str:
    """Return what the interpreter makes of the path of a program."""
    if sys.version_info < (3, 9) or os.path.isabs(path):
        return path
    return os.path.join(os.getcwd(), path)


def _script_code(words: list[str], main: types.ModuleType, leave: Shutdown) -> types.CodeType:
    """Do what ``python FILE`` does before the file's first line."""
    path = full_path(words[0])
    sys.argv[:] = words
    if not _is_path_safe():
        sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        sys.stderr.write(f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}\n")
        leave.with_code(2)
    main.__dict__.update(__file__=path, __cached__=None)
    main.__loader__ = machinery.SourceFileLoader("__main__", path)
    try:
        return compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        error.__traceback__ = None
        leave.after([error])


def _module_code(words: list[str]) -> types.CodeType:
    """Do what ``python -m MODULE`` does, by the function that does it."""
    sys.argv[:] = ["-m", *words[2:]]
    if not _is_path_safe():
        sys.path.insert(0, os.getcwd())
    return compile(f"import runpy; runpy._run_module_as_main({words[1]!r})", "<string>", "exec", dont_inherit=True)


def _reseed() -> None:
    """Give libraries that drew their seed at import one of this process's own; Python's ``random`` does so itself."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.seed()


def _take_out_own_modules() -> None:
    own = __name__.partition(".")[0]
    for name in [name for name in sys.modules if name.partition(".")[0] == own]:
        del sys.modules[name]


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def read_whole(fd: int) -> bytes:
    """Return what a file holds, wherever it is being read or written."""
    return os.pread(fd, os.fstat(fd).st_size, 0)
