"""Which sweep a command is about: named by its place or by the option that commands about runs have."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from sweepline.cli.target import add_target
from tests.conftest import Project


@pytest.mark.parametrize(
    ("words", "sweep"),
    [
        ([], "sweep.yaml"),
        (["a.yaml"], "a.yaml"),
        (["--sweep", "a.yaml"], "a.yaml"),
        (["--sweep", "a.yaml", "retry=1"], "a.yaml"),
        (["retry=1", "--sweep=a.yaml"], "a.yaml"),
        (["--all", "--sweep", "a.yaml", "retry=1"], "a.yaml"),
    ],
)
def test_a_sweep_is_named_by_its_place_or_by_an_option(words: list[str], sweep: str) -> None:
    parser = argparse.ArgumentParser()
    if "retry=1" in words:
        parser.add_argument("change")
    parser.add_argument("--all", action="store_true")
    add_target(parser)
    assert parser.parse_args(words).sweep == Path(sweep)


def test_a_sweep_file_in_place_of_a_run_is_told_its_option(project: Project) -> None:
    project.write("train.py", "print('METRIC loss=1')")
    project.write("sweep.yaml", "program: train.py\nparameters: {x: [1]}\ndevices: cpu\nreport: never\n")
    project.write("other.yaml", "program: train.py\nparameters: {x: [2]}\n")
    assert project.run().returncode == 0
    done = project.command("show", "other.yaml")
    assert done.returncode == 2
    assert "it is a file: a sweep other than ./sweep.yaml is named by --sweep other.yaml" in done.stderr
    assert "no run matches, of 1" in project.command("ls", "--filter", "x > 1").stdout
