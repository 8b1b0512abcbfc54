"""The search for the largest batch size that fits. Pure: a function that it is given tries the sizes.

``search`` knows of a size only whether it ran; ``search_by_memory`` also what it took, and so hardly meets the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction

from sweepline.errors import SweeplineError
from sweepline.fits.memorymodel import fixed_bytes, predict_largest

_WORTHWHILE = 1.1  # times as many examples a second


class NothingFitsError(SweeplineError):
    """No size that was tried has run."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """``batch_size`` has run, in its confirmation too; ``n_trials`` counts what was tried before that.

    One that ``is_cut_short`` has used up its trials: larger sizes may run.
    """

    batch_size: int
    n_trials: int
    cap: int
    is_cut_short: bool = field(default=False, compare=False)


def apply_factor(found: int, factor: float) -> int:
    """Return the share of a size in decimal arithmetic, at least 1: 0.35 of 180 is 63, which binary floats miss."""
    return max(1, int((Decimal(found) * Decimal(str(factor))).to_integral_value(ROUND_FLOOR)))


def is_no_faster(rates: Sequence[float]) -> bool:
    """Whether the last two sizes have brought less than a tenth more examples a second, of sizes in their order.

    Where nothing bounds memory soon, larger ones are not worth their time then.
    """
    return len(rates) >= 3 and max(rates[-2:]) < _WORTHWHILE * max(rates[:-2])


def search(
    try_size: Callable[[int, bool], bool],
    *,
    first: int,
    cap: int,
    is_bisecting: bool = True,
    granularity: int | None = None,
    coarsest: Fraction = Fraction(1),
    max_trials: int = 10,
    is_enough: Callable[[bool], bool] = lambda _: False,
) -> SearchResult:
    """Return a size that runs: doubled until one does not, then bisected, then confirmed.

    Args:
        try_size: runs a size and says whether it fits; its second argument asks for the longer confirmation.
        first: where to begin; clamped to 1 .. ``cap``.
        cap: the largest size of interest, such as the number of examples.
        is_bisecting: look between the largest that fits and the smallest that does not.
        granularity: how near those two need come, and what tried sizes are multiples of; None: the first size.
        coarsest: the largest share of what fits that the granularity may be.
        max_trials: how many sizes may be tried, confirmations aside; halving goes on until something runs.
        is_enough: asked after a size has run, whether to try no further; its argument says whether sizes still grow.

    Raises:
        NothingFitsError: nothing that was tried has run, or could be confirmed.
    """
    size = min(max(first, 1), cap)
    granularity = granularity or size
    passed: set[int] = set()
    largest, smallest_not, n_trials, is_cut_short = 0, cap + 1, 0, False

    def attempt(size: int) -> None:
        nonlocal largest, smallest_not, n_trials
        n_trials += 1
        if try_size(size, False):
            passed.add(size)
            largest = max(largest, size)
        else:
            smallest_not = min(smallest_not, size)

    while n_trials < max_trials or not passed:
        attempt(size)
        if largest == 0:
            if size == 1:
                break
            size = _halved(size, granularity)
        elif smallest_not <= cap or largest == cap or is_enough(True):
            break
        else:
            size = min(2 * largest, cap)
    else:
        is_cut_short = True
    is_bisecting = is_bisecting and bool(passed) and smallest_not <= cap
    while is_bisecting and not is_enough(False):
        step = max(1, min(granularity, int(largest * coarsest)))
        if smallest_not - largest <= step:
            break
        if n_trials >= max_trials:
            is_cut_short = True
            break
        attempt(_middle(largest, smallest_not, step))
    confirmed = _confirm(try_size, passed, smallest_not, n_trials, granularity)
    return SearchResult(confirmed, n_trials, cap, is_cut_short)


NEARER = 0.8  # of a predicted size, where it is far beyond all that ran
NEAREST = 0.97  # of a predicted size, which may run out of memory all the same
NEAR, N_NEAR = 0.9, 2  # of a size that ran shortly and not for longer, and how many such are tried
N_AGAIN = 3  # sizes that are tried for longer, once it is known what one took so
FAR = 1.5  # times the largest size that ran
FARTHEST = 8  # times the largest size that ran: memory need not grow evenly for long
WRONG = 2.0  # a size that failed is so many times one that ran: what was predicted is wrong


def search_by_memory(
    try_size: Callable[[int, bool], bool],
    peaks: Mapping[int, int],
    *,
    first: int,
    cap: int,
    limit: int | None,
    granularity: int | None = None,
    coarsest: Fraction = Fraction(1, 16),
    max_trials: int = 16,
    is_enough: Callable[[bool], bool] = lambda _: False,
) -> SearchResult:
    """Return a size that runs: from what the sizes took follows which to try next, up to the limit.

    Once that is known, one size at most runs out of memory, unless it is far from what was predicted.

    Args:
        try_size: runs a size and says whether it fits; its second argument asks for the longer confirmation.
        peaks: bytes that sizes took, which ``try_size`` fills; what it does not know it leaves out.
        first: where to begin; clamped to 1 .. ``cap``.
        cap: the largest size of interest.
        limit: bytes that there are; None: not known, so that sizes are doubled and bisected.
        granularity: how near the search comes to the limit; None: the first size.
        coarsest: the largest share of what fits that the granularity may be.
        max_trials: how many sizes may be tried, confirmations aside.
        is_enough: asked after a size has run, whether to try no further; its argument says whether sizes still grow.

    Raises:
        NothingFitsError: nothing that was tried has run, or could be confirmed.
    """
    size = min(max(first, 1), cap)
    granularity = granularity or size
    passed: set[int] = set()
    smallest_not, n_trials, is_cut_short = cap + 1, 0, False
    while n_trials < max_trials or not passed:
        known = {one: peaks[one] for one in passed if one in peaks}
        is_predicted = limit is not None and predict_largest(known, limit) is not None
        n_trials += 1
        if try_size(size, False):
            passed.add(size)
        else:
            smallest_not = min(smallest_not, size)
            if not passed and size == 1:
                break
            if not passed:
                size = _halved(size, granularity)
                continue
            if is_predicted and smallest_not < WRONG * max(passed):
                break
        largest = max(passed)
        step = max(1, min(granularity, int(largest * coarsest)))
        if largest == cap or is_enough(smallest_not > cap):
            break
        known = {one: peaks[one] for one in passed if one in peaks}
        size = _next_size(largest, smallest_not, cap=cap, step=step, known=known, limit=limit)
        if size - largest < step or (smallest_not <= cap and smallest_not - largest <= step):
            break
    else:
        is_cut_short = True
    confirmed = _confirm_near(
        try_size, peaks, passed, smallest_not, n_trials, granularity=granularity, coarsest=coarsest, limit=limit
    )
    return SearchResult(confirmed, n_trials, cap, is_cut_short)


def _next_size(
    largest: int, smallest_not: int, *, cap: int, step: int, known: Mapping[int, int], limit: int | None
) -> int:
    """Return the size to try next; one that is hardly larger than the largest that ran says that it is enough."""
    predicted = predict_largest(known, limit) if limit is not None else None
    if predicted is None:
        return _middle(largest, smallest_not, step) if smallest_not <= cap else min(2 * largest, cap)
    share = NEARER if predicted > FAR * largest else NEAREST
    wanted = min(cap, FARTHEST * largest, int(predicted * share))
    if wanted >= smallest_not:
        return _middle(largest, smallest_not, step)
    return wanted if wanted == cap else wanted // step * step


def _confirm_near(
    try_size: Callable[[int, bool], bool],
    peaks: Mapping[int, int],
    passed: set[int],
    smallest_not: int,
    n_trials: int,
    *,
    granularity: int,
    coarsest: Fraction,
    limit: int | None,
) -> int:
    """Return the largest size that runs for longer too; one that does not gives way to one that is little smaller.

    Where that does not either, sizes take more for longer than they took at first: one far below tells how much, and
    from that follows how far up to go again, until one size more has not run.
    """
    shortly = {one: peaks[one] for one in passed if one in peaks}
    size = first = max((one for one in passed if one < smallest_not), default=0)
    step = max(1, min(granularity, int(first * coarsest)))
    for _ in range(N_NEAR):
        if size <= 1:
            break
        if try_size(size, True):
            return size
        smallest_not, size = size, _rounded(int(size * NEAR), step)
    if smallest_not > first:
        return _confirm(try_size, passed, smallest_not, n_trials, granularity)
    below = {one for one in passed if 2 * one <= smallest_not} or {_halved(smallest_not, granularity)}
    low = _confirm(try_size, below, smallest_not, n_trials, granularity)
    fixed = fixed_bytes(shortly)
    for _ in range(N_AGAIN):
        size = _middle(low, smallest_not, step)
        if limit is not None and peaks.get(low, 0) > fixed:
            predicted = (limit - fixed) * low / (peaks[low] - fixed)
            size = _rounded(int(min(NEAREST * predicted, smallest_not - 1)), step)
        if size - low < step or size >= smallest_not or not try_size(size, True):
            break
        low = size
    return low


def _halved(size: int, granularity: int) -> int:
    """Return about half of a size, a multiple of the granularity while it is larger."""
    return _rounded(size // 2, granularity)


def _rounded(size: int, granularity: int) -> int:
    """Return the multiple of the granularity that is no larger; the size itself where there is none."""
    return size // granularity * granularity or size


def _middle(low: int, high: int, granularity: int) -> int:
    """Return a size between the two, a multiple of the granularity where there is one."""
    middle = (low + high) // 2
    rounded = max(middle // granularity, low // granularity + 1) * granularity
    return rounded if rounded < high else middle


def _confirm(
    try_size: Callable[[int, bool], bool], passed: set[int], smallest_not: int, n_trials: int, granularity: int
) -> int:
    """Return the largest size that runs for longer too; when all that passed do not, halve on from the smallest."""
    if not passed:
        tried = "1 size was" if n_trials == 1 else f"{n_trials} sizes were"
        raise NothingFitsError(f"no batch size fits: {tried} tried, down to {smallest_not}")
    for size in sorted(passed, reverse=True):
        if size < smallest_not and try_size(size, True):
            return size
    size = _halved(min(*passed, smallest_not), granularity)
    while size >= 1:
        if try_size(size, True):
            return size
        size = _halved(size, granularity)
    raise NothingFitsError("no batch size fits: even 1 example fails when it runs for longer")
