"""Starting one process so that it cannot outlive its keeper: a session of its own, its output in files, then exec."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from sweepline.executors.local.keeper.processes import die_with_parent, set_mark

_RESET = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores them, and an exec would hand that on


class StartError(Exception):
    """A process was not started. ``number`` is its errno, 0 where there is none."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


def start_process(
    argv: Sequence[str],
    variables: Mapping[bytes, bytes],
    *,
    files: Sequence[int],
    working_dir: str,
    cpus: Sequence[int] = (),
    handed: Sequence[int] = (),
    mark: int | None = None,
) -> tuple[int, int]:
    """Fork a child that becomes a program; return its pid, and a descriptor for :func:`read_fault`.

    ``files`` become its descriptors 0, 1 and 2, ``handed`` keep their numbers; it runs on ``cpus``, all where there are
    none. ``mark`` tells it and all its descendants from others (see :func:`set_mark`). Until the descriptor has
    answered, SIGTERM may be lost on the child.

    Raises:
        StartError: there is nothing to fork: the words, the files or the system's limits do not allow it.
    """
    if not argv:
        raise StartError(0, "empty command")
    try:
        words = [os.fsencode(word) for word in argv]
    except ValueError as error:  # text that the file system's encoding cannot hold
        raise StartError(0, f"{error}: '{argv[0]}'") from None
    opened: list[int] = []
    try:
        opened += os.pipe2(os.O_CLOEXEC)
        reading, writing = opened
        keeper = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(
                words,
                variables,
                working_dir=working_dir,
                keeper=keeper,
                files=files,
                cpus=cpus,
                handed=handed,
                fault=writing,
                mark=mark,
            )
        opened.remove(reading)
    except OSError as error:
        raise StartError(error.errno or 0, f"{error.strerror}: '{argv[0]}'") from None
    finally:
        for fd in opened:
            os.close(fd)
    return pid, reading


def read_fault(fd: int) -> StartError | None:
    """Return why a child did not become its program; None when it has. Blocks until one of both is known."""
    with os.fdopen(fd, "rb") as file:
        text = file.read().decode("utf-8", "surrogateescape")
    number, _, why = text.partition(" ")
    return StartError(int(number), why) if text else None


def _become(
    words: Sequence[bytes],
    variables: Mapping[bytes, bytes],
    *,
    working_dir: str,
    keeper: int,
    files: Sequence[int],
    cpus: Sequence[int],
    handed: Sequence[int],
    fault: int,
    mark: int | None,
) -> NoReturn:
    """Turn this forked child into the program; what goes wrong is told through ``fault``."""
    where = working_dir
    try:
        os.setsid()
        die_with_parent()
        if os.getppid() != keeper:  # the keeper died before it could be said
            os._exit(1)
        for number, fd in enumerate(files):
            os.dup2(fd, number)
        for fd in handed:
            os.set_inheritable(fd, True)
        if mark is not None:
            set_mark(mark)
        if cpus:
            os.sched_setaffinity(0, cpus)
        for signal_number in _RESET:
            signal.signal(signal_number, signal.SIG_DFL)
        os.chdir(working_dir)
        where = os.fsdecode(words[0])
        os.execvpe(words[0], list(words), variables)
    except OSError as error:
        _tell(fault, f"{error.errno} {error.strerror}: '{where}'")
    except ValueError as error:  # a NUL within a word
        _tell(fault, f"0 {error}: '{where}'")
    finally:
        os._exit(127)


def _tell(fd: int, text: str) -> None:
    with suppress(OSError):  # the keeper is gone, and with it whoever would want to know
        os.write(fd, text.encode("utf-8", "surrogateescape")[:4096])
