"""Hydra applications, unedited, do in a sweep what Hydra's own multirun refuses: go on, wait for nobody, try again."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.conftest import ASSETS, DEADLINE_S, Project, wait_until

APPS = ASSETS / "hydra_apps"
LOSS = "metrics: {val_loss: 'val_loss: ([0-9.]+)'}\n"
TEMPLATE = """\
program: src/train.py
name: s
method: grid
metric: {name: val_loss, goal: minimize}
devices: cpu
max_concurrent: 2
"""


def app(project: Project, name: str, text: str) -> Project:
    """Copy an application and write its sweep file."""
    shutil.copytree(APPS / name, project.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    project.write("sweep.yaml", text + LOSS)
    return project


def configs(project: Project) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in project.sweep_dir.glob("runs/*/files/config.json")]


def are_warm(project: Project) -> list[bool]:
    return [json.loads(path.read_text())["is_warm"] for path in project.sweep_dir.glob("runs/*/exit.json")]


def test_a_template_is_swept_without_a_command_each_run_in_a_folder_of_its_own(project: Project) -> None:
    app(
        project,
        "template",
        TEMPLATE + "parameters: {model: [small, large], optimizer.lr: [0.1, 0.2], seed: {value: 3}}\n",
    )
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    rows = project.rows()
    assert sorted(rows.val_loss) == [0.0625, 0.1625, 0.25, 0.35]
    assert {config["task_name"] for config in configs(project)} == {
        f"train_{model}_lr{lr}" for model in ("small", "large") for lr in (0.1, 0.2)
    }
    assert len(list(project.sweep_dir.glob("runs/*/files/.hydra/config.yaml"))) == 4
    assert not (project.path / "logs").exists()
    assert are_warm(project) == [True] * 4


def test_keys_are_added_and_removed_and_values_arrive_as_they_are(project: Project) -> None:
    notes = ["a, b=c: {d} 'e' \"f\" ${g}", "", "null"]
    command = '["${interpreter}", "${program}", "${args_no_hyphens}", "~debug", "hydra.run.dir=${run_dir}"]'
    parameters = f"parameters: {{note: {json.dumps(notes)}, layers: [[], [4, 4]], +new.key: {{value: 5}}}}\n"
    app(project, "template", TEMPLATE + f"command: {command}\n" + parameters)
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    found = configs(project)
    assert sorted(str(config["note"]) for config in found) == sorted([*notes, *notes])
    assert {str(config["layers"]) for config in found} == {"[]", "[4, 4]"}
    assert [("debug" in config, config["new"]) for config in found] == [(False, {"key": 5})] * 6


def test_a_killed_run_goes_on_from_what_it_saved_in_its_folder(project: Project) -> None:
    app(project, "template", TEMPLATE + "parameters: {model: [small, large], hold: {value: true}}\n")
    sweep = project.start("run")
    wait_until(lambda: len(list(project.path.glob("holding_*"))) == 2, "both runs have saved their second epoch")
    sweep.send_signal(signal.SIGKILL)
    sweep.communicate(timeout=DEADLINE_S)
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    logs = [path.read_text() for path in project.sweep_dir.glob("runs/*/stdout.log")]
    assert ["starting at epoch 2" in log for log in logs] == [True, True]
    assert list(project.rows().state) == ["finished", "finished"]


def test_dataclasses_and_groups_of_the_config_store_are_swept_and_failures_tried_again(project: Project) -> None:
    app(
        project,
        "structured",
        TEMPLATE.replace("src/train.py", "my_app.py")
        + "retry: 1\n"
        + "parameters: {model: [small, large], schedule: [cosine], betas: [[0.5, 0.25]], flaky: {value: true}}\n",
    )
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (list(project.rows().attempt), sorted(project.rows().val_loss)) == ([2, 2], [0.78125, 1.0])
    assert "ConnectionError: the data server did not answer" in done.stdout


@pytest.fixture
def wrapped(project: Project) -> Project:
    """An app whose entry script imports the function that Hydra calls, and whose config sweeps and logs to a file."""
    command = '["${interpreter}", "${program}", "${args_no_hyphens}", MORE, "hydra.run.dir=${run_dir}"]'
    text = TEMPLATE.replace("src/train.py", "main.py") + f"command: {command}\n"
    return app(project, "wrapped", text + 'parameters: {lr: [0.1, 0.2], note: ["it\'s, so: [1]", null]}\n')


def edit(project: Project, more: str) -> None:
    path: Path = project.path / "sweep.yaml"
    path.write_text(path.read_text().replace("MORE, ", more))


def test_a_config_that_would_sweep_in_every_run_is_said(wrapped: Project) -> None:
    edit(wrapped, "")
    sentence = (
        "conf/config.yaml: hydra.mode MULTIRUN lets Hydra's sweeper loose in every run; add hydra.mode=RUN to command"
    )
    assert sentence in wrapped.run("-n").stdout


def test_a_log_that_goes_to_a_file_is_read_when_hydra_is_told_to_print_it(wrapped: Project) -> None:
    edit(wrapped, '"hydra.mode=RUN", "hydra/job_logging=default", ')
    assert "MULTIRUN" not in wrapped.run("-n").stdout
    done = wrapped.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(wrapped.rows().val_loss) == [0.1, 0.1, 0.2, 0.2]
    logs = "".join(path.read_text() for path in wrapped.sweep_dir.glob("runs/*/stdout.log"))
    assert (logs.count('note "it\'s, so: [1]"'), logs.count("note None")) == (2, 2)
