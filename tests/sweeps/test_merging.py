"""One sweep in parts on several machines, and their folders joined: the same as if one machine had run all of it."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
import yaml
from filelock import FileLock

from sweepline.engine.verify import check_invariants
from sweepline.recording.folders import SweepFolder
from sweepline.recording.journal import Journal, read_events
from tests import forked
from tests.conftest import Project
from tests.reliability import IS_SOAK, SEED

SCRIPT = """
import helper, sys
given = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
print(f"METRIC loss={float(given['lr']) + int(given['seed']) / 100 + helper.MORE}")
"""
SWEEP = """
name: toy
program: train.py
method: grid
metric: {name: loss}
start: cold
devices: cpu
report: never
max_concurrent: 2
seeds: [0, 1]
parameters: {lr: [1, 2, 3, 4]}
"""
DIFFER = ["device", "started_at", "duration_s", "peak_memory_gib", "cpu_hours", "gpu_hours", "host"]
LOCKS = ("sweep.lock", "keeper.lock")
KILLED = '''
"""Does what ``sweepline`` does, and is killed before the n-th change that it makes in a folder."""
import os, signal, sys

CHANGES = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime")
left = int(os.environ["KILL_AT"])

def watch(event, args):
    global left
    if event not in CHANGES or (event == "open" and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR)):
        return
    path = args[0]
    if isinstance(path, (str, os.PathLike)) and os.path.abspath(path).startswith(os.environ["KILL_IN"]):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

def main():
    from sweepline.cli.main import main
    sys.addaudithook(watch)
    return main()
'''
Machines = Mapping[str, Project]
Copy = Callable[..., Project]


def make_project(path: Path, *, more: int = 0) -> Project:
    path.mkdir(parents=True)
    project = Project(path)
    project.write("train.py", SCRIPT)
    project.write("helper.py", f"MORE = {more}\n")
    project.write("sweep.yaml", SWEEP)
    return project


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Machines:
    """The sweep as run in one, in halves and in thirds, a project folder for each start; not to be changed."""
    own = tmp_path_factory.getbasetemp()
    place = (own if worker_id == "master" else own.parent) / "machines"  # made once, for the tests of all workers
    found = {name: place / name.replace("/", "of") for name in ("whole", "1/2", "2/2", "1/3", "2/3", "3/3")}
    with FileLock(f"{place}.lock"):
        for name, path in {} if place.exists() else found.items():
            done = make_project(path).run(*(["--shard", name] if "/" in name else []))
            assert done.returncode == 0, done.stderr
    return {name: Project(path) for name, path in found.items()}


@pytest.fixture
def copy(machines: Machines, tmp_path: Path) -> Copy:
    """Copy the project of a machine to this one, under another name."""

    def copy_project(name: str, to: str = "") -> Project:
        path = tmp_path / (to or name.replace("/", "of"))
        shutil.copytree(machines[name].path, path)
        return Project(path)

    return copy_project


def table(project: Project) -> pd.DataFrame:
    """Return the rows of a sweep without what differs from one machine to the next; of a code what stands for files."""
    rows = project.rows().drop(columns=DIFFER).set_index("run_id").sort_index()
    rows["code"] = rows["code"].str.partition(".")[0]  # the rest stands for where they lie
    return rows.reindex(columns=sorted(rows.columns))


def content(folder: Path) -> dict[str, str]:
    """Return a hash of each file of a sweep."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in LOCKS]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def faults_of(project: Project) -> list[str]:
    return [fault for found in check_invariants(project.sweep_dir) for fault in found.faults]


def merge(project: Project, *others: Project, **extra: str) -> str:
    done = project.command("merge", "sweep.yaml", *(str(other.sweep_dir) for other in others), **extra)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cut_journal(project: Project, *, keeps: Callable[[dict[str, object]], bool]) -> None:
    """Leave out events of a journal, as if it had been copied before they were written."""
    path = project.sweep_dir / "events.jsonl"
    events = list(read_events(path))
    path.unlink()
    journal = Journal(path)
    for event in filter(keeps, events):
        journal.append(event["ev"], **{name: event[name] for name in event if name not in ("v", "seq", "ev")})
    journal.close()


def interrupt(project: Project, *, n: int = 1) -> list[str]:
    """Leave the latest runs of a sweep as if they were under way; return their ids."""
    ended = [event["run"] for event in read_events(project.sweep_dir / "events.jsonl") if event["ev"] == "run_end"]
    cut_journal(project, keeps=lambda event: event["ev"] != "run_end" or event["run"] not in ended[-n:])
    for run_id in ended[-n:]:
        (project.sweep_dir / "runs" / run_id / "exit.json").unlink()
    return ended[-n:]


# ---------------------------------------------------------------- parts


def test_a_part_is_told_before_it_runs_while_it_stands_and_in_its_plan(copy: Copy) -> None:
    project = copy("1/3")
    preview, status = project.run("-n", "--shard", "2/3").stdout, project.command("status").stdout
    assert "part 2 of 3: 3 of 8 runs" in preview
    assert "part 1 of 3: 2 of 8 runs" in status
    assert "2 of 8 runs have ended" in status
    told = json.loads((project.sweep_dir / "plan.json").read_text())
    assert told["shard"] == {"number": 1, "n_parts": 3, "n_runs": 2, "n_all": 8}


def test_a_folder_goes_on_with_another_part_and_then_with_all(copy: Copy, machines: Machines) -> None:
    project = copy("1/3")
    second, rest = project.run("--shard", "2/3").stdout, project.run().stdout
    assert "resuming: 0 finished, 0 interrupted, 3 to do" in second
    assert "5 runs: 5 finished" in second
    assert "resuming: 5 finished, 0 interrupted, 3 to do" in rest
    assert set(project.rows()["in_sweep"]) == {"yes"}
    pd.testing.assert_frame_equal(table(project), table(machines["whole"]))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("method: bayes\nsamples: 9", "known beforehand"),
        ("method: random", "this search has no end: set samples"),
    ],
)
def test_a_search_whose_runs_are_not_known_beforehand_is_refused(project: Project, more: str, reason: str) -> None:
    project.write("train.py", SCRIPT)
    project.write("sweep.yaml", SWEEP.replace("method: grid", more))
    done = project.run("--shard", "1/2")
    assert (done.returncode, reason in done.stderr) == (2, True)


def test_a_batch_size_that_every_machine_would_measure_for_itself_is_refused(project: Project) -> None:
    project.write("train.py", SCRIPT)
    project.write("sweep.yaml", SWEEP.replace("{lr: [1, 2, 3, 4]}", "{lr: [1, 2], batch_size: {fits: {max: 8}}}"))
    done = project.run("--shard", "1/2")
    assert done.returncode == 2
    assert "batch_size is measured, and every machine would find its own" in done.stderr


# ---------------------------------------------------------------- merging


@pytest.mark.parametrize("n_parts", [2, 3])
def test_parts_that_are_merged_are_the_sweep_as_run_in_one(copy: Copy, machines: Machines, n_parts: int) -> None:
    first, *others = (copy(f"{i}/{n_parts}") for i in range(1, n_parts + 1))
    before = [content(other.path) for other in others]
    told = merge(first, *others)
    assert "8 of 8 runs have ended" in told
    pd.testing.assert_frame_equal(table(first), table(machines["whole"]))
    assert faults_of(first) == []
    assert [content(other.path) for other in others] == before
    best, whole = (yaml.safe_load((one.sweep_dir / "best.yaml").read_text()) for one in (first, machines["whole"]))
    assert [best[name] for name in ("params", "metrics", "standing")] == [
        whole[name] for name in ("params", "metrics", "standing")
    ]
    again = first.run()
    assert "resuming: 8 finished, 0 interrupted, 0 to do" in again.stdout
    assert "started" not in again.stdout
    assert "part" not in first.command("status").stdout


def test_merging_again_changes_nothing(copy: Copy) -> None:
    first, second = copy("1/2"), copy("2/2")
    merge(first, second)
    before = content(first.sweep_dir)
    assert "0 of 4 runs taken, 4 known already" in merge(first, second)
    assert content(first.sweep_dir) == before


def test_a_new_folder_takes_all_parts_and_is_that_of_the_sweep_file(copy: Copy, machines: Machines) -> None:
    here, *others = copy("whole"), copy("1/2"), copy("2/2")
    shutil.rmtree(here.path / "outputs")
    done = here.command("merge", *(str(other.sweep_dir) for other in others), "--to", "sweep.yaml")
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(table(here), table(machines["whole"]))
    assert "0 to do" in here.run().stdout
    assert faults_of(here) == []


def test_a_table_elsewhere_is_written_there_by_the_folder_of_the_sweep_file_alone(copy: Copy) -> None:
    first, second = copy("1/2"), copy("2/2")
    for one, part in ((first, "1/2"), (second, "2/2")):
        path = one.path / "sweep.yaml"
        path.write_text(path.read_text() + "logging: {local: {csv_path: tables/all.csv}}\n")
        one.run("--shard", part)
    (second.path / "sweep.yaml").unlink()
    elsewhere = second.command("merge", "outputs/toy", str(first.sweep_dir))
    merge(first, second)
    assert elsewhere.returncode == 0
    assert len(pd.read_csv(second.sweep_dir / "runs.csv")) == 8
    assert len(pd.read_csv(second.path / "tables" / "all.csv")) == 4
    assert len(pd.read_csv(first.path / "tables" / "all.csv")) == 8


def test_of_a_run_that_both_have_the_one_that_has_a_result_is_kept_and_the_other_is_archived(copy: Copy) -> None:
    first, second = copy("whole", "a"), copy("whole", "b")
    (run_id,) = interrupt(first)
    (first.sweep_dir / "runs" / run_id / "stdout.log").write_text("half of it\n")
    told = merge(first, second)
    assert "1 of 8 runs taken, 1 of them in place of one that had come less far here" not in told  # it goes on
    archived = list(first.sweep_dir.glob(f"archive/*_merged/{run_id}/stdout.log"))
    assert [path.read_text() for path in archived] == ["half of it\n"]
    assert "METRIC" in (first.sweep_dir / "runs" / run_id / "stdout.log").read_text()
    assert (faults_of(first), len(first.rows())) == ([], 8)


def test_runs_that_two_machines_have_done_are_one_run_each_and_none_is_lost(copy: Copy, machines: Machines) -> None:
    first, second = copy("1/2"), copy("whole", "b")
    (run_id,) = interrupt(first)
    told = merge(first, second)
    assert "3 were run here too, and are kept as they are here" in told
    assert "5 of 8 runs taken, 1 of them in place of one that had come less far here" in told
    (archived,) = first.sweep_dir.glob("archive/*_merged")
    assert sorted(path.name for path in archived.iterdir()) == sorted([run_id, "runs.csv"])
    pd.testing.assert_frame_equal(table(first), table(machines["whole"]))
    assert faults_of(first) == []
    own = [event for event in read_events(machines["1/2"].sweep_dir / "events.jsonl") if event["ev"] == "run_end"]
    kept = [event["t_wall"] for event in read_events(first.sweep_dir / "events.jsonl") if event["ev"] == "run_end"]
    assert {event["t_wall"] for event in own if event["run"] != run_id} <= set(kept)


def test_a_result_here_is_never_replaced_by_a_run_that_was_interrupted(copy: Copy) -> None:
    first, second = copy("whole", "a"), copy("1/2")
    interrupt(second, n=2)
    before = table(first)
    assert "0 of 4 runs taken" in merge(first, second)
    pd.testing.assert_frame_equal(table(first), before)
    assert not (first.sweep_dir / "archive").exists()


def test_a_run_that_was_under_way_when_its_folder_was_copied_is_interrupted_and_taken_anew_later(
    copy: Copy, machines: Machines
) -> None:
    first, second, later = copy("1/2"), copy("2/2"), copy("2/2", "later")
    (run_id,) = interrupt(second)
    told = merge(first, second)
    assert "1 of them under way there, interrupted here" in told
    assert "7 of 8 runs have ended; sweepline run does the rest" in told
    assert "interrupted" in first.command("show", run_id).stdout
    assert faults_of(first) == []
    merge(first, second)
    merge(first, later)
    pd.testing.assert_frame_equal(table(first), table(machines["whole"]))
    assert faults_of(first) == []


def test_a_run_whose_end_its_journal_did_not_have_yet_ends_as_its_folder_tells(copy: Copy, machines: Machines) -> None:
    first, second = copy("1/2"), copy("2/2")
    cut_journal(second, keeps=lambda event: event["ev"] != "run_end")
    assert "8 of 8 runs have ended" in merge(first, second)
    pd.testing.assert_frame_equal(table(first), table(machines["whole"]))


def test_a_run_folder_that_was_not_copied_yet_is_completed_by_the_next_merge(copy: Copy) -> None:
    first, second, later = copy("1/2"), copy("2/2"), copy("2/2", "later")
    name = table(second)["run_name"].iloc[0]
    run_id = table(second).index[0]
    shutil.rmtree(second.sweep_dir / "runs" / run_id)
    assert f"{name}: no folder there" in merge(first, second)
    merge(first, later)
    assert faults_of(first) == []


def test_what_a_person_wrote_of_a_run_on_either_machine_stays(copy: Copy) -> None:
    first, second = copy("whole", "a"), copy("1/2")
    run_id = table(second).index[0]
    first.command("tag", run_id, "mine")
    second.command("tag", run_id, "theirs")
    merge(first, second)
    assert "mine theirs" in first.command("show", run_id).stdout
    before = content(first.sweep_dir)
    merge(first, second)
    assert content(first.sweep_dir) == before


def test_a_run_that_an_edit_has_dropped_there_is_dropped_here(copy: Copy) -> None:
    first, second = copy("1/2"), copy("2/2")
    run_id = table(second).index[0]
    journal = Journal(second.sweep_dir / "events.jsonl")
    journal.append("membership", runs={run_id: "no"})
    journal.close()
    merge(first, second)
    assert table(first)["in_sweep"].value_counts().to_dict() == {"yes": 7, "no": 1}
    assert table(first)["in_sweep"][run_id] == "no"


def test_a_run_of_another_machine_is_repeated_here_by_the_code_that_it_had_there(copy: Copy, tmp_path: Path) -> None:
    first, there = copy("1/2"), make_project(tmp_path / "there", more=7)
    there.run("--shard", "2/2")
    there.path.rename(tmp_path / "gone")
    other = Project(tmp_path / "gone")
    run_id = table(other).index[0]
    told = merge(first, other)
    assert "the program is not the same there (helper.py)" in told
    shown = first.command("show", run_id).stdout
    assert f"({tmp_path / 'there'} is not on this machine; sweepline rerun {run_id} does it here)" in shown
    again = first.command("rerun", run_id)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "helper.py" in first.command("diff", run_id, table(first).index.difference(table(other).index)[0]).stdout


def test_the_same_program_is_the_same_code_on_every_machine(copy: Copy) -> None:
    first, second = copy("1/2"), copy("2/2")
    merge(first, second)
    assert first.rows()["code"].nunique() == 1
    assert "changed since" not in first.run().stdout


# ---------------------------------------------------------------- refusals


def refusal(project: Project, *words: str) -> tuple[int, str]:
    """Return exit code and sentence of a merge that changes nothing."""
    before = content(project.path)
    done = project.command("merge", *words)
    assert content(project.path) == before
    return done.returncode, done.stderr


def test_the_folder_of_another_sweep_is_refused_with_what_differs(copy: Copy) -> None:
    first, other = copy("1/2"), copy("2/2")
    path = other.path / "sweep.yaml"
    path.write_text(path.read_text().replace("[1, 2, 3, 4]", "[1, 2]"))
    other.run("--count", "1")
    code, told = refusal(first, "sweep.yaml", str(other.sweep_dir))
    assert (code, "is not the same sweep as outputs/toy: parameters.lr is" in told) == (2, True), told


def test_a_damaged_journal_is_refused_before_anything_is_taken(copy: Copy) -> None:
    first, second, third = copy("1/3"), copy("2/3"), copy("3/3")
    journal = third.sweep_dir / "events.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"finished"', b'"finisher"', 1))
    code, told = refusal(first, "sweep.yaml", str(second.sweep_dir), str(third.sweep_dir))
    assert code == 2
    assert "damaged at byte" in told
    assert "sweepline repair" in told
    third.command("repair", str(third.sweep_dir))
    assert "8 of 8" in merge(first, second, third)


def test_a_journal_that_names_a_folder_elsewhere_is_refused(copy: Copy) -> None:
    first, second = copy("1/2"), copy("2/2")
    journal = Journal(second.sweep_dir / "events.jsonl")
    start = next(event for event in read_events(journal.path) if event["ev"] == "run_start")
    journal.append(
        "run_start",
        **{name: start[name] for name in ("name", "params", "seed", "device")},
        run="../../x",
        attempt=1,
        started_at="",
    )
    journal.close()
    code, told = refusal(first, "sweep.yaml", str(second.sweep_dir))
    assert (code, "is no id of a run" in told) == (2, True), told


def test_a_journal_whose_last_line_was_copied_half_is_taken_without_it(copy: Copy) -> None:
    first, second = copy("1/2"), copy("2/2")
    with (second.sweep_dir / "events.jsonl").open("ab") as file:
        file.write(b'{"v":2,"seq":')
    before = content(second.sweep_dir)
    assert "8 of 8 runs have ended" in merge(first, second)
    assert content(second.sweep_dir) == before


@pytest.mark.parametrize("running", ["1/2", "2/2"])
def test_a_folder_whose_sweep_runs_is_refused(copy: Copy, running: str) -> None:
    found = {name: copy(name) for name in ("1/2", "2/2")}
    folder = SweepFolder(found[running].sweep_dir)
    folder.lock()
    try:
        code, told = refusal(found["1/2"], "sweep.yaml", str(found["2/2"].sweep_dir))
    finally:
        folder.unlock()
    assert (code, "merge when it has ended" in told) == (75, True), told


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["sweep.yaml"], "name the folders to merge into it"),
        (["sweep.yaml", "outputs/toy"], "is named twice"),
        (["sweep.yaml", "nowhere"], "no such file"),
        (["outputs/toy", "--to", "."], "is named twice"),
        (["outputs/toy", "--to", "outputs/toy/runs"], "is no sweep's folder, and not empty"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_what_to_do(copy: Copy, words: list[str], reason: str) -> None:
    code, told = refusal(copy("1/2"), *words)
    assert (code, reason in told) == (2, True), told


# ---------------------------------------------------------------- kills


def merge_and_kill(project: Project, *others: Project, at: int) -> int:
    """Merge, and kill that before its ``at``-th change of the folder; return the exit code."""
    words = ["sweepline", "merge", "sweep.yaml", *(str(other.sweep_dir) for other in others)]
    extra = {"KILL_AT": str(at), "KILL_IN": str(project.sweep_dir)}
    environ = project.environment(extra)
    project.write("killed.py", KILLED)
    return forked.run_forked(words, cwd=project.path, environ=environ, imports=forked.SWEEP, module="killed").returncode


def test_a_merge_that_is_killed_at_any_moment_goes_on_by_the_same_command(copy: Copy, machines: Machines) -> None:
    second, third = copy("2/3"), copy("whole", "b")
    interrupt(second)
    expected = table(machines["whole"])
    rng = random.Random(SEED)
    at = n_kills = 0
    while True:
        at += 1 if IS_SOAK else rng.randint(1, 60)
        first = copy("1/3", f"a{at}")
        interrupt(first)
        code = merge_and_kill(first, second, third, at=at)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        n_kills += 1
        events = read_events(first.sweep_dir / "events.jsonl")
        finished = [event["run"] for event in events if event.get("state") == "finished"]
        assert all((first.sweep_dir / "runs" / run_id / "exit.json").exists() for run_id in finished)
        changed = ["attempt"] if n_kills == 2 else []
        if n_kills == 2:  # it is no harm to start the sweep first; what was interrupted may then go again
            first.run("--count", "1")
        merge(first, second, third)
        pd.testing.assert_frame_equal(table(first).drop(columns=changed), expected.drop(columns=changed))
        assert faults_of(first) == []
        assert not (first.sweep_dir / "merging").exists()
        shutil.rmtree(first.path)
    assert n_kills > 3, at
