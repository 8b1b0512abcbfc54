"""Runs as jobs of Slurm: submitted in arrays, found again by later starts, and ended one by one.

A thread calls Slurm's commands, one after the other: a controller that takes long does not hold the sweep. How a run
ended is in the folder that it shares with the sweep; Slurm is asked only for what no file tells.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from sweepline.contract.runfolder import JOB
from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.base import Attempt, Exit, Lack, StopReason, Task
from sweepline.executors.local.exits import read_exit
from sweepline.executors.node.claim import FENCE_S, read_job
from sweepline.executors.node.taskfile import encode_task
from sweepline.executors.slurm.arrays import Arrays
from sweepline.executors.slurm.client import JobRow, Key, SlurmClient, SlurmError
from sweepline.executors.slurm.mailbox import FOLDER, SCRIPT, Mailbox
from sweepline.executors.slurm.options import SlurmOptions
from sweepline.executors.slurm.run import SlurmRun
from sweepline.executors.slurm.script import job_name
from sweepline.executors.slurm.states import ALIVE, ENDED, UNKNOWN, exit_of, reason_of

LOOK_S = 0.2  # how often ends are looked for; one listing of a folder
SETTLE_S = 15.0  # until a file that was written on a node is seen here, at the latest
HURRY_S = 1.0  # how often Slurm is asked while something depends on its answer
MAX_ARRAY = 1000
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5.0, 120.0  # before Slurm is asked again for what it has refused for now
_CLOSE_S = 60.0


class SlurmExecutor:
    """Submits runs from ``sweep_dir``, which all nodes see. ``token`` marks the jobs of a sweep through all its starts.

    ``watched`` tells the descriptors whose readability ends a wait.
    """

    def __init__(
        self,
        sweep_dir: Path,
        *,
        sweep: str,
        token: str,
        options: SlurmOptions,
        watched: Callable[[], Sequence[int]] = tuple,
    ) -> None:
        self.ended_by: int | None = None
        self.saved_s = self.prepare_s = 0.0
        self._client, self._options, self._watched = SlurmClient(), options, watched
        self._mailbox = Mailbox(sweep_dir / FOLDER)
        self._arrays = Arrays(self._mailbox, sweep, token, options)
        self._job_name = job_name(sweep)
        self._active: dict[str, SlurmRun] = {}
        self._to_submit: list[SlurmRun] = []
        self._in_doubt: dict[str, list[SlurmRun]] = {}  # by comment: Slurm may have them though it has said no
        self._to_stop: list[SlurmRun] = []
        self._notes: list[str] = []
        self._said: set[str] = set()
        self._thread: ThreadPoolExecutor | None = None
        self._done: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._wakeup, self._waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_asking = False
        self._asked_at = -_LONGEST_WAIT_S
        self._submit_due, self._wait_s = 0.0, _FIRST_WAIT_S
        self._most = MAX_ARRAY
        self._array_size = 0

    # what the sweep asks for

    def submit(self, task: Task) -> SlurmRun:
        """Put a run on the list for the next array, which is submitted with the next wait."""
        run = SlurmRun(task.run_id, task.attempt, task.run_dir, task.grace_s, self.stop, task=task)
        self._active[run.name] = run
        self._to_submit.append(run)
        return run

    def recover(self, attempts: Sequence[Attempt]) -> Mapping[str, SlurmRun | Exit]:
        """Return the ends that jobs have written down, and the jobs that Slurm still has.

        Raises:
            ExecutorUnavailableError: Slurm does not say which jobs it has.
        """
        self._mailbox.make()
        self._arrays.load()
        places = {a.run_id: (a, self._arrays.find(a.run_id, a.attempt)) for a in attempts}
        jobs: dict[str, str] = {}
        if any(place is not None and place.job is None for _, place in places.values()):
            jobs = self._find_jobs()
        found: dict[str, SlurmRun | Exit] = {}
        for run_id, (attempt, place) in places.items():
            wish = self._mailbox.read_stop(run_id, attempt.attempt)
            run = SlurmRun(run_id, attempt.attempt, attempt.run_dir, 0.0, self.stop, stopped=wish[0] if wish else None)
            job = None if place is None else place.job or jobs.get(self._arrays.comment_of(place.batch))
            if place is None or job is None:
                self._mailbox.ask_to_stop(run_id, attempt.attempt, StopReason.INTERRUPTED, now=True)
                continue
            run.batch, run.index, run.key = place.batch, place.index, (job, place.index)
            self._active[run.name] = run
            if not self._take_end(run):
                found[run_id] = run
            elif run.exit is not None:
                found[run_id] = run.exit
        return found

    def _find_jobs(self) -> dict[str, str]:
        """Return the numbers of arrays by their comments."""
        try:
            return {row.comment: key[0] for key, row in self._client.list_jobs(self._job_name).items()}
        except SlurmError as error:
            raise ExecutorUnavailableError(
                f"{error}: what is left of an earlier start cannot be told; start again once Slurm answers"
            ) from None

    def give_more(self, run_id: str, lack: Lack) -> str:
        """Let a run ask Slurm for more at its next attempt, where the sweep file says how much more."""
        more = self._arrays.grow(run_id, lack)
        if more is None:
            return ""
        told = f"{more.mem_mib} MiB" if lack == Lack.MEMORY else f"{(more.time_s or 0) / 60:.0f} min"
        self._notes.append(f"run {run_id} had too little {lack}: it goes again with {told}")
        return told

    def stop(self, run: SlurmRun) -> None:
        """Have a run end; one that Slurm does not have yet ends at once."""
        assert run.stopped is not None
        if run in self._to_submit:
            self._to_submit.remove(run)
            self._end(run, Exit(not_started="stopped before it could be started", stopped=run.stopped))
            return
        self._mailbox.ask_to_stop(run.run_id, run.attempt, run.stopped, now=run.is_killed)
        run.cancel_due = time.monotonic() + (HURRY_S if run.is_killed else run.grace_s + SETTLE_S)
        self._to_stop.append(run)

    def take_notes(self) -> Sequence[str]:
        """Return what Slurm says that a person should know."""
        notes, self._notes = self._notes, []
        return notes

    def wait(self, timeout_s: float | None) -> None:
        """Submit and stop what is to be, and wait for an end, a watched descriptor, or the time."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self._act()
            if self._look():
                return
            now = time.monotonic()
            left = LOOK_S if until is None else min(LOOK_S, until - now)
            watched = list(self._watched())
            ready, _, _ = select.select([self._wakeup, *watched], [], [], max(0.0, left))
            self._take_answers()
            if set(ready) & set(watched) or (until is not None and time.monotonic() >= until):
                self._look()
                return

    def close(self) -> None:
        """End what is under way, and wait until it has."""
        for run in list(self._active.values()):
            run.cancel(StopReason.INTERRUPTED, now=True)
        until = time.monotonic() + _CLOSE_S
        while self._active and time.monotonic() < until:
            self.wait(LOOK_S)
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._thread = None
        for fd in (self._wakeup, self._waking):
            with suppress(OSError):  # closed before
                os.close(fd)

    # what is asked of Slurm

    def _act(self) -> None:
        now = time.monotonic()
        if self._to_submit and now >= self._submit_due:
            self._submit_all()
        stops = [run for run in self._to_stop if run.key is not None]
        self._to_stop = [run for run in self._to_stop if run.key is None and run.exit is None]
        if stops:
            keys = [run.key for run in stops if run.key is not None]
            self._call(lambda: self._client.ask_to_end(keys), lambda _: self._hurry(), lambda _: self._hurry())
        late = [run for run in self._active.values() if run.cancel_due is not None and now >= run.cancel_due]
        for run in late:
            run.cancel_due = now + SETTLE_S
        late_keys = [run.key for run in late if run.key is not None]
        if late_keys:
            self._call(lambda: self._client.cancel(late_keys), lambda _: self._hurry(), self._note_trouble)
        self._ask_if_due(now)

    def _ask_if_due(self, now: float) -> None:
        """Ask Slurm how the jobs stand, where there are any, and not twice at a time."""
        depends = bool(self._in_doubt) or any(
            run.gone_since is None and run.stopped is not None for run in self._active.values()
        )
        due = self._asked_at + (HURRY_S if depends else self._options.poll_s)
        has_jobs = any(run.key is not None for run in self._active.values()) or bool(self._in_doubt)
        if self._is_asking or not has_jobs or now < due:
            return
        self._is_asking, self._asked_at = True, now
        self._call(
            lambda: self._client.list_jobs(self._job_name),
            lambda rows: self._note_states(rows, asked_at=now),
            self._note_trouble,
        )

    def _hurry(self) -> None:
        """Have Slurm asked for states at once: something has been asked of it."""
        self._asked_at = -_LONGEST_WAIT_S

    def _submit_all(self) -> None:
        self._mailbox.make()
        self._array_size = self._array_size or self._client.read_array_size()
        runs = {run.run_id: run for run in self._to_submit}
        self._to_submit = []
        inherited = dict(os.environ)
        for group in self._arrays.group(list(runs), array_size=self._array_size, most=self._most):
            tasks = {run_id: encode_task(task, inherited) for run_id in group if (task := runs[run_id].task)}
            batch, indexes = self._arrays.write(tasks, array_size=self._array_size)
            members = [runs[run_id] for run_id in group]
            for run in members:
                run.batch, run.index, run.submitted_at = batch, indexes[run.run_id], time.monotonic()
            self._submit_array(batch, members)

    def _submit_array(self, batch: str, runs: Sequence[SlurmRun]) -> None:
        def submit() -> str:
            job = self._client.submit(self._mailbox.batches / batch / SCRIPT)
            self._arrays.note_job(batch, job)
            return job

        self._call(
            submit, lambda job: self._note_submitted(runs, job), lambda error: self._note_refused(batch, runs, error)
        )

    def _call(
        self, call: Callable[[], Any], on_answer: Callable[[Any], None], on_error: Callable[[SlurmError], None]
    ) -> None:
        """Call something in the thread, and have the answer taken by the next wait."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="slurm")

        def finish(future: Future[Any]) -> None:
            def take() -> None:
                try:
                    answer = future.result()
                except SlurmError as error:
                    on_error(error)
                else:
                    on_answer(answer)

            if not future.cancelled():
                self._done.put(take)
                with suppress(OSError):  # full, which wakes as well
                    os.write(self._waking, b"\0")

        self._thread.submit(call).add_done_callback(finish)

    # what Slurm answers

    def _take_answers(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        while not self._done.empty():
            self._done.get()()

    def _note_submitted(self, runs: Sequence[SlurmRun], job: str) -> None:
        self._most, self._wait_s = min(MAX_ARRAY, 2 * self._most), _FIRST_WAIT_S
        for run in runs:
            run.key = (job, run.index)

    def _note_refused(self, batch: str, runs: Sequence[SlurmRun], error: SlurmError) -> None:
        if not error.may_pass:
            for run in runs:
                self._end(run, Exit(not_started=str(error), stopped=run.stopped))
            return
        self._say_once(f"{error}: tried again until Slurm takes it")
        self._in_doubt[self._arrays.comment_of(batch)] = list(runs)
        self._most = max(1, len(runs) // 2)  # where so many are too many
        self._submit_due, self._wait_s = time.monotonic() + self._wait_s, min(2 * self._wait_s, _LONGEST_WAIT_S)
        self._hurry()

    def _note_trouble(self, error: SlurmError) -> None:
        self._is_asking = False
        self._say_once(f"{error}: Slurm is asked again; ends of runs are seen meanwhile")

    def _note_states(self, rows: Mapping[Key, JobRow], *, asked_at: float) -> None:
        self._is_asking = False
        self._settle_doubts({row.comment: key[0] for key, row in rows.items()})
        lost: list[Key] = []
        for run in self._active.values():
            if run.key is None or run.submitted_at > asked_at:
                continue
            row = rows.get(run.key)
            if row is not None:
                self._note_state(run, row)
            elif run.gone_since is None:
                lost.append(run.key)
        if lost:
            self._call(
                lambda: self._client.read_final_states(lost),
                lambda states: self._note_lost(lost, states),
                lambda _: self._note_lost(lost, {}),
            )

    def _settle_doubts(self, jobs: Mapping[str, str]) -> None:
        """What Slurm has though its answer was lost is not submitted twice; the rest is submitted again."""
        for comment, runs in self._in_doubt.items():
            if comment in jobs:
                self._note_submitted(runs, jobs[comment])
            else:
                self._to_submit += [run for run in runs if run.exit is None]
        self._in_doubt = {}

    def _note_state(self, run: SlurmRun, row: JobRow) -> None:
        run.row = row
        if row.state in ENDED and run.gone_since is None:
            run.gone_since = time.monotonic()
        elif row.state not in ALIVE | ENDED:
            self._say_once(f"Slurm says {row.state} of a job, which means nothing here: it is taken to be under way")

    def _note_lost(self, keys: Sequence[Key], states: Mapping[Key, str]) -> None:
        """Take note of jobs that Slurm has forgotten; its accounting may still know how they ended."""
        wanted = set(keys)
        for run in self._active.values():
            if run.key in wanted and run.gone_since is None:
                node = run.row.node if run.row is not None else ""
                run.row = JobRow(state=states.get(run.key, UNKNOWN), reason="", node=node, comment="")
                run.gone_since = time.monotonic()

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._notes.append(text)

    # ends

    def _look(self) -> bool:
        """Look which runs have ended; return whether any has."""
        ended = [run for name in self._mailbox.take_ends() if (run := self._find(name)) is not None]
        gone = [run for run in self._active.values() if run.gone_since is not None]
        candidates = {run.name: run for run in [*ended, *gone]}
        return sum(map(self._take_end, candidates.values())) > 0  # all of them are looked at

    def _find(self, name: str) -> SlurmRun | None:
        run = self._active.get(name)
        if run is None:  # of an earlier start, which has recorded it
            run_id, _, attempt = name.rpartition(".")
            self._mailbox.forget(run_id, int(attempt))
        return run

    def _take_end(self, run: SlurmRun) -> bool:
        """End a run whose end can be told now; return whether it could."""
        now = time.monotonic()
        if run.verdict is not None:
            if now >= run.verdict[0]:
                self._end(run, run.verdict[1], keeps_stop=True)
            return run.exit is not None
        found = read_exit(run.run_dir)
        if found is not None and found[0] == run.attempt:
            self._take_told_end(run, found[1])
        elif run.gone_since is not None and now >= run.gone_since + self._patience(run):
            self._judge(run)
        return run.exit is not None

    def _take_told_end(self, run: SlurmRun, told: Exit) -> None:
        is_unasked = told.stopped in (StopReason.INTERRUPTED, StopReason.PREEMPTED)
        if is_unasked and run.stopped is not None:
            self._end(run, replace(told, stopped=run.stopped))
        elif not is_unasked:
            self._end(run, told)
        elif run.gone_since is not None:  # why it was ended, Slurm knows
            state = run.row.state if run.row is not None else UNKNOWN
            self._end(run, replace(told, stopped=reason_of(state)))
        else:
            self._hurry()

    def _patience(self, run: SlurmRun) -> float:
        """Return how long to wait for the file of an end: not at all where the run cannot have begun."""
        has_begun = run.row is None or bool(run.row.node)
        return SETTLE_S if has_begun else 0.0

    def _judge(self, run: SlurmRun) -> None:
        """Say how a run ended that has told nothing, by the state of its job, once it cannot go on unseen."""
        state, node = (run.row.state, run.row.node) if run.row is not None else (UNKNOWN, "")
        claim = run.run_dir / JOB
        began = read_job(run.run_dir)
        duration_s = max(0.0, time.time() - claim.stat().st_mtime) if began else 0.0
        log = self._arrays.log_of(run.run_id)
        ended = exit_of(state, node=began.get("node", node), duration_s=duration_s, log=log)
        if run.stopped is not None:
            ended = replace(ended, stopped=run.stopped, not_started=None)
        self._mailbox.ask_to_stop(run.run_id, run.attempt, run.stopped or StopReason.PREEMPTED, now=True)
        run.verdict = time.monotonic() + (FENCE_S if began else 0.0), ended
        self._take_end(run)

    def _end(self, run: SlurmRun, ended: Exit, *, keeps_stop: bool = False) -> None:
        run.exit = ended
        del self._active[run.name]
        self._mailbox.forget(run.run_id, run.attempt, keeps_stop=keeps_stop)
