"""The warm parent's own life: import, tell the keeper, fork when it asks."""

from __future__ import annotations

import array
import errno
import gc
import json
import os
import select
import socket
import sys
import time
import types
import weakref
from contextlib import suppress
from typing import Any

from .child import become, fork_for, make_main, read_whole
from .preload import UnfitError, allocators_without_threads, check_names, count_fds, preload
from .proctitle import ProcTitle, die_with_parent, name_process
from .shared_files import Made
from .shutdown import Shutdown, flush

_N_REQUEST_FDS, _FAULT = 4, 2
_TAKES_BACK = ("torch.library",)  # its own registrations, hundreds, at 20 ms a run


def serve(fd: int, at_start: set[str]) -> tuple[types.CodeType, dict[str, Any], Shutdown]:
    """Import, tell the keeper, and fork at its requests. Returns in the forked processes alone.

    ``at_start`` are the modules that any interpreter has before its program begins. What is returned is a run's code,
    the globals to execute it in, and what is called with a list of the exception that ended it, an empty one if none.
    """
    keeper = os.getppid()
    die_with_parent()
    if sys.path and sys.path[0] == "":
        del sys.path[0]  # of "-c"; where the program lies comes in its place
    with socket.socket(fileno=fd) as lifeline:
        os.set_inheritable(fd, False)
        order = json.loads(_receive(lifeline)[0])
        label = ProcTitle(order["mark"])
        label.write(None, [f"sweepline: warm parent of {order['title']}"])
        name_process("sweepline-warm")
        started, before, made = time.monotonic(), dict(os.environb), Made()
        has_collector = gc.isenabled()
        gc.disable()  # imports leave little to collect, and looking for it takes a fifth of their time
        sys.modules["__main__"] = make_main(order["words"])
        sys.argv[:] = order["words"]
        try:
            with allocators_without_threads():
                missing, preloaded, stopped_by = preload(order, n_fds=count_fds())
            check_names(order["folders"], at_start)
        except UnfitError as error:
            _send(lifeline, {"reason": str(error), "module": error.module, "took_s": time.monotonic() - started})
            made.tidy()
            os._exit(1)
        made.seal()
        _leave_undone()
        flush()
        gc.freeze()  # the collector of a run leaves what is shared alone
        if has_collector:
            gc.enable()
        printed = [read_whole(number) for number in (1, 2)]
        took_s = time.monotonic() - started
        _send(lifeline, {"took_s": took_s, "missing": missing, "preloaded": preloaded, "stopped_by": stopped_by})
        known, changes = set(sys.modules), _changes(before, dict(os.environb))
        asked, fds = _fork_until_asked(lifeline, keeper=keeper)
        if not asked:  # the keeper has closed, or is dead
            made.tidy()
            os._exit(0)
    return become(fds, label=label, printed=printed, changes=changes, known=known)


def _fork_until_asked(lifeline: socket.socket, *, keeper: int) -> tuple[bytes, list[int]]:
    """Have a child at hand that waits to become the next run, so that no start waits for a fork.

    Returns the request that it takes in such a child, and here nothing once the keeper has closed.
    """
    is_asked = False  # whether a request is known to wait
    while True:
        reading, writing, number = _open_pipe()
        if number == 0:
            is_child, number = fork_for(keeper)
            if is_child:
                os.close(reading)
                return _await_request(lifeline, writing)
            os.close(writing)
            has_taken = number == 0 and _await_taken(lifeline, reading)
            os.close(reading)
            if has_taken:
                is_asked = False
                continue
        if number and is_asked:  # now that it is needed it fails as well
            _refuse(lifeline, number)
            is_asked = False
        elif _is_closed(lifeline):
            return b"", []
        else:
            is_asked = True


def _open_pipe() -> tuple[int, int, int]:
    """Return the two ends of a pipe, and an errno, 0 for none."""
    try:
        return (*os.pipe(), 0)
    except OSError as error:
        return -1, -1, error.errno or errno.EMFILE


def _refuse(lifeline: socket.socket, number: int) -> None:
    """Answer a request with an errno."""
    fds = _receive(lifeline)[1]
    if fds:
        os.write(fds[_FAULT], b"-%d\n" % number)
    for received in fds:
        os.close(received)


def _await_request(lifeline: socket.socket, taken: int) -> tuple[bytes, list[int]]:
    """Wait until there is a run to become, and tell the parent so; ends with it."""
    if not _poll({lifeline.fileno(): select.POLLIN, taken: 0}).get(lifeline.fileno(), 0) & select.POLLIN:
        os._exit(0)
    request, fds = _receive(lifeline)
    if not request:
        os._exit(0)
    with suppress(BrokenPipeError):  # what has no parent any more may run all the same
        os.write(taken, b"1")
    os.close(taken)
    return request, fds


def _await_taken(lifeline: socket.socket, taken: int) -> bool:
    """Wait until the child has a run to become; False when it died, or the keeper closed."""
    return bool(_poll({taken: select.POLLIN, lifeline.fileno(): 0}).get(taken, 0) and os.read(taken, 1))


def _is_closed(lifeline: socket.socket) -> bool:
    """Wait until there is a request; return whether none will come any more."""
    try:
        return not lifeline.recv(1, socket.MSG_PEEK)
    except ConnectionError:  # closed before it had read everything
        return True


def _poll(wanted: dict[int, int]) -> dict[int, int]:
    """Wait for events of descriptors; hang-ups and errors always count."""
    poll = select.poll()
    for fd, events in wanted.items():
        poll.register(fd, events)
    return dict(poll.poll())


def _receive(lifeline: socket.socket) -> tuple[bytes, list[int]]:
    """Return one message and the descriptors that came with it; an empty one when the other end is closed."""
    fds = array.array("i")
    data, extras, _, _ = lifeline.recvmsg(1 << 16, socket.CMSG_SPACE(_N_REQUEST_FDS * fds.itemsize))
    for _level, _kind, content in extras:
        fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    for received in fds:
        os.set_inheritable(received, False)
    return data, list(fds)


def _send(lifeline: socket.socket, message: dict[str, Any]) -> None:
    try:
        lifeline.send(json.dumps(message).encode())
    except OSError:  # nobody is there any more
        os._exit(0)


def _changes(before: dict[bytes, bytes], after: dict[bytes, bytes]) -> dict[bytes, bytes | None]:
    """Return what imports have done to the environment: new values by name, None for what they removed."""
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    return {**changed, **dict.fromkeys(before.keys() - after.keys())}


def _leave_undone() -> None:
    """Spare runs the finalizers that only take back what ends with the process anyway."""
    for finalizer in list(getattr(weakref.finalize, "_registry", ())):
        found = finalizer.peek()
        if found is not None and getattr(found[1], "__module__", "") in _TAKES_BACK:
            finalizer.atexit = False
