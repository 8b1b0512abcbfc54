"""A program that is forked from a warm parent observes what a fresh interpreter shows it: each case ends both ways."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import ASSETS, Project

sys.path.append(str(ASSETS))
from observer import CASES

ALL = ["what", *CASES]
SWEEP = """
    name: NAME
    program: observer.py
    method: grid
    parameters: {case: CASES}
    devices: cpu
    max_concurrent: 2
    seed: 1
    preload: [json, decimal]
"""
MASKED = (
    (re.compile(r"0x[0-9a-f]{6,}"), "0x…"),
    (re.compile(r"\b[0-9a-f]{16}\.\d+"), "TOKEN"),
    (re.compile(r"\b[0-9a-f]{6}(-[0-9a-f]{12}-1)\b"), r"SWEEP\1"),
    # A fresh interpreter that takes itself down can no longer read the file in which a finalizer stands.
    (re.compile(r"(line \d+, in __del__\n) .*\n"), r"\1"),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    found = Project(tmp_path_factory.mktemp("equality"))
    found.asset("observer.py")
    found.write("own_module.py", "NAME = 'my own'")
    for start in ("warm", "cold"):
        text = SWEEP.replace("CASES", json.dumps(ALL)).replace("NAME", "observed")
        found.write("sweep.yaml", text)
        done = found.run("--start", start, "--keep-going")
        assert done.returncode == 1, done.stderr
        (found.path / "outputs" / "observed").rename(found.path / start)
        assert ("warm starts: json, decimal imported" in done.stdout) == (start == "warm")
    yield found
    assert found.survivors() == []


def outcome(project: Project, start: str, case: str) -> tuple[list[object], dict[str, str]]:
    rows = pd.read_csv(project.path / start / "runs.csv", keep_default_na=False)
    (row,) = rows[rows.case == case].to_dict("records")
    run_dir = project.path / start / "runs" / row["run_id"]
    recorded = json.loads((run_dir / "exit.json").read_text())
    assert recorded["is_warm"] is (start == "warm")
    names = ("stdout.log", "stderr.log", "written.txt", "raw.txt")
    texts = {name: mask(run_dir / name) for name in names if (run_dir / name).exists()}
    return [recorded["exit_code"], recorded["signal"], row["state"]], texts


def mask(path: Path) -> str:
    text = path.read_text(errors="backslashreplace")
    for pattern, replacement in MASKED:
        text = pattern.sub(replacement, text)
    return text


@pytest.mark.parametrize("case", [case for case in ALL if case != "what"])
def test_a_warm_run_ends_as_a_cold_one(project: Project, case: str) -> None:
    warm, warm_texts = outcome(project, "warm", case)
    cold, cold_texts = outcome(project, "cold", case)
    assert warm == cold
    assert warm_texts == cold_texts


def test_a_warm_run_sees_what_a_cold_one_sees(project: Project) -> None:
    warm, cold = (json.loads(outcome(project, start, "what")[1]["stdout.log"]) for start in ("warm", "cold"))
    assert {name for name in cold if warm[name] != cold[name]} == set()
    assert warm.keys() == cold.keys()
    assert cold["main_is_globals"]
    assert len(cold) > 40


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_every_process_of_a_run_writes_whole_lines(project: Project, start: str) -> None:
    told = outcome(project, start, "streams")[1]["stdout.log"]
    assert told.split() == ["[true,", "true,", "true]", "True"]
