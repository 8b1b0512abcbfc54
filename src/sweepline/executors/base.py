"""The contract of a place to run: submit, wait, poll, cancel. Executors know processes, not parameters or metrics."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class StopReason(StrEnum):
    """Why a run was ended before it ended by itself."""

    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    OVERRIDE_NOT_APPLIED = "override_not_applied"
    PRUNED = "pruned"
    BY_HAND = "by_hand"
    KEEPER_DIED = "keeper_died"
    PREEMPTED = "preempted"
    """The place took it back: a preemption, a node that failed, an allocation that ended."""
    TIME_LIMIT = "time_limit"
    """The time of its job was over, which is shorter than that of the run."""


class Lack(StrEnum):
    """What a run had too little of, and might have more of when it goes again."""

    MEMORY = "memory"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One attempt of a run as an executor sees it.

    ``environ`` is the whole environment; ``run_dir`` exists and takes ``stdout.log``, ``stderr.log`` and ``exit.json``.
    A run that writes nothing for ``stall_s`` seconds is stopped. ``interpreter`` tells which words of ``argv`` are a
    Python interpreter and its options, from and to, where the run may start warm. It runs on ``cpus``, on all where
    there are none. What of ``argv`` and ``environ`` was taken from the environment may be a secret: whoever writes a
    task down writes ``masked_argv``, where there is one, and the variables of ``masked_environ`` instead, which have
    ``${envvar:X}`` there.
    """

    run_id: str
    attempt: int
    argv: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    working_dir: Path
    run_dir: Path
    timeout_s: float | None = None
    stall_s: float | None = None
    grace_s: float = 20.0
    interpreter: tuple[int, int] | None = None
    cpus: Sequence[int] = ()
    masked_argv: Sequence[str] | None = None
    masked_environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a run ended, as any place to run can tell it.

    ``exit_code`` is None when a signal ended it, ``stopped`` says who asked for that. ``not_started`` says why there
    never was a process. ``cpu_s`` is the processor time of it and of what it waited for. It ran on ``host``.
    ``remarks`` are sentences for its row. With ``is_slot_lost`` its place cannot be used any more. At its end the disk
    of its folder may have been full (``is_disk_full``), or what it printed gone with its folder (``is_output_lost``). A
    run that ``is_warm`` was spared its imports; one that ``is_out_of_memory`` was killed by the kernel for it.
    ``lost_device`` says why the device of its slot is not used any more.
    """

    exit_code: int | None = None
    signal: int | None = None
    duration_s: float = 0.0
    max_rss_kib: int | None = None
    cpu_s: float | None = None
    host: str = ""
    stopped: StopReason | None = None
    not_started: str | None = None
    remarks: Sequence[str] = ()
    is_slot_lost: bool = False
    is_disk_full: bool = False
    is_output_lost: bool = False
    is_warm: bool = False
    is_out_of_memory: bool = False
    lost_device: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt that an earlier orchestrator submitted, and whose end nobody has recorded."""

    run_id: str
    attempt: int
    run_dir: Path


class RunHandle(Protocol):
    """A submitted run.

    Its end is in ``exit.json`` before :meth:`poll` tells it, and on the disk soon after unless it is released first.
    """

    def poll(self) -> Exit | None:
        """Return how the run ended, or None while it runs; never blocks."""

    def cancel(self, reason: StopReason, *, now: bool = False) -> None:
        """Ask the run to end: SIGTERM, after the grace SIGKILL; at once with ``now``. Asking twice is harmless."""

    def release(self) -> None:
        """Say that the end is durably recorded elsewhere, so that the executor need not see to that."""

    @property
    def place(self) -> str:
        """Where the run is, or what it waits for, where its slot does not tell; empty where it does."""


class Executor(Protocol):
    """A place to run.

    ``ended_by`` is the signal by which the place itself was told to end, None while it goes on: what runs there has its
    grace, nothing more is started.
    """

    ended_by: int | None

    def submit(self, task: Task) -> RunHandle:
        """Start a run; one that cannot be started ends with ``Exit.not_started``."""

    def recover(self, attempts: Sequence[Attempt]) -> Mapping[str, RunHandle | Exit]:
        """Return by run id what became of attempts: how they ended, or those that live on; what is lost is left out.

        Asked once, before anything is submitted.
        """

    def give_more(self, run_id: str, lack: Lack) -> str:
        """Give a run more of what it lacked, for its next attempt; return how much, or nothing where that cannot be."""

    def wait(self, timeout_s: float | None) -> None:
        """Block until a run may have ended, a watched descriptor is readable, or the time is over."""

    def take_notes(self) -> Sequence[str]:
        """Return what a person should know of how runs are started, each once."""

    @property
    def saved_s(self) -> float:
        """Seconds that one warm start saves; 0 while there are none."""

    @property
    def prepare_s(self) -> float:
        """Seconds that runs have waited until they could start warm."""

    def close(self) -> None:
        """Give up all resources; whatever still runs is ended."""
