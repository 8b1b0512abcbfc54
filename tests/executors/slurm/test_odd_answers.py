"""What Slurm answers on a bad day: programs in its place say it, so that each answer comes when it is wanted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweepline.contract.runfolder import COMMAND, format_start
from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.base import Attempt, Exit, StopReason, Task
from sweepline.executors.local.exits import read_exit
from sweepline.executors.local.keeper import exitfile
from sweepline.executors.node.claim import Claim
from sweepline.executors.slurm import arrays, submissions
from sweepline.executors.slurm import executor as under_test
from sweepline.executors.slurm.client import check_available
from sweepline.executors.slurm.executor import SlurmExecutor
from sweepline.executors.slurm.mailbox import Mailbox
from sweepline.executors.slurm.options import SlurmOptions
from sweepline.executors.slurm.run import SlurmRun
from tests.conftest import wait_until

# Each answers with what a file beside it says, and writes down how it was called.
STANDIN = """#!/bin/bash
echo "$(basename $0) $*" >> {folder}/calls
answer={folder}/$(basename $0).says
[ -e $answer.fails ] && {{ cat $answer.fails >&2; exit 1; }}
[ "$(basename $0)" = sbatch ] && {{ echo x >> {folder}/submitted; wc -l < {folder}/submitted; exit; }}
[ -e $answer ] && cat $answer
exit 0
"""


class Slurm:
    """The programs, and what they say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("sbatch", "squeue", "scancel", "sacct", "scontrol"):
            path = folder / name
            path.write_text(STANDIN.format(folder=folder))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.says("scontrol", "MaxArraySize = 1001\nAccountingStorageType = accounting_storage/slurmdbd\n")

    def says(self, name: str, text: str) -> None:
        (self.folder / f"{name}.says.new").write_text(text)
        (self.folder / f"{name}.says.new").replace(self.folder / f"{name}.says")

    def fails(self, name: str, text: str | None) -> None:
        path = self.folder / f"{name}.says.fails"
        if text is None:
            path.unlink()
        else:
            path.write_text(text)

    def calls(self, name: str) -> list[str]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{name} ")]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    for name, seconds in {"SETTLE_S": 0.2, "FENCE_S": 0.1, "HURRY_S": 0.1, "LOOK_S": 0.02}.items():
        monkeypatch.setattr(under_test, name, seconds)
    for name, seconds in {"FIRST_WAIT_S": 0.3, "COMPANY_S": 0.1}.items():
        monkeypatch.setattr(submissions, name, seconds)
    monkeypatch.setattr(arrays.secrets, "token_hex", lambda _: "beef")
    return Slurm(folder)


@pytest.fixture
def executor(slurm: Slurm, tmp_path: Path) -> Iterator[SlurmExecutor]:
    del slurm
    made = SlurmExecutor(tmp_path, sweep="odd", token="abc", options=SlurmOptions(poll_s=0.1))
    yield made
    made._active.clear()  # nothing runs that could end
    made.close()


def task_in(tmp_path: Path, run_id: str = "a" * 12, attempt: int = 1) -> Task:
    run_dir = tmp_path / "runs" / run_id
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / COMMAND).write_text(format_start({"attempt": attempt}))
    return Task(
        run_id=run_id, attempt=attempt, argv=["true"], environ=dict(os.environ), working_dir=tmp_path, run_dir=run_dir
    )


def submit(executor: SlurmExecutor, tmp_path: Path) -> SlurmRun:
    run = executor.submit(task_in(tmp_path))
    wait_until(lambda: executor.wait(0.01) or run.key is not None, "it is submitted")
    return run


def wait_for_end(executor: SlurmExecutor, run: SlurmRun) -> None:
    wait_until(lambda: executor.wait(0.02) or run.exit is not None, "it has ended")


def row(state: str, *, reason: str = "None", node: str = "n7", job: int = 1, index: int = 1) -> str:
    return f"{job}|{index}|{state}|{node}|sweepline-abc-000001-beef|{reason}\n"


def test_a_state_that_is_not_known_is_taken_to_be_under_way_and_said_once(
    executor: SlurmExecutor, slurm: Slurm, tmp_path: Path
) -> None:
    slurm.says("squeue", row("DREAMING"))
    run = submit(executor, tmp_path)
    wait_until(lambda: executor.wait(0.02) or len(slurm.calls("squeue")) > 3, "it is asked for again")
    assert run.exit is None
    notes = list(executor.take_notes())
    assert [note for note in notes if "DREAMING" in note] == notes
    assert len(notes) == 1


def test_a_job_that_slurm_has_forgotten_is_taken_back(executor: SlurmExecutor, slurm: Slurm, tmp_path: Path) -> None:
    slurm.says("squeue", row("RUNNING"))
    run = submit(executor, tmp_path)
    wait_until(lambda: executor.wait(0.02) or run.place == "n7", "it runs")
    slurm.says("squeue", "")
    wait_for_end(executor, run)
    assert run.exit is not None
    assert run.exit.stopped == StopReason.PREEMPTED
    assert run.exit.remarks == ["Slurm knows nothing of its job any more (n7)"]
    assert slurm.calls("sacct") == ["-n -P -X -o JobID,State -j 1_1"]
    assert any(call.endswith("-j 1_1") for call in slurm.calls("squeue"))  # asked for by its number before


def test_the_accounting_still_knows_how_a_job_ended(executor: SlurmExecutor, slurm: Slurm, tmp_path: Path) -> None:
    slurm.says("sacct", "1_1|OUT_OF_MEMORY\n")
    run = submit(executor, tmp_path)
    wait_for_end(executor, run)
    assert run.exit is not None
    assert run.exit.is_out_of_memory


def test_an_accounting_that_does_not_answer_is_no_matter(executor: SlurmExecutor, slurm: Slurm, tmp_path: Path) -> None:
    slurm.fails("sacct", "sacct: error: slurmdbd: Connection refused")
    run = submit(executor, tmp_path)
    wait_for_end(executor, run)
    assert run.exit is not None
    assert run.exit.stopped == StopReason.PREEMPTED


@pytest.mark.parametrize(
    ("state", "stopped"),
    [
        ("NODE_FAIL", StopReason.PREEMPTED),
        ("PREEMPTED", StopReason.PREEMPTED),
        ("BOOT_FAIL", StopReason.PREEMPTED),
        ("TIMEOUT", StopReason.TIME_LIMIT),
        ("DEADLINE", StopReason.TIME_LIMIT),
    ],
)
def test_how_a_job_ended_is_how_its_run_did(
    executor: SlurmExecutor, slurm: Slurm, tmp_path: Path, state: str, stopped: StopReason
) -> None:
    slurm.says("squeue", row(state))
    run = submit(executor, tmp_path)
    wait_for_end(executor, run)
    assert run.exit is not None
    assert run.exit.stopped == stopped


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_job_that_was_cancelled_after_it_began_was_so_by_hand(
    executor: SlurmExecutor, slurm: Slurm, tmp_path: Path, has_begun: bool
) -> None:
    run = submit(executor, tmp_path)
    if has_begun:
        assert Claim(run.run_dir).take(1, {"job": "1", "node": "n7"})
    slurm.says("squeue", row("CANCELLED"))
    wait_for_end(executor, run)
    assert run.exit is not None
    assert run.exit.stopped == (StopReason.BY_HAND if has_begun else StopReason.PREEMPTED)


def test_a_job_that_ends_without_a_word_says_where_its_log_is(
    executor: SlurmExecutor, slurm: Slurm, tmp_path: Path
) -> None:
    slurm.says("squeue", row("FAILED"))
    run = submit(executor, tmp_path)
    wait_for_end(executor, run)
    assert run.exit is not None
    assert "see slurm_logs/odd_run_001.out" in (run.exit.not_started or "")


def test_a_job_that_was_killed_with_all_that_supervised_the_run_is_taken_back(
    executor: SlurmExecutor, slurm: Slurm, tmp_path: Path
) -> None:
    slurm.says("squeue", row("RUNNING"))
    run = submit(executor, tmp_path)
    assert Claim(run.run_dir).take(1, {"job": "1", "array": "1", "node": "n7"})
    slurm.says("squeue", row("FAILED"))
    wait_for_end(executor, run)
    assert run.exit is not None
    assert run.exit.stopped == StopReason.PREEMPTED
    assert run.exit.remarks == ["its job ended (failed) without a word"]


def test_an_answer_that_was_lost_is_looked_for_and_nothing_submitted_twice(
    executor: SlurmExecutor, slurm: Slurm, tmp_path: Path
) -> None:
    slurm.fails("sbatch", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    slurm.says("squeue", row("PENDING", reason="Priority", node="", job=77))
    run = submit(executor, tmp_path)
    assert run.key == ("77", 1)
    wait_until(lambda: executor.wait(0.02) or "Priority" in run.place, "it waits")
    assert len(slurm.calls("sbatch")) == 1
    assert any("tried again until Slurm takes it" in note for note in executor.take_notes())


def test_a_limit_of_jobs_is_waited_out_with_smaller_arrays(
    executor: SlurmExecutor, slurm: Slurm, tmp_path: Path
) -> None:
    slurm.fails("sbatch", "sbatch: error: QOSMaxSubmitJobPerUserLimit")
    runs = [executor.submit(task_in(tmp_path, f"{i}" * 12)) for i in range(4)]
    wait_until(lambda: executor.wait(0.02) or list(executor.take_notes()), "it was refused")
    slurm.fails("sbatch", None)
    wait_until(lambda: executor.wait(0.02) or all(run.key for run in runs), "all are submitted")
    assert len(slurm.calls("sbatch")) == 3  # all four, then two and two
    assert len({run.key for run in runs}) == 4


def test_what_will_never_be_taken_ends_the_runs(executor: SlurmExecutor, slurm: Slurm, tmp_path: Path) -> None:
    slurm.fails("sbatch", "sbatch: error: invalid account or account/partition combination specified")
    run = executor.submit(task_in(tmp_path))
    wait_for_end(executor, run)
    assert run.exit is not None
    assert run.exit.not_started == "sbatch: invalid account or account/partition combination specified"


def test_a_controller_that_is_away_is_said_once_and_ends_are_seen(
    executor: SlurmExecutor, slurm: Slurm, tmp_path: Path
) -> None:
    slurm.says("squeue", row("RUNNING"))
    run = submit(executor, tmp_path)
    slurm.fails("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    wait_until(lambda: executor.wait(0.02) or len(slurm.calls("squeue")) > 3, "it is asked for again")
    told = {"attempt": 1, "exit_code": 0, "signal": None, "duration_s": 1.0, "max_rss_kib": None, "stopped": None}
    exitfile.write(str(run.run_dir), told)
    Mailbox(tmp_path / "slurm").note_end(run.run_id, 1)
    wait_for_end(executor, run)
    assert run.exit is not None
    assert run.exit.exit_code == 0
    assert len([note for note in executor.take_notes() if "Unable to contact" in note]) == 1


def test_a_start_that_cannot_learn_what_is_left_does_not_begin(slurm: Slurm, tmp_path: Path) -> None:
    first = SlurmExecutor(tmp_path, sweep="odd", token="abc", options=SlurmOptions())
    run = submit(first, tmp_path)
    (tmp_path / "slurm" / "batches" / "000001-beef" / "job").unlink()  # killed before it could be written
    slurm.fails("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    later = SlurmExecutor(tmp_path, sweep="odd", token="abc", options=SlurmOptions())
    attempt = Attempt(run_id=run.run_id, attempt=1, run_dir=run.run_dir)
    with pytest.raises(ExecutorUnavailableError, match="start again once Slurm answers"):
        later.recover([attempt])


def test_a_job_that_was_never_noted_is_found_by_its_comment(slurm: Slurm, tmp_path: Path) -> None:
    first = SlurmExecutor(tmp_path, sweep="odd", token="abc", options=SlurmOptions())
    run = submit(first, tmp_path)
    (tmp_path / "slurm" / "batches" / "000001-beef" / "job").unlink()
    slurm.says("squeue", row("RUNNING", job=55))
    later = SlurmExecutor(tmp_path, sweep="odd", token="abc", options=SlurmOptions())
    found = later.recover([Attempt(run_id=run.run_id, attempt=1, run_dir=run.run_dir)])
    survivor = found[run.run_id]
    assert isinstance(survivor, SlurmRun)
    assert survivor.key == ("55", 1)


def test_a_job_that_starts_after_its_sweep_gave_it_up_does_nothing(slurm: Slurm, tmp_path: Path) -> None:
    del slurm
    first = SlurmExecutor(tmp_path, sweep="odd", token="abc", options=SlurmOptions())
    run = submit(first, tmp_path)
    (tmp_path / "slurm" / "batches" / "000001-beef" / "job").unlink()
    later = SlurmExecutor(tmp_path, sweep="odd", token="abc", options=SlurmOptions())
    assert later.recover([Attempt(run_id=run.run_id, attempt=1, run_dir=run.run_dir)]) == {}
    assert Mailbox(tmp_path / "slurm").read_stop(run.run_id, 1) == (StopReason.INTERRUPTED, True)
    assert read_exit(run.run_dir) is None


def test_a_job_under_another_name_is_found_by_its_number(executor: SlurmExecutor, slurm: Slurm, tmp_path: Path) -> None:
    (slurm.folder / "squeue").write_text(
        f"#!/bin/bash\necho x >> {slurm.folder}/n; case $* in *-j*) echo '{row('RUNNING').strip()}';; esac\n"
    )
    run = submit(executor, tmp_path)
    count = slurm.folder / "n"
    wait_until(lambda: executor.wait(0.02) or (count.exists() and len(count.read_text()) > 16), "it is asked for")
    assert run.exit is None
    assert run.place == "n7"


def test_a_run_of_an_array_that_waits_is_cancelled_alone(executor: SlurmExecutor, slurm: Slurm, tmp_path: Path) -> None:
    slurm.says("squeue", row("PENDING", reason="Priority", node=""))
    run = submit(executor, tmp_path)
    run.cancel(StopReason.BY_HAND)
    wait_until(lambda: executor.wait(0.02) or slurm.calls("scancel"), "it is cancelled")
    assert slurm.calls("scancel")[0] == "-Q 1_1"  # with --state, Slurm 22.05 ends all that wait of the array


def test_a_run_that_has_begun_gets_a_signal(executor: SlurmExecutor, slurm: Slurm, tmp_path: Path) -> None:
    slurm.says("squeue", row("RUNNING"))
    run = submit(executor, tmp_path)
    wait_until(lambda: executor.wait(0.02) or run.place == "n7", "it runs")
    run.cancel(StopReason.BY_HAND)
    wait_until(lambda: executor.wait(0.02) or slurm.calls("scancel"), "it is asked")
    assert slurm.calls("scancel")[0] == "-Q --signal=TERM --batch 1_1"


def test_array_parallelism_bounds_the_jobs_of_later_arrays_too(slurm: Slurm, tmp_path: Path) -> None:
    slurm.says("squeue", "".join(row("RUNNING", index=i) for i in range(1, 4)))
    options = SlurmOptions(poll_s=0.1, array_parallelism=2)
    executor = SlurmExecutor(tmp_path, sweep="odd", token="abc", options=options)
    first = [executor.submit(task_in(tmp_path, f"{i}" * 12)) for i in range(3)]
    wait_until(lambda: executor.wait(0.02) or all(run.key for run in first), "the first array is submitted")
    later = executor.submit(task_in(tmp_path, "9" * 12))
    wait_until(lambda: executor.wait(0.02) or len(slurm.calls("squeue")) > 3, "time goes by")
    assert later.key is None
    for run in first[:2]:
        executor._end(run, Exit(exit_code=0))
    wait_until(lambda: executor.wait(0.02) or later.key is not None, "it is submitted")
    executor._active.clear()
    executor.close()


def test_a_slurm_that_does_not_answer_holds_nobody_who_wants_to_leave(slurm: Slurm, tmp_path: Path) -> None:
    (slurm.folder / "squeue").write_text("#!/bin/bash\nexec sleep 60\n")
    executor = SlurmExecutor(tmp_path, sweep="odd", token="abc", options=SlurmOptions(poll_s=0.1))
    run = submit(executor, tmp_path)
    run.cancel(StopReason.INTERRUPTED, now=True)
    wait_for_end(executor, run)
    executor.close()
    assert run.exit is not None
    assert run.exit.stopped == StopReason.INTERRUPTED
    assert Mailbox(tmp_path / "slurm").read_stop(run.run_id, 1) == (StopReason.INTERRUPTED, True)  # for its job


def test_the_jobs_of_a_sweep_that_was_set_aside_are_ended(slurm: Slurm, tmp_path: Path) -> None:
    slurm.says("squeue", row("PENDING", node="", job=5) + row("RUNNING", job=6).replace("-abc-", "-other-"))
    executor = SlurmExecutor(tmp_path, sweep="odd", token="new", options=SlurmOptions(), abandoned="abc")
    assert executor.recover([]) == {}
    wait_until(lambda: executor.wait(0.02) or slurm.calls("scancel"), "they are cancelled")
    executor.close()
    assert slurm.calls("scancel") == ["-Q 5_1"]
    assert list(executor.take_notes()) == ["--fresh: 1 jobs of the sweep before are ended"]


def test_a_folder_that_was_renamed_has_its_runs_again_and_their_jobs_ended(slurm: Slurm, tmp_path: Path) -> None:
    first = SlurmExecutor(tmp_path / "old", sweep="odd", token="abc", options=SlurmOptions())
    run = submit(first, tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    later = SlurmExecutor(tmp_path / "new", sweep="odd", token="abc", options=SlurmOptions())
    attempt = Attempt(run_id=run.run_id, attempt=1, run_dir=tmp_path / "new" / "runs" / run.run_id)
    assert later.recover([attempt]) == {}
    wait_until(lambda: later.wait(0.02) or slurm.calls("scancel"), "it is cancelled")
    later.close()
    assert slurm.calls("scancel") == ["-Q 1_1"]


def test_another_job_that_has_taken_the_run_up_is_followed(
    executor: SlurmExecutor, slurm: Slurm, tmp_path: Path
) -> None:
    # One whose submission seemed to have failed: the second one leaves at once.
    slurm.says("squeue", row("RUNNING"))
    run = submit(executor, tmp_path)
    assert Claim(run.run_dir).take(1, {"job": "77", "array": "77", "node": "n3"})
    slurm.says("squeue", row("FAILED") + row("RUNNING", job=77, node="n3"))
    wait_until(lambda: executor.wait(0.02) or run.key == ("77", 1), "the other is followed")
    assert run.exit is None


def test_without_slurm_one_sentence_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutorUnavailableError, match="sbatch, squeue, scancel"):
        check_available()
