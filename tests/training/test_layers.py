"""The trainer's rooms stand on each other: imports point down, and a plain run stays out of those it does not need."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sweepline.training
from tests.conftest import Project

ROOT = Path(sweepline.training.__file__).parent
PACKAGE = "sweepline.training"
# From the bottom up. Rooms of one layer do not know each other; imports within functions and for types count too.
LAYERS = (
    ("calling", "memory", "places", "settings", "stopping"),
    ("plugins",),
    ("models",),
    ("registry",),
    ("config",),
    ("device", "folder", "optim", "seeding"),
    ("datasets",),
    ("tasks", "resuming"),
    ("trying",),
    ("building", "stepping"),
    ("loop",),
    ("checkpoints", "reporting"),
    ("bestweights", "describe", "smoke"),
    ("experiment",),
    ("batchsize",),
    ("ownloop",),
    ("trainer",),
    ("run",),
    ("commandline",),
    ("single", "__main__"),
)
HEIGHT = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}
ENTRIES = {"batchsize/__main__.py": {"commandline"}}  # a command line of its own ends as the other does


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == PACKAGE)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room_of(module: str) -> str | None:
    """Return the room of a module of the trainer; None for the package itself and for others."""
    prefix, _, rest = module.partition(f"{PACKAGE}.")
    return rest.partition(".")[0] if not prefix and rest else None


def test_every_room_has_its_place() -> None:
    found = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert found - {"__init__"} == set(HEIGHT)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    place = path.relative_to(ROOT)
    own = place.parts[0].removesuffix(".py")
    rooms = {room for module in imported_modules(path) if (room := room_of(module)) is not None}
    allowed = ENTRIES.get(str(place), set())
    above = sorted(room for room in rooms - {own} - allowed if HEIGHT[room] >= HEIGHT.get(own, 0))
    assert own == "__init__" or above == []


PLAIN_RUN = """
import sys
import sweepline.training.commandline as commandline
import sweepline.training.loop as loop
from sweepline.training.reporting import metrics

def looked_for():
    return sorted({name.split(".")[2] for name in sys.modules if name.startswith("sweepline.training.")} & ROOMS)

ROOMS = {"experiment", "batchsize"}
finish = metrics.Reporter.finish

def finish_and_tell(self, values):
    finish(self, values)
    print("IMPORTED", looked_for())

metrics.Reporter.finish = finish_and_tell
code = commandline.main(sys.argv[1:])
print("IMPORTED", looked_for())
sys.exit(code)
"""


def test_a_plain_run_imports_neither_numbers_nor_the_search_of_a_size(tmp_path: Path) -> None:
    overrides = ["data.name=digits", "data.limit=32", "model.width=2", "device=cpu", "wandb.mode=disabled"]
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_RUN, "--", *overrides],
        env=Project(tmp_path).environment({"SWEEPLINE_RUN_DIR": str(tmp_path / "run")}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("IMPORTED")] == ["IMPORTED []"] * 2


PRELOADED_RUN = """
import importlib, sys
from sweepline.engine.preloading import _OWN_IMPORTS
for name in _OWN_IMPORTS:
    importlib.import_module(name)
before = {name for name in sys.modules if name.startswith("sweepline.training.")}
code = sys.modules["sweepline.training.commandline"].main(sys.argv[1:])
print("IMPORTED", sorted(name for name in sys.modules if name.startswith("sweepline.training.") and name not in before))
sys.exit(code)
"""


def test_a_warm_run_finds_all_of_the_trainer_imported(tmp_path: Path) -> None:
    overrides = ["data.name=digits", "data.limit=32", "model.width=2", "device=cpu", "wandb.mode=disabled"]
    done = subprocess.run(
        [sys.executable, "-c", PRELOADED_RUN, "--", *overrides, "run_numbers=always", "noise_every=1"],
        env=Project(tmp_path).environment({"SWEEPLINE_RUN_DIR": str(tmp_path / "run")}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "IMPORTED []"
