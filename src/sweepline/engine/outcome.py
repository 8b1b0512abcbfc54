"""From a run folder to how the run ended: exit, output, effective config. Equal live and after a crash."""

from __future__ import annotations

import difflib
import errno
import math
import os
import re
import signal
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sweepline.config.metricsfrom import MetricsSource
from sweepline.config.settings import SweepSettings
from sweepline.contract import outofmemory
from sweepline.contract.files import write_whole
from sweepline.contract.metrics import format_history
from sweepline.contract.runfolder import (
    CONFIG_HASH,
    EFFECTIVE_CONFIG,
    EXIT_FILE,
    METRICS,
    OUTPUT_FOLDER,
    OVERRIDES,
    read_start_line,
)
from sweepline.contract.text import one_line
from sweepline.contract.values import flatten, same_value
from sweepline.contract.yamlfile import read_yaml
from sweepline.engine.completing import complete
from sweepline.engine.diskpause import blame_full_disk, is_excusable
from sweepline.engine.lasterror import GPU_LOST, LoggedError, find_error
from sweepline.engine.logtail import LogTail, build_tail
from sweepline.engine.metricreader import Measured
from sweepline.engine.pruning.pruner import describe_verdict, read_verdict
from sweepline.errors import ConfigError, DiskFullError, record_error
from sweepline.executors.base import Exit, StopReason
from sweepline.programs.macros import expand_run_macros
from sweepline.programs.wandb import is_wandb_form
from sweepline.runs import DIVERGED, UNSUCCESSFUL, Objective, RunOutcome, State

OVERRIDE_NOT_APPLIED = "override not applied"
_MAX_NAMED = 5
OUT_OF_MEMORY_IN_DOUBT = "(said where the GPU's memory is full, too)"
_FOLDER_SPOILED = "the run has replaced its own folder, or shut it: what it printed is lost"
_LOG_LOST = "the run's log vanished while it ran: what it printed is lost"
TAKEN_BACK = "taken back before it ended"
LACKED_MEMORY = "killed: out of the memory that it may have"
LACKED_TIME = "the time of its job was over"
_SEARCH, _FOUND = "batch_size_config.optimize_batch_size", "batch_size_config.tuned_batch_size"


_BY_REASON: Mapping[StopReason, tuple[State, str]] = {
    StopReason.INTERRUPTED: (State.INTERRUPTED, "stopped with the sweep; goes on at the next start"),
    StopReason.BY_HAND: (State.PRUNED, "stopped by hand"),
    StopReason.KEEPER_DIED: (State.KILLED, "keeper died, and its runs with it"),
    StopReason.PREEMPTED: (State.INTERRUPTED, TAKEN_BACK),
    StopReason.TIME_LIMIT: (State.TIMEOUT, f"{LACKED_TIME} {{after}}"),
    StopReason.TIMEOUT: (State.TIMEOUT, "stopped {after}"),
    StopReason.STALLED: (State.STALLED, "stopped {after}: it had fallen silent"),
}
_NOT_ITS_FAULT = (StopReason.KEEPER_DIED, StopReason.PREEMPTED)
_WANDB_FORM = b"wandb_version:"
_TOLD_BY_EXIT = tuple({f.name for f in fields(RunOutcome)} & {f.name for f in fields(Exit)})


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeReader:
    """Reads out of run folders how runs ended and what they measured.

    ``patterns`` are expressions by metric name, for scripts without METRIC lines; metrics in ``logged`` are kept
    however many others there are; a run that finished without one of the ``objectives`` says so in its reason.
    ``is_own`` tells that the program is our trainer, which has to prove all of its overrides; it was started in
    ``working_dir``.
    """

    patterns: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    objectives: Sequence[Objective] = ()
    logged: Collection[str] = ()
    is_own: bool = False
    working_dir: Path | None = None
    sources: Sequence[MetricsSource] = ()
    """The files that results are read from, where the sweep file names any."""
    resumable: bool = False
    """Whether a run whose time was over goes on from what it has saved."""

    @property
    def objective(self) -> Objective | None:
        """The first objective."""
        return self.objectives[0] if self.objectives else None

    def read(
        self,
        run_dir: Path,
        ended: Exit,
        *,
        asked: Mapping[str, Any] | None = None,
        measured: Measured | None = None,
    ) -> RunOutcome:
        """Return how an attempt ended and what it measured; write ``metrics.csv`` where the program wrote none.

        Args:
            run_dir: the run's folder.
            ended: how its process ended.
            asked: the overrides to be proved by the effective config; None where they are not known.
            measured: what its output says; read from the files when None.

        Raises:
            RecordError: the disk does not take ``metrics.csv``; when it is full, a later call may succeed.
        """
        objective, is_own = self.objective, self.is_own
        measured = measured or self.follow(run_dir).finish()
        remark = self._complete(measured, run_dir)
        _write_history(run_dir, measured)
        state, reason, error = _state_of(run_dir, ended)
        is_cut_short = ended.stopped == StopReason.TIME_LIMIT and self.resumable
        state = State.INTERRUPTED if is_cut_short else state
        difference = find_difference(run_dir, asked, is_own=is_own) if asked is not None else None
        if difference and (state == State.FINISHED or ended.stopped == StopReason.OVERRIDE_NOT_APPLIED):
            state, reason = State.FAILED, difference
        elif state == State.FINISHED:
            is_proved = asked is None or not is_own or has_effective_config(run_dir)
            reason = _remarks(measured, self.objectives, remark, is_proved=is_proved)
        reason = "; ".join(filter(None, (reason, *ended.remarks)))
        outcome = RunOutcome(
            **{name: getattr(ended, name) for name in _TOLD_BY_EXIT},
            state=state,
            reason=reason,
            metrics=_without_result(measured.results, self.objectives),
            n_bad_metric_lines=measured.n_bad_lines,
            is_blameless=is_cut_short or state == State.GPU_LOST or ended.stopped in _NOT_ITS_FAULT,
            log_tail=(error or find_error(run_dir)).tail if state in UNSUCCESSFUL else (),
        )
        if ended.is_output_lost and not _can_go_again_in(run_dir):
            return replace(outcome, state=State.FAILED, reason=_FOLDER_SPOILED)
        if ended.is_output_lost and is_excusable(outcome, objective):
            outcome = replace(outcome, state=State.INTERRUPTED, reason=_LOG_LOST, is_blameless=True, log_tail=())
        return blame_full_disk(outcome, objective) if ended.is_disk_full else outcome

    def _complete(self, measured: Measured, run_dir: Path) -> str:
        """Add what a run left in files, where its output says too little; return what is worth saying of that."""
        return complete(
            measured,
            run_dir,
            objectives=self.objectives,
            logged=self.logged,
            working_dir=self.working_dir,
            sources=self.sources,
            looks_for_usual=not self.is_own,
        )

    def measure(self, run_dir: Path) -> Measured:
        """Return what a run measured, from what is kept of it: its output, and W&B's own file."""
        measured = self.follow(run_dir).finish()
        self._complete(measured, run_dir)
        return measured

    def read_kept(self, run_dir: Path, ended: Exit) -> RunOutcome:
        """Return what :meth:`read` does of an attempt that this process did not start."""
        return self.read(run_dir, ended, asked=read_asked(run_dir))

    def follow(self, run_dir: Path, *, watched: str = "") -> LogTail:
        """Return what follows the output of a run that is under way; see :func:`build_tail`."""
        return build_tail(
            run_dir, patterns=self.patterns, objectives=self.objectives, logged=self.logged, watched=watched
        )


def _without_result(results: Mapping[str, float], objectives: Sequence[Objective]) -> Mapping[str, float]:
    """Return what a run measured; of one that says that it diverged, what it had reached before is no result."""
    if not results.get(DIVERGED):
        return results
    return {**results, **{one.name: math.nan for one in objectives if one.name in results}}


def reader_of(settings: SweepSettings) -> OutcomeReader:
    """Return what reads the results of a sweep's runs."""
    return OutcomeReader(
        patterns=settings.patterns,
        objectives=settings.objectives,
        logged=settings.logged_metrics,
        is_own=settings.command.proves_overrides,
        working_dir=settings.command.working_dir,
        sources=settings.metrics_from,
        resumable=settings.resumable,
    )


def discard_own_history(run_dir: Path) -> None:
    """Remove ``metrics.csv`` where it was written after the run had ended, not by the program, to be written anew."""
    if _logs_to_wandb(run_dir):
        return
    try:
        if (run_dir / METRICS).stat().st_mtime_ns >= (run_dir / EXIT_FILE).stat().st_mtime_ns:
            (run_dir / METRICS).unlink()
    except OSError:  # not there, and nothing to remove
        return


def _can_go_again_in(run_dir: Path) -> bool:
    """Whether a further attempt finds a folder that it can use, or none, which is made."""
    if not os.path.lexists(run_dir):
        return True
    return run_dir.is_dir() and not run_dir.is_symlink() and os.access(run_dir, os.R_OK | os.W_OK | os.X_OK)


def _write_history(run_dir: Path, measured: Measured) -> None:
    """Write ``metrics.csv``, unless the program has, or is one that logs to W&B: its history is in W&B's own file."""
    if not measured.points or run_dir.is_symlink():  # nothing is written through a link
        return
    try:
        if (run_dir / METRICS).exists() or _logs_to_wandb(run_dir):
            return
        write_whole(run_dir / METRICS, format_history(measured.points).encode(), is_durable=False)
    except OSError as error:
        fault = record_error(run_dir / METRICS, "cannot be written", error)
        if isinstance(fault, DiskFullError) or error.errno in (errno.EIO, errno.EROFS):
            raise fault from None
        measured.fault = f"{METRICS} cannot be written: {error.strerror}"


def _state_of(run_dir: Path, ended: Exit) -> tuple[State, str, LoggedError | None]:
    """Return how a run ended and why; with the error in its log where that was looked for."""
    if ended.is_slot_lost:
        return State.UNKILLABLE, "survived SIGKILL: it hangs in the kernel, and its device with it", None
    if ended.stopped == StopReason.PRUNED:
        verdict = read_verdict(run_dir)
        return State.PRUNED, describe_verdict(verdict) if verdict else "stopped early", None
    if ended.not_started is not None and ended.stopped not in (StopReason.INTERRUPTED, StopReason.BY_HAND):
        return State.SPAWN_ERROR, one_line(ended.not_started), None
    if ended.stopped is not None and ended.stopped in _BY_REASON:
        state, reason = _BY_REASON[ended.stopped]
        return state, reason.format(after=f"after {ended.duration_s:.0f} s"), None
    if ended.exit_code == 0:
        return State.FINISHED, "", None
    if ended.is_out_of_memory:
        return State.OUT_OF_MEMORY, LACKED_MEMORY, None
    error = find_error(run_dir)
    return *_state_by_log(ended, error), error


def _state_by_log(ended: Exit, error: LoggedError) -> tuple[State, str]:
    """Return how a run failed and why, by the error in its log."""
    if outofmemory.IN_LOG.search(error.block):
        return State.OUT_OF_MEMORY, one_line(_naming_line(error, outofmemory.IN_LOG))
    if GPU_LOST.search(error.block):
        return State.GPU_LOST, one_line(_naming_line(error, GPU_LOST))
    if outofmemory.IN_DOUBT.search(error.block) and ended.signal is None:
        return State.FAILED, f"{one_line(_naming_line(error, outofmemory.IN_DOUBT))} {OUT_OF_MEMORY_IN_DOUBT}"
    if ended.signal is not None:
        name = signal.Signals(ended.signal).name if ended.signal in set(signal.Signals) else str(ended.signal)
        hint = " (out-of-memory kill possible)" if ended.signal == signal.SIGKILL else ""
        return State.KILLED, f"{name}{hint}"
    return State.FAILED, one_line(error.text or "no output")


def _naming_line(error: LoggedError, kind: re.Pattern[str]) -> str:
    """Return the line of an error that says what kind it is: its own, or that of its cause."""
    lines = [line for line in error.block.splitlines() if kind.search(line)]
    return error.text if kind.search(error.text) or not lines else lines[-1]


def _remarks(measured: Measured, objectives: Sequence[Objective], remark: str, *, is_proved: bool) -> str:
    remarks = [text for text in (remark, measured.fault) if text]
    remarks += [_missing(one.name, measured.results) for one in objectives if one.name not in measured.results]
    if measured.n_bad_lines:
        remarks.append(f"{measured.n_bad_lines} METRIC lines not understood (first: {measured.bad_lines[0][:80]})")
    if measured.n_dropped_names:
        remarks.append(f"{measured.n_dropped_names} metrics beyond the first 500 left out")
    if measured.stride > 1:
        remarks.append(f"very many METRIC lines: {METRICS} holds one of {measured.stride}")
    if not is_proved:
        remarks.append(f"overrides not proved: no {EFFECTIVE_CONFIG} in the run folder")
    return one_line("; ".join(remarks))


def _missing(name: str, results: Mapping[str, float]) -> str:
    """Return that an objective was not found, and what was, the most alike first."""
    if not results:
        return f"no METRIC {name}"
    alike = sorted(results, key=lambda other: -difflib.SequenceMatcher(None, name, other).ratio())
    more = f" and {len(alike) - _MAX_NAMED} more" if len(alike) > _MAX_NAMED else ""
    return f"no METRIC {name}; there is {', '.join(alike[:_MAX_NAMED])}{more} (mend metric: nothing is trained again)"


def has_effective_config(run_dir: Path) -> bool:
    """Whether the run has written down, whole, what it really uses."""
    return os.access(f"{run_dir}/{CONFIG_HASH}", os.F_OK)  # not where the run has made its folder unreadable


def read_asked(run_dir: Path) -> Mapping[str, Any] | None:
    """Return what a run was started with: our trainer's overrides by dotted name, another program's parameters."""
    value = None
    with suppress(ConfigError):
        value = read_yaml(run_dir / OVERRIDES).value
    if isinstance(value, Mapping) and not is_wandb_form(value):
        return value
    started = read_start_line(run_dir) or {}
    params = started.get("params")
    if not isinstance(params, Mapping):
        return None
    own = {
        "run_dir": str(run_dir / OUTPUT_FOLDER),
        "run_id": str(started.get("run")),
        "run_name": str(started.get("name")),
    }
    return {name: expand_run_macros(value, own) for name, value in params.items()}


def _logs_to_wandb(run_dir: Path) -> bool:
    """Whether the run may have taken its parameters from W&B's file, and so keeps its history in W&B's own."""
    try:
        with (run_dir / OVERRIDES).open("rb") as file:
            return file.read(len(_WANDB_FORM)) == _WANDB_FORM
    except OSError:
        return False


def find_difference(run_dir: Path, asked: Mapping[str, Any], *, is_own: bool = True) -> str | None:
    """Return a sentence when the run's effective config differs from what it was asked; None when it agrees.

    A run that has not (yet) written its effective config differs in nothing. Our own trainer has to name everything it
    was asked; of another program the names count that it writes down, and values as it got them, as text.
    """
    if not has_effective_config(run_dir):
        return None
    try:
        effective = read_yaml(run_dir / EFFECTIVE_CONFIG).value
    except ConfigError as error:
        return f"{OVERRIDE_NOT_APPLIED} ({error})" if is_own else None
    got = flatten(effective) if isinstance(effective, Mapping) else {}
    nested = got | (dict(effective) if isinstance(effective, Mapping) else {})
    is_same = same_value if is_own else _same_text
    asked = flatten(asked)
    wrong = [
        f"{name}: asked {value!r}, got {nested[name]!r}" if name in nested else f"{name}: asked {value!r}, not there"
        for name, value in asked.items()
        if (is_own or name in nested)
        and (name not in nested or not is_same(value, nested[name]))
        and not _is_answered(name, asked, nested)
    ]
    return f"{OVERRIDE_NOT_APPLIED} ({'; '.join(wrong)})" if wrong else None


def _same_text(asked: Any, got: Any) -> bool:
    """Whether two values are the same setting for a program that is given text."""
    if same_value(asked, got) or str(asked) == str(got):
        return True
    try:
        return not isinstance(asked, bool) and not isinstance(got, bool) and float(asked) == float(got)
    except (TypeError, ValueError):
        return False


def _is_answered(name: str, asked: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    """Whether a key asked our trainer to search a batch size, and its effective config holds what was found."""
    is_found = got.get(_SEARCH) is False and got.get(_FOUND) is not None
    return name in (_SEARCH, _FOUND) and asked.get(_SEARCH) in (True, "once") and is_found
