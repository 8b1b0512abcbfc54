"""What differs, and nothing else."""

from __future__ import annotations

import math

import pytest

from sweepline.analysis.differences import differences, differing
from tests.fakes import recorded


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ([], []),
        ([{"a": 1}], []),
        ([{"a": 1, "b": 2}, {"a": 1, "b": 3}], ["b"]),
        ([{"a": 1}, {"a": 1.0}], []),
        ([{"a": 1}, {"a": True}], ["a"]),
        ([{"a": 1}, {"a": "1"}], ["a"]),
        ([{"a": None}, {}], ["a"]),
        ([{"a": [1, 2]}, {"a": [1, 2]}], []),
        ([{"a": {"x": 1}}, {"a": {"x": 2}}], ["a"]),
        ([{"a": math.nan}, {"a": math.nan}], []),
    ],
)
def test_names_differ_when_their_values_do(settings: list[dict[str, object]], names: list[str]) -> None:
    assert differing(settings) == names


def test_runs_differ_by_parameters_seed_code_and_place() -> None:
    first = recorded("a", params={"lr": 1, "opt": "sgd"}, seed=0, code="c1", device="0", host="h")
    second = recorded("b", params={"lr": 2, "opt": "sgd"}, seed=0, code="c2", device="0", host="h")
    assert differences([first, second]) == {"lr": [1, 2], "code": ["c1", "c2"]}
