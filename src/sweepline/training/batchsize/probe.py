"""One probe, as it happens in its own process: a few optimizer steps, the last batch, one evaluation.

How that process comes to be is in ``processes`` and ``child``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from sweepline.errors import ConfigError
from sweepline.training import memory

if TYPE_CHECKING:
    import torch

OK, OOM, ERROR, TIMEOUT, UNSUPPORTED = "ok", "oom", "error", "timeout", "unsupported"
REFUSED = "refused"  # what it was to build is none, which ``message`` tells in a sentence
BUILD, TRAIN, LAST_BATCH, EVALUATE = "build", "train", "last batch", "evaluate"


@dataclass(frozen=True, slots=True)
class Request:
    """What one probe shall do. ``budget_bytes`` None: whatever there is.

    A confirmation takes full and last batches in turn, as epochs do; ``is_timing`` takes full ones alone, with memory
    as a process has it that nothing limits.
    """

    batch_size: int
    n_steps: int
    evaluation_batch_size: int
    drop_last: bool = False
    budget_bytes: int | None = None
    is_confirmation: bool = False
    is_timing: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """How a size went: ok, oom, error, timeout, unsupported or refused, and in which phase.

    ``peak_bytes`` is what training took beyond torch and its data (on a GPU, with its data), ``step_s`` the least of
    its steps, ``seconds`` what the whole probe cost.
    """

    batch_size: int
    n_steps: int
    status: str
    phase: str = ""
    peak_bytes: int | None = None
    step_s: float | None = None
    evaluation_batch_size: int | None = None
    n_alloc_retries: int = 0
    is_confirmation: bool = False
    seconds: float = 0.0
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


class Setup(Protocol):
    """The model and its optimizer as training uses them, on its device."""

    n_examples: int
    n_evaluated: int
    device: torch.device

    def step(self, index: torch.Tensor) -> None:
        """Do one optimizer step on these examples."""

    def evaluate(self, index: torch.Tensor) -> None:
        """Look at these held-out examples."""


def run_probe(build: Callable[[], Setup], request: Request) -> Probe:
    """Do what is asked and return how it went; what has no memory for that is killed instead."""
    import torch

    from sweepline.training.seeding import keep_freed_memory

    probe = Probe(request.batch_size, request.n_steps, OK, is_confirmation=request.is_confirmation)
    if request.is_timing:
        keep_freed_memory(is_scarce=False)
    memory.trim_heap()
    held_before = memory.anonymous_bytes()
    base: int | None = None
    times: list[float] = []
    phase = BUILD
    evaluation_size = request.evaluation_batch_size
    device: torch.device | None = None
    try:
        if request.budget_bytes is not None:
            memory.limit_data(request.budget_bytes)
        setup = build()
        device, phase = setup.device, TRAIN
        setup.step(torch.arange(min(2, request.batch_size)).to(device))  # loads kernels, which are not measured
        base = memory.resident_bytes() - (memory.anonymous_bytes() - held_before)
        memory.reset_peak()
        last, clock = _last_batch(request, setup.n_examples), _clock(device)
        for index in _batches(request.batch_size, request.n_steps, setup.n_examples):
            began = clock()
            setup.step(index.to(device))
            _synchronize(device)
            times.append(clock() - began)
            if last is not None and request.is_confirmation:
                setup.step(last.to(device))
        phase = LAST_BATCH
        if last is not None:
            setup.step(last.to(device))
        phase = EVALUATE
        if setup.n_evaluated and not request.is_timing:
            evaluation_size = min(evaluation_size, setup.n_evaluated)
            setup.evaluate(torch.arange(evaluation_size).to(device))
        _synchronize(device)
    except Exception as error:
        status = _judge(error)
        probe = replace(probe, status=status, message=str(error) if status == REFUSED else memory.describe(error, 400))
    return replace(
        probe,
        phase=phase,
        peak_bytes=_peak_bytes(device, base),
        step_s=min(times, default=None),
        evaluation_batch_size=evaluation_size,
        n_alloc_retries=_n_alloc_retries(device),
    )


def _clock(device: torch.device) -> Callable[[], float]:
    """Return a clock for steps: where one thread does them its own time, whatever else is running."""
    import torch

    is_alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.thread_time if is_alone else time.perf_counter


def _last_batch(request: Request, n_examples: int) -> torch.Tensor | None:
    """Return the examples that are left for an epoch's last batch; None where there is none of its own size."""
    import torch

    n_rest = n_examples % request.batch_size
    is_tried = n_rest and not request.drop_last and not request.is_timing
    return torch.arange(n_examples - n_rest, n_examples) if is_tried else None


def _batches(size: int, n_steps: int, n_examples: int) -> list[torch.Tensor]:
    import torch

    return [torch.arange(i * size, (i + 1) * size) % n_examples for i in range(n_steps)]


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def _peak_bytes(device: torch.device | None, base: int | None) -> int | None:
    if base is None:
        return None
    if device is not None and device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_reserved(device))
    return max(0, memory.peak_resident_bytes() - base)


def _n_alloc_retries(device: torch.device | None) -> int:
    if device is None or device.type != "cuda":
        return 0
    import torch

    return int(torch.cuda.memory_stats(device).get("num_alloc_retries", 0))


def _judge(error: BaseException) -> str:
    if memory.is_out_of_memory(error) or memory.is_refused_by_limit(error):
        return OOM
    if memory.is_unsupported(error):
        return UNSUPPORTED
    return REFUSED if isinstance(error, ConfigError) else ERROR
