"""Text in few columns: shortened, two that differ never look the same; wrapped, no number and no path is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepline.display.widths import shorten, shorten_apart, width_of, wrap

NAMES = [
    f"adam-lr{lr}-randaugment_strong-width{width}-s{seed}"
    for lr in (0.1, 0.01)
    for width in (64, 128)
    for seed in (0, 1)
]


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("abcdefgh", 8, "abcdefgh"), ("abcdefghi", 8, "abcd…ghi"), ("日本語です", 7, "日本…す")],
)
def test_a_text_loses_its_middle(text: str, width: int, shown: str) -> None:
    assert shorten(text, width) == shown
    assert width_of(shown) <= width


def test_names_that_fit_are_whole() -> None:
    assert shorten_apart(NAMES, 60) == NAMES


@pytest.mark.parametrize("width", [12, 16, 20, 30, 40])
def test_what_differs_between_names_stays_visible(width: int) -> None:
    shown = shorten_apart(NAMES, width)
    assert len(set(shown)) == len(NAMES)
    assert max(map(width_of, shown)) <= width


def test_the_longest_words_that_all_share_go_first() -> None:
    assert shorten_apart(NAMES, 36)[:2] == ["adam-lr0.1-…_strong-width64-s0", "adam-lr0.1-…_strong-width64-s1"]


def test_names_that_differ_in_one_letter_only_show_it() -> None:
    names = [f"gpu MIG-{i:08x}-1111-2222-3333-444444444444" for i in (3, 10)]
    assert [("3" in shown, "a" in shown) for shown in shorten_apart(names, 12)] == [(True, False), (False, True)]


def test_what_no_letter_tells_apart_gets_a_number() -> None:
    names = ["x" * 50 + "a" + "y" * 50 + "a" + "x" * 50, "x" * 50 + "b" + "y" * 50 + "b" + "x" * 50, "x" * 152 + "ab"]
    shown = shorten_apart(names, 10)
    assert (len(set(shown)), max(map(len, shown))) == (3, 10)


def test_equal_names_look_equal() -> None:
    assert len(set(shorten_apart(["a" * 50, "a" * 50], 10))) == 1


@given(st.lists(st.text("ab1.-_", min_size=1, max_size=40), min_size=1, max_size=20, unique=True), st.integers(6, 30))
def test_two_names_never_look_the_same(names: list[str], width: int) -> None:
    shown = shorten_apart(names, width)
    assert len(set(shown)) == len(names)
    assert max(map(width_of, shown)) <= width


def test_a_path_is_never_broken() -> None:
    path = "/a/very-long/path/" + "x" * 60
    assert path in wrap(f"see {path} for more", 40, indent=2)[1]
    assert wrap("one two", None) == ["one two"]
