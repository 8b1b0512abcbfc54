"""Several objectives: read from METRIC lines or patterns, optimized together, told as a front everywhere."""

from __future__ import annotations

import json

import pytest
import yaml

import sweepline
from tests.conftest import Project

TRAIN = """
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=float)
    parser.add_argument("--y", type=float)
    args = parser.parse_args()
    print(f"METRIC loss={(args.x - 1) ** 2 + args.y ** 2}")
    print(f"size: {args.x ** 2 + abs(args.y)}")
"""
SWEEP = """
    program: train.py
    name: two
    method: METHOD
    metrics:
      - {name: loss, goal: minimize}
      - {name: size, goal: minimize, pattern: 'size: ([0-9.e+-]+)'}
    parameters: PARAMETERS
    devices: cpu
    max_concurrent: 2
    report: end
"""
LIST = "{x: [0.0, 0.5, 1.0], y: [0.0, 1.0]}"
RANGES = "{x: {min: 0.0, max: 1.0}, y: {min: -1.0, max: 1.0}}\n    run_cap: 14"


def write(project: Project, method: str, parameters: str) -> None:
    project.write("train.py", TRAIN)
    project.write("sweep.yaml", SWEEP.replace("METHOD", method).replace("PARAMETERS", parameters))


def test_the_front_is_the_same_in_the_summary_best_its_file_the_report_and_python(project: Project) -> None:
    write(project, "grid", LIST)
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    sentence = "3 configurations are on the Pareto front of loss (minimize), size (minimize)"
    assert sentence in done.stdout
    assert "loss (minimize)  size (minimize)" in done.stdout
    assert sentence in project.command("best").stdout
    front = [{"x": 1.0, "y": 0.0}, {"x": 0.5, "y": 0.0}, {"x": 0.0, "y": 0.0}]
    best = yaml.safe_load((project.sweep_dir / "best.yaml").read_text())
    assert [one["params"] for one in best["front"]] == front
    assert best["front"][1]["metrics"]["size"]["mean"] == 0.25
    told = json.loads(project.command("best", "--json").stdout)
    assert [told["configurations"][i]["parameters"] for i in told["front"]] == front
    assert [one["name"] for one in told["objectives"]] == ["loss", "size"]
    page = (project.sweep_dir / "report.html").read_text()
    assert sentence in page
    assert '"pareto"' in page
    result = sweepline.run_sweep(project.path / "sweep.yaml")
    assert [dict(config.params) for config in result.front] == front


def test_a_model_proposes_with_several_objectives_in_mind(project: Project) -> None:
    write(project, "bayes", RANGES)
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(project.rows()) == 14
    assert "on the Pareto front of loss (minimize), size (minimize)" in done.stdout


def test_early_stopping_of_several_is_ignored_with_a_sentence(project: Project) -> None:
    write(project, "grid", LIST + "\n    early_terminate: {type: hyperband, min_iter: 1}")
    assert "early_terminate: several metrics do not say which run is worse; ignored" in project.run("-n").stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("    metrics:", "    metric: {name: acc}\n    metrics:"),
            "metrics: is a list of objectives, and metric",
        ),
        (("name: size", "name: loss"), "metrics: loss stands here twice"),
        (("size: ([0-9.e+-]+)", "size: [0-9"), "metrics.1.pattern"),
        (("{name: loss, goal: minimize}", "{nam: loss}"), "metrics.0"),
        (("METHOD", "bayes\n    run_cap: 5\n    sampler: cma"), "cma takes one objective"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(project: Project, change: tuple[str, str], said: str) -> None:
    project.write("train.py", TRAIN)
    text = SWEEP.replace(*change).replace("METHOD", "grid").replace("PARAMETERS", LIST)
    project.write("sweep.yaml", text)
    done = project.run("-n")
    assert done.returncode == 2
    assert said in done.stderr


def test_a_misspelled_goal_is_read_as_the_nearest_one(project: Project) -> None:
    write(project, "grid", LIST)
    path = project.path / "sweep.yaml"
    path.write_text(path.read_text().replace("loss, goal: minimize", "loss, goal: Minimise"))
    assert "metrics.0.goal: unknown goal 'Minimise', read as minimize" in project.run("-n").stdout
