"""Tables of plain text: numbers below each other, as wide as they may be, nothing but text cut."""

from __future__ import annotations

import pytest

from sweepline.display.tables import align_numbers, align_table, fit_table, shorten_dotted, try_table
from sweepline.display.widths import width_of

ROWS = [
    ["#", "learner.optimizer.step_size", "learner.schedule", "accuracy (maximize)", "runs"],
    ["1", "0.001", "cosine_with_restarts_and_warmup", "0.9712 ± 0.0031", "3"],
    ["10", "1e-05", "cosine_with_restarts_and_decay", "0.97 ± 0.12", "12"],
]


@pytest.mark.parametrize(
    ("cells", "aligned"),
    [
        (["1", "10.5", "-3"], [" 1  ", "10.5", "-3  "]),
        (["1e-05", "0.5", "-"], ["1e-05", "0.5  ", "-    "]),
        (["0.9712 ± 0.0031", "10.97 ± 0.12", "-"], [" 0.9712 ± 0.0031", "10.97   ± 0.12  ", " -              "]),
        (["nan", "1,000"], ["  nan", "1,000"]),
    ],
)
def test_numbers_stand_on_their_point(cells: list[str], aligned: list[str]) -> None:
    assert align_numbers(cells) == aligned


def test_text_stands_to_the_left() -> None:
    assert align_table([["name", "n"], ["a", "9"], ["bcdefg", "10"]]) == ["name    n", "a        9", "bcdefg  10"]


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_no_line_is_wider_than_it_may_be_and_no_number_is_cut(width: int) -> None:
    lines = fit_table(ROWS, width, n_text=1)
    assert max(map(width_of, lines)) <= width
    told = " ".join(lines)
    assert [number for number in ("0.001", "1e-05", "0.9712 ± 0.0031", "0.12", "12") if number not in told] == []


def test_values_that_are_shortened_can_be_told_apart() -> None:
    _, first, second = fit_table(ROWS, 80, n_text=1)
    assert ("warmup" in first, "decay" in second) == (True, True)


def test_dotted_headings_lose_what_no_reader_needs() -> None:
    assert fit_table(ROWS, 90, n_text=1)[0].split()[:3] == ["#", "step_size", "schedule"]


def test_headings_keep_as_many_parts_as_tell_them_apart() -> None:
    assert shorten_dotted(["a.encoder.width", "a.decoder.width", "a.lr", "width"]) == [
        "encoder.width",
        "decoder.width",
        "lr",
        "width",
    ]


def test_a_table_that_cannot_be_narrow_enough_becomes_paragraphs() -> None:
    assert try_table(ROWS, 40, n_text=1) is None
    assert fit_table(ROWS, 40, n_text=1)[:3] == [
        "1  step_size=0.001",
        "   schedule=cosine_wi…estarts_and_warmup",
        "   accuracy (maximize)=0.9712 ± 0.0031",
    ]
