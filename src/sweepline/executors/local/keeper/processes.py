"""Processes as /proc tells of them: whose child, whose session, which token, which mark. And their ends."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator

from sweepline.executors.local.keeper.messages import TOKEN_VARIABLE

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NAME = 1, 36, 15  # prctl(2)
_MARK, _TOKEN_BITS, _KEY_BITS = 1 << 62, 42, 20
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Become the parent of every descendant whose own parent dies; none can leave by a double fork."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, however that happens."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def set_name(name: bytes) -> None:
    """Set what ``ps`` and ``top`` call this process, 15 bytes at most."""
    _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name), 0, 0, 0)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def children() -> list[int]:
    """Return the pids of this (single-threaded) process's children, zombies included."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return [pid for pid in _pids() if _stat(pid)[1:2] == [str(os.getpid())]]


def session_of(pid: int) -> int:
    """Return the session of a process; 0 when there is no such process."""
    fields = _stat(pid)
    return int(fields[3]) if fields else 0


def is_zombie(pid: int) -> bool:
    """Whether a process has ended and waits for its parent to take notice."""
    return _stat(pid)[:1] == ["Z"]


def _stat(pid: int) -> list[str]:
    """Return state, parent, group, session ... of proc(5); nothing when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return []


def token_of(pid: int) -> str:
    """Return the token in a process's environment; empty when it has none or belongs to somebody else."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
    except OSError:
        return ""
    prefix = f"{TOKEN_VARIABLE}=".encode()
    found = next((item for item in environ.split(b"\0") if item.startswith(prefix)), b"")
    return found[len(prefix) :].decode("utf-8", "replace")


def can_see_itself() -> bool:
    """Whether /proc is there and of this process's pid namespace, without which nothing can be told of any other."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def mark_for(token: str, key: int = 0) -> int | None:
    """Return the mark of run ``key`` of a token, 0 for what belongs to none; None where the token is no number."""
    try:
        number = int(token, 16)
    except ValueError:
        return None
    of_run = 1 + key % ((1 << _KEY_BITS) - 1) if key else 0
    return _MARK | (number % (1 << _TOKEN_BITS)) << _KEY_BITS | of_run


def set_mark(mark: int) -> bool:
    """Mark this process and whatever it starts from now on; return whether the system takes it.

    The mark is a soft limit of real-time processor time (microseconds, beyond 100,000 years), which is handed on by
    every fork and exec: an emptied environment, a new session or an overwritten title leave it as it is.
    """
    if not can_mark():
        return False
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, (mark, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        return False
    return True


def can_mark() -> bool:
    """Whether processes can be marked here: an administrator may have set a limit of his own, which is lower."""
    return resource.getrlimit(resource.RLIMIT_RTTIME)[1] == resource.RLIM_INFINITY


def mark_of(pid: int) -> int:
    """Return a process's mark; 0 when it has none, or there is no such process."""
    try:
        found = resource.prlimit(pid, resource.RLIMIT_RTTIME)[0]
    except PermissionError:  # somebody else's: everybody may read it
        found = _read_limit(pid)
    except OSError:
        return 0
    return found if found & _MARK and found > 0 else 0


def _read_limit(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            words = next((line.split() for line in file if line.startswith(b"Max realtime timeout")), [])
    except OSError:
        return 0
    return int(words[3]) if len(words) > 3 and words[3].isdigit() else 0


def belongs_to(pid: int, token: str) -> bool:
    """Whether a process was started by the keeper of a token, or by anything that was."""
    if token_of(pid).partition(".")[0] == token:
        return True
    mark = mark_for(token)
    return mark is not None and mark_of(pid) >> _KEY_BITS == mark >> _KEY_BITS


def find_by_token(token: str) -> list[int]:
    """Return all living processes that carry a token or its mark: a keeper, its runs and whatever they started."""
    if not token:
        return []  # not: all that carry none
    return [pid for pid in _pids() if belongs_to(pid, token) and not is_zombie(pid) and pid != os.getpid()]


def find_printing_into(folder: str) -> list[int]:
    """Return the living processes whose standard output or error is a file in ``folder`` or deeper."""
    return [pid for pid in _pids() if any(_target_of(pid, fd).startswith(f"{folder}/") for fd in (1, 2))]


def _target_of(pid: int, fd: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return ""


def _pids() -> Iterator[int]:
    try:
        return (int(name) for name in os.listdir("/proc") if name.isdecimal())
    except OSError:  # there is none
        return iter(())


def kill_by_token(token: str) -> set[int]:
    """Kill all processes that carry a token or its mark, whoever's children they are, and return their pids.

    A pidfd is held between the look and the blow, so that the number cannot come to mean somebody else; where Python
    or the kernel knows none, the two are as near as can be.
    """
    killed: set[int] = set()
    for pid in find_by_token(token):
        if not hasattr(os, "pidfd_open"):
            if belongs_to(pid, token):
                kill(pid)
                killed.add(pid)
            continue
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            if belongs_to(pid, token):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                killed.add(pid)
        except OSError:
            continue
        finally:
            os.close(pidfd)
    return killed


def kill_children(is_wanted: Callable[[int], bool], *, within_s: float) -> int:
    """Kill children of this process until none is wanted any more, and reap them; return how many were killed.

    What they leave behind becomes a child of this process (see :func:`become_subreaper`) and is looked at in turn.
    """
    killed: set[int] = set()
    until = time.monotonic() + within_s
    while True:
        wanted = [pid for pid in children() if is_wanted(pid)]
        for pid in wanted:
            if not reap(pid):
                kill(pid)
                killed.add(pid)
        if not wanted or time.monotonic() > until:
            return len(killed)
        time.sleep(0.001)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal a child that is not reaped yet, or its whole group when ``pid`` is negative."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        if pid < 0:  # forked just now, and not yet the leader of a group
            kill(-pid, number)
    except PermissionError:  # somebody else's (sudo): only its own end can be awaited
        return


def reap(pid: int) -> bool:
    """Take notice of a child's end; return whether it had ended."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
