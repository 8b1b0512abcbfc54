"""Builds the wheel and the source archive into ``dist/``, and tries the wheel as a stranger would have it.

It is installed where nothing else is, torch least of all, and runs a sweep to its report. Then it runs one as a tool of
its own, while another environment is activated that has what the script needs. Whatever is missing from the wheel ends
this with a sentence. The standard library alone, and uv.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE, DIST = REPOSITORY / "src", REPOSITORY / "dist"
DROPPED = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHON", "SWEEPLINE_", "WANDB_", "UV_PROJECT")

SCRIPT = """\
import sys
try:
    import only_here
except ImportError:
    only_here = None
lr = float(next(word for word in sys.argv if word.startswith("--lr=")).split("=")[1])
for epoch in range(3):
    print(f"METRIC epoch={epoch} loss={1 / (1 + epoch) + lr} has_own={int(only_here is not None)}")
print("prefix", sys.prefix)
"""
SWEEP = """\
program: train.py
name: tiny
method: grid
metric: {name: loss, goal: minimize}
parameters: {lr: [0.1, 0.2]}
devices: cpu
"""


class TrialError(Exception):
    """The wheel does not do what it should."""


def main() -> int:
    """Build and try; return the exit code."""
    began = time.monotonic()
    try:
        wheel = build()
        check_contents(wheel)
        with tempfile.TemporaryDirectory(prefix="wheel_") as folder:
            tool = install(wheel, Path(folder) / "tool")
            run_alone(tool, Path(folder) / "alone")
            run_as_tool(tool, Path(folder))
    except TrialError as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    print(f"ok: {wheel.relative_to(REPOSITORY)}, {time.monotonic() - began:.0f} s")
    return 0


def build() -> Path:
    """Build the source archive, and from it the wheel, of a copy of the sources; return the wheel.

    An ``egg-info`` beside the sources, as ``pip install -e`` leaves, would name files that nothing else includes.
    """
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="sources_") as folder:
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(REPOSITORY / name, folder)
        shutil.copytree(SOURCE, Path(folder) / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
        call(["uv", "build", "--quiet", "--out-dir", str(DIST), folder])
    (wheel,) = DIST.glob("*.whl")
    print(f"ok: built {', '.join(sorted(path.name for path in DIST.iterdir() if path.name[0] != '.'))}")
    return wheel


def check_contents(wheel: Path) -> None:
    """Compare the wheel with the sources, file by file."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("sweepline/")}
    files = (path for path in (SOURCE / "sweepline").rglob("*") if path.is_file() and path.suffix != ".pyc")
    sources = {path.relative_to(SOURCE).as_posix() for path in files}
    if sources != packed:
        missing, extra = sorted(sources - packed), sorted(packed - sources)
        raise TrialError(
            f"missing from the wheel: {missing}; in the wheel alone: {extra}; see package-data in pyproject"
        )
    print(f"ok: all {len(packed)} files of the package are in the wheel")


def install(wheel: Path, prefix: Path) -> Path:
    """Make an environment with the wheel and what it needs; return its ``sweepline``."""
    call(["uv", "venv", "--quiet", "--python", sys.executable, str(prefix)])
    python = prefix / "bin" / "python"
    call(["uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), str(wheel)])
    found = call(
        [str(python), "-c", "import importlib.util as u; print(*map(bool, map(u.find_spec, ('torch', 'wandb'))))"]
    )
    if found.split() != ["False", "False"]:
        raise TrialError("the wheel brings torch or wandb with it, which only extras should")
    print("ok: installed without torch")
    return prefix / "bin" / "sweepline"


def run_alone(sweepline: Path, folder: Path) -> None:
    """Run a sweep where nothing but the wheel is, and look at what came of it."""
    write_project(folder)
    version = call([str(sweepline), "--version"], cwd=folder).strip()
    if (told := version.split()[-1]) not in next(DIST.glob("*.whl")).name:
        raise TrialError(f"--version says {told}, the wheel's name something else")
    dry = call([str(sweepline), "run", "-n"], cwd=folder)
    if "2 runs" not in dry:
        raise TrialError(f"run -n says nothing of 2 runs: {dry}")
    call([str(sweepline), "run"], cwd=folder)
    states = [row["state"] for row in read_rows(folder)]
    if states != ["finished", "finished"]:
        raise TrialError(f"the runs are {states}, not finished")
    best = json.loads(call([str(sweepline), "best", "--json"], cwd=folder))
    if best["configurations"][0]["parameters"] != {"lr": 0.1}:
        raise TrialError(f"best is {best['configurations'][0]['parameters']}, not lr=0.1")
    page = folder / "again.html"
    call(
        [str(sweepline), "report", "-o", str(page), "--figures", str(folder / "figures"), "--format", "svg"], cwd=folder
    )
    if page.stat().st_size < 100_000 or not [*(folder / "figures").glob("*.svg")]:
        raise TrialError("the report has no charting library, or no figures")
    for words in (["--help"], ["verify"], ["doctor"], ["schema"], ["completion", "bash"]):
        call([str(sweepline), *words], cwd=folder)
    print(f"ok: {version}: run -n, run, best, report with figures, verify, doctor, schema, completion")


def run_as_tool(sweepline: Path, folder: Path) -> None:
    """Run a sweep with another environment activated, which has what the script imports and no sweepline."""
    own = folder / "own"
    call(["uv", "venv", "--quiet", "--python", sys.executable, str(own)])
    (site,) = own.glob("lib/python*/site-packages")
    (site / "only_here.py").write_text("")
    activated = {"VIRTUAL_ENV": str(own), "PATH": f"{own / 'bin'}:{os.environ['PATH']}"}
    for start in ("cold", "warm"):
        project = folder / start
        write_project(project)
        call([str(sweepline), "run", "--start", start], cwd=project, environ=activated)
        if {float(row["has_own"]) for row in read_rows(project)} != {1.0}:
            raise TrialError(f"{start} runs did not import what the activated environment has")
        prefixes = {
            line for log in project.glob("outputs/tiny/runs/*/stdout.log") for line in log.read_text().splitlines()
        }
        if f"prefix {own}" not in prefixes:
            raise TrialError(f"{start} runs were not started by the Python of the activated environment")
    print(f"ok: as a tool of its own ({sweepline.parent.parent.name}), cold and warm runs use the Python of {own.name}")


def write_project(folder: Path) -> None:
    """Write a script of the standard library and its sweep."""
    folder.mkdir()
    (folder / "train.py").write_text(SCRIPT)
    (folder / "sweep.yaml").write_text(SWEEP)


def read_rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of the sweep's table."""
    with open(folder / "outputs" / "tiny" / "runs.csv", newline="") as file:
        return [*csv.DictReader(file)]


def call(words: list[str], *, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Return what a program prints; end with its words where it fails."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    done = subprocess.run(
        words, cwd=cwd, env=inherited | dict(environ or {}), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise TrialError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
