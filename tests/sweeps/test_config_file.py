"""Programs that read a config file of their own: each run gets a copy with its values in it."""

from __future__ import annotations

import pytest
import yaml

from tests.conftest import Project

PROGRAM = """
    import sys

    import yaml

    config = yaml.safe_load(open(sys.argv[1].removeprefix("--config=")))
    print("METRIC loss=%r" % (config["optimizer"]["lr"] * config["train"]["steps"]))
"""
SWEEP = """
    program: train.py
    config: settings.yaml
    method: grid
    metric: {name: loss, goal: minimize}
    command: ["${interpreter}", "${program}", "--config=${config_file}"]
    devices: cpu
    parameters:
      optimizer.lr: [1e-5, 0.5]
      out: {value: "${run_dir}/model"}
"""


@pytest.fixture
def project(project: Project) -> Project:
    project.write("train.py", PROGRAM)
    project.write(
        "settings.yaml", "base: {of: theirs}\noptimizer: {lr: 0.1, name: sgd}\ntrain: {steps: 4}\nout: ./out\n"
    )
    project.write("sweep.yaml", SWEEP)
    return project


def test_each_run_reads_a_copy_with_its_values(project: Project) -> None:
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(project.rows()["loss"]) == [4e-5, 2.0]
    for run_dir in (project.sweep_dir / "runs").iterdir():
        config = yaml.safe_load((run_dir / "run_config.yaml").read_text())
        assert config["out"] == f"{run_dir}/files/model"
        assert config["optimizer"]["name"] == "sgd"
    assert "lr: 0.1," in project.path.joinpath("settings.yaml").read_text()


def test_another_value_in_the_config_makes_other_runs(project: Project) -> None:
    project.run()
    project.write("settings.yaml", "optimizer: {lr: 0.1}\ntrain: {steps: 8}\nout: ./out\n")
    done = project.run()
    assert "2 new" in done.stdout + done.stderr
    assert sorted(project.rows().query("in_sweep == 'yes'")["loss"]) == [8e-5, 4.0]


def test_a_name_that_the_config_does_not_have_is_said(project: Project) -> None:
    project.write("sweep.yaml", SWEEP.replace("optimizer.lr", "optimizer.lrr"))
    done = project.run("-n")
    assert "settings.yaml has no optimizer.lrr: it is added; did you mean 'optimizer.lr'?" in done.stdout + done.stderr
    assert project.run("-n", "--strict").returncode == 2


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "config: settings.yaml",
            "name: it",
            "${config_file} is a copy of a config file with the values of a run; add",
        ),
        ("optimizer.lr:", "out.x: {value: 1}\n      optimizer.lr:", "out.x cannot be set, as out is './out'"),
        ("settings.yaml", "none.yaml", "no file 'none.yaml'"),
    ],
)
def test_a_config_that_cannot_be_copied_is_one_sentence(project: Project, old: str, new: str, sentence: str) -> None:
    project.write("sweep.yaml", SWEEP.replace(old, new))
    done = project.run("-n")
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_config_that_the_command_does_not_name_is_said(project: Project) -> None:
    project.write("sweep.yaml", SWEEP.replace('"--config=${config_file}"', '"${args}"'))
    done = project.run("-n")
    assert (
        "this program does not see it; --config=${config_file} in command hands over a copy"
        in done.stdout + done.stderr
    )


def test_a_run_is_repeated_with_the_config_that_it_had(project: Project) -> None:
    project.run()
    project.write("settings.yaml", "optimizer: {lr: 0.1}\ntrain: {steps: 8}\nout: ./out\n")
    done = project.command("rerun", next((project.sweep_dir / "runs").iterdir()).name)
    assert "identical" in done.stdout
    assert "run_config" not in done.stdout
    assert done.returncode == 0


def test_an_export_says_that_wandb_has_no_copy_of_a_config(project: Project) -> None:
    done = project.command("export", "--wandb")
    assert "W&B knows no ${config_file}: the word is left out" in done.stdout + done.stderr
