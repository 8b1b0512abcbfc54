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
    r"|OpenBLAS error: Memory allocation still failed|cannot map zero-fill pages"
    r"|^(?:[\w.]*\.)?_?(?:Array)?MemoryError\b",
    re.IGNORECASE | re.MULTILINE,
)
"""The same in what a program printed: torch, TensorFlow, JAX, XGBoost, NumPy, OpenBLAS, R, the loader and C++."""

UNDER_LIMIT = re.compile(
    r"can't start new thread|pthread_create failed|Thread creation failed|failed to map segment"
    r"|could not create a primitive|DataLoader worker .*exited unexpectedly",
    re.IGNORECASE,
)
"""What has other causes too, and hardly one in a process that the kernel refuses more memory than a limit."""

KILLED = re.compile(r"^Killed$|: line \d+: +\d+ Killed\b")
"""What a shell prints whose command was ended by SIGKILL, by which the kernel makes room."""

NO_FAILURE = re.compile(
    r"\b(?:if|avoid|prevents?|case)\b[^.:]*out of memory|out of memory['\"]?\s*[:=]\s*(?:true|false|none|null)\b"
    r"|this is not a failure",
    re.IGNORECASE,
)
"""Advice that names it, an option of that name, and TensorFlow's note that something was only slower for it."""
