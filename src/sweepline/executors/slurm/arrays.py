"""The arrays that a sweep has submitted: which task is which, under which number, and with how much memory and time."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweepline.contract.files import write_whole
from sweepline.executors.base import Lack
from sweepline.executors.slurm.mailbox import (
    FOLDER,
    JOB_NUMBER,
    LOGS,
    SCRIPT,
    Mailbox,
    name_of,
    read_tasks,
    write_tasks,
)
from sweepline.executors.slurm.options import SlurmOptions
from sweepline.executors.slurm.script import BEGUN, ArrayScript, job_name

MAX_GROWN = 4
"""How often a run may get more of the same."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Memory and time of a run, in MiB and seconds; None: what the cluster gives."""

    mem_mib: int | None = None
    time_s: float | None = None
    n_grown: int = 0

    def grown(self, lack: Lack, options: SlurmOptions) -> Resources | None:
        """Return more of what was lacked; None where the sweep file gives no more."""
        if self.n_grown >= MAX_GROWN:
            return None
        if lack == Lack.MEMORY and options.more_memory is not None and self.mem_mib is not None:
            return replace(self, mem_mib=round(self.mem_mib * options.more_memory), n_grown=self.n_grown + 1)
        if lack == Lack.TIME and options.more_time is not None and self.time_s is not None:
            return replace(self, time_s=self.time_s * options.more_time, n_grown=self.n_grown + 1)
        return None


def preview_script(folder: Path, *, sweep: str, token: str, options: SlurmOptions, n_runs: int) -> str:
    """Return the script of the first array of a sweep in ``folder``, of which nothing need be there."""
    arrays = Arrays(Mailbox(folder / FOLDER), sweep, token, options)
    return arrays.script(
        "000001-xxxx", list(range(1, n_runs + 1)), "", Resources(options.mem_mib, options.time_s)
    ).render()


def comment_of(token: str) -> str:
    """Return the beginning of the comments of all jobs of a sweep."""
    return f"sweepline-{token}-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A task that an earlier start has submitted: the array ``batch``, whose number may not be known, and its index.

    Its folder was ``run_dir`` then.
    """

    batch: str
    index: int
    job: str | None
    run_dir: Path
    grace_s: float


@dataclass
class Arrays:
    """The folders of all arrays of a sweep. Indexes are the numbers of runs, as far as an array can hold them."""

    mailbox: Mailbox
    sweep: str
    token: str
    options: SlurmOptions
    _numbers: dict[str, int] = field(default_factory=dict)
    _resources: dict[str, Resources] = field(default_factory=dict)
    _submitted: dict[str, Submitted] = field(default_factory=dict)
    _n_batches: int = 0

    def load(self) -> None:
        """Read what earlier starts have submitted."""
        for batch in sorted(self.mailbox.batches.iterdir()):
            number = batch.name.partition("-")[0]
            if not number.isdecimal():
                continue
            self._n_batches = int(number)
            if (batch / "tasks.jsonl").exists():  # else it was cut off before anything was submitted
                self._load_batch(batch)

    def _load_batch(self, batch: Path) -> None:
        number = batch / JOB_NUMBER
        job = number.read_text().strip() if number.exists() else None
        for told in read_tasks(batch):
            run_id = told["run"]
            self._numbers[run_id] = told["number"]
            self._resources[run_id] = Resources(**told["resources"])
            submitted = Submitted(
                batch=batch.name,
                index=told["index"],
                job=job,
                run_dir=Path(told.get("run_dir", "")),
                grace_s=told.get("grace_s", 0.0),
            )
            self._submitted[name_of(run_id, told["attempt"])] = submitted

    def find(self, run_id: str, attempt: int) -> Submitted | None:
        """Return where an attempt of an earlier start is."""
        return self._submitted.get(name_of(run_id, attempt))

    def comment_of(self, batch: str) -> str:
        """Return the mark by which the jobs of an array are found."""
        return f"{comment_of(self.token)}{batch}"

    def log_of(self, run_id: str) -> str:
        """Return the name of the log of a run's jobs."""
        return f"{LOGS}/{job_name(self.sweep)}_run_{self.number_of(run_id):03}.out"

    def number_of(self, run_id: str) -> int:
        """Return the number of a run: in the order in which they are submitted first, from 1."""
        return self._numbers.setdefault(run_id, len(self._numbers) + 1)

    def resources_of(self, run_id: str) -> Resources:
        """Return what a run asks for."""
        return self._resources.get(run_id, Resources(self.options.mem_mib, self.options.time_s))

    def grow(self, run_id: str, lack: Lack) -> Resources | None:
        """Let a run ask for more at its next attempt; None where it cannot have more."""
        more = self.resources_of(run_id).grown(lack, self.options)
        if more is not None:
            self._resources[run_id] = more
        return more

    def group(self, run_ids: Sequence[str], *, array_size: int, most: int) -> Iterator[list[str]]:
        """Yield runs that can be one array: what they ask for is the same, and their numbers fit."""
        block = 10 ** (len(str(array_size)) - 1)
        groups: dict[tuple[int, Resources], list[str]] = {}
        for run_id in run_ids:
            groups.setdefault((self.number_of(run_id) // block, self.resources_of(run_id)), []).append(run_id)
        for members in groups.values():
            for first in range(0, len(members), most):
                yield members[first : first + most]

    def write(self, tasks: Mapping[str, Mapping[str, Any]], *, array_size: int) -> tuple[str, dict[str, int]]:
        """Write the files of an array; return its folder's name and the index of each run.

        Args:
            tasks: by run id, of one group.
            array_size: how many indexes an array may have.
        """
        self._n_batches += 1
        # A job of a sweep that --fresh has archived finds no folder of this name, though it has this number again.
        name = f"{self._n_batches:06}-{secrets.token_hex(2)}"
        batch = self.mailbox.batches / name
        batch.mkdir()
        block = 10 ** (len(str(array_size)) - 1)
        indexes = {run_id: self.number_of(run_id) % block for run_id in tasks}
        first = next(iter(tasks))
        resources = self.resources_of(first)
        told = {"mem_mib": resources.mem_mib, "time_s": resources.time_s, "n_grown": resources.n_grown}
        prefix = str(self.number_of(first) // block or "")
        script = self.script(name, sorted(indexes.values()), prefix, resources)
        (batch / SCRIPT).write_text(script.render(), encoding="utf-8", errors="surrogateescape")
        write_tasks(
            batch,
            {
                indexes[run_id]: {**task, "number": self.number_of(run_id), "resources": told}
                for run_id, task in tasks.items()
            },
        )
        return name, indexes

    def script(self, batch: str, indexes: Sequence[int], prefix: str, resources: Resources) -> ArrayScript:
        """Return the script of an array whose runs have numbers of ``prefix`` before their indexes."""
        return ArrayScript(
            sweep=self.sweep,
            comment=self.comment_of(batch),
            batch=self.mailbox.batches / batch,
            logs=self.mailbox.path.parent / LOGS,
            indexes=indexes,
            prefix=prefix,
            options=replace(self.options, mem_mib=resources.mem_mib, time_s=resources.time_s),
        )

    def has_begun(self, batch: str, index: int) -> bool:
        """Whether the script of a job was begun, its setup at least."""
        return (self.mailbox.batches / batch / f"{BEGUN}.{index}").exists()

    def note_job(self, batch: str, job: str) -> None:
        """Write down the number of an array."""
        write_whole(self.mailbox.batches / batch / JOB_NUMBER, job.encode(), is_durable=False)
