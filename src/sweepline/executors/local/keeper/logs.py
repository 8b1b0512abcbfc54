"""A run's two logs as its keeper holds them: by descriptor, so that nothing printed is lost with a file's name."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from sweepline.contract.runfolder import STDERR, STDOUT
from sweepline.executors.local.keeper.child import StartError

MAX_RESTORED_BYTES = 256 << 20  # copied while no other run is attended to
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class RunLogs:
    """The open files that take a run's standard output and standard error."""

    def __init__(self, run_dir: str) -> None:
        """Open or make them.

        Raises:
            StartError: they cannot be made.
        """
        self.run_dir = run_dir
        self.fds: list[int] = []
        try:
            for name in (STDOUT, STDERR):
                self.fds.append(os.open(os.path.join(run_dir, name), _FLAGS, 0o644))
        except OSError as error:
            self.close()
            raise StartError(error.errno or 0, f"{error.strerror}: '{error.filename}'") from None

    def count_bytes(self) -> int:
        """Return how many bytes the run has written, also where the files have lost their names."""
        return sum(os.fstat(fd).st_size for fd in self.fds)

    def restore(self) -> bool:
        """Give a log back its name that was removed, renamed or taken by another file; return whether one is lost."""
        is_lost = False
        for name, fd in zip((STDOUT, STDERR), self.fds, strict=True):
            path = os.path.join(self.run_dir, name)
            try:
                if not _is_at(path, fd):
                    _copy_to(path, fd)
            except OSError:  # no room, no folder, no permission
                is_lost = True
        return is_lost

    def drop_empty(self) -> None:
        """Remove the logs that nothing was written into, as far as their names are still theirs."""
        for name, fd in zip((STDOUT, STDERR), self.fds, strict=True):
            path = os.path.join(self.run_dir, name)
            with suppress(OSError):
                if os.fstat(fd).st_size == 0 and _is_at(path, fd):
                    os.unlink(path)

    def close(self) -> None:
        """Close them; the run has its own."""
        for fd in self.fds:
            os.close(fd)
        self.fds = []


def _is_at(path: str, fd: int) -> bool:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(fd))


def _copy_to(path: str, fd: int) -> None:
    """Write a file's content to ``path``; what stands there now is kept beside it."""
    _make_run_dir(os.path.dirname(path))
    n_bytes = os.fstat(fd).st_size
    if n_bytes > MAX_RESTORED_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    restored = f"{path}.restored"
    source = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            os.unlink(restored)
        target = os.open(restored, _NEW_FLAGS, 0o644)
        try:
            offset = 0
            while offset < n_bytes and (n := os.sendfile(target, source, offset, n_bytes - offset)):
                offset += n
        except OSError:
            os.unlink(restored)
            raise
        finally:
            os.close(target)
    finally:
        os.close(source)
    if os.path.lexists(path):
        os.rename(path, f"{path}.other")
    os.rename(restored, path)


def check_is_real(path: str) -> None:
    """Make sure that a run's folder is one, and no link to another.

    Raises:
        OSError: it is not.
    """
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def _make_run_dir(path: str) -> None:
    """Make a run's folder that was removed, and the one of all runs; never the sweep's, whose absence stops it.

    Raises:
        OSError: it cannot be made, or something else stands in its place: nothing is written through a link.
    """
    for folder in (os.path.dirname(path), path):
        with suppress(FileExistsError):
            os.mkdir(folder)
    check_is_real(path)
