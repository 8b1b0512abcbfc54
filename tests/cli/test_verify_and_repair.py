"""``sweepline verify`` and ``sweepline rebuild-csv`` on folders of real sweeps that something has happened to."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout

import pytest

from sweepline.cli.main import main
from sweepline.executors.local.keeper.messages import TOKEN_VARIABLE
from sweepline.executors.local.keeper.processes import mark_for
from sweepline.recording.journal import Journal
from sweepline.recording.locks import read_keeper_token
from tests.conftest import DEADLINE_S, Project, wait_until
from tests.sweeps.test_sweeps import SWEEP, n_started

SMALL = SWEEP.replace("x: [1, 2, 3]", "x: [1, 2]")


@pytest.fixture
def done(project: Project) -> Project:
    """A project with a sweep of four runs that have all finished."""
    project.asset("toy.py")
    project.write("sweep.yaml", SMALL)
    assert project.run().returncode == 0
    return project


def events(project: Project) -> list[dict[str, object]]:
    return [json.loads(line) for line in (project.sweep_dir / "events.jsonl").read_text().splitlines()]


def journal_again(project: Project, kind: str, **changes: object) -> None:
    """Append to the journal its first event of a kind once more, changed."""
    event = next(event for event in events(project) if event["ev"] == kind)
    fields = {k: v for k, v in event.items() if k not in ("v", "seq", "t_wall", "t_mono", "boot_id", "ev")}
    journal = Journal(project.sweep_dir / "events.jsonl")
    journal.append(kind, **fields | changes)
    journal.close()


def command(project: Project, *args: str) -> subprocess.CompletedProcess[str]:
    """Do what ``sweepline ARGS`` does; an error that is no sentence ends the test."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(project.path), redirect_stdout(out), redirect_stderr(err):
        code = main(args)
    return subprocess.CompletedProcess(args, code, out.getvalue(), err.getvalue())


def verdicts(project: Project) -> dict[str, str]:
    """Return what ``sweepline verify`` says of every promise."""
    result = command(project, "verify")
    words = [line.split() for line in result.stdout.splitlines() if not line.startswith(" ")]
    found = {name.rstrip(":"): verdict for verdict, name, *_ in words}
    assert result.returncode == (1 if "BROKEN" in found.values() else 0)
    return found


def broken(project: Project) -> list[str]:
    return [name for name, verdict in verdicts(project).items() if verdict == "BROKEN"]


# verify


def test_a_folder_to_which_nothing_has_happened_keeps_all_promises(done: Project) -> None:
    assert verdicts(done) == dict.fromkeys(["journal", "I1", "I2", "I3", "I4", "I5"], "ok")


def test_json_has_every_promise_with_what_breaks_it(done: Project) -> None:
    whole = json.loads(command(done, "verify", "--json").stdout)
    assert (whole["holds"], [promise["faults"] for promise in whole["promises"]]) == (True, [[]] * 6)
    (done.sweep_dir / "runs.csv").unlink()
    result = command(done, "verify", "--json")
    faults = {
        promise["name"]: promise["faults"] for promise in json.loads(result.stdout)["promises"] if promise["faults"]
    }
    assert (result.returncode, faults) == (1, {"I2": ["runs.csv is missing: sweepline rebuild-csv writes it"]})


def test_a_folder_after_failures_retries_and_a_stop_keeps_all_promises(project: Project) -> None:
    project.asset("toy.py")
    text = SMALL.replace("y: [0.5, 0.25]", "mode: [fail-once, fail, ok]\n      hold: 0.01")
    project.write("sweep.yaml", text + "    retry: 1\n")
    process = project.start("run", "--keep-going")
    wait_until(lambda: n_started(project) >= 1, "a run has started")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)
    project.run("--keep-going")
    project.run("--keep-going", "--retry-failed")
    assert broken(project) == []


def test_values_that_are_hard_to_write_into_a_table_keep_all_promises(project: Project) -> None:
    project.asset("toy.py")
    hard = ["a,b", 'say "x"', "=1+1", "two\nlines", "a\rb", "caf\u00e9", "", " ", "1e5", "True", "null", "-", "\t"]
    project.write("sweep.yaml", SMALL.replace("y: [0.5, 0.25]", f"word: {json.dumps(hard)}").replace("[1, 2]", "[1]"))
    assert project.run().returncode == 0
    assert broken(project) == []


def test_values_with_characters_that_split_lines_elsewhere_keep_all_promises(project: Project) -> None:
    project.asset("toy.py")
    words = json.dumps([f"a{character}b" for character in "\u2028\u2029\x85\x0b\x0c\x1e"])
    project.write("sweep.yaml", SMALL.replace("y: [0.5, 0.25]", f"word: {words}").replace("[1, 2]", "[1]"))
    result = project.run()
    assert result.returncode == 0, result.stderr
    assert broken(project) == []


def test_a_run_that_ended_and_is_not_in_the_journal_breaks_i1(done: Project) -> None:
    journal = done.sweep_dir / "events.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if b'"run_end"' in line)
    journal.write_bytes(b"".join(lines[:last]))
    result = command(done, "verify")
    assert result.returncode == 1
    assert "BROKEN I1" in result.stdout
    assert "the next start takes it from exit.json" in result.stdout


def test_what_breaks_i1_is_mended_by_the_next_start(done: Project) -> None:
    journal = done.sweep_dir / "events.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if b'"run_end"' in line)
    journal.write_bytes(b"".join(lines[:last]))
    done.run()
    assert broken(done) == []


@pytest.mark.parametrize("kind", ["removed", "a row less", "a row twice", "torn", "another value", "header", "empty"])
def test_a_table_that_is_not_what_the_journal_tells_breaks_i2(done: Project, kind: str) -> None:
    table = done.sweep_dir / "runs.csv"
    lines = table.read_text().splitlines(keepends=True)
    changed = {
        "a row less": lines[:-1],
        "a row twice": [*lines, lines[-1]],
        "torn": [*lines[:-1], lines[-1][:-4]],
        "another value": [line.replace("finished", "failed") for line in lines],
        "header": ["number," + lines[0], *lines[1:]],
        "empty": [],
    }
    if kind == "removed":
        table.unlink()
    else:
        table.write_text("".join(changed[kind]))
    assert broken(done) == ["I2"]


def test_a_metric_that_was_changed_in_the_table_breaks_i2(done: Project) -> None:
    table = done.sweep_dir / "runs.csv"
    rows = done.rows()
    rows.loc[0, "loss"] = 0.125
    rows.to_csv(table, index=False)
    assert broken(done) == ["I2"]


def test_a_process_of_the_sweep_that_still_lives_breaks_i3(done: Project) -> None:
    token = read_keeper_token(done.sweep_dir)
    environ = done.environment({TOKEN_VARIABLE: f"{token}.7"})
    code = "print(flush=True); import time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE) as stray:
        assert stray.stdout is not None
        stray.stdout.readline()
        result = command(done, "verify")
        stray.kill()
    assert result.returncode == 1
    assert "BROKEN I3" in result.stdout
    assert f"process {stray.pid} still lives" in result.stdout


def test_a_process_breaks_i3_however_it_hides(done: Project) -> None:
    mark = mark_for(read_keeper_token(done.sweep_dir), 7)
    found = {}
    for hides in ("env -i", "env -i setsid", "env -i setsid setsid --fork"):
        words = ["prlimit", f"--rttime={mark}:unlimited", *hides.split(), "sh", "-c", "sleep 600 & echo $! > stray"]
        (done.path / "stray").write_text("")
        subprocess.run(words, cwd=done.path, check=True)
        wait_until(lambda: (done.path / "stray").read_text().endswith("\n"), "it lives")
        stray = int((done.path / "stray").read_text())
        found[hides] = f"process {stray} still lives" in command(done, "verify").stdout
        os.kill(stray, signal.SIGKILL)
    assert found == dict.fromkeys(found, True)


def test_a_process_without_marks_that_writes_to_a_runs_log_breaks_i3(done: Project) -> None:
    log = next(done.sweep_dir.glob("runs/*/stdout.log"))
    with log.open("ab") as file, subprocess.Popen(["sleep", "600"], env={}, stdout=file) as stray:
        result = command(done, "verify")
        stray.kill()
    assert "BROKEN I3" in result.stdout
    assert f"process {stray.pid} writes to a run's log without the marks" in result.stdout


def test_i3_says_when_it_cannot_tell(done: Project) -> None:
    path = done.sweep_dir / "keeper.lock"
    record = json.loads(path.read_bytes())
    said = {
        "host": "the last start was on another: whether a process is left there cannot be told",
        "pid_namespace": "the last start was in another container",
        "is_marked": "where processes cannot be marked",
        "boot_id": "ok     I3",
        "is_over": "ok     I3",
    }
    other = {"host": "another", "pid_namespace": 1, "is_marked": False, "boot_id": "earlier", "is_over": True}
    for name, sentence in said.items():
        path.write_text(json.dumps(record | {"is_over": False, name: other[name]}))
        assert sentence in command(done, "verify").stdout
    assert record["is_over"]


def test_a_process_of_another_sweep_breaks_nothing(done: Project) -> None:
    environ = done.environment({TOKEN_VARIABLE: "0123456789abcdef.7"})
    code = "print(flush=True); import time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        found = broken(done)
        stranger.kill()
    assert found == []


def test_a_finished_run_that_was_started_again_breaks_i4(done: Project) -> None:
    journal_again(done, "run_start", attempt=2)
    journal_again(done, "run_end", attempt=2)
    result = command(done, "verify")
    assert result.returncode == 1
    assert "BROKEN I4" in result.stdout
    assert "started again in attempt 2" in result.stdout


@pytest.mark.parametrize(("kind", "fault"), [("run_end", "ended 2 times"), ("run_start", "was started twice")])
def test_an_event_that_comes_twice_breaks_the_journal(done: Project, kind: str, fault: str) -> None:
    journal_again(done, kind)
    result = command(done, "verify")
    assert result.returncode == 1
    assert "BROKEN journal" in result.stdout
    assert fault in result.stdout


@pytest.mark.parametrize("change", ["a line less", "a byte changed"])
def test_a_damaged_journal_breaks_a_promise_and_no_command(done: Project, change: str) -> None:
    journal = done.sweep_dir / "events.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    if change == "a line less":
        del lines[3]
    else:
        lines[3] = lines[3].replace(b'"ev"', b'"ev')
    journal.write_bytes(b"".join(lines))
    assert broken(done) == ["journal"]


def test_no_more_than_ten_faults_of_one_kind_are_listed(project: Project) -> None:
    project.asset("toy.py")
    project.write("sweep.yaml", SMALL.replace("x: [1, 2]", "x: {min: 1, max: 6}"))
    project.run()
    table = project.sweep_dir / "runs.csv"
    table.write_text(table.read_text().replace("finished", "failed"))
    assert "and 2 more" in command(project, "verify").stdout


def test_a_sweep_that_runs_is_not_verified(project: Project) -> None:
    project.asset("toy.py")
    project.write("sweep.yaml", SMALL.replace("y: [0.5, 0.25]", "hold: 600"))
    process = project.start("run")
    wait_until(lambda: n_started(project) >= 1, "a run has started")
    results = [command(project, "verify"), command(project, "rebuild-csv")]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)
    assert [result.returncode for result in results] == [2, 75]
    assert "the sweep is running; verify it when it has ended" in results[0].stderr
    assert f"this sweep is being run by pid {process.pid}" in results[1].stderr


def test_nothing_to_verify_is_said_in_a_sentence(project: Project) -> None:
    project.asset("toy.py")
    project.write("sweep.yaml", SMALL)
    result = command(project, "verify")
    assert result.returncode == 2
    assert "no sweep has been run here" in result.stderr


def test_verifying_changes_nothing(done: Project) -> None:
    def content() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in done.path.rglob("*") if path.is_file()}

    before = content()
    command(done, "verify")
    assert content() == before


def test_a_folder_is_verified_from_anywhere(done: Project) -> None:
    elsewhere = Project(done.path / "elsewhere")
    elsewhere.path.mkdir()
    assert command(elsewhere, "verify", str(done.sweep_dir)).returncode == 0


def test_a_table_that_stands_elsewhere_is_verified_there(project: Project) -> None:
    project.asset("toy.py")
    project.write("sweep.yaml", SMALL + "    logging: {local: {csv_path: results/all.csv}}\n")
    assert project.run().returncode == 0
    before = broken(project)
    (project.path / "results" / "all.csv").unlink()
    assert (before, broken(project)) == ([], ["I2"])


def test_a_folder_that_was_moved_keeps_all_promises(done: Project) -> None:
    moved = done.path / "moved"
    done.sweep_dir.rename(moved)
    result = command(done, "verify", str(moved))
    assert result.returncode == 0, result.stdout


# rebuild-csv


def test_a_table_that_is_gone_is_written_anew_as_it_was(done: Project) -> None:
    table = done.sweep_dir / "runs.csv"
    before = table.read_bytes()
    table.unlink()
    result = command(done, "rebuild-csv")
    assert result.returncode == 0
    assert "4 runs, as the journal tells them" in result.stdout
    assert table.read_bytes() == before


def test_a_table_that_was_edited_is_kept_beside_the_new_one(done: Project) -> None:
    table = done.sweep_dir / "runs.csv"
    before = table.read_bytes()
    edited = before.replace(b"finished", b"my note")
    table.write_bytes(edited)
    result = command(done, "rebuild-csv")
    (copy,) = done.sweep_dir.glob("runs.csv.bak-*")
    assert result.returncode == 0
    assert copy.name in result.stdout
    assert (table.read_bytes(), copy.read_bytes()) == (before, edited)


def test_every_edited_table_is_kept(done: Project) -> None:
    table = done.sweep_dir / "runs.csv"
    edits = [table.read_bytes().replace(b"finished", word) for word in (b"first", b"second", b"third")]
    for edited in edits:
        table.write_bytes(edited)
        command(done, "rebuild-csv")
    assert sorted(path.read_bytes() for path in done.sweep_dir.glob("runs.csv.bak-*")) == sorted(edits)


def test_a_table_that_is_right_stays_as_it_is(done: Project) -> None:
    table = done.sweep_dir / "runs.csv"
    before = table.read_bytes(), table.stat().st_mtime_ns
    command(done, "rebuild-csv")
    assert (table.read_bytes(), table.stat().st_mtime_ns) == before
    assert list(done.sweep_dir.glob("runs.csv.bak-*")) == []


def test_a_rebuilt_table_keeps_all_promises(done: Project) -> None:
    (done.sweep_dir / "runs.csv").write_text("nonsense")
    before = broken(done)
    command(done, "rebuild-csv")
    assert (before, broken(done)) == (["I2"], [])


def test_rebuilding_the_table_of_a_copy_leaves_the_original_alone(done: Project) -> None:
    copy = done.path / "copy"
    shutil.copytree(done.sweep_dir, copy)
    table = done.sweep_dir / "runs.csv"
    table.write_text("mine\n")
    result = command(done, "rebuild-csv", str(copy))
    assert result.returncode == 0, result.stderr
    assert table.read_text() == "mine\n"


def test_a_damaged_journal_rebuilds_nothing(done: Project) -> None:
    journal = done.sweep_dir / "events.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3] + lines[4:]))
    table = done.sweep_dir / "runs.csv"
    table.write_text("mine\n")
    result = command(done, "rebuild-csv")
    assert result.returncode == 2
    assert table.read_text() == "mine\n"


def test_a_folder_in_place_of_the_table_is_told_in_a_sentence(done: Project) -> None:
    table = done.sweep_dir / "runs.csv"
    table.unlink()
    table.mkdir()
    results = [command(done, "verify"), command(done, "rebuild-csv")]
    assert [result.returncode != 0 for result in results] == [True, True]
    assert all(result.stdout + result.stderr for result in results)


def test_a_table_that_is_no_text_is_told_in_a_sentence(done: Project) -> None:
    (done.sweep_dir / "runs.csv").write_bytes(b"\xff\xfe\x00broken\n")
    result = command(done, "verify")
    assert result.returncode == 1
    assert "BROKEN I2" in result.stdout


def test_a_lock_is_given_back_after_a_rebuild(done: Project) -> None:
    command(done, "rebuild-csv")
    assert done.run().returncode == 0


def test_a_table_that_cannot_be_written_is_told_in_a_sentence(done: Project) -> None:
    table = done.sweep_dir / "runs.csv"
    table.unlink()
    table.with_name("runs.csv.tmp").mkdir()
    result = command(done, "rebuild-csv")
    assert result.returncode == 2
