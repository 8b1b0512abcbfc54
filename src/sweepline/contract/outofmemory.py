"""Texts by which libraries say that memory ran out: in a log that a sweep reads, in an error that a trainer catches."""

from __future__ import annotations

import re

_ALLOCATION_FAILED = (
    r"out of memory|DefaultCPUAllocator: (?:can't allocate|not enough) memory|std::bad_alloc"
    r"|CU(?:BLAS|DNN|SOLVER|SPARSE|FFT)_(?:STATUS_)?ALLOC_FAILED"
)

IN_DOUBT = re.compile(r"CUDNN_STATUS_INTERNAL_ERROR|CU(?:DNN|BLAS|SOLVER|SPARSE|FFT)_(?:STATUS_)?NOT_INITIALIZED")
"""What CUDA's libraries say when they cannot be set up: most often for want of memory, which they do not tell."""

IN_ERROR = re.compile(_ALLOCATION_FAILED, re.IGNORECASE)
"""What the text of a RuntimeError of torch says, whose kind alone does not tell it."""

IN_LOG = re.compile(
    _ALLOCATION_FAILED + r"|OutOfMemory|\bOOM when allocating|RESOURCE_EXHAUSTED|ResourceExhaustedError"
    r"|HOST_ALLOCATION_FAILED|(?:cuda|hip)ErrorMemoryAllocation"
    r"|cannot allocate (?:memory|vector of size)|failed to allocate memory|memory allocation of \d+ bytes failed"
    r"|Unable to allocate [\d.]+ \wi?B for an array|DataLoader worker .*killed by signal: Killed"
    r"|^(?:[\w.]*\.)?_?(?:Array)?MemoryError\b",
    re.IGNORECASE | re.MULTILINE,
)
"""The same in what a program printed: torch, TensorFlow, JAX, XGBoost, NumPy, R and the C++ runtime."""
