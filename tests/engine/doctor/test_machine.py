"""What is read of limits, and how each finding comes about that this machine does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.engine.doctor import machine, packages
from sweepline.engine.doctor.finding import Standing
from sweepline.engine.doctor.folder import _describe_locks
from sweepline.engine.doctor.machine import find_cpu_quota, look_at_gpus, look_at_process_limits, look_at_processors
from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.local.gpus import Gpu

GPU = Gpu(0, "GPU-1", "NVIDIA H100", 80_000, 81_559)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_least_quota_of_nested_control_groups_holds(tmp_path: Path) -> None:
    write(tmp_path / "cpu.max", "max 100000\n")
    write(tmp_path / "a" / "cpu.max", "350000 100000\n")
    write(tmp_path / "a" / "b" / "cpu.max", "400000 100000\n")
    assert find_cpu_quota([tmp_path, tmp_path / "a", tmp_path / "a" / "b"]) == 3.5
    assert find_cpu_quota([tmp_path]) is None


def test_the_quota_of_the_first_version_is_read_too(tmp_path: Path) -> None:
    write(tmp_path / "cpu.cfs_quota_us", "150000\n")
    write(tmp_path / "cpu.cfs_period_us", "100000\n")
    assert find_cpu_quota([tmp_path]) == 1.5
    write(tmp_path / "cpu.cfs_quota_us", "-1\n")
    assert find_cpu_quota([tmp_path]) is None


def test_a_quota_below_the_cores_is_noted_with_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_cpu_quota", lambda: 2.0)
    monkeypatch.setattr(machine, "n_cores", lambda: 16)
    found = look_at_processors()
    assert found.standing == Standing.NOTE
    assert "max_concurrent: 2" in found.advice


@pytest.mark.parametrize(("left", "standing"), [(4000, Standing.OK), (100, Standing.NOTE), (3, Standing.FAILED)])
def test_few_processes_are_noted_and_too_few_fail(
    left: int, standing: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "pids.max", "5000\n")
    write(tmp_path / "pids.current", f"{5000 - left}\n")
    monkeypatch.setattr(machine, "control_groups", lambda _: [tmp_path])
    assert next(iter(look_at_process_limits())).standing == standing


def test_a_driver_that_does_not_answer_fails_with_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ExecutorUnavailableError("devices: the GPU driver did not answer in 10 s; use cpu")

    monkeypatch.setattr(machine, "read_gpus", refuse)
    (found,), gpus, slots = look_at_gpus({})
    assert (found.standing, gpus, slots) == (Standing.FAILED, (), None)
    assert "did not answer" in found.found


def test_gpus_are_told_with_their_memory_and_as_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "read_gpus", lambda: ([GPU], ""))
    findings, gpus, _ = look_at_gpus({})
    told = {finding.name: finding for finding in findings}
    assert "0 NVIDIA H100 (80,000 of 81,559 MiB free)" in told["gpus"].found
    assert told["slots"].found == "1 at a time by default (gpu 0)"
    assert gpus == [GPU]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([True, "13.0", ["NVIDIA H100"]], "sees 1 GPU: NVIDIA H100"),
        ([False, None, []], "it was built without CUDA"),
        ([False, "13.0", []], "it was built for CUDA 13.0"),
        ("ImportError: libcudart.so.13", "cannot be imported: ImportError: libcudart.so.13"),
    ],
)
def test_what_torch_says_of_gpus_is_told(answer: object, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_ask", lambda *_, **__: answer)
    found = packages._look_at_torch("python", "2.15.0", {}, [GPU], is_other=False)
    assert said in found.found
    assert (found.standing == Standing.OK) == (answer == [True, "13.0", ["NVIDIA H100"]])


def test_without_locks_no_sweep_runs_and_a_network_is_noted() -> None:
    assert _describe_locks("nfs4 at /home", locks_work=False).standing == Standing.FAILED
    assert _describe_locks("nfs4 at /home", locks_work=True).standing == Standing.NOTE
    assert _describe_locks(None, locks_work=True).standing == Standing.OK


def test_extras_are_read_from_the_metadata_with_their_least_versions() -> None:
    requirements = [
        "rich>=13.9",
        'optuna>=5; extra == "bayes"',
        "pandas>=2.2 ; extra == 'sql'",
        'sweepline[all]; extra == "dev"',
        'pandas-stubs; extra == "dev"',
    ]
    assert packages.read_extras(requirements) == {"bayes": {"optuna": "5"}, "sql": {"pandas": "2.2"}}


def test_a_package_that_is_too_old_is_a_fault_of_its_extra() -> None:
    assert packages._fault("optuna", "4.9.1", "5") == "optuna 4.9.1 is older than 5"
    assert packages._fault("optuna", "5.0.0", "5") == ""
    assert packages._fault("optuna", None, "5") == "optuna is not installed"
