"""Where the runs of a start execute, by what the sweep file, the command line and the surroundings say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweepline.config.settings import SweepSettings
from sweepline.config.sweepfile import load_sweep
from sweepline.engine.places import LOCAL, MAX_JOBS, PILOT, SLURM, choose_place
from sweepline.engine.state import SweepOptions
from sweepline.errors import ExecutorUnavailableError

NODES = "pilot: {nodes: [a, b], starter: [env, 'X=${node}'], gpus: 2, cpus: 12}"


def settings_of(folder: Path, *lines: str) -> SweepSettings:
    (folder / "train.py").write_text("")
    path = folder / "sweep.yaml"
    path.write_text("\n".join(["program: train.py", "parameters: {a: [1, 2]}", *lines]) + "\n")
    return load_sweep(path)


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def test_runs_are_processes_of_this_machine_where_nothing_is_said(tmp_path: Path) -> None:
    place = choose_place(settings_of(tmp_path), SweepOptions(devices="cpu"))
    assert (place.kind, place.is_here) == (LOCAL, True)


def test_the_command_line_wins(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "executor: slurm", "devices: cpu")
    assert choose_place(settings, SweepOptions(executor="local")).kind == LOCAL


def test_slots_of_slurm_are_jobs(tmp_path: Path) -> None:
    place = choose_place(settings_of(tmp_path, "executor: slurm", "slurm: {cpus_per_task: 6}"), SweepOptions())
    slot = place.slots.all[3]
    assert (place.kind, place.threads, len(place.slots.all)) == (SLURM, 6, MAX_JOBS)
    assert (slot.label, slot.device, slot.device_arg) == ("slurm 3", "cpu", "cpu")
    assert any("max_concurrent changes that" in note for note in place.notes)


@pytest.mark.parametrize(
    ("asked", "device", "n_gpus"),
    [
        ("gres: 'gpu:1'", "slurm", 1),
        ("gres: gpu", "slurm", 1),
        ("gres: 'gpu:a100:2,nvme:1'", "slurm x2", 2),
        ("extra: {gpus: 4}", "slurm x4", 4),
        ("extra: {gpus-per-node: 'h100:2'}", "slurm x2", 2),
        ("gres: 'nvme:1'", "cpu", 0),
    ],
)
def test_runs_are_told_of_the_gpus_that_their_jobs_ask_for(
    tmp_path: Path, asked: str, device: str, n_gpus: int
) -> None:
    slot = choose_place(settings_of(tmp_path, "executor: slurm", f"slurm: {{{asked}}}"), SweepOptions()).slots.all[0]
    assert (slot.device, slot.n_gpus, slot.device_arg) == (device, n_gpus, "cuda" if n_gpus else "cpu")


def test_max_concurrent_is_how_many_jobs_there_are(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "executor: slurm", "max_concurrent: 7")
    assert len(choose_place(settings, SweepOptions()).slots.all) == 7
    assert len(choose_place(settings, SweepOptions(max_concurrent=9)).slots.all) == 9


def test_so_many_jobs_are_too_many(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "executor: slurm", "max_concurrent: 2000000")
    with pytest.raises(ExecutorUnavailableError, match="2,000,000 at a time are more than"):
        choose_place(settings, SweepOptions())


def test_all_devices_of_all_nodes_are_slots_node_after_node(tmp_path: Path) -> None:
    place = choose_place(settings_of(tmp_path, "executor: pilot", NODES), SweepOptions())
    assert (place.kind, [slot.device for slot in place.slots.all]) == (PILOT, ["a:0", "b:0", "a:1", "b:1"])
    assert place.threads == 6


def test_several_runs_share_a_gpu_of_a_node(tmp_path: Path) -> None:
    place = choose_place(settings_of(tmp_path, "executor: pilot", NODES, "runs_per_device: 3"), SweepOptions())
    assert len(place.slots.all) == 12
    assert place.threads == 2


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("devices: [0, 1]", "devices"),
        ("gpu_free_mib: 100", "gpu_free_mib"),
        ("pin: true", "pin"),
        ("runs_per_device: 2", "runs_per_device"),
        ("start: warm", "start: warm"),
    ],
)
def test_what_has_no_effect_there_is_said(tmp_path: Path, line: str, named: str) -> None:
    place = choose_place(settings_of(tmp_path, "executor: slurm", "max_concurrent: 2", line), SweepOptions())
    assert place.notes == [f"{named}: no effect with executor: slurm"]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["slurm: {time: 90}"], "may be seconds or minutes"),
        (["slurm: {mem: 16}"], "needs an amount of memory such as 16G"),
        (["slurm: {partitoin: x}"], "unknown key; did you mean 'partition'"),
        (["slurm: {extra: {output: x}}"], "output: is set by the sweep"),
        (["slurm: {extra: {mem: 3G}}"], "mem: is a key of its own"),
        (["slurm: {extra: {'a b': 1}}"], "is no long option of sbatch"),
        (['slurm: {account: "a\\nb"}'], "must be one line"),
        (["slurm: {on_oom: {mem: 2}}"], "needs a factor above 1 such as x2"),
        (["executor: slrm"], "did you mean 'slurm'"),
        (["pilot: {gpus: -1}"], "greater than or equal to 0"),
    ],
)
def test_what_cannot_be_is_one_sentence_with_its_line(tmp_path: Path, lines: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        settings_of(tmp_path, *lines)
    assert "sweep.yaml:3: " in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7200),
        ("90m", 5400),
        ("'02:00:00'", 7200),
        ("'1-12:00:00'", 129600),
        ("'1-12'", 129600),
        ("'30:00'", 1800),
    ],
)
def test_a_time_is_ours_or_slurms(tmp_path: Path, text: str, seconds: float) -> None:
    assert settings_of(tmp_path, f"slurm: {{time: {text}}}").slurm.time_s == seconds


def test_an_underscore_in_an_option_of_sbatch_is_a_dash(tmp_path: Path) -> None:
    settings: Any = settings_of(tmp_path, "slurm: {extra: {mail_user: me, exclusive: true, hold: false}}")
    assert settings.slurm.directives == {"mail-user": "me", "exclusive": None}
