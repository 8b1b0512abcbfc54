"""The examples of docs/own-models.md, copied from the page and trained."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Project

PAGE = (REPOSITORY / "docs" / "own-models.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```(?:python|yaml)\n# ([\w/.]+)[^\n]*\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("config", ["cfg/config.yaml", "cfg/smoothed.yaml"])
def test_what_the_page_shows_learns(tmp_path: Path, config: str) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "sweepline.training", "--config", config, "--", "run_numbers=never", "device=cpu"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=Project(tmp_path).environment({}),
    )
    assert done.returncode == 0, done.stderr
    accuracies = [float(found) for found in re.findall(r"test_accuracy=([\d.]+)", done.stdout)]
    assert accuracies[-1] > max(0.8, accuracies[0])
