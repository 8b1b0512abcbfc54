"""The tutorial, typed again."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.tutorial import PAGE, run_page, stable_lines

from tests.conftest import Project


def test_every_command_of_the_tutorial_prints_what_the_page_shows(project: Project) -> None:
    shown = PAGE.read_text(encoding="utf-8")
    path = f"{Path(sys.executable).parent}:{project.environment()['PATH']}"
    printed = run_page(shown, project.path, project.environment({"PATH": path}))
    assert stable_lines(printed) == stable_lines(shown), "make tutorial writes down what is printed now"


def test_a_page_that_shows_something_else_is_told_apart() -> None:
    shown = PAGE.read_text(encoding="utf-8")
    assert stable_lines(shown.replace("16 finished", "17 finished")) != stable_lines(shown)
    assert stable_lines(shown.replace("0.0 s on cpu", "1.7 s on cpu")) == stable_lines(shown)
