"""Slots: which there are, in which order they are given, and that none is given twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.local import slots as slots_module
from sweepline.executors.local.gpus import Gpu, gpu_key
from sweepline.executors.local.slots import (
    MAX_SLOTS,
    Slot,
    Slots,
    build_slots,
    device_environment,
    n_cores,
    thread_budget,
)

GPUS = tuple(Gpu(i, f"GPU-0000000{i}-aaaa-bbbb-cccc-dddddddddddd", "H200") for i in range(4))


def slots_of(devices: Any, visible: str | None = None, gpus: Any = GPUS, **options: Any) -> list[str]:
    """Return the ids of the slots that are built on a machine of four GPUs; an empty id is a CPU slot."""
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    slots, _ = build_slots(devices, gpus=gpus, environ=environ, **options)
    return [slot.visible for slot in slots.all]


def taken(slots: Slots, n: int) -> list[int]:
    """Take ``n`` slots; return their indexes."""
    return [slot.index for slot in (slots.take() for _ in range(n)) if slot is not None]


# leases


def test_slots_are_taken_in_order() -> None:
    assert taken(Slots([Slot(i, str(i)) for i in range(3)]), 3) == [0, 1, 2]


def test_the_next_free_slot_after_the_last_one_is_taken() -> None:
    slots = Slots([Slot(i, str(i)) for i in range(4)])
    first = [slots.take() for _ in range(3)]
    assert first[0]
    assert first[1]
    slots.give_back(first[0])
    slots.give_back(first[1])
    assert taken(slots, 3) == [3, 0, 1]


def test_taken_slots_are_passed_over() -> None:
    slots = Slots([Slot(i, str(i)) for i in range(3)])
    first = [slots.take() for _ in range(3)]
    assert first[1]
    slots.give_back(first[1])
    assert taken(slots, 1) == [1]


def test_nothing_is_given_when_all_are_taken() -> None:
    slots = Slots([Slot(0, "0")])
    slots.take()
    assert slots.take() is None


def test_no_more_leases_are_out_than_runs_may_be_concurrent() -> None:
    slots = Slots([Slot(i, str(i)) for i in range(4)], max_concurrent=2)
    assert (taken(slots, 4), slots.n_taken) == ([0, 1], 2)


def test_runs_one_at_a_time_still_go_round() -> None:
    slots = Slots([Slot(i, str(i)) for i in range(3)], max_concurrent=1)
    assert [take_and_give_back(slots) for _ in range(5)] == [0, 1, 2, 0, 1]


def take_and_give_back(slots: Slots) -> int:
    slot = slots.take()
    assert slot
    slots.give_back(slot)
    return slot.index


def test_giving_back_what_is_not_out_is_a_bug() -> None:
    slots = Slots([Slot(0, "0")])
    with pytest.raises(AssertionError):
        slots.give_back(slots.all[0])


def play(slots: Slots, moves: list[int]) -> list[list[int]]:
    """Take where a move is negative, give back otherwise; return which slots were out after each move."""
    out: list[Slot] = []
    history = []
    for move in moves:
        if move < 0 and (slot := slots.take()):
            out.append(slot)
        elif move >= 0 and out:
            slots.give_back(out.pop(move % len(out)))
        history.append([slot.index for slot in out])
    return history


@given(moves=st.lists(st.integers(-3, 3), max_size=40), n_max=st.integers(1, 5))
def test_no_slot_is_ever_given_twice(moves: list[int], n_max: int) -> None:
    history = play(Slots([Slot(i, str(i)) for i in range(4)], max_concurrent=n_max), moves)
    assert [out for out in history if len(out) != len(set(out)) or len(out) > n_max] == []


# which slots there are


def test_auto_takes_every_gpu() -> None:
    assert slots_of("auto") == ["0", "1", "2", "3"]


@pytest.mark.parametrize("visible", ["2,0", " 2 , 0 ", "2,0,"])
def test_auto_takes_what_is_visible_in_its_order(visible: str) -> None:
    assert slots_of("auto", visible) == ["2", "0"]


def test_auto_takes_visible_gpus_by_uuid() -> None:
    assert slots_of("auto", f"{GPUS[3].uuid},1") == [GPUS[3].uuid, "1"]


@pytest.mark.parametrize("visible", ["", "-1"])
def test_auto_takes_the_cpu_where_no_gpu_is_visible(visible: str) -> None:
    assert set(slots_of("auto", visible)) == {""}


@pytest.mark.parametrize("gpus", [None, ()], ids=["no driver", "no GPU"])
def test_auto_takes_the_cpu_where_there_is_no_gpu(gpus: Any) -> None:
    assert set(slots_of("auto", gpus=gpus)) == {""}


def test_cpu_takes_no_gpu() -> None:
    assert set(slots_of("cpu")) == {""}


@pytest.mark.parametrize("devices", [[3, 1], ["3", "1"], [" 3", "1 "]])
def test_ids_named_by_hand_are_taken_in_their_order(devices: list[int | str]) -> None:
    assert slots_of(devices) == ["3", "1"]


def test_a_slot_may_hold_several_gpus() -> None:
    assert slots_of(["0,1", "2, 3"]) == ["0,1", "2,3"]


def test_gpus_may_be_named_by_uuid() -> None:
    assert slots_of([GPUS[2].uuid]) == [GPUS[2].uuid]


def test_several_runs_per_device_fill_every_device_before_the_first_again() -> None:
    assert slots_of([0, 1, 2], runs_per_device=2) == ["0", "1", "2", "0", "1", "2"]


def test_several_runs_per_device_have_slots_of_their_own() -> None:
    slots, _ = build_slots([0, 1], runs_per_device=3, gpus=GPUS, environ={})
    assert taken(slots, 7) == [0, 1, 2, 3, 4, 5]


def test_cpu_slots_are_half_the_cores_and_at_least_one() -> None:
    assert len(slots_of("cpu")) == max(1, n_cores() // 2)


def test_cpu_slots_are_as_many_as_runs_may_be_concurrent() -> None:
    assert len(slots_of("cpu", max_concurrent=7)) == 7


def test_fewer_concurrent_runs_than_gpus_leave_every_gpu_in_the_round() -> None:
    slots, _ = build_slots("auto", max_concurrent=2, gpus=GPUS, environ={})
    assert (len(slots.all), slots.n_max) == (4, 2)


# GPUs that no driver tells

BROKEN = "the GPU driver does not tell the GPUs (error 9)"


@pytest.mark.parametrize(
    ("environ", "trouble", "visible", "begins"),
    [
        (
            {"CUDA_VISIBLE_DEVICES": "0,1"},
            BROKEN,
            ["0", "1"],
            f"{BROKEN}: the GPUs of CUDA_VISIBLE_DEVICES=0,1 are used",
        ),
        (
            {"HIP_VISIBLE_DEVICES": "2,3"},
            "",
            ["2", "3"],
            "no NVIDIA driver answers: the GPUs of HIP_VISIBLE_DEVICES=2,3",
        ),
        ({"ROCR_VISIBLE_DEVICES": "GPU-a1"}, "", ["GPU-a1"], "no NVIDIA driver answers: the GPUs of ROCR_VISIBLE"),
        ({"HIP_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "0"}, "", ["1"], "no NVIDIA driver answers"),
        ({}, BROKEN, [""], f"{BROKEN}: runs are on the CPU; name the GPUs (devices: [0, 1])"),
        (
            {"CUDA_VISIBLE_DEVICES": "0"},
            "",
            [""],
            "CUDA_VISIBLE_DEVICES=0 is set, but there is no sign of a GPU driver",
        ),
        ({"CUDA_VISIBLE_DEVICES": ""}, BROKEN, [""], None),
        ({}, "", [""], None),
    ],
)
def test_gpus_that_no_driver_tells_are_used_as_named_or_it_is_said(
    environ: dict[str, str], trouble: str, visible: list[str], begins: str | None
) -> None:
    slots, notes = build_slots("auto", gpus=None, trouble=trouble, environ=environ, max_concurrent=len(visible))

    assert [slot.visible for slot in slots.all] == visible
    assert [note.startswith(begins or "-") for note in notes] == [True] * (begins is not None), notes


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"HIP_VISIBLE_DEVICES": "2,3"}, {"HIP_VISIBLE_DEVICES": "3", "CUDA_VISIBLE_DEVICES": "3"}),
        ({"ROCR_VISIBLE_DEVICES": "2,3"}, {"ROCR_VISIBLE_DEVICES": "3", "CUDA_VISIBLE_DEVICES": "0"}),
    ],
)
def test_a_run_on_an_amd_gpu_is_told_it_by_the_variable_that_was_set(
    environ: dict[str, str], told: dict[str, str]
) -> None:
    slots, _ = build_slots("auto", gpus=None, environ=environ)

    variables = device_environment(slots.all[1], 1, environ)
    assert {name: value for name, value in variables.items() if "VISIBLE" in name} == told


def test_a_run_on_the_cpu_sees_no_amd_gpu_either() -> None:
    assert device_environment(Slot(0, ""), 1, {"HIP_VISIBLE_DEVICES": "0"})["HIP_VISIBLE_DEVICES"] == "-1"


# MIG instances and short UUIDs

INSTANCE = "MIG-377e0049-554c-540b-93c6-d0976f8426cb"
OLD_INSTANCE = "MIG-GPU-00000000-aaaa-bbbb-cccc-dddddddddddd/1/0"


@pytest.mark.parametrize("name", [INSTANCE, OLD_INSTANCE, "GPU-00000001", GPUS[1].uuid])
def test_what_a_scheduler_made_visible_is_used_as_it_is(name: str) -> None:
    assert slots_of("auto", name) == slots_of([name]) == slots_of([name], name) == [name]


@pytest.mark.parametrize("visible", ["NoDevFiles", "none", "-1", "void", ""])
def test_a_variable_that_names_no_device_is_the_cpu(visible: str) -> None:
    assert set(slots_of("auto", visible)) == {""}


def test_instances_that_the_driver_tells_stand_for_their_gpu() -> None:
    whole, part = Gpu(0, GPUS[0].uuid, "H200", n_instances=1), Gpu(0, INSTANCE, "MIG 1g", is_instance=True)

    assert slots_of("auto", gpus=(whole, part, GPUS[1])) == [INSTANCE, "1"]
    with pytest.raises(ExecutorUnavailableError, match=f"GPU MIG-x not found; available: {INSTANCE}, 1"):
        slots_of(["MIG-x"], gpus=(whole, part, GPUS[1]))


@pytest.mark.parametrize("devices", [[1, "GPU-00000001"], ["GPU-00000001", GPUS[1].uuid]])
def test_a_gpu_named_by_a_short_uuid_is_the_same_gpu(devices: list[int | str]) -> None:
    with pytest.raises(ExecutorUnavailableError, match="is named twice"):
        slots_of(devices)


def test_the_beginning_of_several_uuids_names_none() -> None:
    with pytest.raises(ExecutorUnavailableError, match="GPU GPU-0000000 not found"):
        slots_of(["GPU-0000000"])


@pytest.mark.parametrize(
    ("name", "key"),
    [("1", GPUS[1].uuid), ("GPU-00000001", GPUS[1].uuid), (INSTANCE, INSTANCE), ("9", "index-9")],
)
def test_a_lease_is_by_the_uuid_as_far_as_one_is_known(name: str, key: str) -> None:
    assert gpu_key(name, GPUS) == key


# what is refused


@pytest.mark.parametrize(
    ("devices", "more", "key"),
    [("cpu", {"max_concurrent": 10**9}, "max_concurrent"), ([0], {"runs_per_device": 10**9}, "runs_per_device")],
)
def test_more_slots_than_a_machine_can_have_are_refused_at_once(devices: Any, more: dict[str, int], key: str) -> None:
    with pytest.raises(
        ExecutorUnavailableError, match=f"^{key}: 1,000,000,000 runs at a time are more than {MAX_SLOTS:,}"
    ):
        slots_of(devices, **more)


def test_more_concurrent_runs_than_gpus_have_slots_for_are_noted() -> None:
    _, notes = build_slots("auto", max_concurrent=9, gpus=GPUS, environ={})

    assert [note for note in notes if "runs_per_device: 3" in note] == notes != []


@pytest.mark.parametrize("devices", [[7], ["0,7"], [0, 7]])
def test_a_missing_gpu_is_refused_with_the_ids_that_there_are(devices: list[int | str]) -> None:
    with pytest.raises(ExecutorUnavailableError, match=r"^devices: GPU 7 not found; available: 0, 1, 2, 3$"):
        slots_of(devices)


def test_a_gpu_named_on_a_machine_without_any_is_refused() -> None:
    with pytest.raises(ExecutorUnavailableError, match="GPU 0 not found; available: none"):
        slots_of([0], gpus=())


@pytest.mark.parametrize("devices", [[1, 0, 1], ["0,1", "1"], ["1,1"], [1, GPUS[1].uuid]])
def test_a_gpu_named_twice_is_refused(devices: list[int | str]) -> None:
    with pytest.raises(ExecutorUnavailableError, match="is named twice; use runs_per_device"):
        slots_of(devices)


@pytest.mark.parametrize(
    ("devices", "visible"),
    [([1], "0,2"), (["0,1"], "0"), ([0], ""), ([GPUS[1].uuid], "0"), ([1], GPUS[0].uuid)],
)
def test_a_gpu_outside_the_inherited_variable_is_refused(devices: list[int | str], visible: str) -> None:
    sentence = f"is outside the inherited CUDA_VISIBLE_DEVICES={visible}"
    with pytest.raises(ExecutorUnavailableError, match=sentence):
        slots_of(devices, visible)


@pytest.mark.parametrize(
    ("devices", "visible"), [([0], "2,0"), ([GPUS[0].uuid], "0"), ([0], GPUS[0].uuid), (["0,2"], "2,0")]
)
def test_a_gpu_inside_the_inherited_variable_is_taken(devices: list[int | str], visible: str) -> None:
    assert slots_of(devices, visible) == [str(devices[0])]


def test_a_gpu_outside_the_inherited_variable_is_refused_without_a_driver_too() -> None:
    with pytest.raises(ExecutorUnavailableError, match="GPU 1 is outside"):
        slots_of([1], "0", gpus=None)


def test_ids_are_used_as_given_with_a_note_where_no_driver_answers() -> None:
    slots, notes = build_slots([5, "6,7"], gpus=None, environ={})
    assert [slot.visible for slot in slots.all] == ["5", "6,7"]
    assert notes == ["no GPU driver answers here: the devices are used as given"]


@pytest.mark.parametrize("devices", ["auto", "cpu", [0]])
def test_devices_that_were_checked_need_no_note(devices: Any) -> None:
    assert build_slots(devices, gpus=GPUS, environ={})[1] == []


# what a run is told


def test_a_run_sees_only_its_slot_and_pci_order() -> None:
    environ = device_environment(Slot(1, "2,3"), 8)
    assert (environ["CUDA_VISIBLE_DEVICES"], environ["CUDA_DEVICE_ORDER"]) == ("2,3", "PCI_BUS_ID")


def test_a_run_on_the_cpu_sees_no_gpu() -> None:
    assert device_environment(Slot(1, ""), 8)["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"])
def test_a_run_keeps_to_its_threads(name: str) -> None:
    assert device_environment(Slot(0, ""), 3)[name] == "3"


@pytest.mark.parametrize(("slot", "told"), [(Slot(2, "5"), "cuda"), (Slot(2, "5,6"), "cuda"), (Slot(2, ""), "cpu")])
def test_a_program_is_told_the_first_device_it_sees_never_a_global_index(slot: Slot, told: str) -> None:
    assert slot.device_arg == told


@pytest.mark.parametrize(
    ("slot", "label", "device"),
    [(Slot(2, "5"), "gpu 5", "5"), (Slot(2, "5,6"), "gpu 5,6", "5,6"), (Slot(2, ""), "cpu 2", "cpu")],
)
def test_a_slot_is_called_by_its_device(slot: Slot, label: str, device: str) -> None:
    assert (slot.label, slot.device) == (label, device)


def test_threads_are_used_as_told() -> None:
    assert thread_budget(5, 1000) == 5


@pytest.mark.parametrize(("threads", "set_by_user", "n"), [("auto", "8", 8), (3, "8", 3)])
def test_automatic_threads_are_those_that_the_user_has_set(threads: Any, set_by_user: str, n: int) -> None:
    assert thread_budget(threads, 2, {"OMP_NUM_THREADS": set_by_user}) == n


@pytest.mark.parametrize("n_slots", [0, 1, 2, 10_000])
def test_automatic_threads_share_the_cores_among_the_slots(n_slots: int) -> None:
    threads = thread_budget("auto", n_slots, {})
    assert threads == max(1, n_cores() // max(1, n_slots))


# as many as fit


@pytest.mark.parametrize(
    ("n_cores", "devices", "options", "n"),
    [
        (16, [0], {}, 16),
        (64, [0], {}, 16),
        (16, [0, 1], {}, 16),
        (3, [0, 1], {}, 2),
        (1, [0, 1], {}, 2),
        (16, [0], {"threads": 4}, 4),
        (16, [0], {"threads": 32}, 1),
        (2, [0], {"max_concurrent": 5}, 5),
        (2, [0, 1], {"max_concurrent": 5}, 6),
        (2, [0], {"max_concurrent": 100}, 16),
        (16, [0], {"max_concurrent": 2}, 16),
        (16, ["0,1"], {}, 16),
    ],
)
def test_as_many_may_share_as_have_cores_or_as_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, n_cores: int, devices: Any, options: dict[str, Any], n: int
) -> None:
    monkeypatch.setattr(slots_module, "n_cores", lambda: n_cores)
    slots, notes = build_slots(devices, runs_per_device="auto", gpus=GPUS, environ={}, **options)
    assert (len(slots.all), slots.n_at_once, notes) == (n, len(devices), [])


def test_the_threads_of_the_environment_count_as_those_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "n_cores", lambda: 16)
    slots, _ = build_slots([0], runs_per_device="auto", gpus=GPUS, environ={"OMP_NUM_THREADS": "8"})
    assert len(slots.all) == 2


@pytest.mark.parametrize(
    ("devices", "gpus", "n", "said"),
    [("cpu", None, 3, "is for GPUs; on the CPU max_concurrent"), ([0, 1], None, 2, "no GPU driver tells here")],
)
def test_where_nothing_can_be_measured_each_slot_has_one_run_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, devices: Any, gpus: Any, n: int, said: str
) -> None:
    monkeypatch.setattr(slots_module, "n_cores", lambda: 6)
    slots, notes = build_slots(devices, runs_per_device="auto", gpus=gpus, environ={})
    assert (len(slots.all), slots.is_packed) == (n, False)
    assert sum(said in note for note in notes) == 1


def test_a_file_for_gpus_and_cpus_needs_no_note_where_it_says_how_many_run() -> None:
    slots, notes = build_slots("cpu", runs_per_device="auto", max_concurrent=3, environ={})
    assert (len(slots.all), notes) == (3, [])
