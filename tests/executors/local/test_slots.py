"""Slots beyond their order: devices to avoid or leave out, a run that wants one for itself, others who use them too."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepline.executors.local.slots import Slot, Slots


class Gate:
    """An admission that keeps book; the devices in ``closed`` cannot be had."""

    def __init__(self, *closed: str) -> None:
        self.closed = set(closed)
        self.asked: list[str] = []
        self.held: list[str] = []

    def admit(self, slot: Slot) -> bool:
        self.asked.append(slot.device)
        if slot.device in self.closed:
            return False
        assert slot.device not in self.held
        self.held.append(slot.device)
        return True

    def release(self, slot: Slot) -> None:
        self.held.remove(slot.device)


def slots_of(*devices: str, n_each: int = 1, max_concurrent: int | None = None, admission: Gate | None = None) -> Slots:
    """Return slots in the order in which a sweep has them: every device once, then again."""
    labels = [device for _ in range(n_each) for device in devices]
    made = [Slot(i, label) for i, label in enumerate(labels)]
    return Slots(made, max_concurrent=max_concurrent, admission=admission)


def take(slots: Slots, *, avoid: Sequence[str] = ()) -> Slot:
    slot = slots.take(avoid=frozenset(avoid))
    assert slot is not None
    return slot


def devices(slots: Slots, n: int) -> list[str]:
    """Take ``n`` slots; return the devices of those that were given."""
    return [slot.device for slot in (slots.take() for _ in range(n)) if slot is not None]


# devices to avoid


def test_a_device_to_avoid_is_passed_over() -> None:
    assert take(slots_of("0", "1"), avoid=["0"]).device == "1"


def test_a_device_to_avoid_is_not_given_while_the_others_are_only_busy() -> None:
    slots = slots_of("0", "1")
    take(slots, avoid=["0"])
    assert slots.take(avoid=frozenset({"0"})) is None


def test_a_device_to_avoid_is_given_when_there_is_no_other() -> None:
    assert take(slots_of("0"), avoid=["0"]).device == "0"


def test_a_device_to_avoid_is_given_when_the_others_are_out_of_service() -> None:
    slots = slots_of("0", "1")
    slots.take_out_of_service("1")
    assert take(slots, avoid=["0"]).device == "0"


def test_avoiding_one_device_leaves_the_round_intact() -> None:
    slots = slots_of("0", "1", "2")
    take(slots, avoid=["0"])
    assert devices(slots, 2) == ["2", "0"]


# devices out of service


def test_a_device_out_of_service_is_not_given() -> None:
    slots = slots_of("0", "1", n_each=2)
    slots.take_out_of_service("0")
    assert devices(slots, 4) == ["1", "1"]


def test_a_lease_that_is_out_ends_as_usual_when_its_device_is_out_of_service() -> None:
    slots = slots_of("0", "1")
    slot = take(slots)
    slots.take_out_of_service(slot.device)
    slots.give_back(slot)
    assert (slots.n_taken, devices(slots, 2)) == (0, ["1"])


@pytest.mark.parametrize("n_out", [0, 1, 2, 3])
def test_usable_devices_are_those_in_service(n_out: int) -> None:
    slots = slots_of("0", "1", "2", n_each=2)
    for device in ["0", "1", "2"][:n_out]:
        slots.take_out_of_service(device)
    assert slots.usable == {"0", "1", "2"} - set(["0", "1", "2"][:n_out])


def test_nothing_is_free_when_all_free_slots_are_out_of_service() -> None:
    slots = slots_of("0", "1")
    take(slots)
    slots.take_out_of_service("1")
    assert not slots.has_free


def test_nothing_is_free_when_as_many_runs_are_out_as_may_be() -> None:
    slots = slots_of("0", "1", max_concurrent=1)
    take(slots)
    assert not slots.has_free


def test_a_slot_of_several_gpus_is_left_out_as_a_whole() -> None:
    slots = slots_of("0,1", "2,3")
    slots.take_out_of_service("0,1")
    assert devices(slots, 2) == ["2,3"]


# alone


def test_a_free_device_is_given_alone_at_once() -> None:
    slot = slots_of("0", n_each=2).take_alone()
    assert slot is not None


def test_nobody_joins_a_run_that_is_alone() -> None:
    slots = slots_of("0", "1", n_each=2)
    alone = slots.take_alone()
    assert alone is not None
    assert alone.device not in devices(slots, 4)


def test_the_device_with_the_fewest_runs_is_cleared() -> None:
    slots = slots_of("0", "1", "2", n_each=2)
    out = [take(slots) for _ in range(5)]
    assert slots.take_alone() is None
    slots.give_back(out[2])
    slot = slots.take_alone()
    assert slot is not None
    assert slot.device == "2"


def test_a_device_that_is_being_cleared_takes_no_new_run() -> None:
    slots = slots_of("0", "1", n_each=2)
    first = [take(slots), take(slots)]
    assert slots.take_alone() is None
    slots.give_back(first[1])
    slots.give_back(take(slots, avoid=["0"]))
    assert devices(slots, 4) == ["1", "1"]


def test_a_device_is_alone_only_once_all_of_its_runs_have_ended() -> None:
    slots = slots_of("0", n_each=3)
    out = [take(slots) for _ in range(3)]
    seen = []
    for slot in out:
        seen.append(slots.take_alone())
        slots.give_back(slot)
    assert seen == [None] * 3
    assert slots.take_alone() is not None


def test_only_one_run_is_alone_at_a_time() -> None:
    slots = slots_of("0", "1", n_each=2)
    assert slots.take_alone() is not None
    assert slots.take_alone() is None


def test_a_device_takes_runs_again_when_the_one_alone_has_ended() -> None:
    slots = slots_of("0", n_each=2)
    alone = slots.take_alone()
    assert alone is not None
    slots.give_back(alone)
    assert devices(slots, 2) == ["0", "0"]


def test_a_second_run_may_be_alone_after_the_first() -> None:
    slots = slots_of("0", n_each=2)
    alone = slots.take_alone()
    assert alone is not None
    slots.give_back(alone)
    assert slots.take_alone() is not None


def test_another_device_is_cleared_when_the_reserved_one_goes_out_of_service() -> None:
    slots = slots_of("0", "1", n_each=2)
    out = [take(slots) for _ in range(3)]
    assert slots.take_alone() is None  # GPU 1 is being cleared
    slots.take_out_of_service("1")
    slots.give_back(out[0])
    slots.give_back(out[2])
    slot = slots.take_alone()
    assert slot is not None
    assert slot.device == "0"


def test_nothing_is_given_alone_when_no_device_is_in_service() -> None:
    slots = slots_of("0")
    slots.take_out_of_service("0")
    assert slots.take_alone() is None


def test_nothing_is_given_alone_beyond_the_number_of_concurrent_runs() -> None:
    slots = slots_of("0", "1", max_concurrent=1)
    take(slots)
    assert slots.take_alone() is None


def test_a_reserved_device_that_another_sweep_uses_is_given_when_it_can_be_had() -> None:
    gate = Gate("0")
    slots = slots_of("0", admission=gate)
    assert slots.take_alone() is None
    gate.closed.clear()
    assert slots.take_alone() is not None


# devices that share as much as fits


def packed_slots_of(*devices: str, n_each: int = 4, max_concurrent: int | None = None) -> Slots:
    labels = [device for _ in range(n_each) for device in devices]
    return Slots([Slot(i, label) for i, label in enumerate(labels)], max_concurrent=max_concurrent, is_packed=True)


def test_a_device_has_one_run_until_more_are_allowed() -> None:
    slots = packed_slots_of("0", "1")
    assert (devices(slots, 8), slots.has_free, slots.n_at_once) == (["0", "1"], False, 2)


def test_a_device_has_as_many_runs_as_are_allowed_on_it() -> None:
    slots = packed_slots_of("0", "1")
    slots.share("0", 3)
    assert (sorted(devices(slots, 8)), slots.n_at_once) == (["0", "0", "0", "1"], 4)


def test_fewer_are_allowed_without_a_lease_being_taken_away() -> None:
    slots = packed_slots_of("0")
    slots.share("0", 3)
    out = [take(slots) for _ in range(3)]
    slots.share("0", 2)
    slots.give_back(out[0])
    slots_while_two_are_out = slots.take()
    slots.give_back(out[1])
    assert slots_while_two_are_out is None
    assert slots.take() is not None


def test_the_device_with_the_fewest_runs_is_next_where_they_bear_different_numbers() -> None:
    slots = packed_slots_of("0", "1")
    slots.share("0", 3)
    slots.share("1", 3)
    out = [take(slots) for _ in range(4)]
    slots.give_back(out[1])
    slots.give_back(out[3])
    assert devices(slots, 2) == ["1", "1"]


def test_max_concurrent_that_is_changed_under_way_bounds_devices_that_are_shared() -> None:
    slots = packed_slots_of("0", max_concurrent=1)
    slots.share("0", 3)
    slots.resize(2)
    assert (len(devices(slots, 4)), slots.n_at_once) == (2, 2)


# who shared a device


def test_a_run_beside_another_shared_its_device() -> None:
    slots = slots_of("0", n_each=2)
    first, second = take(slots), take(slots)
    assert slots.was_shared(first)
    assert slots.was_shared(second)


def test_a_run_by_itself_shared_nothing() -> None:
    slots = slots_of("0", "1", n_each=2)
    assert not any(slots.was_shared(slot) for slot in (take(slots), take(slots)))


def test_a_run_whose_neighbour_has_gone_had_shared_its_device() -> None:
    slots = slots_of("0", n_each=2)
    first, second = take(slots), take(slots)
    slots.give_back(second)
    assert slots.was_shared(first)


def test_the_next_run_in_a_slot_does_not_inherit_its_neighbours() -> None:
    slots = slots_of("0", n_each=2)
    first, second = take(slots), take(slots)
    slots.give_back(first)
    slots.give_back(second)
    assert not slots.was_shared(take(slots))


def test_runs_on_the_cpu_share_no_gpu() -> None:
    slots = slots_of("", "")
    assert not any(slots.was_shared(slot) for slot in (take(slots), take(slots)))


# who else has a say


def test_a_slot_that_is_not_admitted_is_passed_over() -> None:
    assert devices(slots_of("0", "1", admission=Gate("0")), 2) == ["1"]


def test_a_slot_that_was_not_admitted_is_asked_for_again() -> None:
    gate = Gate("0")
    slots = slots_of("0", admission=gate)
    assert slots.take() is None
    gate.closed.clear()
    assert devices(slots, 1) == ["0"]


def test_a_device_is_admitted_once_for_all_of_its_runs() -> None:
    gate = Gate()
    assert devices(slots_of("0", n_each=3, admission=gate), 3) == ["0"] * 3
    assert gate.asked == ["0"]


def test_a_device_is_released_when_its_last_run_has_ended() -> None:
    gate = Gate()
    slots = slots_of("0", n_each=2, admission=gate)
    first, second = take(slots), take(slots)
    slots.give_back(first)
    held_by_second = list(gate.held)
    slots.give_back(second)
    assert (held_by_second, gate.held) == (["0"], [])


def test_nobody_is_asked_for_a_device_that_is_not_used_anyway() -> None:
    gate = Gate()
    slots = slots_of("0", "1", max_concurrent=1, admission=gate)
    slots.take_out_of_service("0")
    devices(slots, 3)
    assert gate.asked == ["1"]


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.sets(st.sampled_from(["0", "1", "2"]), max_size=2)),
        st.tuples(st.just("alone"), st.none()),
        st.tuples(st.just("back"), st.integers(0, 9)),
        st.tuples(st.just("out"), st.sampled_from(["0", "1", "2"])),
        st.tuples(st.just("close"), st.sets(st.sampled_from(["0", "1", "2"]), max_size=3)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(moves=MOVES, n_each=st.integers(1, 3), n_max=st.integers(1, 9))
def test_whatever_is_asked_a_device_alone_has_one_run_and_an_idle_one_no_lease(
    moves: list[tuple[str, object]], n_each: int, n_max: int
) -> None:
    gate = Gate()
    slots = slots_of("0", "1", "2", n_each=n_each, max_concurrent=n_max, admission=gate)
    out: list[Slot] = []
    alone: Slot | None = None
    left_out: set[str] = set()
    for kind, what in moves:
        given_out = None
        if kind == "take":
            given_out = slots.take(avoid=what)
        elif kind == "alone" and (given_out := slots.take_alone()):
            alone = given_out
        elif kind == "back" and out:
            slot = out.pop(what % len(out))
            slots.give_back(slot)
            alone = None if slot is alone else alone
        elif kind == "out":
            slots.take_out_of_service(str(what))
            left_out.add(str(what))
        elif kind == "close":
            gate.closed = what
        if given_out:
            assert given_out.device not in left_out
            out.append(given_out)
        busy = [slot.device for slot in out]
        assert len(out) <= n_max
        assert sorted(gate.held) == sorted(set(busy))
        assert alone is None or busy.count(alone.device) == 1
