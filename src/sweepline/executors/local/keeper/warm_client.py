"""The keeper's side of warm starts: the parent that has imported what runs import, and asking it to fork."""

from __future__ import annotations

import array
import errno
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweepline.executors.local.keeper.child import StartError, read_fault, start_process
from sweepline.executors.local.keeper.messages import TOKEN_VARIABLE, WARM, Prepare, Start, is_per_run
from sweepline.executors.local.keeper.processes import children, kill, reap, token_of

PREPARE_S = 300.0  # for the imports
FORK_S = 3.0  # a parent that has not forked by then is stopped, or swapped out; less than the sweep waits for an answer
TIDY_S = 1.0
IN_VAIN_S = 0.5  # of imports that cannot be shared, beside which a tenth of that is nothing
MAX_LEFT_OUT = 4  # modules that cannot be shared, each of which costs a parent
_PARENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "warm_parent")
_TITLE_BYTES = 4096
_NAMED = set(signal.Signals)
_TOKEN_WIDTH = 20
# The frame in which the program of a run then runs; nothing of ours stands below it.
_BOOT = """\
import sys
_at_start = set(sys.modules)
from importlib.util import module_from_spec, spec_from_file_location
_spec = spec_from_file_location("_sweepline", {init!r}, submodule_search_locations=[{folder!r}])
sys.modules["_sweepline"] = module_from_spec(_spec)
from _sweepline.serving import serve
_code, _globals, _leave = serve(int(sys.argv[1]), _at_start)
_ended_by = []
try:
    exec(_code, _globals)
except BaseException as _error:
    _ended_by.append(_error)
_leave(_ended_by)
"""


class WarmLostError(Exception):
    """The warm parent cannot fork any more; it is gone, and runs start cold."""


class WarmParent:
    """A process of the runs' interpreter, first importing, then ready to be asked.

    ``order`` is the sweep's message: the interpreter with its options, the first run's program, which modules.
    """

    def __init__(self, order: Prepare, variables: Mapping[bytes, bytes], *, devnull: int, token: str) -> None:
        """Start it.

        Raises:
            StartError: the interpreter cannot be started.
        """
        self.interpreter = list(order.interpreter)
        self.is_ready = self._has_told = False
        self.due = time.monotonic() + PREPARE_S
        self._variables = dict(variables)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(FORK_S)
        printed = [_scratch_file(), _scratch_file()]
        boot = (
            _BOOT.format(folder=_PARENT, init=os.path.join(_PARENT, "__init__.py")) + "\n" * _TITLE_BYTES
        )  # the room for the command lines of runs
        # Runs write their own tokens over this one, which is why it is as wide as any.
        self._mark = f"{token}.{0:0{_TOKEN_WIDTH}}"
        marked = {**variables, TOKEN_VARIABLE.encode(): self._mark.encode()}
        try:
            self.pid, fault_fd = start_process(
                [*self.interpreter, "-c", boot, str(theirs.fileno())],
                marked,
                files=[devnull, *printed],
                working_dir=order.working_dir,
                handed=[theirs.fileno()],
            )
            fault = read_fault(fault_fd)
            if fault is not None:
                os.waitpid(self.pid, 0)
                raise fault
        except StartError:
            self._socket.close()
            raise
        finally:
            theirs.close()
            for fd in printed:
                os.close(fd)
        self._socket.send(json.dumps({**order._asdict(), "mark": f"{TOKEN_VARIABLE}={self._mark}"}).encode())

    def fileno(self) -> int:
        """Readable when there is something to :meth:`receive`."""
        return self._socket.fileno()

    def receive(self) -> dict[str, Any] | None:
        """Return what it says of its imports; None when it is dead."""
        try:
            data = self._socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            return None
        told: dict[str, Any] = json.loads(data)
        self._has_told = True
        self.is_ready = "reason" not in told
        return told

    def why_not(self, message: Start, variables: Mapping[bytes, bytes]) -> str | None:
        """Return why a run cannot be forked from here; None when it can."""
        assert message.warm is not None
        first, last = message.warm
        if message.argv[first:last] != self.interpreter:
            return "another interpreter"
        read = [name for name in self._differences(variables) if not is_per_run(name)]
        return f"another value of {os.fsdecode(min(read))}, which imports may have read" if read else None

    def _differences(self, variables: Mapping[bytes, bytes]) -> list[bytes]:
        own = self._variables
        changed = [name for name, value in variables.items() if own.get(name) != value]
        return changed + [name for name in own if name not in variables]

    def start(
        self, message: Start, variables: Mapping[bytes, bytes], *, logs: Sequence[int], mark: int | None
    ) -> tuple[int, int]:
        """Have a run forked; return its pid, and a descriptor that tells like that of a process which is executed.

        Raises:
            WarmLostError: it does not answer.
            StartError: the system's limits do not allow it.
        """
        assert message.warm is not None
        first, last = message.warm
        if any("\0" in word for word in message.argv):
            raise StartError(0, f"embedded null byte: '{message.argv[0]}'")
        differences = self._differences(variables)
        request = {
            "argv": message.argv[first:],
            "words": message.argv[last:],
            "set": {os.fsdecode(name): os.fsdecode(variables[name]) for name in differences if name in variables},
            "unset": [os.fsdecode(name) for name in differences if name not in variables],
            "token": os.fsdecode(variables[TOKEN_VARIABLE.encode()]),
            "mark": mark,
            "working_dir": message.working_dir,
            "cpus": message.cpus,
        }
        opened: list[int] = []
        try:
            opened.append(_scratch_file())
            opened += os.pipe2(os.O_CLOEXEC)
            request_fd, reading, writing = opened
            _write_all(request_fd, json.dumps(request).encode())
            fds = array.array("i", [*logs, writing, request_fd])
            self._socket.sendmsg([b"fork"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            opened.remove(reading)
        except (BrokenPipeError, ConnectionError, TimeoutError):
            raise WarmLostError(self.describe_death()) from None
        except OSError as error:
            raise StartError(error.errno or 0, f"{error.strerror}: '{message.argv[0]}'") from None
        finally:
            for fd in opened:
                os.close(fd)
        pid = _read_pid(reading)
        if pid is None:
            os.close(reading)
            raise WarmLostError(self.describe_death(otherwise="it does not fork"))
        if pid < 0:
            os.close(reading)
            raise StartError(-pid, f"{os.strerror(-pid)}: '{message.argv[0]}'")
        return pid, reading

    def describe_death(self, *, otherwise: str = "it has closed its connection") -> str:
        """Return what became of it, once it does not answer; ``otherwise`` where it lives."""
        if not _has_ended(self.pid, within_s=TIDY_S):
            return otherwise
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        if found is None or found.si_code == os.CLD_EXITED:
            how = "an exit" if found is None else f"exit code {found.si_status}"
        else:
            how = signal.Signals(found.si_status).name if found.si_status in _NAMED else f"signal {found.si_status}"
        if self.is_ready:
            return f"the warm parent was ended from outside ({how})"
        return f"its imports end the interpreter ({how})"

    def end(self) -> None:
        """End it: it tidies up, or is killed, and what its imports have started too. The runs live on."""
        self._socket.close()
        if not self._has_told or not _has_ended(self.pid, within_s=TIDY_S):
            kill(self.pid)
            _has_ended(self.pid, within_s=TIDY_S)
        _kill_marked(self._mark, but=self.pid)
        reap(self.pid)


def _kill_marked(token: str, *, but: int = 0) -> None:
    """Kill the children that carry a token."""
    for pid in children():
        if pid != but and token_of(pid) == token:
            kill(pid)


def _has_ended(pid: int, *, within_s: float) -> bool:
    """Whether a child has ended, which is waited for; it stays a zombie."""
    until = time.monotonic() + within_s
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > until:
            return False
        time.sleep(0.001)
    return True


def _scratch_file() -> int:
    """Return a file that has no name, and that ends with its last descriptor; in memory where Python knows how."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sweepline", os.MFD_CLOEXEC)
    return os.open(os.environ.get("TMPDIR") or "/tmp", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)


class WarmStarts:
    """What the keeper does about warm starts: one parent at a time, and another when an import cannot be shared.

    ``tell`` takes messages for the sweep; ``is_settled`` says whether runs need wait no more.
    """

    def __init__(self, *, devnull: int, token: str, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._devnull, self._token, self._tell = devnull, token, tell
        self._parent: WarmParent | None = None
        self._order: Prepare | None = None
        self._variables: Mapping[bytes, bytes] = {}
        self._told: set[str] = set()
        self._began = self._lost_s = 0.0

    @property
    def parent(self) -> WarmParent | None:
        """The process that imports, or has imported."""
        return self._parent

    @property
    def is_settled(self) -> bool:
        """Whether it is known how runs start."""
        return self._parent is None or self._parent.is_ready

    @property
    def pids(self) -> set[int]:
        """The processes that are no run."""
        return set() if self._parent is None else {self._parent.pid}

    @property
    def due(self) -> float | None:
        """When the imports have taken too long."""
        return None if self._parent is None or self._parent.is_ready else self._parent.due

    def prepare(self, order: Prepare, variables: Mapping[bytes, bytes]) -> None:
        """Start a parent."""
        self._began, self._lost_s = time.monotonic(), 0.0
        self._start(order, variables)

    def _start(self, order: Prepare, variables: Mapping[bytes, bytes]) -> None:
        self._order, self._variables = order, variables
        try:
            self._parent = WarmParent(order, variables, devnull=self._devnull, token=self._token)
        except (StartError, OSError) as error:
            self._give_up(f"it cannot be started: {error}")

    def receive(self) -> None:
        """Learn how the imports went; one that cannot be shared is left to the runs, and a new parent does without."""
        assert self._parent is not None
        assert self._order is not None
        told, left_out = self._parent.receive(), self._order.without
        if told is None:
            self._give_up(self._parent.describe_death())
        elif self._parent.is_ready:
            is_in_vain = self._lost_s > max(IN_VAIN_S, 10 * told["took_s"]) and not self._order.is_asked_for
            if is_in_vain:
                self.end()
            prepare_s = time.monotonic() - self._began
            self._tell({"ev": WARM, "without": left_out, "is_in_vain": is_in_vain, "prepare_s": prepare_s, **told})
        elif told["module"] and len(left_out) < MAX_LEFT_OUT:
            self._lost_s += told["took_s"]
            self.end()
            left_out = {**left_out, told["module"]: told["reason"]}
            self._start(self._order._replace(without=left_out), self._variables)
        else:
            self._give_up(f"importing {told['module']} {told['reason']}" if told["module"] else told["reason"])

    def check_deadlines(self, now: float) -> None:
        """Give up imports that take too long."""
        if self.due is not None and now >= self.due:
            self._give_up("its imports take too long")

    def fork(
        self, message: Start, variables: Mapping[bytes, bytes], *, logs: Sequence[int], mark: int | None
    ) -> tuple[int, int] | None:
        """Return what starting a process returns; None where the run must start cold.

        Raises:
            StartError: it could not start either way.
        """
        if self._parent is None or not message.warm:
            return None
        why = self._parent.why_not(message, variables)
        if why is not None:
            self._tell_cold(why)
            return None
        try:
            return self._parent.start(message, variables, logs=logs, mark=mark)
        except WarmLostError as error:
            self._give_up(str(error))
            _kill_marked(os.fsdecode(variables[TOKEN_VARIABLE.encode()]))  # it may become the run too late
            return None
        except StartError as error:
            if error.number not in (errno.EAGAIN, errno.ENOMEM):
                raise
            self._tell_cold(f"the system does not let it fork ({error})")
            return None

    def end(self) -> None:
        """End the parent."""
        if self._parent is not None:
            self._parent.end()
            self._parent = None

    def _give_up(self, why: str) -> None:
        """Start all further runs cold."""
        self.end()
        self._tell_cold(why)

    def _tell_cold(self, why: str) -> None:
        if why not in self._told:
            self._told.add(why)
            self._tell({"ev": WARM, "reason": why})


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _read_pid(fd: int) -> int | None:
    """Return the number that comes first, an errno if it is negative, and leave what follows; None when none comes."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    until, text = time.monotonic() + FORK_S, b""
    while not text.endswith(b"\n"):
        if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            return None
        byte = os.read(fd, 1)
        if not byte:
            return None
        text += byte
    return int(text)
