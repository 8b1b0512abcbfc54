"""The backlog: runs that go again come first, where they may; the others in their order, as many as were asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sweepline.engine.backlog import Backlog
from sweepline.engine.retries import Retry
from sweepline.executors.local.slots import Slot, Slots
from sweepline.runs import Run


class Closed:
    """An admission that gives nothing away."""

    def admit(self, slot: Slot) -> bool:
        return False

    def release(self, slot: Slot) -> None:
        raise AssertionError(slot)


def run_of(name: str) -> Run:
    return Run(run_id=name, name=name, params={}, seed=None, index=0)


def pending(names: str) -> Iterator[Run]:
    return map(run_of, names)


def gpus(*devices: str, max_concurrent: int | None = None) -> Slots:
    return Slots([Slot(i, device) for i, device in enumerate(devices)], max_concurrent=max_concurrent)


def taken(backlog: Backlog, slots: Slots, n: int = 99) -> list[tuple[str, str]]:
    """Take up to ``n`` runs; return their names with the devices that they got."""
    found = []
    while len(found) < n and (pair := backlog.take(slots)):
        found.append((pair[0].run.name, pair[1].device))
    return found


def test_runs_come_in_the_order_of_the_plan() -> None:
    assert taken(Backlog(pending("abc")), gpus("0", "1", "2")) == [("a", "0"), ("b", "1"), ("c", "2")]


def test_a_run_for_which_there_is_no_slot_yet_is_the_next_one() -> None:
    slots = gpus("0")
    backlog = Backlog(pending("ab"))
    first = backlog.take(slots)
    assert first is not None
    assert backlog.take(slots) is None
    slots.give_back(first[1])
    assert taken(backlog, slots) == [("b", "0")]


def test_a_slot_without_a_run_is_free_again() -> None:
    slots = gpus("0")
    assert Backlog(pending("")).take(slots) is None
    assert slots.n_taken == 0


@pytest.mark.parametrize("count", [0, 1, 2])
def test_no_more_runs_are_handed_out_than_were_asked_for(count: int) -> None:
    backlog = Backlog(pending("abc"), count=count)
    assert [name for name, _ in taken(backlog, gpus("0", "1", "2"))] == list("abc")[:count]
    assert backlog.is_empty


def test_runs_that_go_again_are_beyond_the_count() -> None:
    backlog = Backlog(pending("abc"), count=1)
    taken(backlog, gpus("0"))
    backlog.put(Retry(run_of("a")))
    assert taken(backlog, gpus("0", "1")) == [("a", "0")]


def test_a_backlog_is_not_empty_before_its_end_was_reached() -> None:
    backlog = Backlog(pending("a"))
    before = backlog.is_empty
    taken(backlog, gpus("0", "1"))
    assert (before, backlog.is_empty) == (False, True)


def test_a_backlog_whose_runs_are_all_handed_out_is_empty_whether_or_not_a_device_can_be_had() -> None:
    slots = gpus("0")
    backlog = Backlog(pending("a"))
    pair = backlog.take(slots)
    assert pair is not None
    slots.give_back(pair[1])
    slots.admission = Closed()
    backlog.take(slots)
    assert backlog.is_empty


def test_runs_that_go_again_come_first() -> None:
    backlog = Backlog(pending("ab"))
    backlog.put(Retry(run_of("x")))
    assert taken(backlog, gpus("0", "1")) == [("x", "0"), ("a", "1")]


def test_runs_go_again_in_the_order_in_which_they_ended() -> None:
    backlog = Backlog(pending(""))
    for name in "xyz":
        backlog.put(Retry(run_of(name)))
    assert [name for name, _ in taken(backlog, gpus("0", "1", "2"))] == ["x", "y", "z"]


def test_a_run_that_could_not_be_started_is_the_next() -> None:
    backlog = Backlog(pending("ab"))
    backlog.put(Retry(run_of("x")))
    backlog.put_back(Retry(run_of("y")))
    assert [name for name, _ in taken(backlog, gpus("0", "1", "2"))] == ["y", "x", "a"]


def test_a_run_that_must_be_alone_is_still_alone_after_it_could_not_be_started() -> None:
    slots = gpus("0", "0")
    backlog = Backlog(pending("ab"))
    backlog.put(Retry(run_of("x"), is_alone=True))
    pair = backlog.take(slots)
    assert pair is not None
    slots.give_back(pair[1])
    backlog.put_back(pair[0])
    assert taken(backlog, slots) == [("x", "0")]


def test_a_run_goes_again_elsewhere_and_keeps_nobody_waiting() -> None:
    slots = gpus("0", "1")
    backlog = Backlog(pending("ab"))
    backlog.put(Retry(run_of("x"), avoid=frozenset({"1"})))
    assert slots.take() is not None  # GPU 0 is busy
    assert taken(backlog, slots) == [("a", "1")]


def test_a_run_that_waits_for_one_device_does_not_stop_the_next_that_goes_again() -> None:
    slots = gpus("0", "1")
    backlog = Backlog(pending(""))
    backlog.put(Retry(run_of("x"), avoid=frozenset({"1"})))
    backlog.put(Retry(run_of("y"), avoid=frozenset({"0"})))
    assert slots.take() is not None  # GPU 0 is busy
    assert taken(backlog, slots) == [("y", "1")]


def test_a_run_that_goes_again_alone_has_its_device_for_itself() -> None:
    slots = gpus("0", "1", "0", "1")
    backlog = Backlog(pending("abcdef"))
    backlog.put(Retry(run_of("x"), is_alone=True))
    assert taken(backlog, slots) == [("x", "0"), ("a", "1"), ("b", "1")]


def test_two_runs_that_go_again_alone_are_not_on_one_device_together() -> None:
    slots = gpus("0", "0")
    backlog = Backlog(pending(""))
    backlog.put(Retry(run_of("x"), is_alone=True))
    backlog.put(Retry(run_of("y"), is_alone=True))
    first = backlog.take(slots)
    assert first is not None
    assert backlog.take(slots) is None
    slots.give_back(first[1])
    assert taken(backlog, slots) == [("y", "0")]


def test_a_backlog_holds_what_goes_again_until_it_is_taken() -> None:
    backlog = Backlog(pending(""))
    backlog.put(Retry(run_of("x")))
    before = backlog.holds("x")
    taken(backlog, gpus("0"))
    assert (before, backlog.holds("x"), backlog.holds("y")) == (True, False, False)


def test_forgotten_retries_do_not_come_back() -> None:
    backlog = Backlog(pending("a"))
    backlog.put(Retry(run_of("x")))
    backlog.clear_retries()
    assert taken(backlog, gpus("0", "1")) == [("a", "0")]


@pytest.mark.parametrize(("n", "has"), [(0, True), (3, True), (4, False)])
def test_it_is_told_whether_there_are_so_many(n: int, has: bool) -> None:
    backlog = Backlog(pending("abc"))
    assert backlog.has(n) is has
    assert [name for name, _ in taken(backlog, gpus(*"0123"))] == ["a", "b", "c"]


def test_no_more_are_there_than_were_asked_for() -> None:
    backlog = Backlog(pending("abc"), count=2)
    assert backlog.has(2)
    assert not backlog.has(3)
    assert [name for name, _ in taken(backlog, gpus(*"0123"))] == ["a", "b"]
    assert not backlog.has(1)


def test_a_run_that_was_drawn_twice_is_looked_at_once() -> None:
    assert not Backlog(pending("aba")).has(3)
