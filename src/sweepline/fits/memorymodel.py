"""What a size needs, from the sizes that were tried: a fixed part and one per example. Pure."""

from __future__ import annotations

from collections.abc import Mapping

APART = 0.75  # times the largest size are those that tell how memory grows
MIN_GROWTH = 1.02  # of memory between two sizes, for less tells nothing of how it grows
_N_SAME, _FAR_APART = 4, 8  # so many sizes, the largest so many times the smallest


def predict_largest(peaks: Mapping[int, int], limit: int) -> int | None:
    """Return the largest size whose memory should be within a limit; None where sizes do not tell.

    Args:
        peaks: bytes by size, of sizes that ran.
        limit: bytes.
    """
    per_example, high = _per_example(peaks), max(peaks, default=0)
    if per_example is None:
        return None
    return max(0, int(high + (limit - peaks[high]) / per_example))


def fixed_bytes(peaks: Mapping[int, int]) -> int:
    """Return what no size is without; 0 where sizes do not tell."""
    per_example, high = _per_example(peaks), max(peaks, default=0)
    return 0 if per_example is None else max(0, int(peaks[high] - per_example * high))


def is_the_same(peaks: Mapping[int, int]) -> bool:
    """Whether sizes that are far apart have all taken the same, as where a program does not read them."""
    is_far = len(peaks) >= _N_SAME and max(peaks) >= _FAR_APART * min(peaks)
    return is_far and max(peaks.values()) < MIN_GROWTH * min(peaks.values())


def _per_example(peaks: Mapping[int, int]) -> float | None:
    """Return the bytes of an example; None where sizes do not tell.

    The line through the largest size and the next that is clearly smaller: what is fixed stands out at small ones, and
    between sizes that are near each other measurements scatter more than memory grows.
    """
    sizes = sorted(peaks)
    if len(sizes) < 2:
        return None
    high = sizes[-1]
    low = max((size for size in sizes if size <= APART * high), default=sizes[0])
    if peaks[high] < MIN_GROWTH * peaks[low]:
        return None
    return (peaks[high] - peaks[low]) / (high - low)
