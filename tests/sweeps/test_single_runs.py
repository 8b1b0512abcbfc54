"""Runs as things that have names: looked at, started again, repeated, forgotten, tagged, picked."""

from __future__ import annotations

import json
import os

import pytest

from sweepline.engine.forgetting import forget_runs
from sweepline.engine.recorded import open_recorded
from tests.conftest import Project

TRAIN = """
    import argparse, pathlib, random
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.add_argument("--opt", default="sgd")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random.seed(args.seed)
    if args.lr > 0.5 and not pathlib.Path("mended").exists():
        raise ValueError("too large")
    print(f"METRIC epoch=1 loss={args.lr + random.random() / 100}")
"""
SWEEP = """
    program: train.py
    name: own
    metric: {name: loss}
    parameters: {lr: [0.1, 0.01, 0.9], opt: [sgd, adam]}
    report: never
    devices: cpu
"""


@pytest.fixture
def ended(project: Project) -> Project:
    """A project in which four runs have finished and two have failed."""
    project.write("train.py", TRAIN)
    project.write("sweep.yaml", SWEEP)
    assert project.command("run").returncode == 1
    return project


def listed(project: Project, *args: str) -> list[dict[str, object]]:
    found = project.command("ls", "--json", *args)
    assert found.returncode == 0, found.stderr
    rows: list[dict[str, object]] = json.loads(found.stdout)
    return rows


def test_only_what_matches_is_started(project: Project) -> None:
    project.write("train.py", TRAIN)
    project.write("sweep.yaml", SWEEP)
    first = project.command("run", "--only", "lr=0.1")
    assert "2 runs: 2 finished" in first.stdout
    assert [row["lr"] for row in listed(project)] == [0.1, 0.1]
    again = project.command("run", "--only", "lr <= 0.1 and opt == 'adam'")
    assert "resuming: 1 finished, 0 interrupted, 1 to do" in again.stdout
    assert sorted(project.rows()["in_sweep"]) == ["yes"] * 3
    nothing = project.command("run", "--only", "lr=5")
    assert (nothing.returncode, nothing.stderr) == (
        2,
        "sweepline: --only lr=5: no run of the sweep is meant; see sweepline run -n\n",
    )
    whole = project.command("run")
    assert "resuming: 3 finished, 0 interrupted, 3 to do" in whole.stdout


def test_only_is_counted_in_a_dry_run_and_refused_where_runs_are_proposed(project: Project) -> None:
    project.write("train.py", TRAIN)
    project.write("sweep.yaml", SWEEP.replace("report", "seeds: [1, 2]\n    report"))
    assert "4 runs" in project.command("run", "-n", "--only", "lr=0.1").stdout
    assert "2 runs" in project.command("run", "-n", "--only", "lr=0.1, seed=2").stdout
    project.write("sweep.yaml", SWEEP.replace("report", "method: bayes\n    run_cap: 3\n    report"))
    assert (
        "--only picks among runs that are known beforehand" in project.command("run", "-n", "--only", "lr=0.1").stderr
    )


def test_runs_are_listed_sorted_and_picked(ended: Project) -> None:
    best = ended.command(
        "ls", "--sort", "loss", "--filter", "state == 'finished'", "--columns", "name,lr,loss", "-m", "2"
    )
    lines = best.stdout.splitlines()
    assert lines[0].split() == ["name", "lr", "loss"]
    assert [line.split()[1] for line in lines[1:3]] == ["0.01", "0.01"]
    assert lines[3] == "(2 more)"
    ids = ended.command("ls", "--ids", "--filter", "state == 'failed'").stdout.split()
    assert len(ids) == 2
    assert all((ended.sweep_dir / "runs" / run_id).is_dir() for run_id in ids)
    assert "did you mean 'loss'?" in ended.command("ls", "--sort", "los").stderr


def test_a_run_is_shown_with_the_line_that_does_it_again(ended: Project) -> None:
    told = json.loads(ended.command("show", "lr0.9-sgd", "--json").stdout)
    assert (told["state"], told["reason"], told["parameters"]) == (
        "failed",
        "ValueError: too large",
        {"lr": 0.9, "opt": "sgd"},
    )
    assert ended.command("path", told["id"][:6]).stdout.strip() == os.path.realpath(told["path"])
    text = ended.command("show", told["id"]).stdout
    assert told["command"] in text
    assert "stderr.log" in text
    assert "ValueError: too large" in ended.command("log", told["id"], "-n", "1").stdout
    assert "no such run" in ended.command("show", "lr7").stderr


def test_a_failed_run_goes_again_by_name(ended: Project) -> None:
    (ended.path / "mended").touch()
    again = ended.command("retry", "lr0.9-sgd")
    assert again.returncode == 0, again.stdout + again.stderr
    rows = ended.rows().set_index("run_name")
    assert (rows.state["lr0.9-sgd"], rows.attempt["lr0.9-sgd"]) == ("finished", 2)
    assert (rows.state["lr0.9-adam"], rows.attempt["lr0.9-adam"]) == ("failed", 1)
    assert "has finished: sweepline repeat" in ended.command("retry", "lr0.9-sgd").stderr
    assert ended.command("verify").returncode == 0


def test_other_seeds_count_for_a_configuration_and_stay(ended: Project) -> None:
    assert ended.command("repeat", "lr0.01-sgd", "--seeds", "2").returncode == 0
    repeats = listed(ended, "--filter", "in_sweep == 'repeat'")
    assert len({row["seed"] for row in repeats}) == 2
    best = json.loads(ended.command("best", "--json").stdout)["configurations"]
    assert next(c for c in best if c["parameters"] == {"lr": 0.01, "opt": "sgd"})["metrics"]["loss"]["n"] == 3
    ended.command("run")
    assert len(listed(ended, "--filter", "in_sweep == 'repeat'")) == 2
    assert ended.command("repeat", "lr0.01-sgd").returncode == 0
    assert len({row["seed"] for row in listed(ended, "--filter", "in_sweep == 'repeat'")}) == 3
    ended.write("sweep.yaml", SWEEP.replace("[0.1, 0.01, 0.9]", "[0.1, 0.9]"))
    ended.command("run")
    assert listed(ended, "--filter", "in_sweep == 'repeat'") == []
    assert ended.command("verify").returncode == 0


def test_a_swept_seed_is_repeated_with_other_values(project: Project) -> None:
    project.write("train.py", TRAIN)
    project.write("sweep.yaml", SWEEP.replace("opt: [sgd, adam]", "seed: [0, 1]").replace(", 0.9", ""))
    assert project.command("run").returncode == 0
    assert project.command("repeat", "--filter", "lr=0.1", "--seeds", "2").returncode == 0
    seeds = [row["seed"] for row in listed(project, "--filter", "lr=0.1")]
    assert len(set(seeds)) == 4
    project.command("run")
    assert len(listed(project, "--filter", "in_sweep == 'repeat'")) == 2


def test_what_is_forgotten_is_archived_and_done_anew(ended: Project) -> None:
    run_id = listed(ended, "--filter", "name == 'lr0.1-sgd'")[0]["id"]
    done = ended.command("forget", "lr0.1-sgd")
    assert done.returncode == 0, done.stderr
    assert run_id not in set(ended.rows()["run_id"])
    archived = next((ended.sweep_dir / "archive").glob(f"*_forgotten/{run_id}"))
    assert (archived / "stdout.log").read_text().startswith("METRIC")
    assert ended.command("verify").returncode == 0
    assert "1 to do" in ended.command("run").stdout
    assert ended.rows().set_index("run_id").attempt[run_id] == 1
    assert ended.command("verify").returncode == 0
    assert ended.command("repair").returncode == 0
    assert len(ended.rows()) == 6


def test_tags_stay_and_pick(ended: Project) -> None:
    assert ended.command("tag", "lr0.1-sgd", "paper").returncode == 0
    assert ended.command("tag", "--filter", "lr=0.1", "--add", "good").stdout == "2 runs tagged\n"
    ended.command("run")
    assert [row["name"] for row in listed(ended, "--filter", "'paper' in tags and 'good' in tags")] == ["lr0.1-sgd"]
    ended.command("tag", "lr0.1-sgd", "--remove", "paper")
    assert listed(ended, "--filter", "'paper' in tags") == []
    assert "one word" in ended.command("tag", "lr0.1-sgd", "two words").stderr


def test_a_check_says_each_thing_once(project: Project) -> None:
    project.write("train.py", TRAIN)
    project.write("sweep.yaml", SWEEP + "    folr: 1\n    kind: 2\n")
    found = project.command("check")
    assert found.returncode == 0
    assert found.stdout.count("folr") == 1
    assert not (project.path / "outputs").exists()
    project.write("sweep.yaml", SWEEP + "    method: gird\n")
    wrong = project.command("check")
    assert wrong.returncode == 2
    assert "method" in wrong.stdout


def test_what_follows_from_a_swept_seed_follows_from_the_new_one(project: Project) -> None:
    project.write("train.py", TRAIN.replace("args =", 'parser.add_argument("--split", type=int)\n    args ='))
    parameters = "{lr: {value: 0.1}, seed: [1, 2], split: {expr: 'seed * 10'}}"
    project.write("sweep.yaml", SWEEP.replace("{lr: [0.1, 0.01, 0.9], opt: [sgd, adam]}", parameters))
    assert project.command("run").returncode == 0
    assert project.command("repeat", "--filter", "lr=0.1", "--seeds", "1").returncode == 0
    rows = listed(project)
    assert len(rows) == 3
    assert all(row["split"] == 10 * int(str(row["seed"])) for row in rows)


def test_a_run_that_somebody_else_has_forgotten_meanwhile_is_no_fault(ended: Project) -> None:
    found = open_recorded(ended.sweep_dir)
    record = next(r for r in found.records.values() if r.name == "lr0.1-sgd")
    assert ended.command("forget", "lr0.1-sgd").returncode == 0
    forget_runs(found, [record])
    assert len(listed(ended)) == 5
    assert ended.command("verify").returncode == 0


def test_a_shared_table_that_a_spreadsheet_has_spoiled_keeps_the_rows_of_others(project: Project) -> None:
    project.write("train.py", TRAIN)
    shared = SWEEP.replace(", 0.01, 0.9", "") + "    logging: {local: {csv_path: all.csv}}\n"
    for name in ("own", "other"):
        project.write(f"{name}.yaml", shared.replace("name: own", f"name: {name}"))
        assert project.command("run", f"{name}.yaml").returncode == 0
    table = project.path / "all.csv"
    table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n"))
    assert project.command("forget", "lr0.1-sgd", "--sweep", "own.yaml").returncode == 0
    kept = b"".join(path.read_bytes() for path in project.path.glob("all.csv*"))
    assert kept.count(b"\nother,") == 2
