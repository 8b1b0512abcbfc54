"""``sweepline compare`` and ``extract`` as processes, on logs with the numbers of a published note.

The note compares runs by the end points of their curves: the lap time of one is 24.560 s, first at step 3,658,108, that
of another 24.630 s, at 2,192,167, and so it needs 40 % fewer steps. Its curves are not told: those here end as it says.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import REPOSITORY, Project
from tests.eventlogs import Points, write_log

LAP, LOSS, Q, SHARE = "alltime_min_ms_hock", "Training/loss", "RL/avg_Q", "Performance/learner_percentage_training"
EARLY: Points = [(250_000, 26.9), (1_000_000, 25.4), (1_900_000, 24.67), (2_700_000, 24.61), (3_658_108, 24.56)]
LATE: Points = [(250_000, 27.9), (1_000_000, 27.1), (2_000_000, 26.4), (3_000_000, 25.6), (3_658_108, 24.56)]
UNI_7: Points = [(250_000, 26.2), (1_000_000, 25.1), (1_700_000, 24.7), (2_192_167, 24.63), (2_862_282, 24.63)]


END = 5_871_020
LOSS_5: Points = [(250_000, 1400.0), (1_900_000, 520.0), (3_658_108, 340.0), (END, 300.96)]
LOSS_7: Points = [(250_000, 600.0), (1_000_000, 180.0), (2_700_000, 77.72), (2_862_282, 77.72)]
RUNS: dict[str, dict[str, Points]] = {
    "uni_5": {LAP: [*EARLY, (END, 24.56)], LOSS: LOSS_5, Q: [(END, -0.5848)], SHARE: [(END, 53.8)]},
    "uni_5_late": {LAP: [*LATE, (END, 24.56)], LOSS: LOSS_5},
    "uni_6": {LAP: [(250_000, 27.4), (5_806_096, 24.77), (5_989_582, 24.77)], LOSS: [(5_989_582, 2962.12)]},
    "uni_6_2": {LAP: [(6_000_000, 24.77), (9_291_263, 24.76)], LOSS: [(9_291_263, 2900.0)]},
    "uni_7": {LAP: UNI_7, LOSS: LOSS_7, Q: [(2_800_000, -0.5204)], SHARE: [(2_862_282, 78.4)]},
    "uni_8": {LAP: [(1_390_000, 25.18), (2_800_000, 25.18)], LOSS: [(2_700_000, 52.41)], Q: [(2_700_000, -1.1609)]},
    "uni_9": {LAP: [(2_370_000, 25.1), (2_900_000, 25.1)], LOSS: [(2_700_000, 29.07)], Q: [(2_700_000, -1.0951)]},
}
BATCH_SIZES = {"uni_5": 2048, "uni_7": 512, "uni_8": 256, "uni_9": 64}


@pytest.fixture
def logs(project: Project) -> Path:
    """The logs of the note, of which ``uni_5`` falls early; ``uni_5_late`` ends alike and falls late."""
    logdir = project.path / "logs"
    for name, tags in RUNS.items():
        write_log(logdir / name, tags)
    for name, batch_size in BATCH_SIZES.items():
        (logdir / name / "hparams.yaml").write_text(f"batch_size: {batch_size}\noptimizer: adam\n")
    return logdir


def compare(project: Project, *args: str) -> str:
    result = project.command("compare", *args, "--logdir", "logs", "--objective", LAP)
    assert (result.returncode, result.stderr) == (0, "")
    return " ".join(result.stdout.split())


@pytest.mark.usefixtures("logs")
def test_what_the_note_concluded_stands_beside_what_a_common_target_says(project: Project) -> None:
    out = compare(project, "uni_5", "uni_7")
    assert "best 24.56 24.63 (1.003x) first at step 3,658,108 2,192,167 (0.599x)" in out
    assert "target: 24.6828 (the baseline's best within 0.5 %) reached at step 1,900,000 2,192,167 (1.15x)" in out
    assert "last 300.96 77.72 (0.258x)" in out
    assert f"{SHARE} 53.8 78.4 (1.46x)" in out
    assert "uni_7 has its own best at 0.599x the steps, which is another value (24.63 against 24.56): no saving" in out


@pytest.mark.usefixtures("logs")
def test_the_example_of_the_documentation_is_what_is_printed(project: Project) -> None:
    example = (REPOSITORY / "docs" / "compare.md").read_text().split("```")[1].strip().splitlines()
    words = example[0].removeprefix("$ sweepline ").replace("--logdir note", "--logdir logs").split()
    assert project.command(*words).stdout.splitlines() == example[1:]


@pytest.mark.usefixtures("logs")
def test_curves_that_come_to_the_same_are_not_conclusive(project: Project) -> None:
    out = compare(project, "uni_5", "uni_7")
    assert "uni_7 against uni_5: not conclusive (one seed each)" in out
    assert "not conclusive: within twice the tolerance (1 %)" in out
    assert "Training/loss is lower (85.1 % at equal time); the objective is level within the tolerance" in out


@pytest.mark.usefixtures("logs")
def test_with_the_same_end_points_a_baseline_that_falls_late_makes_the_run_better(project: Project) -> None:
    out = compare(project, "uni_5_late", "uni_7")
    assert "first at step 3,658,108 2,192,167 (0.599x)" in out
    assert "reached at step 3,658,108 2,192,167 (0.599x)" in out
    assert "uni_7 against uni_5_late: better (one seed each: these two runs, not yet their settings)" in out
    assert "no saving" not in out


@pytest.mark.usefixtures("logs")
def test_a_lower_loss_with_a_worse_lap_time_is_worse_and_the_metrics_disagree(project: Project) -> None:
    out = compare(project, "uni_7", "uni_8", "uni_9", "--goal", f"{Q}=max")
    assert "uni_8 against uni_7: worse (one seed each: these two runs, not yet their settings)" in out
    assert "metrics disagree: Training/loss is lower (32.6 % at equal time), the objective is worse" in out
    assert "metrics disagree: Training/loss is lower (62.6 % at equal time), the objective is worse" in out
    assert "not reached, step > 2,900,000 against 1,700,000 (> 1.71x)" in out
    assert "batch_size 512 256 64" in out
    assert "optimizer" not in out


@pytest.mark.usefixtures("logs")
def test_the_loss_of_the_larger_batch_is_ten_times_as_high_and_its_continuation_is_part_of_it(project: Project) -> None:
    assert "last 300.96 2962.12 (9.84x)" in compare(project, "uni_5", "uni_6", "--no-merge")
    out = compare(project, "uni_5", "uni_6")
    assert "note: uni_6_2 is read as the continuation of uni_6, from step 6,000,000 on" in out
    assert "reached at step 1,900,000 > 9,291,263 (> 4.89x)" in out


@pytest.mark.usefixtures("logs")
def test_the_tolerance_decides_what_is_the_same(project: Project) -> None:
    out = compare(project, "uni_5", "uni_7", "--tolerance", "0.1%", "--by", "step")
    assert "(the baseline's best within 0.1 %) reached at step 3,658,108 > 2,862,282 (> 0.782x)" in out


@pytest.mark.usefixtures("logs")
def test_the_document_has_the_numbers_and_the_words(project: Project) -> None:
    result = project.command("compare", "uni_5", "uni_7", "--logdir", "logs", "--objective", LAP, "--json")
    found = json.loads(result.stdout)
    (measure,) = found["metrics"][LAP]["runs"]["uni_7"]
    assert (found["baseline"], found["conclusions"]["uni_7"]["word"]) == ("uni_5", "not conclusive")
    assert (measure["best_at"]["step"], measure["reached"]["step"]) == (2192167, {"place": 2192167, "is_reached": True})
    assert found["parameters"] == {"batch_size": [2048, 512]}
    assert found["words"][0] == "uni_7 against uni_5: not conclusive (one seed each)"


def test_values_that_stand_under_two_names_and_gradient_spikes_are_told(project: Project) -> None:
    norms = [(1, 0.5), (2, 150.0), (3, float("nan")), (4, 2.0)]
    laps = [(1, 30.0), (2, 25.0)]
    hostile = "lap\n\x1b[31mred\u202e" + "x" * 300
    for name in ("a", "b"):
        tags = {"lap_ms_hock": laps, hostile: laps, "Gradients/norm_before_clip_max": norms}
        write_log(project.path / name, tags)
    result = project.command("compare", "a", "b")
    assert "ALARM: a: lap_ms_hock and lap red" in result.stdout
    assert "hold identical values, all 2: is one logged under the name of the other?" in result.stdout
    spikes = "gradient spikes: a: 2 of 4 values of Gradients/norm_before_clip_max above 100 or not finite, the greatest"
    assert f"{spikes} nan, first at step 2" in result.stdout
    assert not {"\x1b", "\u202e"} & set(result.stdout)
    assert max(map(len, result.stdout.splitlines())) < 500


# sweeps


@pytest.fixture
def sweep(project: Project) -> str:
    """A sweep of two step sizes with four seeds each, one a little better for every seed."""
    project.write(
        "t.py",
        """
        import sys
        given = dict(word.removeprefix("--").split("=") for word in sys.argv[1:])
        for step in (10, 20, 30):
            print(f"METRIC step={step} loss={(int(given['seed']) + 2 - float(given['lr'])) / step}")
        """,
    )
    project.write(
        "sweep.yaml",
        """
        name: s
        program: t.py
        metric: {name: loss}
        parameters: {lr: [0.1, 0.2]}
        seeds: [0, 1, 2, 3]
        devices: cpu
        """,
    )
    assert project.run("--start", "cold").returncode == 0
    return "outputs/s"


def test_the_configurations_of_a_sweep_are_compared_seed_by_seed(project: Project, sweep: str) -> None:
    out = project.command("compare", f"{sweep}@lr=0.1", sweep).stdout
    assert "what differs  lr0.1  lr0.2\n  lr          0.1    0.2" in out
    assert "loss (min, of the sweep; the objective, of the sweep)" in out
    assert "lr0.2 against lr0.1: better (4 and 4 seeds, t-test paired by seed at 5 %)" in out


def test_single_runs_of_a_sweep_are_compared_by_their_names_or_folders(project: Project, sweep: str) -> None:
    folder = next(path for path in (project.path / sweep / "runs").iterdir() if "lr0.2-s3" in _command(path))
    out = project.command("compare", f"{sweep}@lr0.1-s3", str(folder)).stdout
    assert "lr0.2-s3 against lr0.1-s3: better (one seed each: these two runs, not yet their settings)" in out


def _command(folder: Path) -> str:
    return (folder / "command.txt").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["r.csv", "r.csv"],
            "the baseline r.csv has 2 configurations (lr0.1, lr0.2 ...); choose one of them: r.csv@NAME",
        ),
        (["r.csv@lr=0.1", "r.csv@lr=0.3"], "r.csv: no run has @lr=0.3; its parameters are lr"),
        (["r.csv@lr=0.1", "r.csv@lr=0.1"], "r.csv@lr=0.1: is named twice"),
        (["r.csv@lr=0.1", "r.csv", "--goal", "loss"], "--goal loss: write NAME=min or NAME=max"),
        (["r.csv@lr=0.1", "r.csv", "--by", "time"], "equal time cannot be compared"),
        (["r.csv@lr=0.1", "rr.csv"], "'rr.csv': no such run in .; did you mean 'r.csv'?"),
    ],
)
def test_mistakes_are_sentences(project: Project, words: list[str], sentence: str) -> None:
    rows = [f"s,{lr},lr{lr},finished,0,,1,,cpu,,1.5,{lr},{lr}" for lr in (0.1, 0.2)]
    head = "sweep,run_id,run_name,state,exit_code,reason,attempt,seed,device,started_at,duration_s,lr,loss"
    project.write("r.csv", "\n".join([head, *rows, ""]))
    result = project.command("compare", *words)
    assert (result.returncode, result.stderr.startswith(f"sweepline: {sentence}")) == (2, True), result.stderr


# extract


@pytest.mark.usefixtures("logs")
def test_all_points_of_a_tag_are_extracted_with_their_places(project: Project) -> None:
    result = project.command("extract", "--tags", LAP, "--runs", "uni_7", "uni_8", "--logdir", "logs")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["run"], int(row["step"])) for row in rows] == [
        *(("uni_7", step) for step, _ in UNI_7),
        *(("uni_8", step) for step in (1_390_000, 2_800_000)),
    ]
    assert [float(row["value"]) for row in rows[:5]] == pytest.approx([value for _, value in UNI_7])
    assert {row["tag"] for row in rows} == {LAP}


@pytest.mark.usefixtures("logs")
def test_a_parquet_file_holds_what_the_csv_holds(project: Project) -> None:
    asked = ["--runs", "uni_5", "uni_7", "--logdir", "logs"]
    out = project.command("extract", *asked, "-o", "points.parquet").stdout
    project.command("extract", *asked, "-o", "points.csv")
    table = pq.read_table(project.path / "points.parquet").to_pylist()
    with (project.path / "points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert out == f"{len(table)} points of 8 series in points.parquet\n"
    assert [(r["run"], r["tag"], r["step"], r["time_s"], r["value"]) for r in table] == [
        (r["run"], r["tag"], float(r["step"]), float(r["time_s"]), float(r["value"])) for r in rows
    ]
    assert {r["samples"] for r in table} == {None}
    assert sorted(path.name for path in project.path.iterdir() if path.is_file()) == ["points.csv", "points.parquet"]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--tags", "Training/los"], "no run has a tag 'Training/los'; did you mean 'Training/loss'?"),
        (["-o", "points.txt"], "--output points.txt: end its name with .csv or .parquet"),
        (["-o", "none/points.csv"], "none/points.csv: cannot be written: No such file or directory"),
        (["-o", "none/points.parquet"], "none/points.parquet: cannot be written"),
    ],
)
@pytest.mark.usefixtures("logs")
def test_what_cannot_be_extracted_is_a_sentence(project: Project, args: list[str], sentence: str) -> None:
    result = project.command("extract", "--runs", "uni_7", "--logdir", "logs", *args)
    assert (result.returncode, result.stderr.startswith(f"sweepline: {sentence}")) == (2, True), result.stderr
