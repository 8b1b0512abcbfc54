"""Points that are kept in few bytes come back as they were told."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from sweepline.contract.metrics import MetricPoint
from sweepline.engine.runpoints import History

NAMES = st.sampled_from(["loss", "accuracy", "a/b"])
NUMBERS = st.floats(allow_nan=False) | st.integers(-(10**30), 10**30)
POINTS = st.builds(
    MetricPoint,
    st.dictionaries(NAMES, NUMBERS, min_size=1),
    st.dictionaries(st.sampled_from(["epoch", "step"]), st.integers(-(2**70), 2**70)),
)


@given(st.lists(POINTS, max_size=30))
def test_points_come_back_in_their_order_with_every_digit(points: list[MetricPoint]) -> None:
    history = History()
    for point in points:
        history.add(point)

    assert [(list(p.values.items()), list(p.place.items())) for p in history.points] == [
        (list(p.values.items()), list(p.place.items())) for p in points
    ]


def test_a_point_takes_fewer_than_a_hundred_bytes() -> None:
    history = History(["loss"])
    tracemalloc.start()
    try:
        for step in range(4000):
            history.add(MetricPoint({"loss": 1 / (step + 1), "accuracy": step / 4000}, {"step": step}))
        n_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert n_bytes < 4000 * 100
