"""Who may use a GPU now: leases among sweeps, memory that must be free, and GPUs that were lost."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.local import admission
from sweepline.executors.local.admission import GpuAdmission, Leases, build_admission
from sweepline.executors.local.gpus import Gpu
from sweepline.executors.local.slots import Slot
from sweepline.runs import UNSUCCESSFUL, State

GIB = 1024


def gpu_of(index: int, free_mib: int = 24 * GIB) -> Gpu:
    return Gpu(index, f"GPU-{index:08x}", "H200", free_mib, 24 * GIB)


class Sensor:
    """A driver whose answers are set by the test; an answer is fresh until it is told to be old."""

    def __init__(self) -> None:
        self.reading: list[Gpu] | None = [gpu_of(0), gpu_of(1)]
        self.is_fresh = True
        self.is_silent = False
        self.is_asked = False
        self.is_closed = False
        self.fd = 99

    def ask(self) -> None:
        self.is_asked = True

    def poll(self) -> None:
        return

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leases"


@pytest.fixture
def sensor(monkeypatch: pytest.MonkeyPatch) -> Sensor:
    found = Sensor()
    monkeypatch.setattr(admission, "GpuSensor", lambda: found)
    return found


@pytest.fixture(autouse=True)
def no_open_files() -> Iterator[None]:
    """Close what a test opens: leases live as long as their process otherwise."""
    yield
    for path in Path("/proc/self/fd").iterdir():
        if path.is_symlink() and path.readlink().suffix == ".lock" and path.readlink().is_file():
            os.close(int(path.name))


def leases_of(folder: Path, *names: str, holder: str = "") -> Leases:
    return Leases({name: f"key-{name}" for name in names}, folder=folder, holder=holder)


def gate_of(folder: Path, *names: str, free_mib: int | None = None, holder: str = "") -> GpuAdmission:
    """Return the admission of one sweep on a machine with two GPUs."""
    gpus = [gpu_of(0), gpu_of(1)]
    return GpuAdmission(leases_of(folder, *names, holder=holder), min_free_mib=free_mib, gpus=gpus)


# leases


def test_a_lease_is_had_by_one_sweep_at_a_time(folder: Path) -> None:
    first, second = leases_of(folder, "0"), leases_of(folder, "0")
    assert [first.take("0"), second.take("0")] == [True, False]


def test_a_lease_that_was_given_back_can_be_had(folder: Path) -> None:
    first, second = leases_of(folder, "0"), leases_of(folder, "0")
    first.take("0")
    first.give_back("0")
    assert second.take("0")


def test_leases_of_different_gpus_have_nothing_to_do_with_each_other(folder: Path) -> None:
    first, second = leases_of(folder, "0", "1"), leases_of(folder, "0", "1")
    assert [first.take("0"), second.take("1"), second.take("0"), first.take("1")] == [True, True, False, False]


def test_the_holder_of_a_lease_is_told_by_name(folder: Path) -> None:
    first, second = leases_of(folder, "0", holder="sweep 'mnist' (pid 7)"), leases_of(folder, "0")
    first.take("0")
    assert second.holder_of("0") == "sweep 'mnist' (pid 7)"


def test_a_shorter_name_leaves_nothing_of_a_longer_one(folder: Path) -> None:
    first, second = leases_of(folder, "0", holder="a very long name"), leases_of(folder, "0", holder="short")
    first.take("0")
    first.give_back("0")
    second.take("0")
    assert first.holder_of("0") == "short"


def test_a_lease_nobody_has_written_itself_into_is_another_sweeps(folder: Path) -> None:
    assert leases_of(folder, "0").holder_of("0") == "another sweep"


def test_a_holder_whose_name_is_no_text_is_told_all_the_same(folder: Path) -> None:
    first, second = leases_of(folder, "0", holder="caf\udce9 \x00"), leases_of(folder, "0")
    assert first.take("0")
    assert second.holder_of("0").startswith("caf")


def test_all_users_of_the_machine_may_lease(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        leases_of(folder, "0")
    finally:
        os.umask(before)
    (lease,) = folder.iterdir()
    assert stat.S_IMODE(lease.stat().st_mode) == 0o666
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777


@pytest.mark.parametrize("key", ["../../escaped", "a/b", "..", "GPU 0", "MIG-1/2/3", "ü"])
def test_a_device_with_an_unusual_name_is_leased_within_the_folder(folder: Path, key: str) -> None:
    leases = Leases({"0": key}, folder=folder)
    assert leases.take("0")
    assert [path.name for path in folder.parent.iterdir()] == ["leases"]
    assert len(list(folder.iterdir())) == 1


def test_a_lease_does_not_reach_the_programs_that_are_started(folder: Path) -> None:
    assert not any(os.get_inheritable(fd) for fd in leases_of(folder, "0", "1").fds)


@pytest.mark.parametrize("plant", ["symlink", "dangling", "mkdir", "mkfifo"])
def test_what_is_no_plain_file_is_no_lease(folder: Path, plant: str) -> None:
    folder.mkdir()
    path = folder / "key-0.lock"
    if plant == "mkdir":
        path.mkdir()
    elif plant == "mkfifo":
        os.mkfifo(path)
    else:
        path.symlink_to(folder.parent / ("real" if plant == "symlink" else "not-there"))
        (folder.parent / "real").touch()
    with pytest.raises(ExecutorUnavailableError, match=r"^GPU leases: .*leases: .*; is it somebody else's file\?$"):
        leases_of(folder, "0")


# slots


def test_a_slot_of_two_gpus_takes_both(folder: Path) -> None:
    assert gate_of(folder, "0", "1").admit(Slot(0, "0,1"))
    other = leases_of(folder, "0", "1")
    assert [other.take("0"), other.take("1")] == [False, False]


@pytest.mark.parametrize("held", ["0", "1"])
def test_a_slot_of_two_gpus_takes_none_when_one_is_in_use(folder: Path, held: str) -> None:
    other = leases_of(folder, "0", "1")
    other.take(held)
    assert not gate_of(folder, "0", "1").admit(Slot(0, "0,1"))
    assert leases_of(folder, "0", "1").take("1" if held == "0" else "0")


def test_a_slot_that_was_released_can_be_had_by_others(folder: Path) -> None:
    first, second = gate_of(folder, "0", "1"), gate_of(folder, "0", "1")
    slot = Slot(0, "0, 1")
    first.admit(slot)
    first.release(slot)
    assert second.admit(slot)


def test_who_keeps_a_slot_waiting_is_said_once(folder: Path) -> None:
    gate_of(folder, "0", holder="sweep 'mnist' (pid 7)").admit(Slot(0, "0"))
    second = gate_of(folder, "0")
    for _ in range(5):
        second.admit(Slot(0, "0"))
    assert second.take_notes() == ["GPU 0 is in use by sweep 'mnist' (pid 7): waiting for it"]
    assert second.take_notes() == []


def test_who_keeps_a_slot_waiting_anew_is_said_anew(folder: Path) -> None:
    first, second, slot = gate_of(folder, "0", holder="first"), gate_of(folder, "0"), Slot(0, "0")
    for _ in range(2):
        first.admit(slot)
        second.admit(slot)
        first.release(slot)
        second.admit(slot)
        second.release(slot)
    assert len(second.take_notes()) == 2


# memory


@pytest.mark.parametrize(("free_mib", "is_admitted"), [(999, False), (1000, True), (1001, True)])
def test_a_slot_is_admitted_while_so_much_memory_is_free(
    folder: Path, sensor: Sensor, free_mib: int, is_admitted: bool
) -> None:
    sensor.reading = [gpu_of(0, free_mib)]
    assert gate_of(folder, "0", free_mib=1000).admit(Slot(0, "0")) is is_admitted


def test_a_full_gpu_is_left_to_others(folder: Path, sensor: Sensor) -> None:
    sensor.reading = [gpu_of(0, 10)]
    gate_of(folder, "0", free_mib=1000).admit(Slot(0, "0"))
    assert leases_of(folder, "0").take("0")


def test_a_full_gpu_is_told_once_and_again_when_it_was_free_in_between(folder: Path, sensor: Sensor) -> None:
    gate, slot = gate_of(folder, "0", free_mib=GIB), Slot(0, "0")
    for free_mib in (512, 500, 2 * GIB, 512):
        sensor.reading = [gpu_of(0, free_mib)]
        if gate.admit(slot):
            gate.release(slot)
    assert gate.take_notes() == ["GPU 0: 23.5 of 24.0 GiB are used, 1024 MiB free are asked: waiting"] * 2


def test_one_full_gpu_of_two_keeps_the_slot_waiting(folder: Path, sensor: Sensor) -> None:
    sensor.reading = [gpu_of(0), gpu_of(1, 10)]
    assert not gate_of(folder, "0", "1", free_mib=1000).admit(Slot(0, "0,1"))


def test_a_gpu_named_by_uuid_is_looked_up_by_it(folder: Path, sensor: Sensor) -> None:
    sensor.reading = [gpu_of(0, 10), gpu_of(1)]
    gate = gate_of(folder, gpu_of(0).uuid, gpu_of(1).uuid, free_mib=1000)
    assert [gate.admit(Slot(0, gpu_of(i).uuid)) for i in (0, 1)] == [False, True]


def test_an_old_reading_admits_nothing_and_asks_for_a_new_one(folder: Path, sensor: Sensor) -> None:
    sensor.is_fresh = False
    gate = gate_of(folder, "0", free_mib=1000)
    assert not gate.admit(Slot(0, "0"))
    assert gate.watched == [sensor.fd]


@pytest.mark.parametrize("reading", [None, [], [gpu_of(1)]])
def test_a_gpu_that_is_not_told_any_more_is_not_used(
    folder: Path, sensor: Sensor, reading: Sequence[Gpu] | None
) -> None:
    sensor.reading = None if reading is None else list(reading)
    gate = gate_of(folder, "0", free_mib=1000)
    assert not gate.admit(Slot(0, "0"))
    assert gate.take_notes() == ["GPU 0 is not told by the driver any more: waiting for it"]


def test_a_driver_that_falls_silent_is_said_once_and_not_asked_any_more(folder: Path, sensor: Sensor) -> None:
    sensor.reading, sensor.is_silent = None, True
    gate = gate_of(folder, "0", free_mib=1000)
    gate.poll()
    gate.poll()
    assert len(gate.take_notes()) == 1
    assert gate.admit(Slot(0, "0"))
    assert sensor.is_closed


def test_nobody_asks_the_driver_when_no_memory_must_be_free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "GpuSensor", lambda: pytest.fail("the driver was asked"))
    assert gate_of(folder, "0").admit(Slot(0, "0"))


# GPUs that are lost


def note(gate: GpuAdmission, *ends: tuple[str, State]) -> list[bool]:
    """Take ends on devices into account; return after which of them the device is left out."""
    return [gate.note_end(Slot(0, device), state) is not None for device, state in ends]


def test_a_gpu_lost_twice_in_a_row_is_left_out(folder: Path) -> None:
    gate = gate_of(folder, "0")
    assert note(gate, ("0", State.GPU_LOST), ("0", State.GPU_LOST)) == [False, True]


@pytest.mark.parametrize("good", [State.FINISHED, State.PRUNED])
def test_a_run_that_ends_well_makes_a_lost_gpu_a_good_one(folder: Path, good: State) -> None:
    gate = gate_of(folder, "0")
    assert note(gate, ("0", State.GPU_LOST), ("0", good), ("0", State.GPU_LOST)) == [False] * 3


def test_gpus_are_lost_one_by_one(folder: Path) -> None:
    gate = gate_of(folder, "0", "1")
    ends = [("0", State.GPU_LOST), ("1", State.GPU_LOST), ("1", State.FINISHED), ("0", State.GPU_LOST)]
    assert note(gate, *ends) == [False, False, False, True]


@pytest.mark.parametrize("state", sorted(UNSUCCESSFUL - {State.GPU_LOST}))
def test_other_failures_leave_no_gpu_out(folder: Path, state: State) -> None:
    assert note(gate_of(folder, "0"), *[("0", state)] * 9) == [False] * 9


def test_the_sentence_about_a_lost_gpu_names_it(folder: Path) -> None:
    gate = gate_of(folder, "0,1")
    gate.note_end(Slot(0, "0,1"), State.GPU_LOST)
    assert gate.note_end(Slot(0, "0,1"), State.GPU_LOST) == (
        "GPU 0,1: 2 runs in a row lost it; it is left out from here on"
    )


# all of it


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose leases are in the test's folder."""
    monkeypatch.setattr(admission.tempfile, "tempdir", str(tmp_path))
    return tmp_path / "sweepline-gpus"


def test_sweeps_on_the_cpu_lease_nothing(machine: Path) -> None:
    assert build_admission([Slot(0, "")], [gpu_of(0)], min_free_mib=None, sweep="s") is None
    assert not machine.exists()


@pytest.mark.parametrize(("first", "second"), [("1", "1"), ("1", gpu_of(1).uuid), (gpu_of(1).uuid, "0,1")])
@pytest.mark.usefixtures("machine")
def test_one_gpu_is_one_lease_whatever_it_is_called(first: str, second: str) -> None:
    gpus = [gpu_of(0), gpu_of(1)]
    gates = [build_admission([Slot(0, name)], gpus, min_free_mib=None, sweep=name) for name in (first, second)]
    assert [gate.admit(Slot(0, name)) for gate, name in zip(gates, (first, second), strict=True) if gate] == [
        True,
        False,
    ]


@pytest.mark.usefixtures("machine")
def test_the_sweep_that_holds_a_gpu_is_told_with_its_pid() -> None:
    slot = Slot(0, "0")
    gates = [build_admission([slot], None, min_free_mib=None, sweep=name) for name in ("mnist", "other")]
    for gate in gates:
        assert gate is not None
        gate.admit(slot)
    assert gates[1] is not None
    (said,) = gates[1].take_notes()
    assert said.startswith(f"GPU 0 is in use by sweep 'mnist' (pid {os.getpid()}, since ")
