"""Random draws: one independent stream per parameter, no repetition, and an end where there is none."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping
from typing import Any

import pytest

from sweepline.errors import ConfigError
from sweepline.runs import canonical_json
from sweepline.space.constraints import parse_constraint
from sweepline.space.distributions import LogUniformValues, Quantized, Uniform
from sweepline.space.parameters import Categorical, Constant, IntUniform, Parameter, WeightedCategorical
from sweepline.space.samplers.base import Tally
from sweepline.space.samplers.random import RandomSampler, draw_seeds

CONTINUOUS: dict[str, Parameter] = {"lr": LogUniformValues(1e-5, 1.0), "dropout": Uniform(0.0, 1.0)}
FINITE: dict[str, Parameter] = {
    "opt": Categorical(("sgd", "adam", "rmsprop")),
    "layers": IntUniform(1, 4),
    "fixed": Constant([1, 2]),
}


def draws_of(parameters: Mapping[str, Parameter], *constraints: Any, seed: int = 0) -> RandomSampler:
    return RandomSampler(parameters, [parse_constraint(raw) for raw in constraints], seed)


def walk(parameters: Mapping[str, Parameter], *constraints: Any, n: int | None = None) -> list[dict[str, Any]]:
    """Return the first ``n`` accepted draws, or all where they end."""
    return list(itertools.islice(draws_of(parameters, *constraints).walk(Tally()), n))


def test_the_same_seed_gives_the_same_draws() -> None:
    assert [draws_of(CONTINUOUS, seed=3).draw(i) for i in range(20)] == [
        draws_of(CONTINUOUS, seed=3).draw(i) for i in range(20)
    ]


def test_draws_stay_from_one_version_to_the_next() -> None:
    assert draws_of({"opt": Categorical(tuple(range(1_000_000)))}, seed=3).draw(7) == {"opt": 646522}


def test_another_seed_gives_other_draws() -> None:
    assert draws_of(CONTINUOUS, seed=3).draw(0) != draws_of(CONTINUOUS, seed=4).draw(0)


def test_a_later_draw_does_not_depend_on_earlier_ones() -> None:
    walked = walk(CONTINUOUS, n=50)

    assert draws_of(CONTINUOUS).draw(49) == walked[49]


def test_adding_a_parameter_changes_no_other_draw() -> None:
    wider = {"aaa": Uniform(0.0, 1.0), **CONTINUOUS, "zzz": Categorical((1, 2))}

    assert [{name: draws_of(wider).draw(i)[name] for name in CONTINUOUS} for i in range(50)] == [
        draws_of(CONTINUOUS).draw(i) for i in range(50)
    ]


def test_the_order_of_parameters_changes_no_draw() -> None:
    backwards = dict(reversed(CONTINUOUS.items()))

    assert [draws_of(backwards).draw(i) for i in range(50)] == [draws_of(CONTINUOUS).draw(i) for i in range(50)]


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_two_uniform_parameters_do_not_correlate(seed: int) -> None:
    draws = draws_of({"a": Uniform(0.0, 1.0), "b": Uniform(0.0, 1.0)}, seed=seed)
    pairs = [draws.draw(i) for i in range(2000)]

    assert abs(statistics.correlation([p["a"] for p in pairs], [p["b"] for p in pairs])) < 0.1


def test_two_seeds_do_not_correlate() -> None:
    one, other = (draws_of({"a": Uniform(0.0, 1.0)}, seed=seed) for seed in (0, 1))

    assert (
        abs(statistics.correlation([one.draw(i)["a"] for i in range(2000)], [other.draw(i)["a"] for i in range(2000)]))
        < 0.1
    )


def test_successive_draws_do_not_correlate() -> None:
    values = [draws_of({"a": Uniform(0.0, 1.0)}).draw(i)["a"] for i in range(2001)]

    assert abs(statistics.correlation(values[:-1], values[1:])) < 0.1


def test_draws_cover_a_range_evenly() -> None:
    draws = draws_of({"a": Uniform(0.0, 1.0)})

    assert statistics.fmean(draws.draw(i)["a"] for i in range(2000)) == pytest.approx(0.5, abs=0.03)


FINITE_SPACES: dict[str, tuple[dict[str, Parameter], list[Any], int]] = {
    "all": (FINITE, [], 12),
    "one": ({"a": Constant(1)}, [], 1),
    "equal values": ({"a": Categorical((1, 1.0, True)), "b": Categorical(("x", "x"))}, [], 2),
    "skip": (FINITE, ["opt=adam -> skip"], 8),
    "set": (FINITE, ["opt=adam -> layers=1"], 9),
    "set outside": (FINITE, ["opt=adam -> layers=9"], 9),
    "exclude": (FINITE, [{"exclude": "layers > 2"}], 6),
    "rare": ({"a": WeightedCategorical(("x", "y"), (0.995, 0.005)), "b": IntUniform(0, 1)}, [], 4),
    "weight zero": ({"a": WeightedCategorical(("x", "y"), (1.0, 0.0)), "b": IntUniform(0, 1)}, [], 2),
    "quantized": ({"a": Quantized(Uniform(0, 4), 2)}, [], 3),
    "lists": ({"a": Categorical(([1], [1, 2], [1.0]))}, [], 2),
}


@pytest.mark.parametrize(("parameters", "constraints", "n"), FINITE_SPACES.values(), ids=FINITE_SPACES)
def test_a_finite_space_gives_every_combination_exactly_once(
    parameters: dict[str, Parameter], constraints: list[Any], n: int
) -> None:
    drawn = [canonical_json(params) for params in walk(parameters, *constraints)]

    assert (len(drawn), len(set(drawn))) == (n, n)


def test_a_finite_space_is_not_drawn_in_grid_order() -> None:
    assert [params["a"] for params in walk({"a": IntUniform(0, 99)})] != list(range(100))


def test_a_space_with_one_combination_in_a_thousand_allowed_still_gives_it() -> None:
    parameters = {"a": IntUniform(0, 99), "b": IntUniform(0, 99)}

    assert walk(parameters, {"exclude": "a != 7 or b != 7"}) == [{"a": 7, "b": 7}]


def test_accepted_draws_keep_the_constraint() -> None:
    drawn = walk(CONTINUOUS, {"exclude": "lr > 0.01"}, n=100)

    assert max(params["lr"] for params in drawn) <= 0.01


def test_a_constraint_that_sets_a_value_applies_to_draws() -> None:
    drawn = walk({**CONTINUOUS, "opt": Categorical(("sgd", "adam"))}, "opt=adam -> dropout=0.0", n=50)

    assert {params["dropout"] == 0.0 for params in drawn if params["opt"] == "adam"} == {True}


def test_a_constraint_changes_no_draw_that_it_does_not_concern() -> None:
    free = [params for params in walk(CONTINUOUS, n=50) if params["dropout"] <= 0.5]

    assert walk(CONTINUOUS, {"exclude": "dropout > 0.5"}, n=len(free)) == free


def test_draws_that_are_all_rejected_end_in_an_error_that_names_the_constraint() -> None:
    with pytest.raises(ConfigError, match=r"^constraint 'exclude lr < 2' rejects 10,000 of 10,000 draws; relax it$"):
        walk(CONTINUOUS, {"exclude": "dropout > 2"}, {"exclude": "lr < 2"})


def test_the_constraint_that_rejects_most_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^constraint 'exclude dropout > 0\.1' rejects"):
        walk(CONTINUOUS, {"exclude": "dropout > 0.1"}, {"exclude": "lr < 2"})


def test_rejected_and_repeated_draws_are_counted() -> None:
    tally = Tally()

    n_drawn = sum(1 for _ in draws_of(FINITE, "opt=adam -> skip").walk(tally))

    assert (n_drawn, tally.n_kept, tally.n_skipped > 0, tally.n_merged > 0) == (8, 8, True, True)


@pytest.mark.parametrize("n", [0, 1, 2, 10, 500])
def test_the_first_seeds_stay_when_more_are_drawn(n: int) -> None:
    assert draw_seeds(0, 500)[:n] == draw_seeds(0, n)


@pytest.mark.parametrize("n", [0, 1, 3, 1000])
def test_as_many_distinct_seeds_are_drawn_as_asked(n: int) -> None:
    assert len(set(draw_seeds(7, n))) == n


def test_seeds_depend_on_the_seed_of_the_sampler() -> None:
    assert draw_seeds(0, 3) != draw_seeds(1, 3)


def test_seeds_are_whole_numbers_that_any_library_takes() -> None:
    assert {isinstance(seed, int) and 0 <= seed < 2**31 for seed in draw_seeds(0, 100)} == {True}
