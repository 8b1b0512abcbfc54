"""Tries sizes: one process each, so that nothing here needs restoring and even a kill is a result."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import IO

from sweepline.errors import ConfigError, SweeplineError
from sweepline.training import memory
from sweepline.training.batchsize.probe import ERROR, EVALUATE, OK, OOM, REFUSED, TIMEOUT, UNSUPPORTED, Probe, Request
from sweepline.training.batchsize.processes import ProbeProcess, can_fork, forking

__all__ = ["ProbeError", "Prober", "can_fork", "describe_probes", "forking"]  # a program's own probes need no more
_WORDS = {OOM: "out of memory", TIMEOUT: "not ready in time", UNSUPPORTED: "not supported"}


class ProbeError(SweeplineError):
    """A probe failed for another reason than memory; no other size would mend it."""


class Prober:
    """Tries sizes and keeps how each went. ``tell`` takes what a person reads meanwhile, in pieces of lines.

    ``start`` begins a probe in a process of its own and returns it; see ``processes``.
    """

    def __init__(
        self,
        start: Callable[[Request, IO[bytes]], ProbeProcess],
        *,
        n_steps: int = 3,
        evaluation_batch_size: int = 1000,
        drop_last: bool = False,
        budget_bytes: int | None = None,
        timeout_s: float = 300.0,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.probes: list[Probe] = []
        self.peaks: dict[int, int] = {}
        """Bytes that sizes took when they ran last."""
        self.evaluation_batch_size = evaluation_batch_size
        self._start, self._n_steps, self._drop_last = start, n_steps, drop_last
        self._budget_bytes, self._timeout_s, self._tell = budget_bytes, timeout_s, tell

    def try_size(self, size: int, is_confirmation: bool) -> bool:
        """Whether a size fits; its confirmation takes twice the steps.

        Raises:
            ProbeError: it fails, and not for want of memory or time.
            ConfigError: there is nothing that could be tried.
        """
        self._tell(f"{'Confirming' if is_confirmation else 'Trying'} batch_size={size} ... ")
        has_been_refused = False
        while True:
            probe = replace(self._probe(size, is_confirmation), is_confirmation=is_confirmation)
            self.probes.append(probe)
            if probe.status == OOM and probe.phase == EVALUATE and self.evaluation_batch_size > 1:
                self.evaluation_batch_size = max(
                    1, min(self.evaluation_batch_size, probe.evaluation_batch_size or 1) // 2
                )
                self._tell(f"out of memory in evaluation, now {self.evaluation_batch_size} at a time ... ")
            elif probe.status == UNSUPPORTED and not has_been_refused:
                has_been_refused = True
                self._tell("not supported, once more ... ")
            else:
                break
        if probe.status == REFUSED:
            self._tell("refused\n")
            raise ConfigError(probe.message)
        if probe.status == ERROR:
            self._tell("error\n")
            raise ProbeError(
                f"batch size {size} fails in its {probe.phase} phase, not for want of memory: {probe.message}"
            )
        self._tell(f"{_describe(probe)}\n")
        if probe.status == OK and probe.peak_bytes:
            self.peaks[size] = probe.peak_bytes
        return probe.status == OK

    def time_size(self, size: int, n_steps: int) -> Probe:
        """Return how long a step takes, the least of ``n_steps``; whether the size fits is no question here."""
        request = Request(size, n_steps, self.evaluation_batch_size, is_timing=True)
        probe = self._run(request)
        self.probes.append(probe)
        return probe

    def _probe(self, size: int, is_confirmation: bool) -> Probe:
        return self._run(
            Request(
                batch_size=size,
                n_steps=self._n_steps * (2 if is_confirmation else 1),
                evaluation_batch_size=self.evaluation_batch_size,
                drop_last=self._drop_last,
                budget_bytes=self._budget_bytes,
                is_confirmation=is_confirmation,
            )
        )

    def _run(self, request: Request) -> Probe:
        began = time.perf_counter()
        with tempfile.TemporaryFile() as errors:
            child = self._start(request, errors)
            answer = child.wait(self._timeout_s)
            errors.seek(0)
            probe = _judge(request, answer, child.status, errors.read().decode("utf-8", "replace"))
        return replace(probe, seconds=time.perf_counter() - began)


def _describe(probe: Probe) -> str:
    if probe.status != OK:
        return _WORDS[probe.status] + (f" ({probe.message})" if probe.message and probe.status != OOM else "")
    peak_mib = (probe.peak_bytes or 0) / 2**20
    return f"ok ({peak_mib:,.0f} MiB, {1000 * (probe.step_s or 0):.1f} ms a step)"


def _judge(request: Request, answer: bytes | None, status: int, errors: str) -> Probe:
    """Return how a probe went; ``answer`` is None when it took too long, ``status`` how its process ended."""
    size, n_steps = request.batch_size, request.n_steps
    if answer is None:
        return Probe(size, n_steps, TIMEOUT)
    with suppress(ValueError, TypeError):
        return Probe(**json.loads(answer))
    tail = " ".join(errors.split())[-400:]
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL or memory.tells_out_of_memory(errors):
        return Probe(size, n_steps, OOM, message=tail or "killed by the system")
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return Probe(size, n_steps, ERROR, phase="unknown", message=f"{how}: {tail}" if tail else how)


def describe_probes(probes: Sequence[Probe]) -> str:
    """Return how many there were and what they cost."""
    return f"{len(probes)} probes in {sum(probe.seconds for probe in probes):.1f} s"
