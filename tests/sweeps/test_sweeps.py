"""Whole sweeps of a toy script: real processes, real files, real signals."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from tests.conftest import DEADLINE_S, Project, wait_until

SWEEP = """
    program: toy.py
    name: toys
    method: grid
    metric: {name: loss, goal: minimize}
    parameters:
      x: [1, 2, 3]
      y: [0.5, 0.25]
    max_concurrent: 2
    devices: cpu
    grace: 1s
"""


@pytest.fixture
def toys(project: Project) -> Project:
    """A project with the toy and a sweep of six runs."""
    project.asset("toy.py")
    project.write("sweep.yaml", SWEEP)
    return project


def invocations(project: Project) -> list[dict[str, str]]:
    return [json.loads(line) for line in (project.path / "invocations.jsonl").read_text().splitlines()]


def n_started(project: Project) -> int:
    """Return how many runs have printed something."""
    return sum(path.stat().st_size > 0 for path in project.path.glob("outputs/*/runs/*/stdout.log"))


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Read a process's output until a line holds ``text``."""
    assert process.stdout is not None
    assert any(text in line for line in process.stdout), f"ended before it printed {text!r}"


def test_every_run_becomes_one_row_with_its_parameters_and_metrics(toys: Project) -> None:
    result = toys.run()
    rows = toys.rows().sort_values(["x", "y"])
    assert result.returncode == 0, result.stderr
    assert list(rows.loss) == [1.25, 1.5, 2.25, 2.5, 3.25, 3.5]
    assert set(rows.state) == {"finished"}


def test_a_run_folder_holds_everything_about_the_run(toys: Project) -> None:
    toys.run("--count", "1")
    (run_dir,) = (toys.sweep_dir / "runs").iterdir()
    names = {path.name for path in run_dir.iterdir()}
    assert names == {"command.txt", "stdout.log", "metrics.csv", "exit.json"}


def test_a_second_start_runs_nothing_again(toys: Project) -> None:
    toys.run()
    again = toys.run()
    assert len(invocations(toys)) == 6
    assert "resuming: 6 finished, 0 interrupted, 0 to do" in again.stdout


def test_count_runs_so_many_and_the_next_start_goes_on(toys: Project) -> None:
    first = toys.run("--count", "2")
    n_first = len(toys.rows())
    toys.run()
    assert (first.returncode, n_first, len(toys.rows())) == (0, 2, 6)
    assert len({entry["run"] for entry in invocations(toys)}) == len(invocations(toys)) == 6


def test_a_failed_run_is_a_row_with_a_reason_and_makes_the_exit_code_one(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "mode: [ok, fail]"))
    result = toys.run("--keep-going")
    failed = toys.rows().query("state == 'failed'")
    assert result.returncode == 1
    assert set(failed.reason) == {"the toy broke on purpose"}
    assert "the toy broke on purpose" in result.stdout


def test_retry_tries_a_failed_run_again_in_the_same_start(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "mode: fail-once") + "    retry: 1\n")
    result = toys.run("--keep-going")
    assert result.returncode == 0, result.stdout
    assert list(toys.rows().attempt) == [2, 2, 2]


def test_retry_failed_runs_failures_again_and_keeps_the_first_attempt(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "mode: fail-once"))
    first = toys.run("--keep-going")
    second = toys.run("--retry-failed")
    kept = list((toys.sweep_dir / "runs").glob("*/attempts/1/stderr.log"))
    assert (first.returncode, second.returncode) == (1, 0)
    assert len(kept) == 3
    assert set(toys.rows().state) == {"finished"}


def test_max_failures_stops_launching(toys: Project) -> None:
    toys.write(
        "sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "mode: fail").replace("max_concurrent: 2", "max_concurrent: 1")
    )
    result = toys.run("--max-failures", "1")
    assert len(invocations(toys)) == 1
    assert "stopped launching after 1 failures" in result.stdout


def test_nothing_but_failures_at_first_pauses_the_sweep_with_the_log(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "y: [1, 2, 3]\n      mode: fail"))
    result = toys.run()
    assert len(invocations(toys)) <= 3 + 2
    assert "the first 3 runs all failed" in result.stdout
    assert "| the toy broke on purpose" in result.stdout


def test_a_run_over_its_time_is_stopped_with_its_family(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "mode: family\n      hold: 600") + "    timeout: 1s\n")
    result = toys.run("--count", "1", "--keep-going")
    assert result.returncode == 1
    assert list(toys.rows().state) == ["timeout"]
    assert toys.survivors() == []


def test_a_run_that_ends_leaves_no_grandchild(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "mode: family"))
    toys.run()
    assert toys.survivors() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_stop_signal_ends_every_process_and_the_next_start_goes_on(
    toys: Project, number: signal.Signals, code: int
) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "mode: family\n      hold: 600"))
    process = toys.start("run")
    wait_until(lambda: n_started(toys) >= 1, "a run has started")
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code
    assert toys.survivors() == []
    assert "stopping: SIGTERM sent to" in out
    assert "Traceback" not in out + err
    assert "interrupted" in toys.command("status").stdout


def test_interrupted_runs_finish_at_the_next_start(toys: Project) -> None:
    toys.write(
        "toy.py", (toys.path / "toy.py").read_text().replace("args.hold:", "args.hold and not os.path.exists('go'):")
    )
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "hold: 600"))
    process = toys.start("run", "--plain")
    wait_until(lambda: n_started(toys) >= 2, "two runs have started")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)
    toys.write("go", "")
    result = toys.run()
    assert "2 interrupted" in result.stdout
    assert list(toys.rows().state) == ["finished"] * 3
    assert sorted(toys.rows().attempt) == [1, 2, 2]


def test_a_second_stop_signal_kills_what_ignores_the_first(toys: Project) -> None:
    toys.write(
        "sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "mode: ignore-term\n      hold: 600").replace("1s", "600s")
    )
    process = toys.start("run")
    wait_until(lambda: n_started(toys) >= 2, "two runs have started")
    process.send_signal(signal.SIGINT)
    read_until(process, "stopping:")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert toys.survivors() == []


def test_a_run_that_ended_while_nobody_recorded_is_taken_from_its_exit_file(toys: Project) -> None:
    toys.run("--count", "2")
    journal = toys.sweep_dir / "events.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    n_kept = max(i for i, line in enumerate(lines) if b"run_end" in line)
    journal.write_bytes(b"".join(lines[:n_kept]))
    toys.run()
    assert len(invocations(toys)) == 6
    assert len(toys.rows()) == 6


def test_sigkill_of_the_orchestrator_loses_no_finished_run(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "y: [1, 2, 3, 4, 5, 6]\n      hold: 0.05"))
    process = toys.start("run", "--plain")
    read_until(process, "[4/18]")
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    before = set(toys.rows().run_id)
    toys.run()
    rows = toys.rows()
    assert before <= set(rows.run_id)
    assert rows.run_id.is_unique
    assert len(rows) == 18


def test_devices_are_taken_round_robin_and_never_twice(toys: Project) -> None:
    toys.write(
        "sweep.yaml",
        SWEEP.replace("devices: cpu", "devices: [3, 5]").replace("y: [0.5, 0.25]", "y: [1, 2, 3]\n      hold: 0.1"),
    )
    result = toys.run()
    spans = [json.loads(line) for line in (toys.path / "spans.jsonl").read_text().splitlines()]
    overlaps = [
        (a, b)
        for a, b in combinations(spans, 2)
        if a["device"] == b["device"] and a["begin"] < b["end"] and b["begin"] < a["end"]
    ]
    assert {span["device"] for span in spans} == {"3", "5"}
    assert overlaps == []
    assert "used as given" in result.stdout


def test_slots_of_two_gpus_see_both(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("devices: cpu", "devices: ['0,1', '2,3']"))
    toys.run()
    assert set(toys.rows().device) == {"0,1", "2,3"}


def test_a_second_orchestrator_is_refused_and_told_who_runs(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "hold: 600"))
    process = toys.start("run")
    wait_until(lambda: n_started(toys) >= 1, "a run has started")
    second = toys.run()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)
    assert second.returncode == 75
    assert f"pid {process.pid}" in second.stderr


def test_an_edited_sweep_keeps_what_still_belongs_to_it(toys: Project) -> None:
    toys.run()
    toys.write("sweep.yaml", SWEEP.replace("x: [1, 2, 3]", "x: [2, 3, 4, 5]"))
    result = toys.run()
    assert "4 runs kept, 2 no longer in the sweep, 4 new" in result.stdout
    assert len(invocations(toys)) == 10


def test_fresh_archives_and_starts_over(toys: Project) -> None:
    toys.run()
    toys.run("--fresh")
    archived = list(toys.sweep_dir.glob("archive/*/events.jsonl"))
    assert len(archived) == 1
    assert len(invocations(toys)) == 12
    assert len(toys.rows()) == 6


def test_a_parameter_that_changes_nothing_is_named_at_the_end(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "y: [0.5, 0.25]\n      ignored: [1, 2, 3]"))
    result = toys.run()
    assert "ignored had no effect: 3 values, identical loss in all 6 groups" in result.stdout
    assert "y had no effect" not in result.stdout


def test_the_log_file_tells_what_the_terminal_showed(toys: Project) -> None:
    result = toys.run()
    (log,) = toys.path.glob("outputs/sweep_*.log")
    told = [line.partition(" ")[2] for line in log.read_text().splitlines() if re.match(r"\d\d:\d\d:\d\d ", line)]
    shown = [line for line in result.stdout.splitlines() if line.startswith("[")]
    assert [line for line in told if line.startswith("[")] == shown


def test_status_and_best_read_a_sweep(toys: Project) -> None:
    toys.run()
    status = toys.command("status").stdout
    best = toys.command("best", str(toys.sweep_dir)).stdout
    assert "6 finished" in status
    assert re.search(r"^1 +1 +0.25 +1.25", best, re.MULTILINE)


def test_a_secret_in_the_environment_reaches_no_file_and_no_argument(toys: Project) -> None:
    toys.write(
        "sweep.yaml", SWEEP + "    command: ['${interpreter}', '${program}', '${args}', '--token=${envvar:MY_TOKEN}']\n"
    )
    toys.write("toy.py", (toys.path / "toy.py").read_text().replace('"argv": sys.argv[1:], ', ""))
    toys.run(WANDB_API_KEY="canary-8d1f", MY_TOKEN="canary-8d1f")
    written = [path for path in (toys.path / "outputs").rglob("*") if path.is_file()]
    assert len(toys.rows()) == 6
    assert [path for path in written if b"canary-8d1f" in path.read_bytes()] == []


def test_values_arrive_byte_for_byte_and_no_shell_sees_them(toys: Project) -> None:
    nasty = ["a b", "$(touch hacked)", "--y=3", "'\"", "`id`", "ü\n", "*", "${HOME}"]
    toys.write(
        "sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", f"text: {json.dumps(nasty)}").replace("x: [1, 2, 3]", "x: [1]")
    )
    toys.run()
    arrived = {entry["argv"][1].removeprefix("--text=") for entry in invocations(toys)}
    assert arrived == set(nasty)
    assert not (toys.path / "hacked").exists()


def test_a_metric_that_appears_late_widens_the_csv(toys: Project) -> None:
    toys.write("toy.py", (toys.path / "toy.py").read_text() + 'if args.x == "3":\n    print("METRIC late=1")\n')
    toys.run()
    rows = toys.rows()
    assert rows.late.notna().sum() == 2
    assert len(rows) == 6


def test_metrics_named_like_a_parameter_keep_both_columns(toys: Project) -> None:
    toys.write("toy.py", (toys.path / "toy.py").read_text() + 'print("METRIC x=42 state=7")\n')
    toys.run()
    rows = toys.rows()
    assert set(rows["metric.x"]) == {42.0}
    assert sorted(set(rows.x)) == [1, 2, 3]


def test_repeats_reach_other_programs_as_a_seed(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP + "    seeds: [11, 12]\n")
    toys.run()
    assert sorted(set(toys.rows().seed)) == [11, 12]
    assert sum("--seed=11" in entry["argv"] for entry in invocations(toys)) == 6


def test_a_random_sweep_without_replacement_runs_each_combination_once(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("method: grid", "method: random") + "    samples: 50\n")
    result = toys.run()
    assert result.returncode == 0
    assert len(toys.rows()) == 6


def test_a_reader_that_goes_away_does_not_stop_the_sweep(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "hold: 0.2"))
    with toys.start("run") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(DEADLINE_S) == 0
    assert len(toys.rows()) == 3


def test_an_ordinary_resume_says_nothing_of_the_csv(toys: Project) -> None:
    toys.run("--count", "4")
    result = toys.run()
    assert "did not match" not in result.stdout
    assert list(toys.path.glob("outputs/*/*.bak-*")) == []


def test_attempts_of_one_run_are_not_taken_for_failing_runs(toys: Project) -> None:
    toys.write("toy.py", "import os, sys\nn = len(os.listdir('.'))\nopen(f'try{n}', 'w')\nsys.exit(n < 9)\n")
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "y: [1]").replace("[1, 2, 3]", "[1]") + "    retry: 9\n")
    result = toys.run()
    assert "nothing more is launched" not in result.stdout
    assert set(toys.rows().state) == {"finished"}


def test_the_log_shown_for_a_failed_attempt_is_its_own(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "mode: fail-once") + "    retry: 1\n")
    lines = toys.run("--keep-going").stdout.splitlines()
    after = [lines[i + 1] for i, line in enumerate(lines) if "] failed" in line]
    assert after == ["    | the toy broke on purpose"] * 3


def test_nohup_keeps_a_sweep_from_a_hangup(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "hold: 0.5"))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process = toys.start("run")
    signal.signal(signal.SIGHUP, before)
    wait_until(lambda: n_started(toys) >= 1, "a run has started")
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert len(toys.rows()) == 3


def test_best_by_another_metric_takes_its_goal_or_asks_for_it(toys: Project) -> None:
    toys.run()
    known, asked = toys.command("best", "--metric", "loss"), toys.command("best", "--metric", "score")
    wrong = toys.command("best", "--metric", "scor")
    assert re.search(r"^1 +1 +0.25 +1.25", known.stdout, re.MULTILINE)
    assert "add --goal minimize or --goal maximize" in asked.stderr
    assert "no run has it; did you mean 'score'?" in wrong.stderr


def test_runs_that_left_the_sweep_neither_count_nor_rank_nor_fail_it(toys: Project) -> None:
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "mode: [ok, fail]"))
    toys.run("--keep-going")
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "mode: [ok]"))
    result = toys.run()
    assert result.returncode == 0
    assert "3 runs: 3 finished" in result.stdout
    assert len(toys.rows()) == 6


def test_a_nan_is_never_the_best(toys: Project) -> None:
    toys.write("toy.py", "print('METRIC loss=nan')\n")
    result = toys.run()
    assert "had no effect" not in result.stdout
    assert not (toys.sweep_dir / "best.yaml").exists()


def test_a_wandb_file_that_cannot_be_read_is_a_remark(toys: Project) -> None:
    toys.write(
        "toy.py",
        """
        import os, pathlib
        folder = pathlib.Path(os.environ["WANDB_DIR"], "wandb", "offline-run-1")
        folder.mkdir(parents=True)
        (folder / "run-1.wandb").write_bytes(b":W&B\\0\\0\\0" + b"\\0\\0\\0\\0\\x03\\0\\x01" + b"\\xff\\xff\\xff")
        """,
    )
    result = toys.run("--count", "1")
    assert result.returncode == 0, result.stderr
    assert "what it logged to W&B cannot be read" in toys.rows().reason[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 KiB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_pauses_the_sweep_and_room_lets_it_go_on(small_disk: Path) -> None:
    toys = Project(small_disk)
    toys.asset("toy.py")
    toys.write("sweep.yaml", SWEEP.replace("y: [0.5, 0.25]", "y: {min: 1, max: 20}"))
    process = toys.start("run")
    read_until(process, "launching paused")
    before = toys.rows()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    out, err = process.communicate(timeout=DEADLINE_S)
    rows = toys.rows()
    assert process.returncode == 0, out + err
    assert "there is room on the disk again" in out
    assert set(before.run_id) <= set(rows.run_id)
    assert rows.run_id.is_unique
    assert list(rows.state) == ["finished"] * 60


def test_a_grid_beyond_what_an_index_holds_is_run_up_to_its_cap(toys: Project) -> None:
    huge = ", ".join(f"{name}: {{min: 1, max: 10000000}}" for name in "xyzw")
    toys.write("sweep.yaml", SWEEP.replace("x: [1, 2, 3]\n      y: [0.5, 0.25]", f"{{{huge}}}") + "    run_cap: 3\n")
    result = toys.run()
    assert result.returncode == 0, result.stderr
    assert sorted(toys.rows().z) == [1, 2, 3]


@pytest.mark.parametrize(
    ("key", "mine", "seen"), [("tuned", None, "536870912"), ("system", None, None), ("tuned", "7", "7")]
)
def test_runs_on_cpus_get_the_memory_settings_that_the_file_asks_for(
    toys: Project, key: str, mine: str | None, seen: str | None
) -> None:
    toys.write("toy.py", "import json, os\nprint(json.dumps(dict(os.environ)))\nprint('METRIC loss=1')\n")
    toys.write("sweep.yaml", SWEEP + f"    malloc: {key}\n")
    toys.run("--count", "1", **({"MALLOC_TRIM_THRESHOLD_": mine} if mine else {}))
    (log,) = toys.sweep_dir.glob("runs/*/stdout.log")
    environ = json.loads(log.read_text().splitlines()[0])
    told = json.loads((toys.sweep_dir / "environment.json").read_text())["set"]
    assert environ.get("MALLOC_TRIM_THRESHOLD_") == seen
    assert told.get("MALLOC_TRIM_THRESHOLD_") == (seen if mine is None else None)
