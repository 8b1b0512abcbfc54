"""The sweep files of docs/recipes.md: each is read and planned as it stands. Their programs are not run here."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from sweepline.config.settings import SweepSettings
from sweepline.config.sweepfile import load_sweep
from sweepline.runs import Run
from sweepline.space.plan import Plan
from tests.conftest import REPOSITORY

SECTIONS = re.findall(r"^## (.+?)\n.*?```yaml\n(.*?)```", (REPOSITORY / "docs" / "recipes.md").read_text(), re.M | re.S)
PROGRAMS = ("main.py", "run_clm.py", "src/pkg/train.py", "train.sh", "train_ddp.py", "bin/accelerate", "bin/torchrun")
MORE = ("ppo.py", "cli.py", "run.sh")
CONFIG = "optimizer: {lr: 0.1}\ntrain: {batch_size: 8}\noutput_dir: out\n"
HYDRA = "import hydra\n@hydra.main()\ndef main(cfg): ...\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all programs that the recipes name, empty, and with the commands that they start."""
    for name in (*PROGRAMS, *MORE, "train.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch(mode=0o755 if name.startswith("bin/") else 0o644)
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "run.sh").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", "src")  # as the recipe says
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def test_there_are_sixteen_recipes() -> None:
    assert len(SECTIONS) == 16


@pytest.mark.parametrize(("title", "text"), SECTIONS, ids=[title for title, _ in SECTIONS])
def test_a_recipe_is_planned_without_a_warning(title: str, text: str, folder: Path) -> None:
    if "Hydra" in title:
        (folder / "train.py").write_text(HYDRA)
    (folder / "sweep.yaml").write_text(text)
    settings = load_sweep(folder / "sweep.yaml", is_strict=True)
    runs = list(Plan(settings.space).runs())
    told = {str(told_to(settings, run, folder)) for run in runs}
    assert not settings.warnings
    assert 2 <= len(runs) == len(told) <= 4
    assert set(re.findall(r"\$\{\w+", str(told))) <= {"${run_dir"}  # which is filled in when a run starts


def told_to(settings: SweepSettings, run: Run, folder: Path) -> list[object]:
    """Return all by which a run is told its values: command, variables, files."""
    command, params = settings.command, run.params
    files = folder / "told"
    files.mkdir(exist_ok=True)
    command.write_inputs(files, params, run.seed, "cpu")
    variables = {
        k: re.sub(r"\$\{(\w+)\}", lambda m: str(params[m[1]]), v) for k, v in settings.surroundings.env.items()
    }
    words = command.build(params, run.seed, device="cpu", run_dir=files)
    return [words, variables, [path.read_text() for path in files.iterdir()]]
