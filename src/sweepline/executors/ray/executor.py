"""Runs as tasks of a Ray cluster, one for each attempt.

What a run prints and how it ended is in its folder, where its node shares that of the sweep; where it does not, it
comes through Ray. A run that nothing more is heard of is taken back: its folder is taken from it first.
"""

from __future__ import annotations

import secrets
import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweepline.contract.runfolder import JOB
from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.base import DISK_FULL, Attempt, Exit, Lack, StopReason, Task
from sweepline.executors.local.exits import exit_of, find_exits, read_end
from sweepline.executors.local.keeper import exitfile
from sweepline.executors.node.claim import FENCE_S, drop_claim, read_job
from sweepline.executors.node.taskfile import encode_task
from sweepline.executors.places import RayOptions
from sweepline.executors.ray.bridgeprocess import BridgeProcess
from sweepline.executors.ray.run import RayRun
from sweepline.executors.ray.shipping import pack_folder, write_part

LOOK_S = 0.2  # how often a file is looked for that is to appear
SETTLE_S = 15.0  # until a file that was written on a node is seen here, at the latest
HELLO_S = 90.0  # until a cluster has answered, or one of its own is there
LAST_WORDS_S = 30.0  # how long a run that is lost has its grace, at most: its node may be gone, and nobody can say
HURRY_S = 5.0  # until a run that is to be killed has ended
MAX_BRIDGES = 5
_CLOSE_S = 60.0
_MARKER = ".on-ray-"  # a file by which a node sees whether it shares the folder


class RayExecutor:
    """Submits runs whose sweep is in ``folder``. ``token`` names the sweep in all of its starts.

    ``watched`` tells the descriptors whose readability ends a wait.
    """

    def __init__(
        self,
        options: RayOptions,
        *,
        folder: Path,
        token: str,
        watched: Callable[[], Sequence[int]] = tuple,
    ) -> None:
        self.ended_by: int | None = None
        self.saved_s = self.prepare_s = 0.0
        self._options, self._folder, self._token, self._watched = options, folder, token, watched
        self._marker = folder / f"{_MARKER}{secrets.token_hex(8)}"
        self._active: dict[str, RayRun] = {}
        self._bridge: BridgeProcess | None = None
        self._n_bridges = 0
        self._is_ready = False
        self._hello_due = 0.0
        self._refusal = ""
        self._notes: list[str] = []
        self._said: set[str] = set()

    # what the sweep asks for

    def submit(self, task: Task) -> RayRun:
        """Hand a run to Ray, which starts it when it has what the run needs.

        Raises:
            ExecutorUnavailableError: there is no cluster.
        """
        if self._bridge is None:
            self._connect()
        run = RayRun(task, self.stop)
        self._active[run.key] = run
        told = {
            "task": encode_task(replace(task, masked_argv=None, masked_environ={}), {}),
            "marker": str(self._marker.absolute()),
            "sweep": self._token,
            "files": pack_folder(task.run_dir),
            "has_devices": self._options.num_gpus > 0,
        }
        self._tell({"do": "start", "key": run.key, "told": told})
        return run

    def stop(self, run: RayRun) -> None:
        """Have a run end; one that waits in Ray's queue never begins."""
        patience = HURRY_S if run.is_killed else run.task.grace_s + SETTLE_S
        run.force_due = time.monotonic() + patience
        self._tell({"do": "tell", "key": run.key, "wish": {"reason": run.stopped, "now": run.is_killed}})
        if run.began_at is None:
            self._tell({"do": "cancel", "key": run.key, "now": False})

    def recover(self, attempts: Sequence[Attempt]) -> Mapping[str, Exit]:
        """Return the ends of attempts, once what an earlier start has left on nodes has ended: it dies with its sweep.

        What has not told its end by then has its folder taken, and is killed.
        """
        open_ones = [attempt for attempt in attempts if (attempt.run_dir / JOB).exists()]
        graces = [read_job(attempt.run_dir).get("grace_s", 0.0) for attempt in _without_end(open_ones)]
        until = time.monotonic() + min(LAST_WORDS_S, max(graces, default=0.0) + HURRY_S)
        while left := _without_end(open_ones):
            if time.monotonic() >= until or select.select(list(self._watched()), [], [], LOOK_S)[0]:
                break
        for attempt in left:
            drop_claim(attempt.run_dir)
        if left:
            time.sleep(FENCE_S)
        return {run_id: _interrupted(told) for run_id, told in find_exits(attempts).items()}

    def give_more(self, run_id: str, lack: Lack) -> str:
        """Return nothing: all runs ask Ray for the same."""
        return ""

    def take_notes(self) -> Sequence[str]:
        """Return what is to be said of the cluster."""
        notes, self._notes = self._notes, []
        return notes

    def wait(self, timeout_s: float | None) -> None:
        """Block until a run has ended, a watched descriptor is readable, or the time is over."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._has_news(until, self._watched()) and (until is None or time.monotonic() < until):
            pass

    def close(self) -> None:
        """End what is under way, wait until it has, and leave the cluster."""
        for run in list(self._active.values()):
            run.cancel(StopReason.INTERRUPTED, now=True)
        until = time.monotonic() + _CLOSE_S
        while self._active and time.monotonic() < until:
            self._has_news(until, ())
        if self._bridge is not None:
            self._bridge.end()
            self._bridge = None
        self._marker.unlink(missing_ok=True)

    # the process that speaks to Ray

    def _connect(self) -> None:
        """Start the bridge, and wait until it has found a cluster, or the sweep has something else to do.

        Raises:
            ExecutorUnavailableError: there is none.
        """
        self._n_bridges += 1
        if self._n_bridges > MAX_BRIDGES:
            raise ExecutorUnavailableError(
                f"Ray has been lost {MAX_BRIDGES} times: see its logs; nothing more is started"
            )
        for stale in self._folder.glob(f"{_MARKER}*"):  # of a start that was killed
            stale.unlink(missing_ok=True)
        self._marker.touch()
        options = {name: getattr(self._options, name) for name in ("address", "num_cpus", "num_gpus")}
        try:
            self._bridge = BridgeProcess(options)
        except OSError as error:
            raise ExecutorUnavailableError(f"no process can be started: {error.strerror}") from None
        self._is_ready, self._refusal, self._hello_due = False, "", time.monotonic() + HELLO_S
        while not self._is_ready and not self._refusal:
            if self._poll(self._hello_due, self._watched()):
                return
        if self._refusal:
            raise ExecutorUnavailableError(self._refusal)

    def _poll(self, due: float | None, watched: Sequence[int]) -> bool:
        """Wait once for the bridge until ``due``, and hear it; return whether a watched descriptor is readable."""
        poll = select.poll()
        for fd in watched:
            poll.register(fd, select.POLLIN)
        bridge_fd = self._bridge.register(poll) if self._bridge is not None else None
        left = None if due is None else max(0.0, due - time.monotonic()) * 1000
        ready = [fd for fd, _ in poll.poll(left)]
        if bridge_fd in ready:
            self._receive()
        elif self._bridge is not None and not self._is_ready and time.monotonic() >= self._hello_due:
            self._lose_bridge(f"Ray did not answer in {HELLO_S:.0f} s")
        return bool(set(ready) & set(watched))

    def _receive(self) -> None:
        assert self._bridge is not None
        messages = self._bridge.receive()
        if messages is None:
            self._lose_bridge("the process that speaks to Ray has died")
            return
        for message in messages:
            self._take(message)

    def _lose_bridge(self, why: str) -> None:
        """There is no cluster any more: what ran there ends by itself."""
        assert self._bridge is not None
        why = self._refusal or f"{why}{self._bridge.read_errors()}"
        self._bridge.end(now=True)
        self._bridge = None
        if self._is_ready:
            self._say_once(why)
        else:
            self._refusal = why
        for run in self._active.values():
            self._lose(run, why)

    def _tell(self, message: Mapping[str, Any]) -> None:
        if self._bridge is not None:
            self._bridge.tell(message)

    # what is heard

    def _take(self, message: Mapping[str, Any]) -> None:
        event = message["ev"]
        run = self._active.get(message.get("key", ""))
        if event == "hello":
            self._is_ready = True
            self._describe(message)
        elif event == "refused":
            self._refusal = f"executor: ray: {message['why']}"
        elif run is None:
            return
        elif event == "begun":
            self._note_begun(run, message)
        elif event == "part":
            self._write(run, lambda: write_part(run.task.run_dir, message))
        elif event == "ended":
            self._note_told(run, message["record"])
        elif event == "failed":
            self._end(run, Exit(not_started=message["why"], stopped=run.stopped))
        elif event == "cancelled" and run.began_at is None and not (run.task.run_dir / JOB).exists():
            self._end(run, Exit(not_started="stopped before it could be started", stopped=run.stopped))
        elif run.told is None:
            run.is_out_of_memory = message.get("is_out_of_memory", False)
            self._lose(run, message.get("why", "ended by force"))

    def _describe(self, hello: Mapping[str, Any]) -> None:
        """Say what the cluster is, and what of the runs does not fit."""
        n, options = hello["n_nodes"], self._options
        where = "a Ray of its own" if hello["is_own"] else f"the Ray cluster at {hello['address']}"
        self._say_once(
            f"runs execute on {where}: {n} node{'s' * (n > 1)}, {hello['n_cpus']:g} CPUs, {hello['n_gpus']:g} GPUs"
        )
        asked = f"num_cpus: {options.num_cpus:g}, num_gpus: {options.num_gpus:g}"
        if not hello["fits"] and hello["is_own"]:
            self._refusal = f"executor: ray: this machine has not what each run asks for ({asked}): lower it under ray:"
        elif not hello["fits"]:
            self._say_once(f"no node of the cluster has what each run asks for ({asked}): runs wait until one does")
        elif hello["n_gpus"] and not options.num_gpus:
            self._say_once("runs see none of the GPUs: ray: {num_gpus: 1} gives each run one")

    def _note_begun(self, run: RayRun, message: Mapping[str, Any]) -> None:
        run.host, run.is_shared, run.began_at = message["host"], message["is_shared"], time.monotonic()
        if not run.is_shared:
            self._say_once(
                f"{run.host} does not see {self._folder}: what runs print there and what records them is written here "
                "as it comes; their checkpoints and other files stay there"
            )

    def _note_told(self, run: RayRun, record: Mapping[str, Any] | None) -> None:
        if record is None:
            self._lose(run, "its end could not be written down on its node")
            return
        run.told, run.patience_due = record, time.monotonic() + SETTLE_S
        if not run.is_shared:
            self._write(run, lambda: exitfile.write(str(run.task.run_dir), record))

    def _write(self, run: RayRun, write: Callable[[], None]) -> None:
        """Write what has come of a run into its folder; a part that was lost makes the rest worth nothing."""
        if run.fault is not None:
            return
        try:
            write()
        except OSError as error:
            run.fault = error

    def _lose(self, run: RayRun, why: str) -> None:
        """Nothing more is heard of a run; it may tell its end by the file that it shares, within its grace."""
        if run.told is not None or run.lost:
            return
        run.lost = why
        has_claim = (run.task.run_dir / JOB).exists()
        patience = HURRY_S if run.is_forced else min(run.task.grace_s + HURRY_S, LAST_WORDS_S)
        run.patience_due = time.monotonic() + (patience if has_claim else 0.0)

    # ends

    def _has_news(self, until: float | None, watched: Sequence[int]) -> bool:
        """Wait once, for a moment at most; return whether a run has ended or the sweep has something to do."""
        dues = [due for run in self._active.values() if (due := self._due_of(run)) is not None]
        if self._bridge is not None and not self._is_ready:
            dues.append(self._hello_due)
        if until is not None:
            dues.append(until)
        n_active = len(self._active)
        has_other_news = self._poll(min(dues, default=None), watched)
        for run in list(self._active.values()):
            self._try_end(run)
        return len(self._active) < n_active or has_other_news

    def _due_of(self, run: RayRun) -> float | None:
        """Return when a run is to be looked at, whatever is heard until then."""
        if run.patience_due is not None:
            return min(run.patience_due, time.monotonic() + LOOK_S)
        return run.force_due

    def _try_end(self, run: RayRun) -> None:
        """End a run whose end can be told now."""
        now = time.monotonic()
        if run.patience_due is not None:
            found = read_end(run.task.run_dir, run.task.attempt)
            if found is not None and not run.fault:
                self._end(run, self._judge(run, found))
            elif now >= run.patience_due or run.fault:
                self._give_up(run, now)
        elif run.force_due is not None and now >= run.force_due:
            self._force(run, now)

    def _force(self, run: RayRun, now: float) -> None:
        """The last resort, and after it none."""
        if run.is_forced or self._bridge is None:
            self._lose(run, "nothing is heard of it")
            return
        run.is_forced, run.force_due = True, now + SETTLE_S
        self._tell({"do": "cancel", "key": run.key, "now": True})

    def _give_up(self, run: RayRun, now: float) -> None:
        """Say how a run ended by what is known, once it cannot go on unseen."""
        if run.told is not None:
            self._end(run, self._judge(run, exit_of(run.told)))
        elif run.is_fenced or not (run.task.run_dir / JOB).exists():
            self._end(run, self._lost_exit(run, now))
        else:
            drop_claim(run.task.run_dir)
            run.is_fenced, run.patience_due = True, now + FENCE_S

    def _judge(self, run: RayRun, told: Exit) -> Exit:
        """Return an end as its node tells it; what nobody here has asked for is the cluster's doing."""
        if run.fault is not None:
            told = replace(told, is_output_lost=True, is_disk_full=run.fault.errno in DISK_FULL)
        if told.stopped not in (StopReason.INTERRUPTED, StopReason.PREEMPTED):
            return told
        if run.is_out_of_memory and run.stopped is None:
            return replace(told, stopped=None, is_out_of_memory=True, remarks=[*told.remarks, run.lost])
        remarks = [*told.remarks, run.lost] if run.lost and run.stopped is None else told.remarks
        return replace(told, stopped=run.stopped or StopReason.PREEMPTED, remarks=remarks)

    def _lost_exit(self, run: RayRun, now: float) -> Exit:
        duration_s = now - run.began_at if run.began_at is not None else 0.0
        ended = Exit(host=run.host, duration_s=duration_s, stopped=StopReason.INTERRUPTED)
        if not self._is_ready and run.began_at is None:
            return Exit(not_started=run.lost, stopped=run.stopped)
        return self._judge(run, ended)

    def _end(self, run: RayRun, ended: Exit) -> None:
        run.exit = ended
        del self._active[run.key]

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._notes.append(text)


def _without_end(attempts: Sequence[Attempt]) -> list[Attempt]:
    return [attempt for attempt in attempts if read_end(attempt.run_dir, attempt.attempt) is None]


def _interrupted(told: Exit) -> Exit:
    """Return the end of a run whose sweep had died: that is why it was stopped."""
    return replace(told, stopped=StopReason.INTERRUPTED) if told.stopped == StopReason.PREEMPTED else told
