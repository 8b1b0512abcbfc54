"""What docs/for-agents.md says of JSON and of the table, held against what the commands print."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from sweepline.cli.exitcodes import MEANINGS
from sweepline.runs import UNENDED, State
from tests.conftest import DEADLINE_S, REPOSITORY, Project, wait_until

PAGE = (REPOSITORY / "docs" / "for-agents.md").read_text(encoding="utf-8")
SHAPES = re.findall(r'^```json title="sweepline ([^"]+)"\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL)
OPEN = {"parameters", "states", "metrics", "files", "shares", "marginal_effects", "environment"}
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


def test_running_runs_have_the_keys_that_the_page_names(project: Project) -> None:
    project.write("train.py", "import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(600)\n")
    project.write("sweep.yaml", "program: train.py\nname: slow\nparameters: {lr: [1]}\ndevices: cpu\n")
    process = project.start("run", "--start", "cold")
    wait_until((project.path / "begun").exists, "the run has begun")
    running = json.loads(project.command("status", "--json").stdout)["running"][0]
    sweeps = json.loads(project.command("top", "--json").stdout)["sweeps"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)
    named = re.findall(r"`(\w+)`", PAGE.partition("An item of `running` has")[2].partition(".")[0])
    assert sorted(running) == sorted(named)
    own = next(sweep for sweep in sweeps if sweep["path"] == str(project.sweep_dir))
    (shown,) = [json.loads(text)["sweeps"][0] for words, text in SHAPES if words.startswith("top")]
    assert differences(shown, own) == []


@pytest.fixture
def line(finished: Path, project: Project) -> Project:
    """A copy of it."""
    shutil.copytree(finished, project.path, dirs_exist_ok=True)
    return project


def differences(shown: Any, printed: Any, *, at: str = "", depth: int = 9) -> list[str]:
    """Return where two values have other keys; lists are compared by their first items, where both have one."""
    if isinstance(shown, dict) and isinstance(printed, dict) and at.rpartition(".")[2] not in OPEN:
        unlike = [f"{at}.{key}" for key in shown.keys() ^ printed.keys()]
        both = shown.keys() & printed.keys() if depth > 1 else ()
        inner = (differences(shown[key], printed[key], at=f"{at}.{key}", depth=depth - 1) for key in both)
        return [*unlike, *(one for found in inner for one in found)]
    if isinstance(shown, list) and isinstance(printed, list) and shown and printed:
        return differences(shown[0], printed[0], at=at, depth=depth)
    return []


def test_a_key_more_or_less_is_a_difference() -> None:
    shown = {"a": [{"b": 1}], "states": {"failed": 1}}
    assert differences(shown, {"a": [{"b": 2}], "states": {"finished": 1}}) == []
    assert differences(shown, {"a": [{"c": 2}], "states": {}}) in ([".a.b", ".a.c"], [".a.c", ".a.b"])
    assert differences(shown, {"a": []}) == [".states"]


@pytest.mark.parametrize(("words", "shown"), SHAPES, ids=[words for words, _ in SHAPES])
def test_a_command_prints_the_keys_that_the_page_shows(words: str, shown: str, line: Project) -> None:
    result = line.command(*shlex.split(words))
    depth = 1 if words.split(maxsplit=1)[0] in SHORTENED else 9
    assert differences(json.loads(shown), json.loads(result.stdout), depth=depth) == []


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
