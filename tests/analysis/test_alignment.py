"""How a key of a configuration stands to a champion's."""

from __future__ import annotations

from typing import Any

import pytest

from sweepline.analysis.alignment import Alignment, align

MATCH, ROUNDED, MISMATCH = Alignment.MATCH, Alignment.ROUNDED, Alignment.MISMATCH


def state_of(champion: Any, here: Any) -> Alignment:
    (found,) = align({"x": champion}, {"x": here})
    return found.state


@pytest.mark.parametrize(
    ("champion", "here", "state"),
    [
        (0.0018498849832733245, 0.0018498849832733245, MATCH),
        (0.0018498849832733245, 0.00185, ROUNDED),
        (1.6816632143867157e-06, 1.68e-06, ROUNDED),
        (100, 101, ROUNDED),
        (100, 102, MISMATCH),
        (0.1, -0.1, MISMATCH),
        (0.0, 1e-12, MISMATCH),
        (1, 1.0, MATCH),
        (True, 1, MISMATCH),
        ("adam", "adamw", MISMATCH),
        ([0.95, 0.999], [0.95, 0.999], MATCH),
        ([0.95, 0.999], [0.9501, 0.999], ROUNDED),
        ([0.95, 0.999], [0.9, 0.999], MISMATCH),
        ([0.95], [0.95, 0.999], MISMATCH),
        (None, None, MATCH),
        (None, 0.0, MISMATCH),
        (float("nan"), 1.0, MISMATCH),
        ("0.1", 0.1, MISMATCH),
    ],
)
def test_values_match_are_rounded_or_differ(champion: Any, here: Any, state: Alignment) -> None:
    assert state_of(champion, here) == state
    assert state_of(here, champion) == state


def test_what_one_side_lacks_is_told_apart() -> None:
    found = align({"a": 1, "b": 2, "none": None}, {"b": 2, "c": 3, "nothing": None})
    assert {key.key: key.state.value for key in found} == {
        "a": "missing here",
        "b": "match",
        "none": "match",
        "c": "missing in champion",
        "nothing": "match",
    }


def test_a_champion_that_asks_for_no_more_than_it_names() -> None:
    assert [key.key for key in align({"a": 1}, {"a": 1, "c": 3}, is_partial=True)] == ["a"]


def test_a_waived_key_keeps_its_reason_and_its_values() -> None:
    found = align({"data.name": "a", "data.root": "/a"}, {"data.name": "b", "data.root": "/b"}, waived={"data": "ours"})
    assert [(key.state, key.note, key.here) for key in found] == [("waived", "ours", "b"), ("waived", "ours", "/b")]


def test_a_waiver_of_a_key_is_none_of_one_that_begins_alike() -> None:
    (found,) = align({"lr_min": 1}, {"lr_min": 2}, waived={"lr": "why"})
    assert found.state == MISMATCH


def test_a_key_that_matches_needs_no_waiver() -> None:
    assert align({"a": 1}, {"a": 1}, waived={"a": "why"})[0].state == MATCH
