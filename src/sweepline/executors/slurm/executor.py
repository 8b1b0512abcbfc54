"""Runs as jobs of Slurm: submitted in arrays, found again by later starts, and ended one by one.

A thread calls Slurm's commands: a controller that takes long does not hold the sweep. How a run ended is in the folder
that it shares with the sweep; Slurm is asked only for what no file tells.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sweepline.contract.runfolder import JOB
from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.base import Attempt, Exit, Lack, StopReason, Task
from sweepline.executors.local.exits import read_end
from sweepline.executors.node.claim import FENCE_S, read_job
from sweepline.executors.node.sharedfiles import refresh
from sweepline.executors.slurm.arrays import Arrays, Submitted, comment_of
from sweepline.executors.slurm.calls import BackgroundCalls
from sweepline.executors.slurm.client import JobRow, Key, SlurmClient, SlurmError
from sweepline.executors.slurm.mailbox import FOLDER, REFRESH_S, Mailbox
from sweepline.executors.slurm.options import SlurmOptions
from sweepline.executors.slurm.run import SlurmRun
from sweepline.executors.slurm.script import job_name
from sweepline.executors.slurm.states import ALIVE, ENDED, MAY_LIVE, UNKNOWN, exit_of, reason_of
from sweepline.executors.slurm.submissions import Submissions

LOOK_S = 0.2  # how often ends are looked for; one listing of a folder
SETTLE_S, SETTLE_REMOTE_S = 15.0, 90.0  # until a file that was written on a node is seen here, at the latest
FENCE_REMOTE_S = 90.0  # as FENCE_S, where files are seen late
HURRY_S = 1.0  # how often Slurm is asked while something depends on its answer
MISSED = 2  # how many answers in a row are without a job that is taken to be forgotten
PATIENCE_S = 5.0  # with a Slurm that does not answer, once a run is to end at once
_CLOSE_S = 60.0


class SlurmExecutor:
    """Submits runs from ``sweep_dir``, which all nodes see.

    ``token`` marks the jobs of a sweep through all its starts; those that are marked ``abandoned`` are ended. Where the
    folder ``is_remote``, what jobs write may be seen late. ``watched`` tells the descriptors whose readability ends a
    wait.
    """

    def __init__(
        self,
        sweep_dir: Path,
        *,
        sweep: str,
        token: str,
        options: SlurmOptions,
        is_remote: bool = False,
        abandoned: str = "",
        watched: Callable[[], Sequence[int]] = tuple,
    ) -> None:
        self.ended_by: int | None = None
        self.saved_s = self.prepare_s = 0.0
        self._client, self._options, self._watched = SlurmClient(), options, watched
        self._mailbox = Mailbox(sweep_dir / FOLDER, is_remote=is_remote)
        self._is_remote, self._abandoned = is_remote, abandoned
        self._is_silent, self._troubled_at = False, -math.inf
        self._arrays = Arrays(self._mailbox, sweep, token, options)
        self._job_name = job_name(sweep)
        self._active: dict[str, SlurmRun] = {}
        self._to_stop: list[SlurmRun] = []
        self._notes: list[str] = []
        self._said: set[str] = set()
        self._calls = BackgroundCalls()
        self._submissions = Submissions(
            self._arrays, self._client, self._calls, say=self._say_once, end=self._end, hurry=self._hurry
        )
        self._is_asking, self._asked_at = False, -math.inf

    # what the sweep asks for

    def submit(self, task: Task) -> SlurmRun:
        """Put a run on the list for the next array, which is submitted with the next wait."""
        run = SlurmRun(task.run_id, task.attempt, task.run_dir, task.grace_s, self.stop, task=task)
        self._active[run.name] = run
        self._submissions.add(run)
        return run

    def recover(self, attempts: Sequence[Attempt]) -> Mapping[str, SlurmRun | Exit]:
        """Return the ends that jobs have written down, and the jobs that Slurm still has.

        Raises:
            ExecutorUnavailableError: Slurm does not say which jobs it has.
        """
        self._mailbox.make()
        self._arrays.load()
        submitted = {a.run_id: (a, self._arrays.find(a.run_id, a.attempt)) for a in attempts}
        is_unknown = any(there is not None and there.job is None for _, there in submitted.values())
        rows = self._find_jobs() if is_unknown or self._abandoned else {}
        self._end_abandoned(rows)
        jobs = {row.comment: key[0] for key, row in rows.items()}
        found: dict[str, SlurmRun | Exit] = {}
        for run_id, (attempt, there) in submitted.items():
            run = None if there is None else self._take_up(attempt, there, jobs)
            if run is None:
                self._mailbox.ask_to_stop(run_id, attempt.attempt, StopReason.INTERRUPTED, now=True)
            else:
                found[run_id] = run if run.exit is None else run.exit
        return found

    def _take_up(self, attempt: Attempt, there: Submitted, jobs: Mapping[str, str]) -> SlurmRun | None:
        """Return an attempt of an earlier start; None where Slurm never had it, or its folder was another then."""
        job = there.job or jobs.get(self._arrays.comment_of(there.batch))
        if job is None:
            return None
        key = (job, there.index)
        if there.run_dir.resolve() != attempt.run_dir.resolve():  # renamed: its job would not find what it needs
            self._calls.call(lambda: self._client.cancel([key]), lambda _: None, self._note_trouble)
            return None
        wish = self._mailbox.read_stop(attempt.run_id, attempt.attempt)
        run = SlurmRun(attempt.run_id, attempt.attempt, attempt.run_dir, there.grace_s, self.stop)
        run.batch, run.index, run.key, run.stopped = there.batch, there.index, key, wish[0] if wish else None
        self._active[run.name] = run
        self._take_end(run)
        return run

    def _end_abandoned(self, rows: Mapping[Key, JobRow]) -> None:
        """End the jobs of the sweep that ``--fresh`` has set aside."""
        mark = comment_of(self._abandoned or "-")
        keys = [key for key, row in rows.items() if row.comment.startswith(mark) and row.state in ALIVE]
        if keys:
            self._calls.call(lambda: self._client.cancel(keys), lambda _: None, self._note_trouble)
            self._say_once(f"--fresh: {len(keys)} jobs of the sweep before are ended")

    def _find_jobs(self) -> dict[Key, JobRow]:
        try:
            return self._client.list_jobs(self._job_name)
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
        if self._submissions.take_back(run):
            self._end(run, Exit(not_started="stopped before it could be started", stopped=run.stopped))
            return
        self._mailbox.ask_to_stop(run.run_id, run.attempt, run.stopped, now=run.killed_at is not None)
        run.cancel_due = time.monotonic() + (HURRY_S if run.killed_at is not None else run.grace_s + SETTLE_S)
        self._to_stop.append(run)

    def take_notes(self) -> Sequence[str]:
        """Return what Slurm says that a person should know."""
        notes, self._notes = self._notes, []
        return notes

    def wait(self, timeout_s: float | None) -> None:
        """Submit and stop what is to be, and wait for an end, a watched descriptor, or the time."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self._act(is_busy=timeout_s == 0.0)
            if self._look():
                return
            now = time.monotonic()
            left = LOOK_S if until is None else min(LOOK_S, until - now)
            watched = list(self._watched())
            ready, _, _ = select.select([self._calls.fd, *watched], [], [], max(0.0, left))
            self._calls.take_answers()
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
        self._calls.close(self._client.abort)

    # what is asked of Slurm

    def _act(self, *, is_busy: bool) -> None:
        """Do what is due; a sweep that ``is_busy`` submits more in a moment."""
        now = time.monotonic()
        n_jobs = sum(bool(run.batch) for run in self._active.values())
        self._submissions.submit_due(n_jobs=n_jobs, is_busy=is_busy)
        stops = [run for run in self._to_stop if run.key is not None and run.exit is None]
        self._to_stop = [run for run in self._to_stop if run.key is None and run.exit is None]
        running = [run.key for run in stops if run.key is not None and run.has_begun]
        waiting = [run.key for run in stops if run.key is not None and not run.has_begun]
        late = [run for run in self._active.values() if run.cancel_due is not None and now >= run.cancel_due]
        for run in late:
            run.cancel_due = now + SETTLE_S
        if running:
            self._calls.call(lambda: self._client.ask_to_end(running), self._note_asked, self._note_trouble)
        if waiting or late:
            keys = [*waiting, *(run.key for run in late if run.key is not None)]
            self._calls.call(lambda: self._client.cancel(keys), self._note_asked, self._note_trouble)
        self._ask_if_due(now)

    def _note_asked(self, _: None) -> None:
        self._is_silent = False
        self._hurry()

    def _ask_if_due(self, now: float) -> None:
        """Ask Slurm how the jobs stand, where there are any, and not twice at a time."""
        depends = self._submissions.has_doubts or any(
            run.gone_since is None and run.stopped is not None for run in self._active.values()
        )
        due = self._asked_at + (HURRY_S if depends else self._options.poll_s)
        has_jobs = any(run.key is not None for run in self._active.values()) or self._submissions.has_doubts
        if self._is_asking or not has_jobs or now < due:
            return
        self._is_asking, self._asked_at = True, now
        self._calls.call(
            lambda: self._client.list_jobs(self._job_name),
            lambda rows: self._note_states(rows, asked_at=now),
            self._note_trouble,
        )

    def _hurry(self) -> None:
        """Have Slurm asked for states at once: something has been asked of it."""
        self._asked_at = -math.inf

    # what Slurm answers

    def _note_trouble(self, error: SlurmError) -> None:
        self._is_asking, self._is_silent, self._troubled_at = False, True, time.monotonic()
        self._say_once(f"{error}: Slurm is asked again; ends of runs are seen meanwhile")

    def _note_states(self, rows: Mapping[Key, JobRow], *, asked_at: float) -> None:
        self._is_asking = self._is_silent = False
        self._submissions.settle_doubts({row.comment: key[0] for key, row in rows.items()})
        lost: list[Key] = []
        for run in self._active.values():
            if run.key is None or run.submitted_at > asked_at:
                continue
            row = rows.get(run.key)
            if row is not None:
                self._note_state(run, row)
            elif run.gone_since is None:
                run.n_missed += 1
                lost += [run.key] if run.n_missed >= MISSED else []
        if lost:
            self._calls.call(
                lambda: (self._client.find_jobs(lost), self._read_accounts(lost)),
                lambda told: self._note_lost(lost, *told),
                self._note_trouble,
            )

    def _read_accounts(self, keys: Sequence[Key]) -> dict[Key, str]:
        """Return how jobs have ended as Slurm's accounting tells it; one that does not answer tells nothing."""
        try:
            return self._client.read_final_states(keys)
        except SlurmError:
            return {}

    def _note_state(self, run: SlurmRun, row: JobRow) -> None:
        run.row, run.n_missed = row, 0
        if row.state in ENDED and run.gone_since is None:
            run.gone_since = time.monotonic()
        elif row.state not in ALIVE | ENDED:
            self._say_once(f"Slurm says {row.state} of a job, which means nothing here: it is taken to be under way")

    def _note_lost(self, keys: Sequence[Key], rows: Mapping[Key, JobRow], states: Mapping[Key, str]) -> None:
        """Take note of jobs that were not among those of the sweep's name: some may be there all the same."""
        wanted = set(keys)
        for run in self._active.values():
            if run.key is None or run.key not in wanted or run.gone_since is not None:
                continue
            if run.key in rows:
                self._note_state(run, rows[run.key])
                continue
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
        self._give_up_killed()
        ended = [run for name in self._mailbox.take_ends() if (run := self._find(name)) is not None]
        gone = [run for run in self._active.values() if run.gone_since is not None]
        candidates = {run.name: run for run in [*ended, *gone]}
        return sum(map(self._take_end, candidates.values())) > 0  # all of them are looked at

    def _give_up_killed(self) -> None:
        """End runs that were to end at once while Slurm does not answer: their jobs find that they are not wanted."""
        long_ago = time.monotonic() - PATIENCE_S
        if not self._is_silent and not self._calls.is_busy_since(long_ago):
            return
        for run in list(self._active.values()):
            if run.killed_at is not None and run.killed_at <= long_ago:
                ended = Exit(stopped=run.stopped, remarks=["Slurm did not answer: its job may be there still"])
                self._end(run, ended, keeps_stop=True)

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
        found = read_end(run.run_dir, run.attempt)
        if found is None and self._is_remote and now >= run.refreshed_at + REFRESH_S:
            refresh(run.run_dir)
            run.refreshed_at = now
            found = read_end(run.run_dir, run.attempt)
        if found is not None:
            self._take_told_end(run, found)
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
        settle_s = SETTLE_REMOTE_S if self._is_remote else SETTLE_S
        return settle_s if has_begun else 0.0

    def _judge(self, run: SlurmRun) -> None:
        """Say how a run ended that has told nothing, by the state of its job, once it cannot go on unseen."""
        state, node = (run.row.state, run.row.node) if run.row is not None else (UNKNOWN, "")
        claim = run.run_dir / JOB
        began = read_job(run.run_dir)
        is_of_this = began.get("attempt") == run.attempt
        if is_of_this and run.key is not None and began.get("array") not in (None, "", run.key[0]):
            self._follow(run, str(began["array"]))
            return
        # A node's clock may be ahead of this one.
        duration_s = max(1.0, time.time() - claim.stat().st_mtime) if began else 0.0
        log = self._arrays.log_of(run.run_id)
        # A controller that was away cancels what it could not launch, as a person cancels what is in its setup.
        is_by_person = self._troubled_at < run.submitted_at and self._arrays.has_begun(run.batch, run.index)
        has_begun = bool(began) or is_by_person
        ended = exit_of(state, node=node, duration_s=duration_s, log=log, has_begun=has_begun, is_claimed=bool(began))
        if run.stopped is not None:
            ended = replace(ended, stopped=run.stopped, not_started=None)
        self._mailbox.ask_to_stop(run.run_id, run.attempt, run.stopped or StopReason.PREEMPTED, now=True)
        fence_s = FENCE_REMOTE_S if self._is_remote else FENCE_S
        run.verdict = time.monotonic() + (fence_s if began and state in MAY_LIVE else 0.0), ended
        self._take_end(run)

    def _follow(self, run: SlurmRun, array: str) -> None:
        """Look after another job, which has taken the run up: one whose submission seemed to have failed."""
        run.key, run.row, run.gone_since, run.n_missed = (array, run.index), None, None, 0
        self._hurry()

    def _end(self, run: SlurmRun, ended: Exit, *, keeps_stop: bool = False) -> None:
        run.exit = ended
        del self._active[run.name]
        self._mailbox.forget(run.run_id, run.attempt, keeps_stop=keeps_stop)
