"""``keep: {best: N}``: checkpoints of the best runs stay, those of others go, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Project

PROGRAM = """
    import argparse, os, pathlib, sys
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=float)
    x = parser.parse_known_args()[0].x
    own = pathlib.Path(os.environ["SWEEPLINE_RUN_DIR"])
    (own / "ckpt").mkdir(exist_ok=True)
    (own / "ckpt" / "weights.bin").write_bytes(b"w" * 1000)
    (own / "best.pt").write_bytes(b"best")
    (own / "other.txt").write_text("mine")
    (own / "big_1.bin").write_bytes(b"w")
    print("METRIC loss=nan" if x == 7 else f"METRIC loss={x}")
    sys.exit(x == 9)
"""
SWEEP = """
    program: train.py
    name: small
    method: grid
    metric: {name: loss}
    parameters: {x: [5, 1, 9, 4, 2, 7, 3]}
    devices: cpu
    max_concurrent: 2
    report: never
    keep: {best: 2}
"""


@pytest.fixture
def sweep(project: Project) -> Project:
    project.write("train.py", PROGRAM)
    project.write("sweep.yaml", SWEEP)
    return project


def having(project: Project, name: str) -> list[float]:
    """Return the x of the runs whose folder has such a file."""
    rows = project.rows()
    found = [row.x for row in rows.itertuples() if (_run_dir(project, row.run_id) / name).exists()]
    return sorted(map(float, found))


def _run_dir(project: Project, run_id: object) -> Path:
    return project.sweep_dir / "runs" / str(run_id)


def test_checkpoints_of_the_best_runs_and_of_failed_ones_stay(sweep: Project) -> None:
    sweep.run("--keep-going")
    assert having(sweep, "ckpt") == having(sweep, "best.pt") == [1, 2, 9]
    assert having(sweep, "other.txt") == having(sweep, "stdout.log") == [1, 2, 3, 4, 5, 7, 9]


def test_the_best_are_those_of_all_starts(sweep: Project) -> None:
    text = (sweep.path / "sweep.yaml").read_text()
    (sweep.path / "sweep.yaml").write_text(text.replace("keep: {best: 2}", ""))
    sweep.run("--keep-going", "--count", "5")
    assert len(having(sweep, "ckpt")) == 5
    (sweep.path / "sweep.yaml").write_text(text)
    sweep.run("--keep-going")
    assert having(sweep, "ckpt") == [1, 2, 9]


def test_patterns_name_files_of_any_program(sweep: Project) -> None:
    text = (sweep.path / "sweep.yaml").read_text()
    (sweep.path / "sweep.yaml").write_text(text.replace("{best: 2}", "{best: 1, files: ['big_*.bin']}"))
    sweep.run("--keep-going")
    assert having(sweep, "big_1.bin") == [1, 9]
    assert len(having(sweep, "ckpt")) == 7


def test_what_a_link_leads_to_is_not_touched(sweep: Project) -> None:
    outside = sweep.path / "precious"
    outside.mkdir()
    (outside / "data.bin").write_text("keep me")
    text = (sweep.path / "train.py").read_text()
    linked = text.replace('(own / "ckpt").mkdir(exist_ok=True)', f'(own / "ckpt").symlink_to({str(outside)!r})')
    (sweep.path / "train.py").write_text(linked.replace('(own / "ckpt" / "weights.bin")', '(own / "weights.bin")'))
    sweep.run("--keep-going")
    assert having(sweep, "ckpt") == [1, 2, 9]
    assert (outside / "data.bin").read_text() == "keep me"


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        ("{best: 0}", "keep.best"),
        ("{best: 2, files: ['../..']}", "must be a file or folder in a run's folder"),
        ("{best: 2, files: [stdout.log]}", "must be a file or folder in a run's folder, not its records"),
        ("{best: 2, files: [/etc]}", "must be a file or folder in a run's folder"),
        ("{bests: 2}", "did you mean 'best'?"),
        ("{best: 2, files: ['**.pt']}", "write the folders, as files/*/*.pt"),
    ],
)
def test_what_cannot_be_kept_is_said(sweep: Project, keep: str, sentence: str) -> None:
    text = (sweep.path / "sweep.yaml").read_text()
    (sweep.path / "sweep.yaml").write_text(text.replace("{best: 2}", keep))
    result = sweep.run("-n")
    assert result.returncode == 2
    assert sentence in result.stderr


def test_without_a_metric_nothing_is_the_best(sweep: Project) -> None:
    text = (sweep.path / "sweep.yaml").read_text()
    (sweep.path / "sweep.yaml").write_text(text.replace("metric: {name: loss}\n", ""))
    assert "keep.best: needs metric" in sweep.run("-n").stderr


@pytest.mark.parametrize("pattern", ["*", "*.log", "std*", "*.json", "exit*", "*/*"])
def test_records_are_never_deleted_whatever_the_pattern(sweep: Project, pattern: str) -> None:
    text = (sweep.path / "sweep.yaml").read_text()
    (sweep.path / "sweep.yaml").write_text(text.replace("{best: 2}", f"{{best: 1, files: ['{pattern}']}}"))
    sweep.run("--keep-going")
    assert having(sweep, "stdout.log") == having(sweep, "exit.json") == having(sweep, "command.txt")
    assert len(having(sweep, "stdout.log")) == 7
    assert sweep.command("verify").returncode == 0


def test_a_mistyped_metric_costs_no_weights(sweep: Project) -> None:
    text = (sweep.path / "sweep.yaml").read_text()
    (sweep.path / "sweep.yaml").write_text(text.replace("{name: loss}", "{name: los}"))
    done = sweep.run("--keep-going")
    assert len(having(sweep, "ckpt")) == 7
    assert done.stdout.count("by which the best are kept: its files stay") == 1


def test_runs_that_the_file_has_dropped_do_not_take_the_place_of_others(sweep: Project) -> None:
    sweep.run("--keep-going")
    text = (sweep.path / "sweep.yaml").read_text()
    (sweep.path / "sweep.yaml").write_text(text.replace("[5, 1, 9, 4, 2, 7, 3]", "[11, 12, 13]"))
    sweep.run()
    assert having(sweep, "ckpt") == [1, 2, 9, 11, 12]
