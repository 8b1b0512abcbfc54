"""The memory that a run takes, of what the kernel tells of its processes at single moments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweepline.executors.local import usage
from sweepline.executors.local.usage import UsageMeter

MIB = 1 << 20


def told(rss: int, anonymous: int, data: int, most: int) -> dict[str, int]:
    return {"VmRSS": rss * MIB, "RssAnon": anonymous * MIB, "VmData": data * MIB, "VmHWM": most * MIB}


def peak_of(monkeypatch: pytest.MonkeyPatch, *looks: dict[str, int]) -> int:
    """Return what a meter takes for the most that a process allocated, in MiB."""
    seen = iter(looks)

    def statuses(_: UsageMeter) -> Iterator[tuple[int, dict[str, int]]]:
        yield 1, next(seen)

    monkeypatch.setattr(UsageMeter, "_statuses", statuses)
    monkeypatch.setattr(usage, "_read_own", lambda _: 0)
    meter = UsageMeter(Path("nowhere"))
    for _ in looks:
        meter.read()
    return meter.peak.data // MIB


def test_what_was_held_between_two_looks_counts_with_what_is_never_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    assert peak_of(monkeypatch, told(20, 10, 18, 20), told(20, 10, 18, 58)) == 56


def test_memory_given_back_while_the_kernel_tells_of_it_makes_no_peak_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resident part is read first, and what is allocated once 38 MiB of it have gone."""
    torn = told(58, 48, 18, 58)
    assert peak_of(monkeypatch, told(20, 10, 18, 20), torn, told(20, 10, 18, 58)) == 56
