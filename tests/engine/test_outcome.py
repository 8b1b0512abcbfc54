"""From a run folder to how the run ended: states, reasons, remarks, and the proof that overrides arrived."""

from __future__ import annotations

import math
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweepline.contract.runfolder import format_start
from sweepline.engine.lasterror import find_error
from sweepline.engine.outcome import OutcomeReader, find_difference, has_effective_config, read_asked
from sweepline.executors.base import Exit, StopReason
from sweepline.runs import Objective, RunOutcome, State

TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 7, in <module>
    step()
{last}
"""


def ended(exit_code: int | None = 0, number: int | None = None, stopped: StopReason | None = None) -> Exit:
    return Exit(exit_code=exit_code, signal=number, duration_s=2.25, max_rss_kib=1024, stopped=stopped)


def outcome_of(run_dir: Path, exit_: Exit, *, out: str = "", err: str = "", **options: Any) -> RunOutcome:
    """Return the outcome of a run that wrote this and ended so."""
    (run_dir / "stdout.log").write_text(out)
    (run_dir / "stderr.log").write_text(err)
    asked = options.pop("asked", None)
    return OutcomeReader(**{"is_own": True} | options).read(run_dir, exit_, asked=asked)


def write_config(run_dir: Path, config: Any) -> None:
    """Write the effective config as the trainer does: the hash last."""
    (run_dir / "config.yaml").write_text(yaml.safe_dump(config))
    (run_dir / "config.sha256").write_text("0" * 64)


# states


def test_exit_code_zero_is_finished_without_a_reason(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, ended(0), out="METRIC loss=0.5\n")
    assert outcome == RunOutcome(
        state=State.FINISHED, exit_code=0, duration_s=2.25, metrics={"loss": 0.5}, max_rss_kib=1024
    )


def test_a_failure_gives_the_last_line_of_its_errors(tmp_path: Path) -> None:
    err = TRACEBACK.format(last="RuntimeError: shape mismatch") + "\n  \n"
    outcome = outcome_of(tmp_path, ended(1), out="METRIC loss=0.5\nlast words\n", err=err)
    assert (outcome.state, outcome.exit_code, outcome.reason) == (State.FAILED, 1, "RuntimeError: shape mismatch")


def test_a_failure_without_errors_gives_the_last_line_of_its_output(tmp_path: Path) -> None:
    assert outcome_of(tmp_path, ended(2), out="first\nusage: train.py\n").reason == "usage: train.py"


def test_a_failure_without_any_output_says_so(tmp_path: Path) -> None:
    assert outcome_of(tmp_path, ended(1)).reason == "no output"


def test_a_failure_whose_logs_are_gone_says_so(tmp_path: Path) -> None:
    assert OutcomeReader().read(tmp_path, ended(1)).reason == "no output"


@pytest.mark.parametrize("last", ["a\tb\x0bc  d", "ValueError: 'a\x1cb'\x85"], ids=repr)
def test_a_reason_is_one_line(tmp_path: Path, last: str) -> None:
    assert len(outcome_of(tmp_path, ended(1), err=last).reason.splitlines()) == 1


def test_a_long_reason_is_cut_with_a_mark(tmp_path: Path) -> None:
    reason = outcome_of(tmp_path, ended(1), err="x" * 10_000).reason
    assert (len(reason), reason[-2:]) == (300, "x…")


def test_output_that_is_not_text_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "stderr.log").write_bytes(b"\xff\xfe broken\n")
    assert OutcomeReader().read(tmp_path, ended(1)).reason == "\ufffd\ufffd broken"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGKILL, "SIGKILL (out-of-memory kill possible)"),
        (signal.SIGSEGV, "SIGSEGV"),
        (signal.SIGTERM, "SIGTERM"),
        (40, "40"),
    ],
)
def test_a_signal_is_killed_with_its_name(tmp_path: Path, number: int, reason: str) -> None:
    outcome = outcome_of(tmp_path, ended(None, number))
    assert (outcome.state, outcome.signal, outcome.exit_code, outcome.reason) == (State.KILLED, number, None, reason)


@pytest.mark.parametrize(
    "last",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 24 GiB",
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB",
        "MemoryError",
        "MemoryError: Unable to allocate 1.00 TiB for an array",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.",
        "ImportError: libtorch_cpu.so: cannot map zero-fill pages",
    ],
)
def test_out_of_memory_is_recognised_by_its_text(tmp_path: Path, last: str) -> None:
    outcome = outcome_of(tmp_path, ended(1), err=TRACEBACK.format(last=last))
    assert (outcome.state, outcome.reason) == (State.OUT_OF_MEMORY, last)


@pytest.mark.parametrize(
    "last",
    [
        "RuntimeError: cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
        "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "RuntimeError: cusolver error: CUSOLVER_STATUS_NOT_INITIALIZED, when calling `cusolverDnCreate(handle)`",
    ],
)
def test_what_may_mean_out_of_memory_is_told_as_such(tmp_path: Path, last: str) -> None:
    outcome = outcome_of(tmp_path, ended(1), err=TRACEBACK.format(last=last))
    assert (outcome.state, outcome.reason) == (State.FAILED, f"{last} (said where the GPU's memory is full, too)")


@pytest.mark.parametrize(
    "last",
    [
        "RuntimeError: CUDA error: unspecified launch failure",
        "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered",
        "RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "Unable to determine the device handle for GPU0000:01:00.0: Unknown Error",
    ],
)
def test_a_lost_gpu_is_recognised_by_its_text(tmp_path: Path, last: str) -> None:
    outcome = outcome_of(tmp_path, ended(1), err=TRACEBACK.format(last=last))
    assert (outcome.state, outcome.reason) == (State.GPU_LOST, last)


@pytest.mark.parametrize(
    "last", ["RuntimeError: CUDA error: device-side assert triggered", "KeyError: 'MemoryError'", "OSError: no memory"]
)
def test_other_errors_are_plain_failures(tmp_path: Path, last: str) -> None:
    assert outcome_of(tmp_path, ended(1), err=TRACEBACK.format(last=last)).state == State.FAILED


def test_a_run_that_finished_may_have_printed_anything(tmp_path: Path) -> None:
    assert outcome_of(tmp_path, ended(0), err="CUDA out of memory, halving the batch\n").state == State.FINISHED


@pytest.mark.parametrize("exit_", [(0, None), (1, None), (None, signal.SIGTERM), (None, signal.SIGKILL)], ids=str)
def test_a_run_stopped_with_the_sweep_is_interrupted_however_it_left(
    tmp_path: Path, exit_: tuple[int | None, int | None]
) -> None:
    outcome = outcome_of(tmp_path, ended(*exit_, StopReason.INTERRUPTED))
    assert (outcome.state, outcome.reason) == (
        State.INTERRUPTED,
        "stopped with the sweep; goes on at the next start",
    )


def test_a_run_over_its_time_is_a_timeout_that_says_how_long_it_took(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, ended(None, signal.SIGTERM, StopReason.TIMEOUT))
    assert (outcome.state, outcome.reason) == (State.TIMEOUT, "stopped after 2 s")


# metrics


def test_the_last_value_of_each_metric_counts(tmp_path: Path) -> None:
    out = "METRIC epoch=1 loss=2 acc=0.5\nMETRIC epoch=2 loss=nan\n"
    metrics = outcome_of(tmp_path, ended(0), out=out).metrics
    assert repr(metrics) == repr({"loss": math.nan, "acc": 0.5})


def test_a_failed_run_keeps_what_it_measured(tmp_path: Path) -> None:
    assert outcome_of(tmp_path, ended(1), out="METRIC loss=0.5\n").metrics == {"loss": 0.5}


def test_the_history_is_written_beside_the_output(tmp_path: Path) -> None:
    outcome_of(tmp_path, ended(0), out="METRIC epoch=1 loss=2\nMETRIC epoch=2 loss=1\n")
    assert (tmp_path / "metrics.csv").read_text().split() == ["epoch,loss", "1,2.0", "2,1.0"]


def test_a_history_that_the_program_wrote_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("its own\n")
    outcome_of(tmp_path, ended(0), out="METRIC loss=2\n")
    assert (tmp_path / "metrics.csv").read_text() == "its own\n"


def test_patterns_read_both_outputs(tmp_path: Path) -> None:
    patterns = {"acc": re.compile(r"Accuracy: (\d+)/"), "loss": re.compile(r"loss is (\S+)")}
    outcome = outcome_of(tmp_path, ended(0), out="Accuracy: 97/100\n", err="loss is 0.25\n", patterns=patterns)
    assert outcome.metrics == {"acc": 97.0, "loss": 0.25}


# remarks


def test_a_finished_run_without_the_objective_says_so(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, ended(0), out="METRIC acc=1\n", objectives=[Objective(name="loss")])
    assert (outcome.state, outcome.reason) == (
        State.FINISHED,
        "no METRIC loss; there is acc (mend metric: nothing is trained again)",
    )


def test_metric_lines_that_cannot_be_read_are_counted_and_the_first_is_shown(tmp_path: Path) -> None:
    out = "METRIC loss=low\nMETRIC loss=0.5\nMETRIC loss = 0.25\n"
    outcome = outcome_of(tmp_path, ended(0), out=out)
    assert outcome.reason == "2 METRIC lines not understood (first: METRIC loss=low)"
    assert (outcome.n_bad_metric_lines, outcome.metrics) == (2, {"loss": 0.5})


def test_metrics_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    out = "\n".join(f"METRIC m{i}=1" for i in range(503))
    assert outcome_of(tmp_path, ended(0), out=out).reason == "3 metrics beyond the first 500 left out"


def test_remarks_come_together(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, ended(0), out="METRIC loss=low\n", objectives=[Objective(name="loss")], asked={})
    assert outcome.reason == (
        "no METRIC loss; 1 METRIC lines not understood (first: METRIC loss=low); "
        "overrides not proved: no config.yaml in the run folder"
    )


def test_text_that_a_pattern_takes_for_a_number_is_a_remark(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, ended(0), out="took 12.5s\ntook 3\n", patterns={"took": re.compile(r"took (\S+)")})
    assert (outcome.state, outcome.n_bad_metric_lines, outcome.metrics) == (State.FINISHED, 1, {"took": 3.0})


# proof of overrides


def test_an_override_that_did_not_arrive_ends_the_run_as_failed(tmp_path: Path) -> None:
    write_config(tmp_path, {"learner": {"step_size": 0.01}})
    outcome = outcome_of(tmp_path, ended(0), asked={"learner.step_size": 0.1})
    assert (outcome.state, outcome.reason) == (
        State.FAILED,
        "override not applied (learner.step_size: asked 0.1, got 0.01)",
    )


def test_a_run_stopped_because_of_its_overrides_is_failed_with_the_difference(tmp_path: Path) -> None:
    write_config(tmp_path, {"seed": 2})
    stopped = ended(None, signal.SIGTERM, StopReason.OVERRIDE_NOT_APPLIED)
    outcome = outcome_of(tmp_path, stopped, asked={"seed": 1})
    assert (outcome.state, outcome.reason) == (State.FAILED, "override not applied (seed: asked 1, got 2)")


@pytest.mark.parametrize(
    ("got", "reason"),
    [
        ({"lr": 0.5}, "override not applied (lr: asked 0.1, got 0.5)"),
        ({"optimizer": {"name": "sgd"}}, "override not applied (optimizer.name: asked 'adam', got 'sgd')"),
        ({"lr": 0.1, "other": 7}, ""),
        ({"lr": "0.1", "flag": "True", "optimizer.name": "adam"}, ""),
        ({"epochs": 3}, ""),
        ("no mapping", ""),
    ],
)
def test_another_program_proves_the_parameters_that_it_writes_down(tmp_path: Path, got: Any, reason: str) -> None:
    write_config(tmp_path, got)
    asked = {"lr": 0.1, "flag": True, "optimizer.name": "adam"}
    outcome = outcome_of(tmp_path, ended(0), out="METRIC loss=1\n", asked=asked, is_own=False)
    assert (outcome.state, outcome.reason) == (State.FAILED if reason else State.FINISHED, reason)


def test_another_program_need_not_prove_anything(tmp_path: Path) -> None:
    assert outcome_of(tmp_path, ended(0), out="METRIC loss=1\n", asked={"lr": 0.1}, is_own=False).reason == ""


@pytest.mark.parametrize(("code", "state"), [(0, State.INTERRUPTED), (1, State.INTERRUPTED)])
def test_a_run_whose_log_vanished_goes_again_and_says_why(tmp_path: Path, code: int, state: State) -> None:
    outcome = outcome_of(tmp_path, Exit(exit_code=code, is_output_lost=True), objectives=[Objective(name="loss")])
    assert (outcome.state, outcome.is_blameless, "vanished while it ran" in outcome.reason) == (state, True, True)


def test_a_run_that_told_its_objective_before_its_log_vanished_is_finished(tmp_path: Path) -> None:
    (tmp_path / "stdout.log").write_text("METRIC loss=1\n")
    outcome = OutcomeReader(objectives=[Objective(name="loss")]).read(tmp_path, Exit(exit_code=0, is_output_lost=True))
    assert outcome.state == State.FINISHED


def test_a_run_that_failed_by_itself_keeps_its_own_reason(tmp_path: Path) -> None:
    write_config(tmp_path, {"seed": 2})
    outcome = outcome_of(tmp_path, ended(1), err="RuntimeError: broke\n", asked={"seed": 1})
    assert (outcome.state, outcome.reason) == (State.FAILED, "RuntimeError: broke")


def test_overrides_that_arrived_leave_no_remark(tmp_path: Path) -> None:
    write_config(tmp_path, {"learner": {"opt": "adam", "step_size": 1e-05}, "seed": 3})
    asked = {"learner.opt": "adam", "learner.step_size": 0.00001, "seed": 3}
    assert outcome_of(tmp_path, ended(0), out="METRIC loss=1\n", asked=asked).reason == ""


def test_every_difference_is_named(tmp_path: Path) -> None:
    write_config(tmp_path, {"learner": {"opt": "sgd"}, "seed": 2})
    asked = {"learner.opt": "adam", "learner.momentum": 0.9, "seed": 2}
    assert find_difference(tmp_path, asked) == (
        "override not applied (learner.opt: asked 'adam', got 'sgd'; learner.momentum: asked 0.9, not there)"
    )


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        (1, 1.0),
        (1.0, 1),
        (-0.0, 0.0),
        (1e-4, 0.0001),
        (True, True),
        (None, None),
        ([1, 2], [1.0, 2.0]),
        ((1, 2), [1, 2]),
        ({"a": [1]}, {"a": [1.0]}),
        (math.nan, math.nan),
        (math.inf, math.inf),
        ("", ""),
    ],
    ids=repr,
)
def test_equal_settings_are_equal_whatever_their_number_type(tmp_path: Path, asked: Any, got: Any) -> None:
    write_config(tmp_path, {"x": got})
    assert find_difference(tmp_path, {"x": asked}) is None


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        (True, 1),
        (1, True),
        (False, 0),
        (False, None),
        ("1", 1),
        ("true", True),
        ("", None),
        (0.1, 0.1 + 1e-16),
        ([1, 2], [1]),
        ([True], [1]),
        (math.nan, 0.0),
        ("nan", math.nan),
    ],
    ids=repr,
)
def test_unlike_settings_differ(tmp_path: Path, asked: Any, got: Any) -> None:
    write_config(tmp_path, {"x": got})
    assert find_difference(tmp_path, {"x": asked}) == f"override not applied (x: asked {asked!r}, got {got!r})"


def test_a_section_that_was_asked_for_in_part_is_proved_by_that_part(tmp_path: Path) -> None:
    write_config(tmp_path, {"learner": {"opt": "adam", "momentum": 0.0}})
    assert find_difference(tmp_path, {"learner": {"opt": "adam"}}) is None


@pytest.mark.parametrize("part", [{"opt": "adam"}, {"opt": "sgd", "beta1": 0.9}], ids=str)
def test_a_section_that_differs_in_the_part_asked_for_is_a_difference(tmp_path: Path, part: dict[str, Any]) -> None:
    write_config(tmp_path, {"learner": {"opt": "sgd", "momentum": 0.0}})
    assert str(find_difference(tmp_path, {"learner": part})).startswith("override not applied (learner")


def test_a_config_that_is_not_whole_yet_differs_in_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 2\n")
    assert (has_effective_config(tmp_path), find_difference(tmp_path, {"seed": 1})) == (False, None)


@pytest.mark.parametrize("text", ["", "just words", "[1, 2]", "a: [1,", "!!python/name:os.system"])
def test_a_config_that_is_no_config_proves_nothing(tmp_path: Path, text: str) -> None:
    write_config(tmp_path, {})
    (tmp_path / "config.yaml").write_text(text)
    assert str(find_difference(tmp_path, {"seed": 1})).startswith("override not applied (")


def test_what_was_asked_of_a_program_is_told_with_its_own_folder_in_place_of_macros(tmp_path: Path) -> None:
    start = {"run": "a1", "name": "x", "params": {"out": "${run_dir}/m", "lr": 0.1}}
    (tmp_path / "command.txt").write_text(f"cd / && true\n{format_start(start)}")
    expected = {"out": f"{tmp_path / 'files'}/m", "lr": 0.1}
    assert read_asked(tmp_path) == expected
    (tmp_path / "overrides.yaml").write_text("wandb_version: 1\nlr: {value: 0.1}\nseed: {value: 3}\n")
    assert read_asked(tmp_path) == expected


def test_what_was_asked_is_read_back_from_the_run_folder(tmp_path: Path) -> None:
    (tmp_path / "overrides.yaml").write_text("learner.step_size: 1e-05\nname: 'true'\n")
    assert read_asked(tmp_path) == {"learner.step_size": 1e-05, "name": "true"}


@pytest.mark.parametrize("text", ["", "words", "a: [", "- 1"])
def test_what_was_asked_is_unknown_where_the_file_tells_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "overrides.yaml").write_text(text)
    assert read_asked(tmp_path) is None


# the end of a log


def test_a_tail_holds_the_last_lines_of_the_errors(tmp_path: Path) -> None:
    (tmp_path / "stderr.log").write_text("".join(f"line {i}\n" for i in range(5000)))
    assert find_error(tmp_path, 2).tail == ["line 4998", "line 4999"]


def test_a_tail_of_a_progress_bar_holds_its_last_states(tmp_path: Path) -> None:
    (tmp_path / "stderr.log").write_text("".join(f"\r{i} %" for i in range(101)))
    assert find_error(tmp_path, 2).tail == ["99 %", "100 %"]


def test_a_tail_of_one_endless_line_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "stderr.log").write_text("x" * 1_000_000)
    assert len("".join(find_error(tmp_path).tail)) == 16 * 1024


@pytest.mark.parametrize("asked", [True, "once"])
def test_a_search_is_proved_by_the_size_that_it_found(tmp_path: Path, asked: Any) -> None:
    write_config(tmp_path, {"batch_size_config": {"optimize_batch_size": False, "tuned_batch_size": 140}})
    assert find_difference(tmp_path, {"batch_size_config.optimize_batch_size": asked}) is None
    also = {"batch_size_config": {"optimize_batch_size": asked, "tuned_batch_size": 64}}
    assert find_difference(tmp_path, also) is None
    assert find_difference(tmp_path, {"batch_size_config.tuned_batch_size": 64}) is not None


def test_a_search_that_found_nothing_is_not_proved(tmp_path: Path) -> None:
    write_config(tmp_path, {"batch_size_config": {"optimize_batch_size": False, "tuned_batch_size": None}})
    assert find_difference(tmp_path, {"batch_size_config.optimize_batch_size": True}) is not None


@pytest.mark.parametrize("said", ["1", "1.0", "nan"])
def test_what_a_run_had_before_it_diverged_is_no_result(tmp_path: Path, said: str) -> None:
    out = f"METRIC epoch=1 loss=0.5 diverged=0\nMETRIC epoch=2 loss=7.0 diverged={said}\n"
    told = outcome_of(tmp_path, ended(0), out=out, objectives=[Objective(name="loss", summary="min")]).metrics
    assert math.isnan(told["loss"])
    stable = out.replace(f"diverged={said}", "diverged=0")
    told = outcome_of(tmp_path, ended(0), out=stable, objectives=[Objective(name="loss", summary="min")]).metrics
    assert told == {"loss": 0.5, "diverged": 0.0}
