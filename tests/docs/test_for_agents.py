"""What docs/for-agents.md says of JSON and of the table, held against what the commands print."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from sweepline.cli.exitcodes import MEANINGS
from sweepline.runs import UNENDED, State
from tests.conftest import REPOSITORY, Project

PAGE = (REPOSITORY / "docs" / "for-agents.md").read_text(encoding="utf-8")
SHAPES = re.findall(r'^```json title="sweepline ([^"]+)"\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL)
OPEN = {"parameters", "states", "metrics", "shares", "marginal_effects", "environment"}
"""Their keys are names of the sweep's own."""
SHORTENED = {"compare"}

SWEEP = """
    name: line
    program: train.py
    metric: {name: loss, goal: minimize}
    parameters: {lr: [0.01, 0.1, 3.0]}
    seeds: [0, 1]
    devices: cpu
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sweep of which the page tells, run to its end."""
    project = Project(tmp_path_factory.mktemp("line"))
    tutorial = (REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")
    project.write("train.py", tutorial.partition('```python title="train.py"\n')[2].partition("```")[0])
    project.write("sweep.yaml", SWEEP)
    assert project.run().returncode == 1
    return project.path


@pytest.fixture
def line(finished: Path, project: Project) -> Project:
    """A copy of it."""
    shutil.copytree(finished, project.path, dirs_exist_ok=True)
    return project


def shape(value: Any, *, depth: int = 9) -> Any:
    """Return the keys of a value, and of what is in it, as far as the names are sweepline's."""
    if isinstance(value, dict) and depth:
        return {key: None if key in OPEN else shape(item, depth=depth - 1) for key, item in sorted(value.items())}
    if isinstance(value, list) and depth and value and isinstance(value[0], dict):
        return [shape(value[0], depth=depth - 1)]
    return None


@pytest.mark.parametrize(("words", "shown"), SHAPES, ids=[words for words, _ in SHAPES])
def test_a_command_prints_the_keys_that_the_page_shows(words: str, shown: str, line: Project) -> None:
    result = line.command(*shlex.split(words))
    depth = 1 if words.split(maxsplit=1)[0] in SHORTENED else 9
    assert shape(json.loads(result.stdout), depth=depth) == shape(json.loads(shown), depth=depth)


def test_the_columns_of_the_table_are_those_that_the_page_names(line: Project) -> None:
    (columns,) = re.findall(r"^```text\n(sweep,run_id,.*)\n```", PAGE, re.MULTILINE)
    header = (line.sweep_dir / "runs.csv").read_text().splitlines()[0]
    assert header == f"{columns},lr,loss"


def test_the_page_names_every_state_in_which_a_run_can_be_in_the_table() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE.partition("`state` is one of")[2].partition("only `finished`")[0]))
    assert named == set(State) - UNENDED | {State.INTERRUPTED}


def test_the_table_of_exit_codes_is_what_help_says() -> None:
    text = (REPOSITORY / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", text, re.MULTILINE)
    assert rows == [(str(code), meaning) for code, meaning in MEANINGS.items()]
