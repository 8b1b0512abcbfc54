"""Randomness and speed settings of the process, fixed before anything is computed."""

from __future__ import annotations

import ctypes
import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sweepline.training.config.schema import TrainConfig

# mallopt(3): keep freed memory instead of giving it back to the kernel between steps, which faults it in again.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def epoch_order(seed: int, epoch: int, n: int) -> torch.Tensor:
    """Return the order of ``n`` examples in an epoch, (n,) int64; it follows from (seed, "order", epoch) alone."""
    digest = hashlib.sha256(f"{seed}/order/{epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.randperm(n, generator=generator)


@contextmanager
def unchanged_randomness(device: torch.device) -> Iterator[None]:
    """Leave every random generator as it was, whatever is drawn meanwhile."""
    import numpy as np

    python, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)


def set_up_process(config: TrainConfig) -> None:
    """Set threads, memory and determinism. Results depend on ``threads``, so it comes from the config alone."""
    keep_freed_memory(is_scarce=config.batch_size_config.memory_budget_gib is not None)
    torch.set_num_threads(config.threads)
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def keep_freed_memory(*, is_scarce: bool) -> None:
    """Keep it for the next step.

    Where there is a budget what is freed is given back at once, and nothing is asked for in advance: steps take a third
    longer, but the same size needs the same memory each time, and a size that was confirmed trains.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc: the default allocator stays as it is
        return
    mallopt(_M_TRIM_THRESHOLD, 64 << 10 if is_scarce else 512 << 20)
    mallopt(_M_MMAP_THRESHOLD, 64 << 10 if is_scarce else 32 << 20)
    mallopt(_M_TOP_PAD, 0 if is_scarce else 64 << 20)
