"""What the words of a comparison name: runs, seeds, parts, continuations, sweeps and their configurations, tables."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweepline.analysis.series import EPOCH, SAMPLES, STEP, TIME, RunHistory, Side
from sweepline.engine.histories import read_run_folder
from sweepline.engine.sides import read_sides
from sweepline.errors import ConfigError, RecordError
from tests.conftest import DEADLINE_S
from tests.engine.test_wandbfile import write_run
from tests.eventlogs import BEGIN_S, write_log


def sides(*words: str, logdir: Path | None = None, **options: bool) -> list[list[Side]]:
    return read_sides(words, logdir=logdir, **options)[0]


def runs(word: str, logdir: Path) -> Sequence[RunHistory]:
    ((side,),) = sides(word, logdir=logdir)
    return side.runs


def steps(run: RunHistory, metric: str = "loss") -> list[float]:
    return list(run.series[metric].places[STEP])


# logs, parts and seeds


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Logs of a run in three folders, of one that counts anew, and of two seeds."""
    write_log(tmp_path / "uni_6", {"loss": [(10, 5.0), (20, 4.0)]})
    write_log(tmp_path / "uni_6_2", {"loss": [(30, 3.0)]}, begin_s=BEGIN_S + 100)
    write_log(tmp_path / "uni_6_3", {"loss": [(40, 2.0)]}, begin_s=BEGIN_S + 200)
    write_log(tmp_path / "lr_1", {"loss": [(10, 5.0), (20, 4.0)]})
    write_log(tmp_path / "lr_1_2", {"loss": [(10, 3.0), (20, 2.0)]}, begin_s=BEGIN_S + 100)
    return tmp_path


def test_continuations_beside_a_run_are_read_as_one_with_it_and_that_is_said(logs: Path) -> None:
    found, notes = read_sides(["uni_6"], logdir=logs)
    assert steps(found[0][0].runs[0]) == [10, 20, 30, 40]
    assert notes == [
        "uni_6_2 is read as the continuation of uni_6, from step 30 on",
        "uni_6_3 is read as the continuation of uni_6, from step 40 on",
    ]


def test_continuations_are_not_read_where_that_is_not_wanted(logs: Path) -> None:
    ((side,),) = sides("uni_6", logdir=logs, merges=False)
    assert steps(side.runs[0]) == [10, 20]


def test_a_folder_that_has_a_word_of_its_own_is_no_continuation(logs: Path) -> None:
    found, notes = read_sides(["uni_6", "uni_6_2+uni_6_3"], logdir=logs)
    assert [steps(side.runs[0]) for (side,) in found] == [[10, 20], [30, 40]]
    assert "uni_6_2 is compared by itself, not read as the continuation of uni_6" in notes


def test_a_folder_whose_steps_begin_again_is_no_continuation_unless_it_is_said_to_be(logs: Path) -> None:
    found, notes = read_sides(["lr_1"], logdir=logs)
    assert (steps(found[0][0].runs[0]), "if it is one: lr_1+lr_1_2" in notes[0]) == ([10, 20], True)
    found, notes = read_sides(["lr_1+lr_1_2"], logdir=logs)
    assert (steps(found[0][0].runs[0]), "it counts its own from 10 again" in notes[0]) == ([10, 20, 30, 40], True)


def test_names_with_commas_between_them_are_seeds_of_one_setting(logs: Path) -> None:
    ((side,),) = sides("lr_1,lr_1_2", logdir=logs)
    assert (side.label, len(side.runs)) == ("lr_1 (2 runs)", 2)


def test_a_name_that_is_there_is_one_whatever_signs_are_in_it(tmp_path: Path) -> None:
    for name in ("a+b", "a,b", "a@b=c", "-x", "with space", "a"):
        write_log(tmp_path / name, {"loss": [(1, 1.0)]})
        assert runs(name, tmp_path)[0].name == name


def test_settings_that_stand_beside_a_log_are_its_parameters(logs: Path) -> None:
    (logs / "lr_1" / "hparams.yaml").write_text("optimizer: {name: adam, lr: 1e-3}\nseed: 7\n")
    run = runs("lr_1", logs)[0]
    assert (run.params, run.seed) == ({"optimizer.name": "adam", "optimizer.lr": 0.001, "seed": 7}, 7)


def test_a_file_of_a_log_can_be_named_itself(logs: Path) -> None:
    path = next((logs / "uni_6").iterdir())
    assert steps(runs(str(path), logs)[0]) == [10, 20]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("uni_66", r"'uni_66': no such run in .*; did you mean 'uni_6'\?"),
        ("uni_6+uni_77", "'uni_77' in 'uni_6[+]uni_77': no such run"),
        ("uni_6,", "'' in 'uni_6,': no such run"),
        ("", "'': no such run"),
        ("x" * 300, "no such run"),
        ("nul\0", "no such run"),
        ("uni_6@lr=1", "is one run; @lr=1 chooses among those of a sweep"),
        ("empty", "is neither a run .* nor a sweep"),
        ("above", "logs below: train, validation; name one"),
        ("notes.txt", "is neither a run"),
        ("numbers.csv", "is no runs.csv of a sweep"),
    ],
)
def test_what_a_word_does_not_name_is_a_sentence(logs: Path, word: str, sentence: str) -> None:
    (logs / "empty").mkdir()
    (logs / "notes.txt").touch()
    (logs / "numbers.csv").write_text("a,b\n1,2\n")
    for name in ("train", "validation"):
        write_log(logs / "above" / name, {"loss": [(1, 1.0)]})
    with pytest.raises(ConfigError, match=sentence):
        sides(word, logdir=logs)


def test_a_folder_of_logs_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--logdir .*none: no such folder"):
        sides("a", logdir=tmp_path / "none")


# run folders


def write_table(folder: Path, rows: Sequence[dict[str, object]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_a_run_folder_has_its_points_with_all_places(tmp_path: Path) -> None:
    row = {"epoch": 1, "step": 10, "samples": 640, "time_s": 2.5, "loss": 0.5, "note": "text"}
    run = read_run_folder(write_table(tmp_path, [row]))
    assert run.series["loss"].place(0) == {EPOCH: 1, STEP: 10, SAMPLES: 640, TIME: 2.5}
    assert set(run.series) == {"loss"}


def test_a_cell_without_a_place_is_where_its_metric_was_last(tmp_path: Path) -> None:
    rows = [{"step": "", "loss": 3, "acc": ""}, {"step": 10, "loss": 2, "acc": ""}, {"step": "", "loss": 1, "acc": 0.5}]
    run = read_run_folder(write_table(tmp_path, rows))
    assert (steps(run), dict(run.series["acc"].places)) == ([0, 10, 10], {})


def test_points_that_a_table_has_left_out_are_read_from_the_logs(tmp_path: Path) -> None:
    write_table(tmp_path, [{"step": step, "loss": 1 / (step + 1)} for step in range(0, 3_000, 2)])
    lines = [f"METRIC step={step} loss={1 / (step + 1)}\n" for step in range(3_000)]
    (tmp_path / "stdout.log").write_text("".join(lines))
    run = read_run_folder(tmp_path)
    assert (len(run.series["loss"]), run.source) == (3_000, "logs")


def test_times_of_points_are_those_that_tensorboard_has_of_them(tmp_path: Path) -> None:
    write_table(tmp_path, [{"step": 10, "loss": 0.1}, {"step": 20, "loss": 0.2}])
    write_log(tmp_path / "tensorboard", {"loss": [(10, 0.1), (20, 0.2)], "more": [(10, 1.0)]}, seconds_a_step=0.5)
    run = read_run_folder(tmp_path)
    assert (list(run.series["loss"].values), list(run.series["loss"].places[TIME])) == ([0.1, 0.2], [5.0, 10.0])
    assert "more" in run.series


def test_a_folder_in_which_nothing_was_measured_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "stdout.log").write_text("no metric\n")
    with pytest.raises(ConfigError, match=r"nothing was measured there: no METRIC line, no metrics\.csv"):
        sides(str(tmp_path))


def test_a_table_of_metrics_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.csv")
    with pytest.raises(RecordError, match=r"metrics\.csv: cannot be read"):
        sides(str(tmp_path))


# W&B

LOGS_TO_WANDB = """
import wandb
settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True)
config = {"lr": 0.1, "net": {"width": 8}, "seed": 3}
with wandb.init(mode="offline", settings=settings, config=config) as run:
    for step in range(3):
        run.log({"loss": 0.5**step, "samples": 64 * step})
"""


def test_a_run_that_wandb_really_wrote_is_read(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    subprocess.run([sys.executable, "-c", LOGS_TO_WANDB], cwd=tmp_path, env=environ, check=True, timeout=DEADLINE_S)

    (found,) = runs("wandb", tmp_path)
    loss = found.series["loss"]
    assert (list(loss.values), list(loss.places[STEP]), list(loss.places[SAMPLES])) == (
        [1.0, 0.5, 0.25],
        [0, 1, 2],
        [0, 64, 128],
    )
    assert (found.params, found.seed, TIME in loss.places) == ({"lr": 0.1, "net.width": 8, "seed": 3}, 3, True)


def test_a_wandb_run_that_was_resumed_is_one(tmp_path: Path) -> None:
    write_run(tmp_path, ("history", {"_step": 1, "loss": 3}), stamp="20260101_000001")
    write_run(tmp_path, ("history", {"_step": 2, "loss": 2}), stamp="20260101_000002")
    assert steps(runs("wandb", tmp_path)[0]) == [1, 2]


def test_of_a_folder_with_several_wandb_runs_one_has_to_be_named(tmp_path: Path) -> None:
    for run_id in ("a", "b"):
        write_run(tmp_path, ("history", {"loss": 3}), run_id=run_id)
    with pytest.raises(ConfigError, match=r"holds 2 W&B runs [(]run-a, run-b[)]; name the folder of one"):
        sides("wandb", logdir=tmp_path)


# tables alone


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A ``runs.csv`` without its sweep: two configurations of two seeds, one run failed."""
    path = tmp_path / "runs.csv"
    head = "sweep,run_id,run_name,state,exit_code,reason,attempt,seed,device,started_at,duration_s"
    rows = [
        f"{head},lr,opt,loss,acc\n",
        *(
            f"s,id{lr}{seed},adam-lr{lr}-s{seed},{state},0,,1,{seed},cpu,,1.5,{lr},adam,{lr + seed},0.5\n"
            for lr, seed, state in (
                (0.1, 0, "finished"),
                (0.1, 1, "finished"),
                (0.2, 0, "finished"),
                (0.2, 1, "failed"),
            )
        ),
    ]
    path.write_text("".join(rows))
    return path


def test_rows_that_differ_in_their_seed_are_one_configuration(table: Path) -> None:
    ((first, second),) = sides(str(table))
    assert [(side.label, len(side.runs)) for side in (first, second)] == [("adam-lr0.1", 2), ("adam-lr0.2", 1)]
    run = first.runs[1]
    assert (list(run.series["loss"].values), run.params, run.seed) == ([1.1], {"lr": 0.1, "opt": "adam"}, 1)


@pytest.mark.parametrize("term", ["lr=0.2", "lr=0.2,opt=adam", "lr=2e-1", "id0.20", "adam-lr0.2-s0"])
def test_rows_are_chosen_by_their_cells_their_name_or_their_id(table: Path, term: str) -> None:
    ((side,),) = sides(f"{table}@{term}")
    assert [run.name for run in side.runs] == ["adam-lr0.2-s0"]


def test_rows_that_are_not_there_are_a_sentence(table: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run has @lrr=0.2; did you mean 'lr'\?"):
        sides(f"{table}@lrr=0.2")
