"""What imports have made on disk, which all runs share: no run takes it away at its end, the warm parent does.

It concerns what libraries registered to be done at exit while they were imported, nothing that the program does itself.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import os
import struct
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .proctitle import libc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CLOCK_REALTIME_COARSE, _TICK_S = 5, 0.011  # clock_gettime(2): of its ticks are the times of files
_NO_FOLLOW, _STATX_BTIME, _BTIME_AT = 0x100, 0x800, 80  # statx(2)
_DELETES = ("os.remove", "os.rmdir", "os.rename")
_HARMLESS = ("os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.putenv", "os.unsetenv", "shutil.rmtree")
_FAMILIES = ("os", "shutil", "socket", "sqlite3", "subprocess")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class SharedError(FileNotFoundError):
    """What is to be deleted belongs to all runs; for the one that ends it is as good as gone."""


class Made:
    """What was made on disk from now until :meth:`seal`, and all that comes to lie in it."""

    def __init__(self) -> None:
        self._since_ns, self._until_ns = time.clock_gettime_ns(_CLOCK_REALTIME_COARSE), 0
        self._temporary: set[tuple[int, int]] = set()

    def seal(self) -> None:
        """Let the imports be over, and keep runs from what they made: runs inherit what is registered here.

        Exit callbacks are called last first, so that those of the program itself have been called by then.
        """
        self._until_ns = time.time_ns()
        time.sleep(_TICK_S)  # so that no file of a run has a time of these
        folder = getattr(sys.modules.get("tempfile"), "tempdir", None)  # None when no temporary file was made
        if folder is not None and _birth_ns(folder) is None:
            self._temporary = set(_changed(folder, since_ns=self._since_ns))
        atexit.register(self._protect)

    def holds(self, path: Any, dir_fd: int = -1) -> bool:
        """Whether a path is one of those, or lies in one; what is in the run's own folder is the run's."""
        try:
            text = os.fsdecode(path)
            if not os.path.isabs(text):
                base = os.getcwd() if dir_fd < 0 else os.readlink(f"/proc/self/fd/{dir_fd}")
                text = os.path.join(base, text)
        except (OSError, TypeError):
            return False
        text, above = os.path.normpath(text), ""
        own = os.environ.get("SWEEPLINE_RUN_DIR")
        is_itself = True
        while text not in (above, own):
            if self._is_made(text, is_itself=is_itself):
                return True
            above, text, is_itself = text, os.path.dirname(text), False
        return False

    def _is_made(self, path: str, *, is_itself: bool) -> bool:
        born_ns = _birth_ns(path)
        if born_ns is not None:
            return self._since_ns <= born_ns <= self._until_ns
        try:
            found = os.lstat(path)
        except OSError:
            return False
        # A folder is also changed by what runs do in it, that of all temporary files by everybody.
        is_changed = self._since_ns <= found.st_ctime_ns <= self._until_ns
        return _inode(found) in self._temporary or (is_itself and is_changed)

    def tidy(self) -> None:
        """Do in the warm parent what was registered, as far as it deletes what imports made: the rest is the runs'."""
        atexit.unregister(self._protect)
        self._until_ns = self._until_ns or time.time_ns()
        sys.unraisablehook = lambda _: None
        sys.excepthook = lambda *_: None
        sys.addaudithook(self._refuse_all_else)
        with suppress(BaseException):
            atexit._run_exitfuncs()

    def _protect(self) -> None:
        """Have deletions of what is shared do nothing from here on, or fail where they cannot be reached by name."""
        accessor = getattr(sys.modules.get("pathlib"), "_normal_accessor", None)  # before Python 3.11
        for name in ("remove", "unlink", "rmdir"):
            sparing = self._sparing(getattr(os, name))
            setattr(os, name, sparing)
            if hasattr(accessor, name):
                setattr(accessor, name, sparing)
        shutil = sys.modules.get("shutil")
        if shutil is not None:
            shutil.rmtree = self._sparing(shutil.rmtree)  # type: ignore[attr-defined]
        tell, hook = sys.unraisablehook, getattr(sys, "excepthook", None)
        sys.unraisablehook = lambda told: None if isinstance(told.exc_value, SharedError) else tell(told)
        if hook is not None:  # finalizers fail through it
            sys.excepthook = lambda kind, *told: None if kind is SharedError else hook(kind, *told)
        sys.addaudithook(self._refuse_deletions)

    def _sparing(self, delete: Callable[..., None]) -> Callable[..., None]:
        def delete_own(path: Any, *args: Any, **options: Any) -> None:
            dir_fd = options.get("dir_fd")
            if not self.holds(path, -1 if dir_fd is None else dir_fd):
                delete(path, *args, **options)

        return delete_own

    def _is_deleted(self, event: str, args: tuple[Any, ...]) -> bool:
        return self.holds(args[0], args[2 if event == "os.rename" else 1])

    def _refuse_deletions(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _DELETES and self._is_deleted(event, args):
            raise SharedError(errno.ENOENT, os.strerror(errno.ENOENT), args[0])

    def _refuse_all_else(self, event: str, args: tuple[Any, ...]) -> None:
        """Refuse what has an effect beyond this process, other than to delete what imports have made."""
        if event == "open":
            is_refused = bool(args[2] & _WRITING)
        elif event in _DELETES:
            is_refused = not self._is_deleted(event, args)
        else:
            is_refused = event.partition(".")[0] in _FAMILIES and event not in _HARMLESS
        if is_refused:
            raise PermissionError(errno.EPERM, "not in the process that imports for others", event)


def _birth_ns(path: str) -> int | None:
    """Return when a file was made, in ns; None where its system does not say, or there is none."""
    found = ctypes.create_string_buffer(256)
    if hasattr(libc, "statx") and libc.statx(-100, os.fsencode(path), _NO_FOLLOW, _STATX_BTIME, found) == 0:
        (mask,) = struct.unpack_from("I", found)
        if mask & _STATX_BTIME:
            seconds, ns = struct.unpack_from("qI", found, _BTIME_AT)
            return int(seconds * 10**9 + ns)
    return None


def _changed(folder: str, *, since_ns: int) -> Iterator[tuple[int, int]]:
    """Yield which files of a folder have changed, as far as they are still there."""
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                found = os.lstat(os.path.join(folder, name))
                if found.st_ctime_ns >= since_ns:
                    yield _inode(found)


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
