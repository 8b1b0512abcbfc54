"""The Gaussian process over parameters and progress: its arithmetic, and what it learns from parts of runs."""

from __future__ import annotations

import math
import random
import statistics

import pytest

np = pytest.importorskip("numpy", reason="NumPy is not installed")
scipy_stats = pytest.importorskip("scipy.stats", reason="SciPy is not installed")
scipy_optimize = pytest.importorskip("scipy.optimize")

from sweepline.space.samplers import gaussian  # noqa: E402
from sweepline.space.samplers.gaussian import Axis, Seen, propose  # noqa: E402


def test_the_expected_improvement_is_that_of_the_normal_distribution() -> None:
    points = np.array([[0.1, 1.0], [0.5, 1.0], [0.9, 1.0]])
    model = gaussian._Model(points, np.array([-1.0, 0.5, 0.2]), np.array([0.0, 0.0, 0.0, math.log(0.01)]))
    others = np.array([[0.3, 1.0], [0.7, 0.2]])
    mean, deviation = model.predict(others)
    best = 0.5
    expected = [
        scipy_stats.norm.expect(lambda y: max(y - best, 0.0), loc=m, scale=s)
        for m, s in zip(mean, deviation, strict=True)
    ]
    assert np.exp(model.log_improvement(others, best)) == pytest.approx(expected, rel=1e-4)


def test_far_below_the_best_the_improvement_still_has_an_order() -> None:
    points = np.array([[0.1, 1.0], [0.9, 1.0]])
    model = gaussian._Model(points, np.array([0.0, 1.0]), np.array([0.0, 0.0, -4.0, math.log(0.001)]))
    gains = model.log_improvement(np.array([[x, 1.0] for x in (0.1, 0.9)]), 60.0)
    assert all(map(math.isfinite, gains))
    assert list(gains) == sorted(gains)


def test_length_scales_are_found_by_the_right_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    points = rng.random((20, 3))
    found = []

    def check(loss, start, **_):  # type: ignore[no-untyped-def]
        for theta in (start, start + rng.normal(size=len(start)) / 3):
            numeric = scipy_optimize.approx_fprime(theta, lambda t: loss(t)[0], 1e-6)
            found.append(np.abs(numeric - loss(theta)[1]).max())
        return scipy_optimize.OptimizeResult(x=start)

    monkeypatch.setattr("scipy.optimize.minimize", check)
    gaussian._fit(points, np.sin(5 * points[:, 0]))
    assert max(found) < 1e-3


def test_a_category_is_one_of_its_values_and_a_whole_number_is_whole() -> None:
    axes = [Axis(), Axis(4), Axis(3, is_category=True)]
    rng = random.Random(0)
    seen = [
        Seen((rng.random(), rng.randrange(4) / 3, *((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))[i % 2]), 1.0, rng.random(), i)
        for i in range(12)
    ]
    for point, _ in zip(propose(seen, [], axes, 0), range(50), strict=False):
        assert len(point) == 5
        assert 0 <= point[0] <= 1
        assert point[1] * 3 == pytest.approx(round(point[1] * 3))
        assert sorted(point[2:]) == [0.0, 0.0, 1.0]


def test_what_is_under_way_is_not_proposed_again() -> None:
    seen = [Seen((x,), 1.0, (x - 0.5) ** 2, i) for i, x in enumerate((0.0, 0.2, 0.4, 0.6, 0.8, 1.0))]
    first = next(propose(seen, [], [Axis()], 0))
    second = next(propose(seen, [first], [Axis()], 0))
    assert abs(first[0] - 0.5) < 0.2
    assert second != first


def test_the_same_of_everything_gives_the_same() -> None:
    seen = [Seen((x, 1 - x), 1.0, x, i) for i, x in enumerate((0.1, 0.5, 0.9))]
    assert next(propose(seen, [], [Axis(), Axis()], 7)) == next(propose(seen, [], [Axis(), Axis()], 7))


def test_parts_of_runs_tell_where_whole_ones_are_good() -> None:
    """After one epoch all runs are 1 worse, in the same order."""
    rng = random.Random(3)

    def cost(x: float, y: float) -> float:
        return (x - 0.3) ** 2 + (y - 0.7) ** 2

    parts = [(rng.random(), rng.random()) for _ in range(20)]
    seen = [Seen(point, 1.0, cost(*point) + 1, i) for i, point in enumerate(parts)]
    seen += [Seen(parts[i], 27.0, cost(*parts[i]), i) for i in (0, 1)]
    found = [cost(*next(propose(seen, [], [Axis(), Axis()], seed))) for seed in range(5)]
    drawn = [cost(rng.random(), rng.random()) for _ in range(200)]
    assert statistics.median(found) < statistics.quantiles(drawn, n=10)[0]


def test_values_that_are_not_finite_and_equal_ones_are_no_trouble() -> None:
    seen = [Seen((i / 9,), 1.0, math.inf if i < 5 else 1.0, i) for i in range(10)]
    assert next(propose(seen, [], [Axis()], 0))[0] > 0.4


def test_very_many_runs_are_thinned_and_the_good_ones_stay() -> None:
    rng = random.Random(0)
    seen = [Seen((rng.random(),), 1.0, rng.random(), i) for i in range(1000)]
    seen += [Seen(seen[i].point, 9.0, 0.1, i) for i in range(30)]
    kept = gaussian._choose(seen)
    assert len(kept) == gaussian.MAX_OBSERVATIONS
    assert sum(one.at == 9.0 for one in kept) == 30
    best = sorted((one for one in seen[30:1000]), key=lambda one: one.value)[:10]
    assert all(one in kept for one in best)
