"""Races: who is dropped, when they are over, how they are told, and how often they are wrong."""

from __future__ import annotations

import math

import pytest
from benchmarks.racing import EQUAL, UNEQUAL, simulate_many

from sweepline.analysis.racing import MIN_SEEDS, Race, find_standing, judge_race, missing_seeds, plan_race, rank_raced
from sweepline.config.schema import RaceModel
from sweepline.recording.events import IN_SWEEP, RACE, RunRecord
from sweepline.runs import Objective, RunOutcome, State

OBJECTIVE = Objective(name="loss")
SEEDS = (11, 12, 13, 14, 15, 16)
RACE_OF_TWO = Race(2, SEEDS, metric="loss")


def results(*values: float) -> dict[int, float]:
    return dict(zip(SEEDS, values, strict=False))


def test_nobody_is_judged_before_three_seeds_and_all_get_these_at_once() -> None:
    race = Race(2, SEEDS, metric="loss")
    verdict = judge_race(race, [results(0.1, 0.2), results(100.1, 100.2)], goal="minimize")
    assert (verdict.left, verdict.n_seeds, verdict.is_over) == ((0, 1), 2, False)
    assert missing_seeds(race, verdict) == SEEDS[:MIN_SEEDS]


@pytest.mark.parametrize(("goal", "winner"), [("minimize", 0), ("maximize", 1)])
def test_who_is_clearly_worse_is_dropped_and_the_race_is_over(goal: str, winner: int) -> None:
    race = Race(2, SEEDS, metric="loss")
    verdict = judge_race(race, [results(0.1, 0.2, 0.15), results(100.1, 100.2, 100.16)], goal=goal)
    assert (verdict.left, verdict.is_over) == ((winner,), True)
    assert verdict.dropped == {1 - winner: 3}
    assert missing_seeds(race, verdict) == ()


def test_those_that_are_left_go_on_seed_by_seed_to_the_last_one() -> None:
    race = Race(3, SEEDS)
    near, far = [(0.1, 0.3, 0.2, 0.4, 0.1, 0.2), (0.3, 0.1, 0.2, 0.2, 0.3, 0.1)], (50.0, 50.1, 50.2)
    early = judge_race(race, [results(*near[0][:3]), results(*near[1][:3]), results(*far)], goal="minimize")
    assert (early.left, dict(early.dropped), early.is_over) == ((0, 1), {2: 3}, False)
    assert missing_seeds(race, early) == SEEDS[:4]
    late = judge_race(race, [results(*near[0]), results(*near[1]), results(*far)], goal="minimize")
    assert (late.left, late.n_seeds, late.is_over) == ((0, 1), 6, True)


def test_one_without_a_result_is_dropped_unless_nobody_has_one() -> None:
    race = Race(2, SEEDS, metric="loss")
    verdict = judge_race(race, [results(0.1, math.nan), results(0.2)], goal="minimize")
    assert not verdict.is_over  # the other one's second seed has not ended
    verdict = judge_race(race, [results(0.1, math.nan), results(0.2, 0.3)], goal="minimize")
    assert (verdict.left, dict(verdict.dropped), verdict.is_over) == ((1,), {0: 2}, True)
    verdict = judge_race(race, [results(math.nan), results(math.nan)], goal="minimize")
    assert (verdict.left, verdict.is_over) == ((0, 1), True)


def test_a_program_that_ignores_its_seed_gets_no_verdict() -> None:
    verdict = judge_race(
        Race(2, SEEDS, metric="loss"), [results(0.1, 0.1, 0.1), results(0.2, 0.2, 0.2)], goal="minimize"
    )
    assert (verdict.left, verdict.is_over) == ((0, 1), True)


def test_a_race_has_seeds_that_the_sweep_has_not() -> None:
    first = plan_race(RaceModel(), "loss", [None], 0).seeds
    race = plan_race(RaceModel(), "loss", first[:3], 0)
    assert len(set(race.seeds)) == 10
    assert not set(race.seeds) & set(first[:3])


def record(lr: float, seed: int | None, loss: float, standing: str, state: State = State.FINISHED) -> RunRecord:
    outcome = RunOutcome(state=state, metrics={"loss": loss} if state == State.FINISHED else {})
    return RunRecord(f"{lr} {seed}", params={"lr": lr}, seed=seed, attempt=1, in_sweep=standing, outcome=outcome)


def test_what_a_configuration_was_chosen_by_does_not_count() -> None:
    lucky = [record(0.1, None, 0.0, IN_SWEEP), *(record(0.1, s, 0.5 + s / 1000, RACE) for s in SEEDS[:3])]
    sound = [record(0.2, None, 0.1, IN_SWEEP), *(record(0.2, s, 0.2 + s / 999, RACE) for s in SEEDS[:3])]
    never_raced = [record(0.3, None, 0.11, IN_SWEEP)]
    records = [*lucky, *sound, *never_raced]
    ranked = rank_raced(records, OBJECTIVE, RACE_OF_TWO)
    assert [config.params["lr"] for config in ranked] == [0.2, 0.1, 0.3]
    assert ranked[0].means["loss"] == pytest.approx(0.2 + 12 / 999)
    standing = find_standing(records, ranked, OBJECTIVE, RACE_OF_TWO)
    assert str(standing).startswith("race: the first is better than the other 1 (3 seeds that none was chosen by")
    assert "6 runs of at most 12" in str(standing)


def test_a_run_of_the_race_that_failed_counts_as_one_without_a_result() -> None:
    records = [
        *(record(lr, None, lr, IN_SWEEP) for lr in (0.1, 0.2)),
        *(record(lr, s, lr + s % 3 / 100, RACE) for lr in (0.1, 0.2) for s in SEEDS[:3]),
        record(0.1, SEEDS[3], 0.0, RACE, State.FAILED),
        record(0.2, SEEDS[3], 0.2, RACE),
    ]
    records = [r for r in records if r.seed != SEEDS[0]] + [
        record(0.1, SEEDS[0], 0.3, RACE),
        record(0.2, 11, 0.1, RACE),
    ]
    standing = find_standing(
        records, rank_raced(records, OBJECTIVE, RACE_OF_TWO), OBJECTIVE, Race(2, SEEDS, metric="loss")
    )
    assert standing is not None
    assert standing.n_tied == 1


def test_a_race_that_has_not_been_judged_changes_no_ranking() -> None:
    records = [record(lr, None, lr, IN_SWEEP) for lr in (0.1, 0.2)]
    records += [record(0.2, seed, 0.0, RACE) for seed in SEEDS[:2]]
    assert [config.params["lr"] for config in rank_raced(records, OBJECTIVE, RACE_OF_TWO)] == [0.1, 0.2]


def test_who_takes_part_follows_from_the_sweep_as_it_is_now() -> None:
    """Two that raced long ago are beaten by two that came later: these are the race, however few seeds they have."""
    records = [record(lr, None, lr, IN_SWEEP) for lr in (0.1, 0.2, 0.3, 0.4)]
    records += [record(lr, seed, lr + seed % 3 / 99, RACE) for lr in (0.3, 0.4) for seed in SEEDS]
    records += [record(lr, seed, lr + seed % 3 / 99, RACE) for lr in (0.1, 0.2) for seed in SEEDS[:3]]
    ranked = rank_raced(records, OBJECTIVE, RACE_OF_TWO)
    assert [config.params["lr"] for config in ranked] == [0.1, 0.2, 0.3, 0.4]
    standing = find_standing(records, ranked, OBJECTIVE, RACE_OF_TWO)
    assert standing is not None
    assert standing.n_compared == 2


def test_another_metric_is_ranked_without_the_race() -> None:
    records = [record(lr, s, lr, standing) for lr in (0.1, 0.2) for s, standing in ((1, IN_SWEEP), (11, RACE))]
    assert not any(config.is_raced for config in rank_raced(records, Objective(name="acc"), RACE_OF_TWO))


@pytest.mark.parametrize("values", [(0.1, 0.2), (0.25, 0.5), (0.3, 0.7)])
def test_a_program_that_ignores_its_seed_is_told_so(values: tuple[float, float]) -> None:
    records = [record(lr, None, lr, IN_SWEEP) for lr in values]
    records += [record(lr, seed, lr, RACE) for lr in values for seed in SEEDS[:3]]
    standing = find_standing(records, rank_raced(records, OBJECTIVE, RACE_OF_TWO), OBJECTIVE, RACE_OF_TWO)
    assert str(standing).startswith("race: no seed changed a result")


def test_a_race_in_which_everything_failed_is_not_said_to_ignore_its_seeds() -> None:
    records = [record(lr, None, lr, IN_SWEEP) for lr in (0.1, 0.2)]
    records += [record(lr, SEEDS[0], 0.0, RACE, State.FAILED) for lr in (0.1, 0.2)]
    standing = find_standing(records, rank_raced(records, OBJECTIVE, RACE_OF_TWO), OBJECTIVE, RACE_OF_TWO)
    assert str(standing).startswith("race: none of its runs has a result")


def test_who_had_no_result_is_not_said_to_be_worse() -> None:
    records = [record(lr, None, lr, IN_SWEEP) for lr in (0.1, 0.2)]
    records += [record(0.1, seed, 0.1 + seed % 3, RACE) for seed in SEEDS[:3]]
    records += [record(0.2, SEEDS[0], 0.0, RACE, State.FAILED)]
    standing = find_standing(records, rank_raced(records, OBJECTIVE, RACE_OF_TWO), OBJECTIVE, RACE_OF_TWO)
    assert str(standing).startswith("race: one is left, 1 had runs without a result")


@pytest.mark.parametrize("spreads", [EQUAL, UNEQUAL], ids=["equal spreads", "half of them spread three times as far"])
def test_equal_configurations_are_told_apart_in_at_most_one_of_twenty_sweeps(spreads: list[float]) -> None:
    found = simulate_many(120, 0.0, spreads, 6)
    assert sum(one.has_dropped for one in found) / len(found) <= 0.05


def test_a_best_one_that_is_clear_is_found_with_fewer_runs_than_all_seeds_for_all() -> None:
    raced = [one for one in simulate_many(40, 3.0, EQUAL, 10) if one.had_best]
    assert sum(one.winner == 0 for one in raced) / len(raced) > 0.9
    assert sum(one.n_runs for one in raced) / len(raced) < 40
