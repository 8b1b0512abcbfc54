"""Studies are found, listed, changed by their options, and run by name; what is changed is a study of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sweepline.cli.main import main
from sweepline.config.studies import find_studies, load_study
from sweepline.config.sweepfile import load_sweep
from sweepline.errors import ConfigError
from sweepline.space.plan import Plan
from sweepline.space.samplers.base import Tally
from tests.conftest import Project

OURS = Path(__file__).parents[2] / "experiments" / "hyperparameters_sweep"
STUDY = """
study:
  about: What this is about.
  options:
    batch-size: {set: batch}
    gamma-range: {decades: gamma}
    eta-range: {points: opt.lr}
program: train.py
method: grid
metric: {name: loss}
parameters:
  batch: [1, 2]
  gamma: {values: [1.0], when: {batch: ">0"}, pass: false}
  opt: {parameters: {lr: [0.01, 0.1, 1.0], text: "1e3"}}
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    (tmp_path / "cfg" / "studies").mkdir(parents=True)
    (tmp_path / "cfg" / "studies" / "one.yaml").write_text(STUDY)
    (tmp_path / "cfg" / "studies" / "no_study.yaml").write_text("parameters: {x: 1}\n")
    (tmp_path / "train.py").write_text("print('METRIC loss=1')")
    return tmp_path


def combinations(folder: Path, options: list[str], overrides: list[str]) -> tuple[str, list[dict[str, Any]]]:
    study, text = load_study("one", folder, options, overrides)
    settings = load_sweep(study.path, text=text)
    return settings.name, [dict(params) for params in Plan(settings.space).combinations(Tally())]


def test_options_and_overrides_change_what_they_name_and_nothing_else(experiment: Path) -> None:
    name, found = combinations(experiment, ["--batch-size", "8", "--gamma-range=1"], ["opt.lr=0.5"])
    assert name == "one_batch-size_8_gamma-range_1_opt.lr_0.5"
    assert [params["gamma"] for params in found] == [0.1, 1.0, 10.0]
    assert {(params["batch"], params["opt.lr"], params["opt.text"]) for params in found} == {(8, 0.5, "1e3")}
    _, found = combinations(experiment, ["--eta-range", "5"], ["batch=1", "seed=3"])
    assert [params["opt.lr"] for params in found] == pytest.approx([0.01, 0.0316228, 0.1, 0.316228, 1.0])
    study, text = load_study("one", experiment, ["--gamma-range", "1"])
    assert load_sweep(study.path, text=text).command.unpassed == {"gamma"}


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("on", [], "no study 'on'; did you mean 'one'?"),
        ("one", ["--batch", "3"], "no option --batch; did you mean '--batch-size'?"),
        ("one", ["--batch-size"], "--batch-size needs a value"),
        ("one", ["--gamma-range", "x"], "needs a whole number from 1 to 1000"),
        ("one", ["--eta-range", "1"], "needs two points or more"),
    ],
)
def test_faults_are_sentences(experiment: Path, name: str, options: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study(name, experiment, options)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("options", "overrides", "sentence"),
    [
        (
            ["--gamma-range", "3"],
            ["gamma=1"],
            "study one: --gamma-range and -o gamma both decide gamma; give one of them",
        ),
        (["--eta-range", "3"], ['opt={"lr": 1}'], "--eta-range and -o opt both decide opt.lr"),
        (["--batch-size", "3", "--batch-size=4"], [], "--batch-size and --batch-size both decide batch"),
    ],
)
def test_a_parameter_is_decided_once(experiment: Path, options: list[str], overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study("one", experiment, options, overrides)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("demo.yaml --study one", "demo.yaml: --study one names what runs; give one of the two"),
        (
            "--study one --gama-range 3",
            "study one: no option --gama-range; did you mean '--gamma-range'? (one has --batch",
        ),
        ("--study one --max-failure=3", "study one: no option --max-failure; did you mean '--max-failures'?"),
        ("cfg/studies/one.yaml --gamma-range 3", "--gamma-range: is an option of a study; use --study one"),
        ("--gamma-range=3", "--gamma-range: is an option of a study; use --study one"),
        ("--study", "--study: name one; there are one"),
        ("--study --gamma-range 3", "--study: name one; there are one"),
    ],
)
def test_what_is_asked_in_vain_is_one_sentence(
    experiment: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    words: str,
    sentence: str,
) -> None:
    monkeypatch.chdir(experiment)
    (experiment / "demo.yaml").touch()
    assert main(["run", *words.split()]) == 2
    assert capfd.readouterr().err.startswith(f"sweepline: {sentence}")


def test_an_option_names_exactly_one_thing(experiment: Path) -> None:
    path = experiment / "cfg" / "studies" / "one.yaml"
    path.write_text(STUDY.replace("{set: batch}", "{set: batch, points: batch}"))
    with pytest.raises(ConfigError, match="exactly one of set, decades and points"):
        find_studies(experiment)


@pytest.mark.parametrize("study", find_studies(OURS), ids=lambda study: study.name)
def test_our_own_studies_are_whole(study: Any) -> None:
    settings = load_sweep(study.path)
    assert settings.experiment_dir == OURS
    assert settings.name == study.name
    assert study.model.about.endswith(".")
    for option in study.model.options.values():
        assert {option.set or option.decades or option.points} <= set(settings.space.parameters)


def test_a_study_is_run_by_name_and_leaves_nothing_where_that_is_asked(project: Project) -> None:
    project.write("cfg/studies/one.yaml", STUDY)
    project.write("train.py", "print('METRIC loss=1')")
    listed = project.command("studies")
    assert "What this is about.  (--batch-size --gamma-range --eta-range)" in listed.stdout
    done = project.run("--study", "one", "--batch-size", "4", "-o", "opt.lr=0.1", "--max-workers", "2", "--no-save")
    assert "1 finished" in done.stdout, done.stdout + done.stderr
    assert "nothing was kept (--no-save)" in done.stdout
    assert "sweepline_" not in done.stdout, "a folder that is removed is not named"
    assert not (project.path / "outputs").exists() or not list((project.path / "outputs").iterdir())
    kept = project.run("--study", "one", "-o", "opt.lr=0.1")
    assert kept.returncode == 0, kept.stderr
    assert (project.path / "outputs" / "one_opt.lr_0.1" / "runs.csv").exists()
    again = project.run("--study", "one", "-o", "opt.lr=0.1")
    assert "started" not in again.stdout
    assert "no study 'two'" in project.run("--study", "two").stderr


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"opt.text={'a' * 90}1", f"opt.text={'a' * 90}2"),
        ("opt.text=a/b", "opt.text=a_b"),
        ("opt.text=a b", "opt.text=a  b"),
        ("opt.text=x.", "opt.text=x"),
        ("opt.text=é" + "é" * 90, "opt.text=é" + "é" * 91),
        ("opt.text=" + "漢" * 90 + "1", "opt.text=" + "漢" * 90 + "2"),
        ("opt.text=1", 'opt.text="1"'),
        ("opt.text=true", 'opt.text="True"'),
        ("opt.text=null", 'opt.text="None"'),
    ],
)
def test_studies_that_differ_never_share_a_folder(experiment: Path, first: str, second: str) -> None:
    names = [combinations(experiment, [], [override])[0] for override in (first, second)]
    assert names[0] != names[1]
    assert all(len(name.encode()) <= 80 and name.startswith("one_opt.text_") for name in names)


def test_the_order_of_changes_is_nothing(experiment: Path) -> None:
    names = {
        combinations(experiment, [], list(order))[0] for order in (("batch=1", "opt.lr=0.5"), ("opt.lr=0.5", "batch=1"))
    }
    assert len(names) == 1


def test_two_changes_are_another_study_than_one_whose_value_looks_like_them(experiment: Path) -> None:
    one, _ = combinations(experiment, [], ["opt.text=b_batch_1"])
    two, _ = combinations(experiment, [], ["opt.text=b", "batch=1"])
    assert one != two == "one_batch_1_opt.text_b"


def test_a_list_takes_the_place_of_the_values_that_a_parameter_goes_through() -> None:
    overrides = ["learner.step_size=[0.1,0.2]", "seeds=[4,5]", "stability.depth=1"]
    _, text = load_study("batch_size_lr", OURS, overrides=overrides)
    tree = yaml.safe_load(text)
    assert tree["parameters"]["learner.step_size"] == {"values": [0.1, 0.2]}
    assert (tree["seeds"], tree["stability"]["depth"]) == ([4, 5], 1)
    _, text = load_study("batch_size_lr", OURS, overrides=["learner.step_size=0.1", "seed=7"])
    tree = yaml.safe_load(text)
    assert tree["parameters"]["learner.step_size"] == {"value": 0.1}
    assert (tree["seeds"], "stability" in tree) == ([7], False)
    _, text = load_study("mup_small", OURS, overrides=["model.name=[mlp]"])
    assert yaml.safe_load(text)["parameters"]["model.name"] == {"value": ["mlp"]}  # it has one value, here a wrong one
