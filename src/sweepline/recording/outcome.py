"""From a run folder to how the run ended: exit, output, effective config. Equal live and after a crash."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweepline.errors import ConfigError, DiskFullError, record_error
from sweepline.executors.base import Exit, StopReason
from sweepline.files import open_plain, write_whole
from sweepline.keeper.child import STDERR, STDOUT
from sweepline.metrics import MetricReader, format_history
from sweepline.recording.room import excuse
from sweepline.recording.tail import LogTail
from sweepline.runs import Objective, RunOutcome, State
from sweepline.values import flatten, read_yaml, same_value

METRICS_CSV = "metrics.csv"
EFFECTIVE_CONFIG, CONFIG_HASH, OVERRIDES = "config.yaml", "config.sha256", "overrides.yaml"
OVERRIDE_NOT_APPLIED = "override not applied"
_SEARCH, _FOUND = "batch_size_config.optimize_batch_size", "batch_size_config.tuned_batch_size"
_TAIL_BYTES = 16 * 1024
_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|CUDA out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"
    r"|DefaultCPUAllocator: can't allocate memory|std::bad_alloc|^train_single: out of memory"
    r"|^(?:[\w.]*\.)?_?(?:Array)?MemoryError",
    re.MULTILINE,
)
_GPU_LOST = re.compile(
    r"CUDA error: (?:unspecified launch failure|an illegal instruction|unknown error)|fallen off the bus"
    r"|CUDA-capable device\(s\) is/are busy or unavailable|uncorrectable ECC error"
    r"|Unable to determine the device handle"
)


def read_outcome(
    run_dir: Path,
    ended: Exit,
    *,
    patterns: Mapping[str, re.Pattern[str]],
    objective: Objective | None = None,
    asked: Mapping[str, Any] | None = None,
    reader: MetricReader | None = None,
) -> RunOutcome:
    """Return how an attempt ended and what it measured.

    Args:
        run_dir: the run's folder; ``metrics.csv`` is written there if the program wrote none.
        ended: the exit of the process.
        patterns: metric name to expression, for scripts without METRIC lines.
        objective: a run that finished without this metric says so in its reason.
        asked: the overrides to be proved by the effective config; None for programs that write none.
        reader: what was read of the output so far, to its end; read from the files when None.

    Raises:
        RecordError: the disk does not take ``metrics.csv``; when it is full, a later call may succeed.
    """
    reader = reader or LogTail(run_dir, MetricReader(patterns)).finish()
    unread = ""
    if not reader.latest:
        try:
            reader = _read_wandb(run_dir) or reader
        except ImportError:
            unread = "what it logged to W&B is not read: pip install 'sweepline[wandb]'"
        except (OSError, ValueError) as error:
            unread = f"what it logged to W&B cannot be read: {error}"
    if reader.points and not (run_dir / METRICS_CSV).exists():
        try:
            write_whole(run_dir / METRICS_CSV, format_history(reader.points).encode(), is_durable=False)
        except OSError as error:
            fault = record_error(run_dir / METRICS_CSV, "cannot be written", error)
            if isinstance(fault, DiskFullError) or error.errno in (errno.EIO, errno.EROFS):
                raise fault from None
            reader.fault = f"{METRICS_CSV} cannot be written: {error.strerror}"
    state, reason = _state_of(run_dir, ended)
    difference = find_difference(run_dir, asked) if asked is not None else None
    if difference and (state == State.FINISHED or ended.stopped == StopReason.OVERRIDE_NOT_APPLIED):
        state, reason = State.FAILED, difference
    elif state == State.FINISHED:
        reason = _remarks(reader, objective, unread, is_proved=asked is None or has_effective_config(run_dir))
    if ended.n_left_behind:
        left = f"left {ended.n_left_behind} process{'es' if ended.n_left_behind > 1 else ''} behind, killed"
        reason = f"{reason}; {left}" if reason else left
    outcome = RunOutcome(
        state=state,
        exit_code=ended.exit_code,
        signal=ended.signal,
        reason=reason,
        duration_s=ended.duration_s,
        metrics=dict(reader.latest),
        n_bad_metric_lines=reader.n_bad_lines,
        max_rss_kib=ended.max_rss_kib,
        is_blameless=state == State.GPU_LOST or ended.stopped == StopReason.KEEPER_DIED,
    )
    return excuse(outcome, objective) if ended.is_disk_full else outcome


def _state_of(run_dir: Path, ended: Exit) -> tuple[State, str]:
    if ended.is_unkillable:
        return State.UNKILLABLE, "survived SIGKILL: it hangs in the kernel, and its device with it"
    if ended.stopped == StopReason.INTERRUPTED:
        return State.INTERRUPTED, "stopped with the sweep; goes on at the next start"
    if ended.not_started is not None:
        return State.SPAWN_ERROR, _one_line(ended.not_started)
    if ended.stopped == StopReason.KEEPER_DIED:
        return State.KILLED, "keeper died, and its runs with it"
    if ended.stopped == StopReason.TIMEOUT:
        return State.TIMEOUT, f"stopped after {ended.duration_s:.0f} s"
    if ended.stopped == StopReason.STALLED:
        return State.STALLED, f"stopped after {ended.duration_s:.0f} s: it had fallen silent"
    if ended.exit_code == 0:
        return State.FINISHED, ""
    tail = read_tail(run_dir)
    last = next((line.strip() for line in reversed(tail) if line.strip()), "no output")
    if _OUT_OF_MEMORY.search("\n".join(tail)):
        return State.OUT_OF_MEMORY, _one_line(last)
    if _GPU_LOST.search("\n".join(tail)):
        return State.GPU_LOST, _one_line(last)
    if ended.signal is not None:
        name = signal.Signals(ended.signal).name if ended.signal in set(signal.Signals) else str(ended.signal)
        hint = " (out-of-memory kill possible)" if ended.signal == signal.SIGKILL else ""
        return State.KILLED, f"{name}{hint}"
    return State.FAILED, _one_line(last)


def _remarks(reader: MetricReader, objective: Objective | None, unread: str, *, is_proved: bool) -> str:
    remarks = [text for text in (unread, reader.fault) if text]
    if objective is not None and objective.name not in reader.latest:
        remarks.append(f"no METRIC {objective.name}")
    if reader.n_bad_lines:
        remarks.append(f"{reader.n_bad_lines} METRIC lines not understood (first: {reader.bad_lines[0][:80]})")
    if reader.n_dropped_names:
        remarks.append(f"{reader.n_dropped_names} metrics beyond the first 500 left out")
    if reader.history.stride > 1:
        remarks.append(f"very many METRIC lines: {METRICS_CSV} holds one of {reader.history.stride}")
    if not is_proved:
        remarks.append(f"overrides not proved: no {EFFECTIVE_CONFIG} in the run folder")
    return _one_line("; ".join(remarks))


def has_effective_config(run_dir: Path) -> bool:
    """Whether the run has written down, whole, what it really uses."""
    return (run_dir / CONFIG_HASH).exists()


def read_asked(run_dir: Path) -> Mapping[str, Any] | None:
    """Return the overrides that a run of our trainer was started with."""
    try:
        value = read_yaml(run_dir / OVERRIDES).value
    except ConfigError:
        return None
    return value if isinstance(value, Mapping) else None


def find_difference(run_dir: Path, asked: Mapping[str, Any]) -> str | None:
    """Return a sentence when the run's effective config differs from what it was asked; None when it agrees.

    A run that has not (yet) written its effective config differs in nothing.
    """
    if not has_effective_config(run_dir):
        return None
    try:
        effective = read_yaml(run_dir / EFFECTIVE_CONFIG).value
    except ConfigError as error:
        return f"{OVERRIDE_NOT_APPLIED} ({error})"
    got = flatten(effective) if isinstance(effective, Mapping) else {}
    nested = got | (dict(effective) if isinstance(effective, Mapping) else {})
    asked = flatten(asked)
    wrong = [
        f"{name}: asked {value!r}, got {nested[name]!r}" if name in nested else f"{name}: asked {value!r}, not there"
        for name, value in asked.items()
        if (name not in nested or not same_value(value, nested[name])) and not _is_answered(name, asked, nested)
    ]
    return f"{OVERRIDE_NOT_APPLIED} ({'; '.join(wrong)})" if wrong else None


def _is_answered(name: str, asked: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    """Whether a key asked our trainer to search a batch size, and its effective config holds what was found."""
    is_found = got.get(_SEARCH) is False and got.get(_FOUND) is not None
    return name in (_SEARCH, _FOUND) and asked.get(_SEARCH) in (True, "once") and is_found


def read_tail(run_dir: Path, n_lines: int = 20) -> list[str]:
    """Return the last lines of a run's error output, or of its standard output where it wrote no errors."""
    for name in (STDERR, STDOUT):
        try:
            with open_plain(run_dir / name) as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:  # gone, or made unreadable by the run itself
            continue
        if text.strip():
            return re.split(r"[\r\n]+", text.rstrip())[-n_lines:]
    return []


def _one_line(text: str, limit: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _read_wandb(run_dir: Path) -> MetricReader | None:
    """Return what a script logged to W&B, for scripts that print no metrics."""
    files = sorted((run_dir / "wandb").glob("*run-*/run-*.wandb"))
    if not files:
        return None
    from sweepline.recording.wandbfile import read_wandb_metrics

    return read_wandb_metrics(files[-1])
