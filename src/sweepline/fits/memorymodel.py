"""What a size needs, from the sizes that were tried: a fixed part and one per example. Pure."""

from __future__ import annotations

from collections.abc import Mapping

APART = 0.75  # times the largest size are those that tell how memory grows
MIN_GROWTH = 1.02  # of memory between two sizes, for less tells nothing of how it grows


def predict_largest(peaks: Mapping[int, int], limit: int) -> int | None:
    """Return the largest size whose memory should be within a limit; None where sizes do not tell.

    The line through the largest size and the next that is clearly smaller: what is fixed stands out at small ones, and
    between sizes that are near each other measurements scatter more than memory grows.

    Args:
        peaks: bytes by size, of sizes that ran.
        limit: bytes.
    """
    sizes = sorted(peaks)
    if len(sizes) < 2:
        return None
    high = sizes[-1]
    low = max((size for size in sizes if size <= APART * high), default=sizes[0])
    if peaks[high] < MIN_GROWTH * peaks[low]:
        return None
    per_example = (peaks[high] - peaks[low]) / (high - low)
    return max(0, int(high + (limit - peaks[high]) / per_example))
