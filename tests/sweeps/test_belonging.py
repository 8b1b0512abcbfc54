"""Which runs a sweep consists of when its file, its program or its place has changed: every command says the same."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
import yaml

from tests.conftest import Project

SCRIPT = """
import sys
given = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
print(f"METRIC loss={float(given['lr']) + float(given.get('seed', 0)) / 100}")
print("Loss is %s" % given["lr"])
"""
SWEEP = """
program: train.py
method: grid
metric: {name: loss}
start: cold
parameters: {lr: [1, 2, 3]}
"""


@pytest.fixture
def toys(project: Project) -> Project:
    """A project with a script and a sweep of three runs."""
    project.write("train.py", SCRIPT)
    project.write("sweep.yaml", SWEEP)
    return project


def edit(project: Project, old: str, new: str, name: str = "sweep.yaml") -> None:
    path = project.path / name
    path.write_text(path.read_text().replace(old, new))


def table(project: Project) -> pd.DataFrame:
    return project.rows().set_index("run_name")


def test_after_an_edit_of_the_file_all_commands_speak_of_the_runs_that_belong(toys: Project) -> None:
    toys.run()
    edit(toys, "[1, 2, 3]", "[2, 3, 4]")
    edited = toys.command("status").stdout
    second = toys.run().stdout
    status, best = toys.command("status").stdout, toys.command("best").stdout
    assert "was edited since the last start" in edited
    assert "sweep changed: 2 runs kept, 1 no longer in the sweep, 1 new" in second
    assert "3 of 3 runs have ended" in status
    assert "and 1 run no longer in the sweep" in status
    assert "lr1" not in status
    assert best.splitlines()[0] == "3 runs: 3 finished"
    assert yaml.safe_load((toys.sweep_dir / "best.yaml").read_text())["params"] == {"lr": 2}
    assert table(toys)["in_sweep"].to_dict() == {"lr1": "no", "lr2": "yes", "lr3": "yes", "lr4": "yes"}


def test_a_new_parameter_raises_no_alarm_about_a_table_that_nobody_touched(toys: Project) -> None:
    toys.run()
    edit(toys, "{lr:", "{wd: [0, 1], lr:")
    result = toys.run()
    assert "runs.csv" not in result.stdout.partition("#")[0]
    assert list(toys.sweep_dir.glob("*.bak-*")) == []


def test_a_run_fixed_by_set_is_the_run_of_the_sweep_that_it_equals(toys: Project) -> None:
    edit(toys, "start: cold", "start: cold\nseeds: [0, 1]")
    toys.run()
    again = toys.run("--set", "lr=2", "--set", "seed=1")
    assert "resuming: 1 finished, 0 interrupted, 0 to do" in again.stdout
    assert "sweep changed" not in again.stdout
    assert "6 runs: 6 finished" in again.stdout
    assert yaml.safe_load((toys.sweep_dir / "best.yaml").read_text())["params"] == {"lr": 1}
    assert len(table(toys)) == 6


def test_a_run_outside_the_file_is_shown_as_extra_and_is_never_the_best(toys: Project) -> None:
    first = toys.run("--set", "lr=0.5", "--set", "epochs=1")
    assert "[1/1] finished lr0.5-ep1" in first.stdout
    assert "outside the sweep file (--set), not in best.yaml:" in first.stdout
    assert not (toys.sweep_dir / "best.yaml").exists()
    second = toys.run()
    assert "3 runs: 3 finished" in second.stdout
    assert yaml.safe_load((toys.sweep_dir / "best.yaml").read_text())["params"] == {"lr": 1}
    assert table(toys)["in_sweep"].to_dict() == {"lr0.5-ep1": "extra", "lr1": "yes", "lr2": "yes", "lr3": "yes"}
    assert "0.5" not in toys.command("best").stdout


def test_results_of_edited_code_are_told_apart_and_their_files_named(toys: Project) -> None:
    toys.write("helper.py", "")
    edit(toys, "import sys", "import helper, sys", "train.py")
    toys.run("--count", "1")
    toys.write("helper.py", "A = 1\n")
    second = toys.run()
    assert "helper.py has changed since 1 of 1 runs ended" in second.stdout
    assert "warning: these are results of 2 states of the program's code" in second.stdout
    assert "results of 2 states" in toys.command("best").stdout
    codes = table(toys)["code"]
    assert (codes["lr2"] == codes["lr3"], codes["lr1"] == codes["lr2"]) == (True, False)


def test_a_program_edited_while_the_sweep_runs_is_told_at_once(toys: Project) -> None:
    edit(toys, "start: cold", "start: cold\ncode: live")
    edit(toys, "import sys", "import sys, pathlib", "train.py")
    with (toys.path / "train.py").open("a") as file:
        file.write("if given['lr'] == '1': pathlib.Path(__file__).open('a').write('# edited by the run\\n')\n")
    result = toys.run("--max-concurrent", "1")
    assert "train.py: edited while the sweep runs" in result.stdout
    assert table(toys)["code"].nunique() == 2


def test_mended_patterns_are_applied_to_the_logs_that_are_kept(toys: Project) -> None:
    edit(toys, "start: cold", "start: cold\nmetrics: {found: 'Loss = (.*)'}")
    toys.run()
    edit(toys, "Loss = ", "Loss is ")
    result = toys.run()
    assert "what is read from the output has changed: 3 results were read again" in result.stdout
    assert "did not match" not in result.stdout
    assert table(toys)["found"].to_dict() == {"lr1": 1.0, "lr2": 2.0, "lr3": 3.0}
    assert [len(list(toys.sweep_dir.glob("runs/*/attempts"))), toys.command("verify").returncode] == [0, 0]


def test_a_folder_that_was_renamed_keeps_its_runs(toys: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    toys.run()
    renamed = tmp_path_factory.mktemp("elsewhere") / "another name"
    shutil.copytree(toys.path, renamed)
    again = Project(renamed)
    result = again.run()
    assert "resuming: 3 finished, 0 interrupted, 0 to do" in result.stdout
    assert f"its runs are in outputs/{toys.path.name}" in result.stdout
    assert [path.name for path in (renamed / "outputs").iterdir() if path.is_dir()] == [toys.path.name]


def test_two_files_with_one_name_do_not_share_a_record_unseen(toys: Project) -> None:
    edit(toys, "program:", "name: base\nprogram:")
    toys.run()
    shutil.copy(toys.path / "sweep.yaml", toys.path / "other.yaml")
    results = [toys.command(command, "other.yaml") for command in ("run", "status", "best")]
    assert [result.returncode for result in results] == [2, 2, 2]
    assert all("other.yaml: sweep.yaml has the same name 'base'" in result.stderr for result in results)
    (toys.path / "sweep.yaml").unlink()
    assert "resuming: 3 finished" in toys.run("other.yaml").stdout


def test_failed_runs_that_are_tried_again_count_upwards(toys: Project) -> None:
    edit(toys, "import sys", "import sys, os; os.path.exists('ok') or sys.exit(1)", "train.py")
    toys.run("--keep-going")
    toys.write("ok", "")
    result = toys.run("--retry-failed", "--max-concurrent", "1")
    told = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("[")]
    assert told == ["[1/3]", "[2/3]", "[3/3]"]


@pytest.mark.parametrize("damage", ["removed", "damaged"])
def test_a_lost_journal_is_made_anew_from_the_run_folders(toys: Project, damage: str) -> None:
    toys.run()
    before = table(toys).drop(columns="started_at")
    journal = toys.sweep_dir / "events.jsonl"
    content = journal.read_bytes()
    if damage == "removed":
        journal.unlink()
    else:
        journal.write_bytes(content.replace(b'"ev"', b'"eV"', 3))
    (toys.sweep_dir / "plan.json").write_text("{")
    result = toys.command("repair")
    assert (result.returncode, result.stderr) == (0, "")
    pd.testing.assert_frame_equal(table(toys).drop(columns="started_at").loc[before.index], before)
    assert toys.command("verify").returncode == 0
    assert "resuming: 3 finished, 0 interrupted, 0 to do" in toys.run().stdout


def test_an_older_journal_put_back_loses_no_run_that_has_ended(toys: Project) -> None:
    toys.run("--count", "1")
    journal = toys.sweep_dir / "events.jsonl"
    older = journal.read_bytes()
    toys.run()
    journal.write_bytes(older)
    result = toys.run()
    assert "2 ended runs that the journal did not know were taken from their folders" in result.stdout
    assert "resuming: 3 finished, 0 interrupted, 0 to do" in result.stdout


def test_a_damaged_plan_is_no_obstacle_and_is_written_anew(toys: Project) -> None:
    toys.run()
    plan = toys.sweep_dir / "plan.json"
    token = json.loads(plan.read_bytes())["sweep_token"]
    plan.write_text('{"sweep": ')
    read = [toys.command(command).returncode for command in ("status", "best", "verify", "rebuild-csv")]
    assert read == [0, 0, 0, 0]
    assert "plan.json was missing or damaged; written anew" in toys.run().stdout
    assert json.loads(plan.read_bytes())["sweep_token"] == token


def test_parameters_that_are_null_or_look_like_something_else_survive_the_table(toys: Project) -> None:
    edit(toys, "{lr: [1, 2, 3]}", '{lr: [1], sched: [None, cosine], depth: [null, 5], id: ["007", "1e5"]}')
    toys.run()
    runs = table(toys)
    assert runs.pivot_table(index="sched", columns="depth", values="loss", aggfunc="count").sum().sum() == 8
    assert set(runs["id"]) == {"'007", "'1e5"}
