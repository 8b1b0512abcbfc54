"""Whether the best can be told from the next ones: never where there is nothing to tell, and said so."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable

import pytest

from sweepline.analysis.racing import find_standing
from sweepline.analysis.ranking import RankedConfig, rank_configs
from sweepline.analysis.significance import judge_best, noise_floor
from sweepline.analysis.statistics import paired_p_value
from sweepline.runs import Objective
from tests.fakes import recorded

LOSS = Objective(name="loss")


def ranked(results: dict[str, list[float]], *, has_seeds: bool = True) -> list[RankedConfig]:
    """Return configurations with these results, one for each seed."""
    runs = [
        recorded(f"{name}{seed}", params={"x": name}, seed=seed if has_seeds else None, metrics={"loss": value})
        for name, values in results.items()
        for seed, value in enumerate(values)
    ]
    return rank_configs(runs, LOSS)


def simulate(shift: Callable[[int], float], *, n_seeds: int, rng: random.Random) -> list[RankedConfig]:
    """Return ten configurations whose seeds are lucky for all of them alike."""
    luck = [rng.gauss(0, 1) for _ in range(n_seeds)]
    return ranked({str(i): [shift(i) + one + rng.gauss(0, 1) for one in luck] for i in range(10)})


@pytest.mark.parametrize(("has_wild", "n_most"), [(False, 15), (True, 30)])
def test_equal_configurations_are_told_apart_in_few_of_300_sweeps(has_wild: bool, n_most: int) -> None:
    rng = random.Random(1)
    n_wrong = 0
    for _ in range(300):
        spread = [3.0 if has_wild and i % 2 else 1.0 for i in range(10)]
        luck = [rng.gauss(0, 1) for _ in range(3)]
        standing = judge_best(
            ranked({str(i): [one + rng.gauss(0, spread[i]) for one in luck] for i in range(10)}), "loss"
        )
        n_wrong += standing is None or standing.n_tied < standing.n_compared
    assert n_wrong <= n_most


def test_a_configuration_that_is_clearly_better_is_told() -> None:
    rng = random.Random(0)
    standings = [judge_best(simulate(lambda i: 6.0 * (i > 0), n_seeds=5, rng=rng), "loss") for _ in range(100)]
    assert sum(standing is not None and standing.n_tied == 1 for standing in standings) > 95


def test_seeds_that_are_shared_are_compared_one_by_one() -> None:
    by_seed = {"a": [1.0, 2.0, 3.0, 4.0], "b": [1.2, 2.21, 3.19, 4.2]}
    paired, unpaired = judge_best(ranked(by_seed), "loss"), judge_best(ranked(by_seed, has_seeds=False), "loss")
    assert paired is not None
    assert unpaired is not None
    assert (paired.n_tied, paired.is_paired) == (1, True)
    assert (unpaired.n_tied, unpaired.is_paired) == (2, False)


@pytest.mark.parametrize("shift", [0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.6])
def test_of_two_configurations_it_is_the_paired_t_test(shift: float) -> None:
    first, second = [1.0, 1.5, 0.9, 1.2], [value + shift for value in (1.05, 1.4, 1.1, 1.05)]
    p = paired_p_value([a - b for a, b in zip(first, second, strict=True)])
    standing = judge_best(ranked({"a": first, "b": second}), "loss")
    assert standing is not None
    assert standing.n_tied == (2 if p > 0.05 else 1)


def test_a_wild_configuration_is_not_told_apart_by_the_calm_of_the_others() -> None:
    calm = {str(i): [1.0, 1.01, 0.99] for i in range(8)}
    standing = judge_best(ranked({**calm, "wild": [0.2, 1.9, 0.7]}), "loss")
    assert standing is not None
    assert standing.n_tied == standing.n_compared == 9


def test_as_many_more_seeds_as_it_says_would_do_and_one_fewer_would_not() -> None:
    few = {"a": [1.0, 1.4, 0.8], "b": [1.3, 1.2, 1.4]}
    standing = judge_best(ranked(few), "loss")
    assert standing is not None
    assert standing.n_tied == 2
    differences = [a - b for a, b in zip(few["a"], few["b"], strict=True)]
    rng = random.Random(0)
    tied = []
    for n in (2 + (standing.n_more_seeds or 0), 3 + (standing.n_more_seeds or 0)):
        drawn = [rng.gauss(0, 1) for _ in range(n)]
        scale = statistics.stdev(differences) / statistics.stdev(drawn)
        shift = statistics.fmean(differences) - scale * statistics.fmean(drawn)
        more = judge_best(ranked({"a": [scale * one + shift for one in drawn], "b": [0.0] * n}), "loss")
        tied.append(more.n_tied if more is not None else 0)
    assert tied == [2, 1]


def test_without_repeats_nothing_is_claimed() -> None:
    standing = judge_best(ranked({"a": [1.0], "b": [2.0]}), "loss")
    assert str(standing) == "one seed each: no interval, the first may be the luckiest"


def test_repeats_of_any_configuration_tell_how_much_is_noise() -> None:
    configs = ranked({"a": [1.0], "b": [2.0, 2.2, 1.8], "c": [3.0, 3.2]})
    standing = judge_best(configs, "loss")
    assert noise_floor(configs, "loss") == pytest.approx(3.182 * math.sqrt(2 * (0.08 + 0.02) / 3), rel=1e-3)
    assert str(standing) == "one seed: differences below 0.82 are noise"


def test_a_sweep_without_a_result_has_no_best() -> None:
    assert judge_best([], "loss") is None
    assert judge_best(ranked({"a": [math.nan]}), "loss") is None


def test_that_an_equal_one_was_left_aside_is_said() -> None:
    runs = [
        recorded(f"{x}{idle}{seed}", params={"x": x, "idle": idle}, seed=seed, metrics={"loss": x + 0.01 * seed})
        for x in (1, 2, 3)
        for idle in ("a", "b")
        for seed in range(3)
    ]
    told = str(find_standing(runs, rank_configs(runs, LOSS), LOSS, None, {"idle"}))
    assert told.startswith("the first is better than the next 2 that differ in more than idle (95 %")
    assert "differ in more" not in str(find_standing(runs, rank_configs(runs, LOSS), LOSS, None))
