"""Races as sweeps run them: after everything else, going on where they were, and told alike everywhere."""

from __future__ import annotations

import json
import signal

import yaml

from tests.conftest import Project, wait_until

TRAIN = """
    import argparse, random, time
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    time.sleep(PAUSE)
    print(f"METRIC epoch=1 loss={SLOPE * abs(args.lr - 0.3) + random.Random(f'{args.lr} {args.seed}').gauss(0, 0.02)}")
"""
SWEEP = """
    program: train.py
    name: race
    metric: {name: loss}
    parameters: {lr: [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 0.7]}
    devices: cpu
    max_concurrent: 2
    report: never
"""
RACE = "    race: {top: 3, seeds: 8}\n"


def write(project: Project, sweep: str, *, slope: float = 0.5, pause: float = 0.0) -> None:
    project.write("train.py", TRAIN.replace("SLOPE", str(slope)).replace("PAUSE", str(pause)))
    project.write("sweep.yaml", sweep)


def test_the_leading_ones_race_and_everything_says_the_same(project: Project) -> None:
    write(project, SWEEP + RACE)
    dry = project.run("-n").stdout
    assert "race: then the leading 3 configurations get up to 8 seeds more each, at most 24 runs" in dry
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "race: 3 configurations get 3 seeds more each to begin with" in done.stdout
    rows = project.rows()
    raced = rows[rows.in_sweep == "race"]
    assert set(raced.lr) == {0.2, 0.3, 0.4}
    assert (rows.in_sweep == "yes").sum() == 8
    assert (raced[raced.lr == 0.3].seed.nunique(), raced.seed.notna().all()) == ((raced.lr == 0.3).sum(), True)
    sentence = next(line for line in done.stdout.splitlines() if line.startswith("race: the first"))
    assert f"{len(raced)} runs of at most 24" in sentence
    best = yaml.safe_load((project.sweep_dir / "best.yaml").read_text())
    assert (best["standing"], best["params"]) == (sentence, {"lr": 0.3})
    assert sentence in project.command("best").stdout
    n = len(rows)
    assert f"{n} of {n} runs have ended" in project.command("status").stdout
    told = json.loads(project.command("best", "--json").stdout)
    assert told["standing"]["text"] == sentence
    again = project.run()
    assert (again.returncode, len(project.rows())) == (0, len(rows))


def test_a_race_that_was_killed_goes_on_and_runs_nothing_twice(project: Project) -> None:
    write(project, SWEEP + RACE, slope=0.02, pause=0.1)
    process = project.start("run")
    wait_until(
        lambda: (project.path / "outputs/race/runs.csv").exists() and (project.rows().in_sweep == "race").any(),
        "it races",
    )
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = project.run()
    assert done.returncode == 0, done.stdout
    rows = project.rows()
    assert rows.run_id.is_unique
    assert (rows.in_sweep == "yes").sum() == 8
    raced = rows[rows.in_sweep == "race"]
    assert raced.groupby("seed").lr.nunique().min() >= 1
    assert any(
        (line.startswith("race: ") and "cannot be told apart" in line) or "no difference" in line
        for line in done.stdout.splitlines()
    )


def test_a_race_is_asked_for_beside_the_file_and_stays_when_it_is_not(project: Project) -> None:
    write(project, SWEEP)
    done = project.run("--race", "2")
    assert done.returncode == 0, done.stdout
    n = len(project.rows())
    assert "race: the first" in done.stdout or "race: no difference" in done.stdout
    again = project.run()
    assert (again.returncode, len(project.rows())) == (0, n)
    assert set(project.rows().in_sweep) == {"yes", "race"}
    project.write("sweep.yaml", SWEEP.replace("0.3, ", ""))
    project.run()
    rows = project.rows()
    assert set(rows[rows.lr == 0.3].in_sweep) == {"no"}


def test_runs_of_a_race_are_not_stopped_early(project: Project) -> None:
    write(project, SWEEP + RACE + "    early_terminate: {type: threshold, worse_than: -100, after: 2}\n")
    assert project.run().returncode == 0
    assert set(project.rows().state) == {"finished"}


def test_what_cannot_race_is_refused_in_a_sentence(project: Project) -> None:
    write(project, SWEEP.replace("metric: {name: loss}", "") + RACE)
    assert "race: needs metric" in project.run().stderr
    write(project, SWEEP.replace("{lr:", "{seed: [1, 2], lr:") + RACE)
    assert "race: seed is a parameter here" in project.run().stderr
    write(project, SWEEP + "    race: 1\n")
    assert "race" in project.run().stderr
    assert "a race needs two configurations" in project.run("--race", "1").stderr


def test_a_configuration_that_was_taken_out_and_comes_back_keeps_its_race(project: Project) -> None:
    write(project, SWEEP + RACE)
    project.run()
    n = len(project.rows())
    project.write("sweep.yaml", (SWEEP + RACE).replace("0.3, ", "").replace("race: {", "# race: {"))
    project.run()
    write(project, SWEEP + RACE)
    done = project.run()
    rows = project.rows()
    assert len(rows) == n, done.stdout
    assert set(rows[rows.lr == 0.3].in_sweep) == {"yes", "race"}
    assert set(rows.attempt) == {1}


def test_a_start_of_a_few_runs_begins_no_race(project: Project) -> None:
    write(project, SWEEP + RACE)
    done = project.run("--count", "3")
    assert "race:" not in done.stdout
    assert len(project.rows()) == 3


def test_failed_runs_of_a_race_go_again_when_that_is_asked_for(project: Project) -> None:
    write(project, SWEEP + RACE)
    broken = TRAIN.replace("SLOPE", "0.5").replace("PAUSE", "0")
    project.write(
        "train.py", broken + "    assert args.lr != 0.3 or args.seed == 0 or __import__('os').path.exists('mended')\n"
    )
    assert project.run("--code", "new").returncode == 1
    assert "failed" in set(project.rows().state)
    (project.path / "mended").touch()
    done = project.run("--retry-failed")
    assert done.returncode == 0, done.stdout
    rows = project.rows()
    assert set(rows.state) == {"finished"}
    assert rows[(rows.lr == 0.3) & (rows.in_sweep == "race")].attempt.max() == 2


def test_a_race_follows_a_sweep_that_has_found_enough(project: Project) -> None:
    write(project, SWEEP + RACE + "    stop_sweep: {patience: 2}\n")
    done = project.run()
    assert done.returncode == 0
    assert "stop_sweep: no better than" in done.stdout
    rows = project.rows()
    assert (rows.in_sweep == "yes").sum() < 8
    assert (rows.in_sweep == "race").sum() >= 9
    assert "race: the first" in done.stdout or "race: no difference" in done.stdout
