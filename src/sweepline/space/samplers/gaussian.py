"""A Gaussian process over parameters and progress: what whole runs will bring, from how far each one has come.

Every value that a run has told at a rung is an observation there, so that a run that was stopped early tells as much
as it can and no more: the value of a whole run is expected by what is alike, not taken from a part of one. Values are
known by their rank among all, so that neither their scale nor outliers matter. The idea is that of multi-fidelity
optimization (Kandasamy et al. 2017); kernel Matern 5/2, expected improvement of whole runs. Needs NumPy and SciPy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

MAX_OBSERVATIONS = 200  # of which the model is made
MAX_FITTED = 90  # by which its length scales are found; both take longer with the third power
N_ANYWHERE, N_NEAR, N_BEST = 500, 50, 5  # candidates: anywhere, and around each of so many of the best
N_REFINED = 3
SHARE_MOVED, SHARE_OTHER = 0.6, 0.15  # of the numbers of a point that change around it, and of its categories
_JITTER = 1e-4
_ROOT5 = math.sqrt(5)


@dataclass(frozen=True, slots=True)
class Axis:
    """How a parameter stands in a point: one number from 0 to 1, or for each of its categories whether it is that."""

    n: int | None = None
    """How many values there are, where these are few enough to be told apart."""
    is_category: bool = False

    @property
    def width(self) -> int:
        """How many numbers it takes."""
        return self.n if self.is_category and self.n is not None else 1


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run had at a place: smaller is better. ``point`` has its parameters, as their axes say."""

    point: tuple[float, ...]
    at: float
    value: float
    run: int
    """The runs' numbers are in the order in which they were proposed."""


def propose(
    seen: Sequence[Seen], pending: Sequence[tuple[float, ...]], axes: Sequence[Axis], seed: int
) -> Iterator[tuple[float, ...]]:
    """Yield points whose whole runs are expected to improve most on what is known, the best first.

    Args:
        seen: what is known.
        pending: the points of runs under way: taken to bring what is expected of them.
        axes: of the points.
        seed: of the candidates.
    """
    import numpy as np
    from scipy.special import ndtri

    rng = np.random.default_rng(seed)
    kept = _choose(seen)
    furthest = max(one.at for one in kept)
    points = np.array([(*one.point, math.log1p(one.at) / math.log1p(furthest)) for one in kept])
    _, place, counts = np.unique([-one.value for one in kept], return_inverse=True, return_counts=True)
    values = ndtri((np.cumsum(counts) - counts / 2)[place] / len(kept))  # equal ones in the middle of their ranks
    some = _spread(points[:, -1])
    model = _Model(points, values, _fit(points[some], values[some]))
    known = np.unique(points[:, :-1], axis=0)
    expected = model.predict(_whole(known))[0]
    best = expected.max()
    if pending:
        ahead = _whole(np.array(pending))
        believed = np.concatenate([values, model.predict(ahead)[0]])
        model = _Model(np.vstack([points, ahead]), believed, model.theta)
    width = sum(axis.width for axis in axes)
    near = np.minimum(np.exp(model.theta[:width]), 1.5)

    def around(center: Any, n: int, scale: float) -> Any:
        moved = rng.random((n, width)) < SHARE_MOVED
        found = np.where(moved, center + rng.standard_normal((n, width)) * scale * near, center)
        for part, _ in _parts(axes, only_categories=True):
            other = rng.random(n) < SHARE_OTHER
            found[other, part] = rng.random((n, part.stop - part.start))[other]
        return found

    centers = known[np.argsort(-expected)[:N_BEST]]
    found = [rng.random((N_ANYWHERE, width))]
    found += [around(center, N_NEAR, scale) for center in centers for scale in (0.05, 0.15)]
    candidates = _snap(np.vstack(found), axes)
    gains = model.log_improvement(_whole(candidates), best)
    for i in range(N_REFINED):
        top = candidates[np.argsort(-gains)[:N_BEST]]
        finer = [around(center, N_NEAR // 2, 0.1 / 2**i) for center in top]
        added = _snap(np.vstack(finer), axes)
        candidates = np.vstack([candidates, added])
        gains = np.concatenate([gains, model.log_improvement(_whole(added), best)])
    for index in np.argsort(-gains):
        yield tuple(float(x) for x in candidates[index])


def _choose(seen: Sequence[Seen]) -> list[Seen]:
    """Return what the model is made of: how far runs came before what they had on the way, but not only the good."""
    last = {one.run: one.at for one in seen}
    for one in seen:
        last[one.run] = max(one.at, last[one.run])
    lowest = min(last.values(), default=0.0)
    ends = [one for one in seen if one.at == last[one.run] == lowest]
    good = {id(one) for one in sorted(ends, key=lambda one: one.value)[: MAX_OBSERVATIONS // 4]}

    def weight(one: Seen) -> tuple[Any, ...]:
        is_end = one.at == last[one.run]
        return (is_end and one.at > lowest, id(one) in good, is_end, one.run)

    return sorted(sorted(seen, key=weight, reverse=True)[:MAX_OBSERVATIONS], key=lambda one: (one.run, one.at))


def _spread(progress: Any) -> Any:
    """Return the places of what length scales are fitted to: half of those that came furthest, others evenly."""
    import numpy as np

    if len(progress) <= MAX_FITTED:
        return np.arange(len(progress))
    furthest = np.argsort(-progress, kind="stable")[: MAX_FITTED // 2]
    others = np.setdiff1d(np.arange(len(progress)), furthest)
    step = math.ceil(len(others) / (MAX_FITTED - len(furthest)))
    return np.sort(np.concatenate([furthest, others[::step]]))


def _whole(points: Any) -> Any:
    """Return points at the end of a run."""
    import numpy as np

    return np.hstack([points, np.ones((len(points), 1))])


def _parts(axes: Sequence[Axis], *, only_categories: bool = False) -> Iterator[tuple[slice, Axis]]:
    """Yield where axes stand in a point."""
    start = 0
    for axis in axes:
        if axis.is_category or not only_categories:
            yield slice(start, start + axis.width), axis
        start += axis.width


def _snap(points: Any, axes: Sequence[Axis]) -> Any:
    """Move points to where there are values."""
    import numpy as np

    points = np.clip(points, 0.0, 1.0)
    for part, axis in _parts(axes):
        if axis.is_category:
            points[:, part] = np.eye(axis.width)[points[:, part].argmax(axis=1)]
        elif axis.n is not None:
            points[:, part] = np.round(points[:, part] * (axis.n - 1)) / (axis.n - 1)
    return points


def _matern(squares: Any) -> tuple[Any, Any]:
    """Return the Matern kernel with 5/2, and its derivative by the logarithm of a length, over the square along it."""
    import numpy as np

    distance = _ROOT5 * np.sqrt(squares + 1e-12)
    fallen = np.exp(-distance)
    return (1 + distance + distance * distance / 3) * fallen, (1 + distance) * fallen * (5 / 3)


class _Model:
    """The process with its parameters: logarithms of lengths, of the variance and of the noise."""

    def __init__(self, points: Any, values: Any, theta: Any) -> None:
        import numpy as np
        from scipy.linalg import cho_solve, cholesky

        self.points, self.theta = points, theta
        self._lengths, self._variance = np.exp(theta[:-2]), np.exp(theta[-2])
        covariance = self._covariance(points)
        covariance[np.diag_indices(len(points))] += np.exp(theta[-1]) + _JITTER
        self._root = cholesky(covariance, lower=True)
        self._weights = cho_solve((self._root, True), values)

    def _covariance(self, others: Any) -> Any:
        import numpy as np

        left, right = others / self._lengths, self.points / self._lengths
        squares = (left**2).sum(1)[:, None] + (right**2).sum(1)[None, :] - 2 * left @ right.T
        return self._variance * _matern(np.maximum(squares, 0.0))[0]

    def predict(self, others: Any) -> tuple[Any, Any]:
        """Return mean and standard deviation."""
        import numpy as np
        from scipy.linalg import solve_triangular

        covariance = self._covariance(others)
        halved = solve_triangular(self._root, covariance.T, lower=True)
        return covariance @ self._weights, np.sqrt(np.maximum(self._variance - (halved**2).sum(0), 1e-10))

    def log_improvement(self, others: Any, best: float) -> Any:
        """Return the logarithm of the expected improvement, far below the best by its tail."""
        import numpy as np
        from scipy.special import ndtr

        mean, deviation = self.predict(others)
        z = (mean - best) / deviation
        density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        near = np.log(np.maximum(z * ndtr(z) + density, 1e-300))
        tail = -z * z / 2 - 2 * np.log(np.abs(z) + 1e-9) - math.log(2 * math.pi) / 2
        return np.log(deviation) + np.where(z > -5, near, tail)  # both are the same there


def _fit(points: Any, values: Any) -> Any:
    """Return the parameters that are likeliest, given what is common: lengths about 1, little noise."""
    import numpy as np
    from scipy.linalg import LinAlgError, cho_solve, cholesky
    from scipy.optimize import minimize

    n, n_lengths = points.shape
    differences = (points[:, None, :] - points[None, :, :]) ** 2
    common = np.array([*[0.0] * n_lengths, 0.0, math.log(0.03)])
    spread = np.array([*[1.0] * n_lengths, 1.0, 1.5])

    def loss(theta: Any) -> tuple[float, Any]:
        squares = differences / np.exp(2 * theta[:-2])
        kernel, slope = _matern(squares.sum(-1))
        variance, noise = np.exp(theta[-2]), np.exp(theta[-1])
        covariance = variance * kernel
        covariance[np.diag_indices(n)] += noise + _JITTER
        try:
            root = cholesky(covariance, lower=True)
        except LinAlgError:
            return 1e9, np.zeros_like(theta)
        weights, inverse = cho_solve((root, True), values), cho_solve((root, True), np.eye(n))
        residual = inverse - np.outer(weights, weights)
        by_lengths = np.einsum("ij,ijk->k", residual * variance * slope, squares) / 2
        gradient = np.array([*by_lengths, (residual * variance * kernel).sum() / 2, np.trace(residual) * noise / 2])
        away = (theta - common) / spread
        likely = values @ weights / 2 + np.log(np.diag(root)).sum()
        return float(likely + (away**2).sum() / 2), gradient + away / spread

    bounds = [*[(-3.0, 3.0)] * (n_lengths + 1), (-9.0, 1.0)]
    return minimize(loss, common, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 20}).x
