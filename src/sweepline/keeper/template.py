"""The warm parent: a process that has imported what runs import, and that becomes them by forking.

Executed by the runs' own interpreter, not by ours: standard library alone, Python 3.8 and later, nothing of sweepline.
It computes nothing, starts no thread and opens nothing; an import that does is told of, and nothing is forked then.
"""

from __future__ import annotations

import ast
import atexit
import ctypes
import gc
import io
import json
import os
import signal
import socket
import sys
import time
import traceback
import types
import weakref
from contextlib import suppress
from importlib import import_module, machinery, util
from typing import TYPE_CHECKING, Any, NoReturn

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
_N_REQUEST_FDS = 4
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_libc = ctypes.CDLL(None)


class UnfitError(Exception):
    """Forking this process would not be safe, because of what importing ``module`` does."""

    def __init__(self, reason: str, module: str) -> None:
        super().__init__(reason)
        self.module = module


def serve(fd: int) -> tuple[types.CodeType, dict[str, Any], _Leaving]:
    """Import, tell the keeper, and fork at its requests. Returns in the forked processes alone.

    What it returns is a run's code, the globals to execute it in, and what is called with its exception, or None.
    """
    keeper = os.getppid()
    _die_with_parent()
    if sys.path and sys.path[0] == "":
        del sys.path[0]  # of "-c"; where the program lies comes in its place
    with socket.socket(fileno=fd) as lifeline:
        os.set_inheritable(fd, False)
        order = json.loads(_receive(lifeline)[0])
        label = _Label(order["mark"])
        label.write(None, [f"sweepline: warm parent of {order['title']}"])
        _name_process("sweepline-warm")
        started, before = time.monotonic(), dict(os.environb)
        try:
            missing, preloaded = _preload(order, n_fds=_count_fds())
        except UnfitError as error:
            _send(lifeline, {"reason": str(error), "module": error.module})
            os._exit(1)
        _flush()
        gc.collect()
        gc.freeze()  # the collector of a run leaves what is shared alone
        printed = [_contents(number) for number in (1, 2)]
        took_s = time.monotonic() - started
        _send(lifeline, {"took_s": took_s, "missing": missing, "preloaded": preloaded})
        finalizers = _take_finalizers()
        known, changes = set(sys.modules), _changes(before, dict(os.environb))
        while True:
            request, fds = _receive(lifeline)
            if not request:  # the keeper has closed, or is dead
                for finalizer in finalizers:
                    finalizer()
                os._exit(0)
            middle = _fork(fault=fds[2])
            if middle == 0:
                break
            for received in fds:
                os.close(received)
            if middle is not None:
                os.waitpid(middle, 0)
    return _become(fds, keeper=keeper, label=label, printed=printed, changes=changes, known=known)


def _receive(lifeline: socket.socket) -> tuple[bytes, list[int]]:
    """Return one message and the descriptors that came with it; an empty one when the other end is closed."""
    size = _N_REQUEST_FDS * ctypes.sizeof(ctypes.c_int)
    data, extras, _, _ = lifeline.recvmsg(1 << 16, socket.CMSG_SPACE(size))
    fds: list[int] = []
    for _level, _kind, content in extras:
        fds += memoryview(content[: len(content) - len(content) % ctypes.sizeof(ctypes.c_int)]).cast("i").tolist()
    for received in fds:
        os.set_inheritable(received, False)
    return data, fds


def _send(lifeline: socket.socket, message: dict[str, Any]) -> None:
    try:
        lifeline.send(json.dumps(message).encode())
    except OSError:  # nobody is there any more
        os._exit(0)


def _changes(before: dict[bytes, bytes], after: dict[bytes, bytes]) -> dict[bytes, bytes | None]:
    """Return what imports have done to the environment: new values by name, None for what they removed."""
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    return {**changed, **dict.fromkeys(before.keys() - after.keys())}


def _take_finalizers() -> list[weakref.finalize[Any, Any]]:
    """Return what imports want done when the interpreter ends, and leave it to this process alone.

    What they have made, a temporary folder say, is shared by all runs, and must outlive the first that ends.
    """
    registered: list[weakref.finalize[Any, Any]] = list(getattr(weakref.finalize, "_registry", ()))
    found = [finalizer for finalizer in registered if finalizer.atexit]
    for finalizer in found:
        finalizer.atexit = False
    return found


def _contents(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


# importing


def _preload(order: dict[str, Any], *, n_fds: int) -> tuple[list[str], list[str]]:
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
    if _count_fds() > n_fds:
        opened = [_readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        of_gpu = any(path.startswith(("/dev/nvidia", "/dev/kfd", "/dev/dri")) for path in opened)
        what = "uses the GPU already" if of_gpu else "keeps a file or a connection open"
        raise UnfitError(what, name)
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return
    raise UnfitError("starts a process", name)


def _count_fds() -> int:
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


# becoming a run


def _become(
    fds: list[int],
    *,
    keeper: int,
    label: _Label,
    printed: list[bytes],
    changes: dict[bytes, bytes | None],
    known: set[str],
) -> tuple[types.CodeType, dict[str, Any], _Leaving]:
    """Fork once more, so that the keeper becomes the parent, and be what a fresh interpreter would be."""
    stdout, stderr, fault, request_fd = fds
    middle = os.getpid()
    pid = _fork(fault=fault)
    if pid is None:
        os._exit(1)
    if pid:
        try:
            os.write(fault, b"%d\n" % pid)  # known before it can be anybody's child
        except OSError:  # the keeper waits no more
            os.kill(pid, signal.SIGKILL)
        os._exit(0)
    request = json.loads(_contents(request_fd))
    argv = request["argv"]
    if hasattr(sys, "orig_argv"):
        argv[0] = sys.orig_argv[0]  # the interpreter itself, where the command names a script that starts it
        sys.orig_argv[:] = argv
    try:
        os.setsid()
        for number, fd in enumerate((stdout, stderr), start=1):
            os.dup2(fd, number)
            _write_all(number, printed[number - 1])
        _take_environment(request, changes)
        label.write(request["token"], argv)
        _name_process(os.path.basename(sys.executable))
        if request["cpus"]:
            os.sched_setaffinity(0, request["cpus"])
        os.chdir(request["working_dir"])
        while os.getppid() == middle:
            time.sleep(0.0001)
        _die_with_parent()
        if os.getppid() != keeper:  # it died before it could be said
            os._exit(1)
    except OSError as error:
        told = f"{error.errno} {error.strerror}: '{request['working_dir']}'"
        os.write(fault, told.encode("utf-8", "surrogateescape")[:4096])
        os._exit(127)
    for fd in fds:
        os.close(fd)
    _reseed()
    words = request["words"]
    main = types.ModuleType("__main__")
    if sys.version_info < (3, 14):
        main.__dict__.update(__annotations__={})
    main.__dict__.update(__builtins__=sys.modules["builtins"])
    sys.modules["__main__"] = main
    if words[0] == "-m":
        return _module_code(words), {}, _Leaving(known, n_frames=2)
    leave = _Leaving(known, n_frames=1)
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


def _fork(*, fault: int) -> int | None:
    """Fork; return None where the system's limits do not allow it, and tell the keeper."""
    try:
        return os.fork()
    except OSError as error:
        os.write(fault, b"-%d\n" % (error.errno or 1))
        return None


def _is_path_safe() -> bool:
    """Whether the interpreter was told not to look for modules where the program lies."""
    return bool(getattr(sys.flags, "safe_path", False) or sys.flags.isolated)


def _script_code(words: list[str], main: types.ModuleType, leave: _Leaving) -> types.CodeType:
    """Do what ``python FILE`` does before the file's first line."""
    path = words[0]
    sys.argv[:] = words
    if not _is_path_safe():
        sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    try:
        with open(path, "rb") as file:
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
        leave.after(error)


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


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


# what the kernel tells of this process


class _Label:
    """Where the kernel finds what it tells others of this process: its command line, and the token in its environment.

    ``mark`` is the token's variable as it stands there, with room for that of any run.
    """

    def __init__(self, mark: str) -> None:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end, of_environment = (int(field) for field in fields[45:48])
        self._title, self._room = start, end - start
        with open("/proc/self/environ", "rb") as file:
            self._token = of_environment + file.read().index(mark.encode()) + mark.index("=") + 1
        self._width = len(mark) - mark.index("=") - 1

    def write(self, token: str | None, words: list[str]) -> None:
        """Write a run's token, and its command line for ``ps``; one that finds no room is cut."""
        text = b" ".join(os.fsencode(word) for word in words)[: self._room - 2]
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            if token is not None:
                memory.seek(self._token)
                memory.write(token.encode().ljust(self._width, b"\0"))
            memory.seek(self._title)
            # A last byte that is not zero tells the kernel to end the line at the first zero.
            memory.write(text.ljust(self._room - 1, b"\0") + b"\x01")


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _name_process(name: str) -> None:
    _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(os.fsencode(name)[:15]), 0, 0, 0)


# leaving


class _Leaving:
    """Ends this process as the interpreter would, but for taking down what was imported before the fork.

    That takes longer than all the rest, frees what the kernel frees anyway, and holds nothing of the program's.
    """

    def __init__(self, known: set[str], *, n_frames: int) -> None:
        self._known, self._n_frames = known, n_frames
        if hasattr(_libc, "on_exit"):  # exit handlers run last first: those of libraries loaded from here on do run
            _libc.on_exit(ctypes.cast(_libc._exit, ctypes.c_void_p), None)

    def __call__(self, error: BaseException | None) -> NoReturn:
        if error is not None:
            for _ in range(self._n_frames):  # those that have called the program
                error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        self.after(error)

    def after(self, error: BaseException | None) -> NoReturn:
        """Tell of an exception as the interpreter does, and end with the code that belongs to it."""
        code = 0
        if isinstance(error, SystemExit):
            code = _exit_code(error)
        elif error is not None:
            code = _report(error)
        self.with_code(code, is_interrupt=isinstance(error, KeyboardInterrupt))

    def with_code(self, code: int, *, is_interrupt: bool = False) -> NoReturn:
        """Wait for threads, call what is registered, finalize the program's own objects, and end."""
        threading = sys.modules.get("threading")
        try:
            if threading is not None:
                threading._shutdown()
        except BaseException:
            _tell_ignored("threading")
        try:
            atexit._run_exitfuncs()
        except BaseException:  # told already; older interpreters raise it as well
            code = code or 0
        if not _flush():
            code = 120
        if threading is None or threading.active_count() == 1:  # else some thread still uses them
            self._finalize()
        _flush_files()
        _flush()
        _libc.fflush(None)
        if is_interrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        if hasattr(_libc, "on_exit"):
            ctypes.PyDLL(None).exit(code & 0xFF)
        os._exit(code & 0xFF)

    def _finalize(self) -> None:
        """Drop the modules that came after the fork, so that their objects are finalized and their files written."""
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):
            if hasattr(sys, name):
                setattr(sys, name, None)
        modules = []
        for name, module in list(sys.modules.items()):
            if name not in self._known or name == "__main__":
                if isinstance(module, types.ModuleType):
                    modules.append(weakref.ref(module))
                if isinstance(module, types.ModuleType) and module.__name__ not in self._known:
                    sys.modules[name] = None  # type: ignore[assignment]
        del module
        sys.modules["__main__"] = None  # type: ignore[assignment]
        gc.collect()
        for reference in reversed(modules):
            alive = reference()
            if alive is not None:
                _clear(alive.__dict__)
        gc.collect()


def _flush_files() -> None:
    """Write out what is held open for the program, also by libraries."""
    for item in gc.get_objects():
        if isinstance(item, (io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper)):
            try:
                item.flush()
            except (OSError, ValueError):  # closed, or nowhere to go
                continue


def _clear(space: dict[str, Any]) -> None:
    """Set a module's names to None in the interpreter's order: those with one underscore first."""
    for is_private in (True, False):
        for name in list(space):
            starts = name.startswith("_") and not name.startswith("__")
            if name != "__builtins__" and starts == is_private:
                space[name] = None


def _exit_code(error: SystemExit) -> int:
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return int(code) if -(2**63) <= code < 2**63 else -1
    with suppress(Exception):  # the interpreter says nothing either
        sys.stderr.write(str(code))
    with suppress(Exception):
        sys.stderr.write("\n")
    return 1


def _report(error: BaseException) -> int:
    """Hand an uncaught exception to ``sys.excepthook``, whatever the program has made of it; return the exit code."""
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    hook = getattr(sys, "excepthook", None)
    try:
        if hook is None:
            sys.stderr.write("sys.excepthook is missing\n")
            sys.__excepthook__(type(error), error, error.__traceback__)
        else:
            hook(type(error), error, error.__traceback__)
    except SystemExit as leaving:
        return _exit_code(leaving)
    except BaseException as second:
        trace = second.__traceback__.tb_next if second.__traceback__ else None
        sys.stderr.write("Error in sys.excepthook:\n")
        sys.stderr.write("".join(traceback.format_exception(type(second), second, trace)))
        sys.stderr.write("\nOriginal exception was:\n")
        sys.__excepthook__(type(error), error, error.__traceback__)
    return 1


def _tell_ignored(what: str) -> None:
    sys.stderr.write(f"Exception ignored in: {what}\n")
    traceback.print_exc()


def _flush() -> bool:
    """Write out what Python holds back; return whether all of standard output went."""
    is_whole = True
    for stream, matters in ((sys.stdout, True), (sys.stderr, False)):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except Exception:
            is_whole = is_whole and not matters
            if matters:
                _tell_ignored("standard output")
    return is_whole
