"""Runs as processes of this machine. A process of its own, the ``keeper``, starts and supervises them; this asks it."""

from __future__ import annotations

import os
import secrets
import select
import subprocess
from collections.abc import Callable, Mapping, Sequence

from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.base import Attempt, Exit, StopReason
from sweepline.executors.local.client import KeeperClient
from sweepline.executors.local.exits import find_exits, read_end
from sweepline.executors.local.keeper import processes
from sweepline.executors.local.keeperprocess import start_keeper
from sweepline.executors.local.warmstart import WarmStart

_DEATH_S = 0.7  # for its own death by SIGKILL, which a disk that hangs may prevent
_BURIAL_S = 5.0


def check_available() -> None:
    """Make sure that processes can be watched here.

    Raises:
        ExecutorUnavailableError: they cannot: no end of a run would be noticed.
    """
    if not processes.can_see_itself():
        raise ExecutorUnavailableError(
            "/proc is not mounted, or is that of another pid namespace, so that no run could be watched: mount it "
            "(mount -t proc proc /proc, or unshare --mount-proc)"
        )


class LocalExecutor(KeeperClient):
    """Has every run started in a session of its own, its output going to files.

    With ``warm`` runs of a Python program are forked from one process that has done their imports. ``watched`` tells
    the descriptors whose readability ends a wait. ``held`` are descriptors that the keeper keeps open too, so that the
    locks on them last until the last run has ended. ``token`` marks all of these processes. No process is started
    before the first run. What a dead keeper leaves becomes a child of this process, unless ``adopts_orphans`` is False.
    With ``is_on_cluster`` a scheduler may end them all.
    """

    def __init__(
        self,
        *,
        watched: Callable[[], Sequence[int]] = tuple,
        held: Sequence[int] = (),
        token: str | None = None,
        warm: WarmStart | None = None,
        adopts_orphans: bool = True,
        is_on_cluster: bool = False,
    ) -> None:
        super().__init__(token or secrets.token_hex(8), warm=warm)
        self._adopts_orphans = adopts_orphans
        self._is_on_cluster = is_on_cluster
        self._watched, self._held = watched, tuple(held)

    def recover(self, attempts: Sequence[Attempt]) -> Mapping[str, Exit]:
        """Return the ends that the last keeper wrote down; it has died by now, and no run outlives its keeper."""
        return find_exits(attempts)

    def wait(self, timeout_s: float | None) -> None:
        """Block until a process ended, a watched descriptor is readable, or the time is over."""
        until = None if timeout_s is None else self._clock.now() + timeout_s
        while not self._has_news(until) and (until is None or self._clock.now() < until):
            pass

    def _has_news(self, until: float | None) -> bool:
        """Wait once, for a moment at most; return whether that has changed anything."""
        poll = select.poll()
        for fd in self._watched():
            poll.register(fd, select.POLLIN)
        due = min((at for at in (until, self.register(poll)) if at is not None), default=None)
        ready = [fd for fd, _ in self._clock.poll(poll, due)]
        return self.serve(ready) or bool(ready)

    def _start_keeper(self) -> None:
        if self._adopts_orphans:
            processes.become_subreaper()  # should the keeper die, what it kept becomes ours to end
        self._children_before = set(processes.children())
        with self._open_lifeline(dict(os.environ)) as theirs:
            try:
                self._keeper = start_keeper(theirs, self.token, held=self._held, is_on_cluster=self._is_on_cluster)
            except OSError as error:
                self._lifeline.close()
                raise ExecutorUnavailableError(f"no process can be started: {error.strerror}") from None

    def _bury_keeper(self) -> None:
        """The keeper is dead or must die: end what it kept, and with it every run that it has not told of."""
        assert self._keeper is not None
        keeper, self._keeper, self._end_due, self._outbox = self._keeper, None, None, b""
        self._lifeline.close()
        keeper.kill()
        try:
            keeper.wait(_DEATH_S)
        except subprocess.TimeoutExpired:  # it hangs in the kernel, and what it kept is not ours yet
            until = self._clock.now() + _DEATH_S
            while processes.kill_by_token(self.token) - {keeper.pid} and self._clock.now() < until:
                pass
            self._notes.append(
                f"the keeper (pid {keeper.pid}) survives SIGKILL: it hangs in the kernel, on a disk perhaps"
            )
        if self._adopts_orphans:
            processes.kill_children(lambda pid: pid != keeper.pid and self._is_of_keeper(pid), within_s=_BURIAL_S)
        else:  # they are children of init now, and told by their token alone
            until = self._clock.now() + _BURIAL_S
            while processes.kill_by_token(self.token) and self._clock.now() < until:
                pass
        runs, self._runs = self._runs, {}
        why = StopReason.KEEPER_DIED if self.ended_by is None else StopReason.INTERRUPTED
        for run in runs.values():
            run.exit = read_end(run.task.run_dir, run.task.attempt) or Exit(stopped=run.stopped or why)

    def _is_of_keeper(self, pid: int) -> bool:
        """Whether a child of ours came to us by the keeper's death: it is marked, or was not there before."""
        if processes.belongs_to(pid, self.token) or processes.is_zombie(pid):
            return True
        return pid not in self._children_before and processes.session_of(pid) != os.getsid(0)
