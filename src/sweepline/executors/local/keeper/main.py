"""The keeper's loop. Single-threaded; waits for its sweep, for its children and for the clock.

When its sweep dies (end-of-file on the lifeline) or a signal asks it to end, it ends every run as a person would:
SIGTERM, a grace, SIGKILL, and then whatever has hidden. When it dies itself, the kernel kills the runs.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping, Set
from contextlib import suppress
from typing import Any

from sweepline.contract.runfolder import STDERR, STDOUT
from sweepline.executors.local.keeper import exitfile
from sweepline.executors.local.keeper.child import StartError, read_fault, start_process
from sweepline.executors.local.keeper.clock import AwakeClock
from sweepline.executors.local.keeper.kept import UNKILLABLE_S, KeptRun
from sweepline.executors.local.keeper.logs import RunLogs
from sweepline.executors.local.keeper.messages import (
    ALIVE,
    ENDED,
    INTERRUPTED,
    ON_CLUSTER,
    STOP_SIGNALS,
    STOPPING,
    TOKEN_VARIABLE,
    Kept,
    Messages,
    Prepare,
    Request,
    Start,
    Stop,
    decode_request,
    encode,
)
from sweepline.executors.local.keeper.oomkills import OomKills
from sweepline.executors.local.keeper.processes import (
    become_subreaper,
    children,
    kill_children,
    mark_for,
    reap,
    set_mark,
    set_name,
)
from sweepline.executors.local.keeper.warm_client import WarmStarts

MAX_START_TRIES = 8
FIRST_RETRY_S = 0.05  # doubled with every try: 6 s in all
WHEN_WARM = float("inf")  # due once the warm parent is ready, or given up
ALIVE_S = 0.5  # how often the sweep is told, while it waits for runs to be ended, that this is under way
SYNC_AFTER_S = 0.25  # an end that the sweep's journal has not taken by then is made durable here


class Keeper:
    """Runs by key, from a start message to the ended message that follows a durable ``exit.json``."""

    def __init__(self, lifeline: socket.socket, token: str, *, is_on_cluster: bool = False) -> None:
        self._is_on_cluster = is_on_cluster
        self.token, self._clock = token, AwakeClock()
        mark = mark_for(token)
        self._can_mark = mark is not None and set_mark(mark)
        self.runs: dict[int, KeptRun] = {}
        self._by_pid: dict[int, KeptRun] = {}
        self._given_up: set[int] = set()
        self._unsynced: dict[int, tuple[float, str]] = {}  # ended runs by key: when to sync which folder
        self._waiting: list[tuple[float, int, Start]] = []  # due, tries so far, start message
        self._inherited = dict(os.environb)
        self._lifeline: socket.socket | None = lifeline
        self._messages = Messages()
        self._devnull = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._outbox = b""
        self._warm = WarmStarts(devnull=self._devnull, token=token, tell=self._tell_of_warm)
        self._is_closing = self._is_ending = self._has_child_news = False
        self._told_to_end: int | None = None  # by which signal
        self._alive_due = 0.0
        self._oom_kills = OomKills()
        lifeline.setblocking(False)
        self._wakeup, waking = socket.socketpair()
        self._waking = waking
        for end in (self._wakeup, waking):
            end.setblocking(False)
        signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGUSR1, lambda *_: None)  # a handler, so that an exec restores the default
        for number in STOP_SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP:
                signal.signal(number, self._note_signal)

    def run(self) -> None:
        """Serve until the sweep closes or dies, or a signal asks for an end, and every run has ended."""
        while self.runs or self._waiting or self._is_wanted or self._outbox:
            self._wait()
            self._sync_ends(self._clock.now())
            if self._has_child_news:
                self._note_ends()
            for run in list(self.runs.values()):
                run.check_deadlines(others=self._known_pids)
                self._finish_when_clean(run)
            self._tell_of_life()
            now = self._clock.now()
            self._warm.check_deadlines(now)
            for entry in [entry for entry in self._waiting if entry[0] <= now or self._is_warm_due(entry[0])]:
                if entry in self._waiting:  # not dropped meanwhile
                    self._waiting.remove(entry)
                    self._start(entry[2], n_tries=entry[1])
        self._warm.end()
        self._sync_ends(float("inf"))
        kill_children(lambda pid: pid not in self._given_up, within_s=UNKILLABLE_S)

    @property
    def _is_wanted(self) -> bool:
        """Whether there may be more to start."""
        return self._lifeline is not None and not self._is_closing and not self._is_ending

    @property
    def _known_pids(self) -> Set[int]:
        """The children that are no run's leftovers."""
        return self._by_pid.keys() | self._warm.pids

    def _is_warm_due(self, due: float) -> bool:
        """Whether a start that waits for the warm parent need wait no more."""
        return due == WHEN_WARM and self._warm.is_settled

    # waiting

    def _note_signal(self, number: int, _frame: object) -> None:
        self._told_to_end = self._told_to_end or number

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        if self._lifeline is not None:
            poll.register(self._lifeline, select.POLLIN | (select.POLLOUT if self._outbox else 0))
        if self._warm.parent is not None:
            poll.register(self._warm.parent, select.POLLIN)
        starting = {run.fault_fd: run for run in self.runs.values() if run.fault_fd is not None}
        for fault_fd in starting:
            poll.register(fault_fd, select.POLLIN)
        due = [run.next_deadline for run in self.runs.values()] + [entry[0] for entry in self._waiting]
        due += [at for at, _ in self._unsynced.values()]
        due.append(self._warm.due)
        deadline = min((at for at in due if at is not None and at != WHEN_WARM), default=None)
        for fd, events in self._clock.poll(poll, deadline):
            if fd == self._wakeup.fileno():
                self._wakeup.recv(4096)
                self._has_child_news = True
            elif fd in starting:
                self._learn_of_start(starting[fd])
            elif self._warm.parent is not None and fd == self._warm.parent.fileno():
                self._warm.receive()
            elif self._lifeline is not None and fd == self._lifeline.fileno() and events & ~select.POLLOUT:
                self._receive()
        if self._told_to_end is not None and not self._is_ending:
            self._is_ending = True
            self._end_runs(self._told_to_end)
        self._send(b"")

    def _receive(self) -> None:
        assert self._lifeline is not None
        try:
            data = self._lifeline.recv(1 << 20)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._lose_sweep()
            return
        for message in self._messages.feed(data):
            self._handle(decode_request(message))

    def _send(self, data: bytes) -> None:
        """Send without ever waiting for the sweep: it may be stopped, its runs go on."""
        if self._lifeline is None:
            return
        self._outbox += data
        if not self._outbox:
            return
        try:
            self._outbox = self._outbox[self._lifeline.send(self._outbox) :]
        except BlockingIOError:
            return
        except ConnectionError:
            self._lose_sweep()

    def _lose_sweep(self) -> None:
        """Nobody is there any more who wants these runs."""
        if self._lifeline is not None:
            self._lifeline.close()
        self._lifeline, self._outbox = None, b""
        self._waiting.clear()
        for run in self.runs.values():
            run.stop(INTERRUPTED, others=self._known_pids)

    def _end_runs(self, number: int) -> None:
        """Stop every run, and start none any more: this process was told to end, and perhaps all others as well."""
        self._send(encode({"ev": STOPPING, "signal": number}))
        for run in self.runs.values():
            run.stop_with_all(others=self._known_pids)
        waiting, self._waiting = self._waiting, []
        for _, _, message in waiting:
            self._refuse(message.key)

    def _refuse(self, key: int) -> None:
        self._tell_not_started(key, "stopped before it could be started", 0, INTERRUPTED)

    # the sweep's wishes

    def _handle(self, request: Request) -> None:
        if isinstance(request, Start):
            self._start(request)
        elif isinstance(request, Prepare):
            self._warm.prepare(request, self._environment(request, self.token))
        elif isinstance(request, Stop):
            self._stop(request.key, request.reason, now=request.now)
        elif isinstance(request, Kept):
            self._unsynced.pop(request.key, None)
        else:
            self._is_closing = True

    def _start(self, message: Start, *, n_tries: int = 0) -> None:
        key, run_dir, started = message.key, message.run_dir, time.monotonic()
        token, mark = f"{self.token}.{key}", mark_for(self.token, key) if self._can_mark else None
        if self._told_to_end is not None:
            self._refuse(key)
            return
        if not self._is_wanted:
            return
        if message.warm and not self._warm.is_settled:
            self._waiting.append((WHEN_WARM, n_tries, message))
            return
        logs = None
        try:
            exitfile.reserve(run_dir)
            variables = self._environment(message, token)
            logs = RunLogs(run_dir)
            found = self._warm.fork(message, variables, logs=logs.fds, mark=mark)
            pid, fault_fd = found or start_process(
                message.argv,
                variables,
                files=[self._devnull, *logs.fds],
                working_dir=message.working_dir,
                cpus=message.cpus,
                mark=mark,
            )
        except (StartError, OSError, ValueError) as error:
            if logs is not None:
                logs.drop_empty()
                logs.close()
            self._note_fault(message, error, n_tries=n_tries)
            return
        self.runs[key] = self._by_pid[pid] = KeptRun(
            message,
            n_tries=n_tries,
            token=token,
            mark=mark,
            pid=pid,
            logs=logs,
            clock=self._clock,
            fault_fd=fault_fd,
            started=started,
            is_warm=found is not None,
            is_on_cluster=self._is_on_cluster,
        )
        if self._lifeline is None:  # lost while this was being started
            self.runs[key].stop(INTERRUPTED, others=self._known_pids)

    def _note_fault(self, message: Start, error: Exception, *, n_tries: int) -> None:
        """A run could not be started."""
        if isinstance(error, StartError):
            self._give_up_start(message, error, n_tries=n_tries)
        elif isinstance(error, OSError):
            self._tell_not_started(message.key, f"{error.strerror}: '{message.run_dir}'", error.errno or 0)
        else:  # a variable that the system's encoding cannot hold
            self._tell_not_started(message.key, str(error), 0)

    def _environment(self, message: Start | Prepare, token: str) -> dict[bytes, bytes]:
        changed = {os.fsencode(name): os.fsencode(value) for name, value in message.set.items()}
        variables = {**self._inherited, **changed, TOKEN_VARIABLE.encode(): token.encode()}
        for name in message.unset:
            variables.pop(os.fsencode(name), None)
        return variables

    def _learn_of_start(self, run: KeptRun) -> None:
        """A child has become its program, or says why it could not."""
        fd, run.fault_fd = run.fault_fd, None
        if fd is None:
            return
        error = read_fault(fd)
        if error is None:
            run.note_started()
        else:
            del self.runs[run.key], self._by_pid[run.pid]
            run.logs.drop_empty()
            run.logs.close()
            os.waitpid(run.pid, 0)
            if run.stopped is not None:
                self._tell_not_started(run.key, str(error), error.number, run.stopped)
                return
            self._give_up_start(run.message, error, n_tries=run.n_tries)

    def _give_up_start(self, message: Start, error: StartError, *, n_tries: int) -> None:
        if error.number in (errno.EAGAIN, errno.ENOMEM) and n_tries + 1 < MAX_START_TRIES:
            due = self._clock.now() + FIRST_RETRY_S * 2**n_tries
            self._waiting.append((due, n_tries + 1, message))
        else:
            self._tell_not_started(message.key, str(error), error.number)

    def _tell_not_started(self, key: int, why: str, number: int, stopped: str | None = None) -> None:
        self._send(encode({"ev": ENDED, "key": key, "not_started": why, "errno": number, "stopped": stopped}))

    def _tell_of_warm(self, told: Mapping[str, Any]) -> None:
        if self._told_to_end is None:  # else its end is no news
            self._send(encode(told))

    def _tell_of_life(self) -> None:
        """Have the sweep know that runs are being ended; one that does not listen has enough to read already."""
        now = self._clock.now()
        if now >= self._alive_due and not self._outbox and any(run.stopped for run in self.runs.values()):
            self._alive_due = now + ALIVE_S
            self._send(encode({"ev": ALIVE}))

    def _stop(self, key: int, reason: str, *, now: bool) -> None:
        run = self.runs.get(key)
        if run is not None:
            run.stop(reason, now=now, others=self._known_pids)
        for entry in [entry for entry in self._waiting if entry[2].key == key]:
            self._waiting.remove(entry)
            self._tell_not_started(key, "stopped before it could be started", 0, reason)

    # ends

    def _note_ends(self) -> None:
        self._has_child_news = False
        for pid in children():
            if pid in self._warm.pids:
                continue  # its socket tells
            run = self._by_pid.get(pid)
            if run is not None:
                run.note_exit()
                if run.ended_at is not None:
                    self._learn_of_start(run)
            elif reap(pid):
                self._given_up.discard(pid)

    def _finish_when_clean(self, run: KeptRun) -> None:
        if run.ended_at is None:
            if run.is_given_up:
                self._given_up.add(run.pid)
                self._finish(run, None, is_unkillable=True)
            return
        left = run.leftovers(self._known_pids)
        if left and not run.is_given_up:
            if run.killed_at is not None:
                run.kill(self._known_pids)  # what the killed ones had hidden behind them
            return
        if run.is_in_doubt:
            return
        self._given_up.update(left)
        _, status, usage = os.wait4(run.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._finish(run, code, usage, is_unkillable=bool(left))

    def _finish(
        self, run: KeptRun, code: int | None, usage: resource.struct_rusage | None = None, *, is_unkillable: bool
    ) -> None:
        """Write the end down, and then tell it."""
        max_rss_kib, cpu_s = (None, None) if usage is None else (usage.ru_maxrss, usage.ru_utime + usage.ru_stime)
        record = run.describe_end(code, max_rss_kib, cpu_s, is_unkillable=is_unkillable)
        if self._oom_kills.take_new() and code != 0 and run.stopped is None:
            record["is_out_of_memory"] = True
        del self.runs[run.key], self._by_pid[run.pid]
        run.logs.close()
        try:
            exitfile.write(run.run_dir, record)
        except OSError as error:  # no disk, no folder: the sweep that listens is all there is to tell
            record["disk_error"] = error.strerror
        else:
            self._unsynced[run.key] = self._clock.now() + SYNC_AFTER_S, run.run_dir
        self._send(encode({"ev": ENDED, "key": run.key, **record}))

    def _sync_ends(self, now: float) -> None:
        """Make ends durable that nobody else has; a sweep that lives and a disk that works leave none."""
        for key in [key for key, (due, _) in self._unsynced.items() if due <= now]:
            _, run_dir = self._unsynced.pop(key)
            with suppress(OSError):  # what cannot be synced was told, and the sweep's own sync fails as well
                exitfile.sync(run_dir, (STDOUT, STDERR))


def main() -> None:
    """Be the keeper of whoever holds the other end of the socket that is handed over."""
    place, *fds = sys.argv[2:]
    lifeline_fd, *held = map(int, fds)
    for fd in (lifeline_fd, *held):
        os.set_inheritable(fd, False)
    os.chdir("/")
    set_name(b"sweepline-keep")
    become_subreaper()
    lifeline = socket.socket(fileno=lifeline_fd)
    Keeper(lifeline, os.environ[TOKEN_VARIABLE], is_on_cluster=place == ON_CLUSTER).run()
