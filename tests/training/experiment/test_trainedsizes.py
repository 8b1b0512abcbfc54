"""What a run that ran out of memory learns from the others of its set-up."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.training.experiment.trainedsizes import keep_size, recommend_size


def test_the_second_run_goes_at_once_to_the_size_that_the_first_has_found(tmp_path: Path) -> None:
    assert recommend_size(tmp_path, "key", 1400) == 1120
    keep_size(tmp_path, "key", 457)
    assert recommend_size(tmp_path, "key", 1400) == 457
    assert recommend_size(tmp_path, "key", 457) == 365
    assert recommend_size(tmp_path, "another", 1400) == 1120


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"trained": "many"}', '{"trained": 0}'])
def test_a_damaged_lesson_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "trained_key.json").write_text(text)
    assert recommend_size(tmp_path, "key", 10) == 8
