"""Runs on their way to Slurm: gathered, put into arrays, submitted; what is refused for now is tried again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

from sweepline.executors.base import Exit
from sweepline.executors.node.taskfile import encode_task
from sweepline.executors.slurm.arrays import Arrays
from sweepline.executors.slurm.calls import BackgroundCalls
from sweepline.executors.slurm.client import SlurmClient, SlurmError
from sweepline.executors.slurm.mailbox import SCRIPT
from sweepline.executors.slurm.run import SlurmRun

COMPANY_S = 1.0  # how long a free place waits for others, so that they share an array
MAX_ARRAY = 1000
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 120.0  # before Slurm is asked again for what it has refused for now


class Submissions:
    """Submits runs of ``arrays``, whose ``array_parallelism`` bounds how many jobs there are beyond the first array.

    ``say`` is told what a person should know, ``end`` of runs that will never be submitted, ``hurry`` that Slurm is to
    be asked for its jobs.
    """

    def __init__(
        self,
        arrays: Arrays,
        client: SlurmClient,
        calls: BackgroundCalls,
        *,
        say: Callable[[str], None],
        end: Callable[[SlurmRun, Exit], None],
        hurry: Callable[[], None],
    ) -> None:
        self._arrays, self._client, self._calls = arrays, client, calls
        self._say, self._end, self._hurry = say, end, hurry
        self._waiting: dict[str, SlurmRun] = {}  # by name
        self._in_doubt: dict[str, list[SlurmRun]] = {}  # by comment: Slurm may have them though it has said no
        self._since, self._due, self._wait_s = 0.0, 0.0, FIRST_WAIT_S
        self._most = MAX_ARRAY
        self._array_size = 0

    @property
    def has_doubts(self) -> bool:
        """Whether it is not known of some runs if Slurm has them."""
        return bool(self._in_doubt)

    def add(self, run: SlurmRun) -> None:
        """Have a run submitted."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting[run.name] = run

    def take_back(self, run: SlurmRun) -> bool:
        """Forget a run; False where it is on its way already."""
        return self._waiting.pop(run.name, None) is not None

    def submit_due(self, *, n_jobs: int, is_busy: bool) -> None:
        """Submit what is to be, besides ``n_jobs`` that are there. A sweep that ``is_busy`` has more in a moment."""
        now = time.monotonic()
        has_company = now >= self._since + COMPANY_S or (n_jobs == 0 and not is_busy)
        if not self._waiting or now < self._due or not has_company:
            return
        at_once = self._arrays.options.array_parallelism
        n = len(self._waiting) if at_once is None or n_jobs == 0 else max(0, at_once - n_jobs)
        ready = [self._waiting.pop(name) for name in list(self._waiting)[:n]]
        if ready:
            self._submit(ready)

    def _submit(self, ready: Sequence[SlurmRun]) -> None:
        self._arrays.mailbox.make()
        self._array_size = self._array_size or self._client.read_array_size()
        runs = {run.run_id: run for run in ready}
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
            job = self._client.submit(self._arrays.mailbox.batches / batch / SCRIPT)
            self._arrays.note_job(batch, job)
            return job

        self._calls.call(
            submit, lambda job: self._note_submitted(runs, job), lambda error: self._note_refused(batch, runs, error)
        )

    def _note_submitted(self, runs: Sequence[SlurmRun], job: str) -> None:
        self._most, self._wait_s = min(MAX_ARRAY, 2 * self._most), FIRST_WAIT_S
        for run in runs:
            run.key = (job, run.index)

    def _note_refused(self, batch: str, runs: Sequence[SlurmRun], error: SlurmError) -> None:
        if not error.may_pass:
            for run in runs:
                self._end(run, Exit(not_started=str(error), stopped=run.stopped))
            return
        self._say(f"{error}: tried again until Slurm takes it")
        self._in_doubt[self._arrays.comment_of(batch)] = list(runs)
        self._most = max(1, len(runs) // 2)  # where so many are too many
        self._due, self._wait_s = time.monotonic() + self._wait_s, min(2 * self._wait_s, LONGEST_WAIT_S)
        self._hurry()

    def settle_doubts(self, jobs: Mapping[str, str]) -> None:
        """Take note of the arrays that Slurm has, by comment: none of them is submitted twice, the rest is again."""
        for comment, runs in self._in_doubt.items():
            if comment in jobs:
                self._note_submitted(runs, jobs[comment])
            else:
                self._waiting |= {run.name: run for run in runs if run.exit is None}
        self._in_doubt = {}
