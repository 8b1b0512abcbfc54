"""How a forked program ends: as the interpreter would end it, but sooner."""

from __future__ import annotations

import atexit
import ctypes
import gc
import io
import os
import signal
import sys
import traceback
import types
import weakref
from contextlib import suppress
from typing import Any, NoReturn

from .proctitle import libc


class Shutdown:
    """Ends this process as the interpreter would, but for taking down what was imported before the fork.

    That takes longer than all the rest, frees what the kernel frees anyway, and holds nothing of the program's.
    """

    def __init__(self, known: set[str], *, n_frames: int) -> None:
        self._known, self._n_frames = known, n_frames
        if hasattr(libc, "on_exit"):  # exit handlers run last first: those of libraries loaded from here on do run
            libc.on_exit(ctypes.cast(libc._exit, ctypes.c_void_p), None)

    def __call__(self, ended_by: list[BaseException]) -> NoReturn:
        """End with what belongs to an exception, or to none; it is taken out of the list, so that nothing keeps it."""
        for error in ended_by:
            for _ in range(self._n_frames):  # those that have called the program
                error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
            del error
        self.after(ended_by)

    def after(self, ended_by: list[BaseException]) -> NoReturn:
        """Tell of an exception as the interpreter does, and end with the code that belongs to it."""
        is_interrupt = any(isinstance(error, KeyboardInterrupt) for error in ended_by)
        code = _judge(ended_by.pop()) if ended_by else 0
        self.with_code(code, is_interrupt=is_interrupt)

    def with_code(self, code: int, *, is_interrupt: bool = False) -> NoReturn:
        """Wait for threads, call what is registered, finalize the program's own objects, and end."""
        threading = sys.modules.get("threading")
        try:
            if threading is not None:
                threading._shutdown()
        except BaseException:
            _tell_ignored("threading")
        with suppress(BaseException):  # told already; older interpreters raise it as well
            atexit._run_exitfuncs()
        if not flush():
            code = 120
        if threading is None or threading.active_count() == 1:
            self._finalize()
            _write_out(close=False)
        else:  # threads that never end may use everything still; what is open is closed under their hands
            threading.excepthook = _say_nothing  # type: ignore[attr-defined]
            _write_out(close=True)
        flush()
        libc.fflush(None)
        if is_interrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        if hasattr(libc, "on_exit"):
            ctypes.PyDLL(None).exit(code & 0xFF)
        os._exit(code & 0xFF)

    def _finalize(self) -> None:
        """Drop the modules that came after the fork, so that their objects are finalized and their files written."""
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):
            if hasattr(sys, name):
                setattr(sys, name, None)
        names = [name for name, module in sys.modules.items() if self._is_own(name, module)]
        modules = [weakref.ref(sys.modules[name]) for name in names]
        for name in names:
            sys.modules[name] = None  # type: ignore[assignment]
        gc.collect()
        for reference in reversed(modules):
            alive = reference()
            if alive is not None:
                _clear(alive.__dict__)
        gc.collect()

    def _is_own(self, name: str, module: object) -> bool:
        """Whether a module came after the fork, and is no other name of one that was there."""
        is_new = name not in self._known and getattr(module, "__name__", name) not in self._known
        is_module = issubclass(type(module), types.ModuleType)  # cffi's libraries only claim to be one by __class__
        return is_module and (is_new or name == "__main__")


def _write_out(*, close: bool) -> None:
    """Write out what is held open for the program, also by libraries."""
    standard = {id(stream) for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)}
    for item in gc.get_objects():
        if isinstance(item, io.IOBase) and id(item) not in standard:
            try:
                if not item.closed and item.writable():
                    item.flush()
                    if close and not isinstance(item, io.FileIO):
                        item.close()
            except Exception:  # not what it seems, or nowhere to go: as silent as the interpreter at this point
                continue


def _clear(space: dict[str, Any]) -> None:
    """Set a module's names to None in the interpreter's order: those with one underscore first."""
    for is_private in (True, False):
        for name in list(space):
            starts = name.startswith("_") and not name.startswith("__")
            if name != "__builtins__" and starts == is_private:
                space[name] = None


def _judge(error: BaseException) -> int:
    return _exit_code(error) if isinstance(error, SystemExit) else _report(error)


def _say_nothing(*_: object) -> None:
    """Take the place of what tells of a thread's failure."""


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


def flush() -> bool:
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
