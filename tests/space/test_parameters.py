"""Every distribution gives the reference values, type for type; grids hold what they should; nonsense is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepline.config.faults import Faults
from sweepline.config.parameters import read_parameters
from sweepline.contract.yamlfile import Document
from sweepline.errors import ConfigError
from sweepline.space.parameters import Categorical, IntUniform, Parameter, WeightedCategorical, unique_values

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "corpus" / "ppf_reference.json"
ROWS: list[dict[str, Any]] = json.loads(REFERENCE.read_text()) if REFERENCE.is_file() else []


def build(config: Any) -> Parameter:
    """Return the parameter that a sweep file's entry describes."""
    faults = Faults(Document("sweep.yaml", {}))
    parameters = read_parameters({"x": config}, faults, ("parameters",))
    faults.raise_if_any()
    return parameters[0].parameter


def distribution(name: str, **numbers: float) -> Parameter:
    return build({"distribution": name, **numbers})


def grid_of(config: Any) -> list[Any]:
    """Return the values that a grid walks; fails where it cannot."""
    grid = build(config).grid
    assert grid is not None
    return list(grid)


def typed(values: list[Any]) -> str:
    """Return values as text, in which 1, 1.0 and True differ."""
    return repr(values)


def is_close(got: Any, expected: Any) -> bool:
    """Whether two values have one type and are equal, floats up to rounding."""
    if isinstance(expected, float) and isinstance(got, float):
        return math.isclose(got, expected, rel_tol=1e-9, abs_tol=1e-12)
    return type(got) is type(expected) and bool(got == expected)


@pytest.mark.skipif(not ROWS, reason="the reference quantiles are not beside this checkout")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: json.dumps(row["config"]))
def test_quantiles_are_those_of_the_reference(row: Mapping[str, Any]) -> None:
    parameter = build(row["config"])

    got = [parameter.at(quantile) for quantile in row["x"]]

    expected = row["ppf"]
    if "q" not in row["config"] and {type(row["config"].get(bound)) for bound in ("min", "max")} == {int}:
        got, expected = list(map(float, got)), list(map(float, expected))  # whole bounds give integers here
    assert list(map(is_close, got, expected)) == [True] * len(row["x"]), (got, expected)


BOUNDED: dict[str, tuple[Parameter, float, float]] = {
    "uniform": (distribution("uniform", min=-1.0, max=2.0), -1.0, 2.0),
    "int_uniform": (distribution("int_uniform", min=-3, max=3), -3, 3),
    "log_uniform": (distribution("log_uniform", min=-10, max=-3), math.exp(-10), math.exp(-3)),
    "log_uniform_values": (distribution("log_uniform_values", min=1e-5, max=1e-2), 1e-5, 1e-2),
    "inv_log_uniform": (distribution("inv_log_uniform", min=1, max=5), math.exp(-5), math.exp(-1)),
    "inv_log_uniform_values": (distribution("inv_log_uniform_values", min=0.5, max=2), 0.5, 2.0),
    "beta": (distribution("beta", a=2, b=5), 0.0, 1.0),
    "q_uniform": (distribution("q_uniform", min=5, max=21, q=4), 4, 20),
}
MONOTONE = {
    **{name: parameter for name, (parameter, _, _) in BOUNDED.items()},
    "normal": distribution("normal", mu=5, sigma=2),
    "q_normal": distribution("q_normal", mu=5, sigma=2, q=0.5),
    "log_normal": distribution("log_normal"),
}
QUANTILES = st.integers(0, 2**53 - 1).map(lambda numerator: numerator / 2**53)
"""Every number that ``random.random`` can give."""


@pytest.mark.parametrize("name", BOUNDED)
@given(quantile=QUANTILES)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_quantile_stays_within_the_bounds(name: str, quantile: float) -> None:
    parameter, low, high = BOUNDED[name]

    assert low * (1 - 1e-12 * math.copysign(1, low)) <= parameter.at(quantile) <= high * (1 + 1e-12)


@pytest.mark.parametrize("name", MONOTONE)
@given(one=QUANTILES, other=QUANTILES)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_larger_quantile_never_gives_a_smaller_value(name: str, one: float, other: float) -> None:
    low, high = (MONOTONE[name].at(quantile) for quantile in sorted((one, other)))

    assert low <= high + 1e-12 * abs(high)


@pytest.mark.parametrize("name", ["normal", "log_normal", "q_normal", "q_log_normal", "beta", "q_beta"])
@pytest.mark.parametrize("quantile", [0.0, math.nextafter(1.0, 0.0)])
def test_the_extreme_quantiles_are_finite(name: str, quantile: float) -> None:
    assert math.isfinite(distribution(name).at(quantile))


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"min": 1, "max": 10}, int),
        ({"min": 1, "max": 10.0}, float),
        ({"min": 1.0, "max": 10}, float),
        ({"distribution": "uniform", "min": 1, "max": 10}, float),
        ({"distribution": "q_uniform", "min": 1, "max": 10, "q": 2}, int),
        ({"distribution": "q_uniform", "min": 1.5, "max": 10.5, "q": 1}, int),
        ({"distribution": "q_uniform", "min": 1, "max": 10, "q": 2.0}, float),
        ({"distribution": "q_uniform", "min": 1, "max": 10}, int),
        ({"distribution": "q_log_uniform_values", "min": 32, "max": 256}, int),
        ({"distribution": "q_uniform", "min": 1.0, "max": 10}, float),
        ({"distribution": "q_normal"}, float),
        ({"distribution": "q_normal", "q": 1}, int),
        ({"distribution": "q_log_uniform_values", "min": 1, "max": 9, "q": 0.5}, float),
    ],
    ids=str,
)
def test_the_type_of_a_draw_follows_from_how_numbers_are_written(config: Any, kind: type) -> None:
    assert type(build(config).at(0.4)) is kind


def test_halves_are_rounded_to_even() -> None:
    parameter = distribution("q_uniform", min=0, max=4, q=1)

    assert [parameter.at(quantile) for quantile in (0.125, 0.375, 0.625, 0.875)] == [0, 2, 2, 4]


@pytest.mark.parametrize(
    ("config", "values"),
    [
        ({"value": 7}, [7]),
        ({"value": [1, 2]}, [[1, 2]]),
        ({"value": None}, [None]),
        (7, [7]),
        ("adam", ["adam"]),
        (True, [True]),
        ({"values": ["a", "b"]}, ["a", "b"]),
        (["a", 1, 1.5, True, None], ["a", 1, 1.5, True, None]),
        ({"min": 2, "max": 5}, [2, 3, 4, 5]),
        ({"distribution": "int_uniform", "min": -1, "max": 1}, [-1, 0, 1]),
        ({"distribution": "q_uniform", "min": 2, "max": 10, "q": 2}, [2, 4, 6, 8]),
        ({"distribution": "q_uniform", "min": 2, "max": 9, "q": 3}, [2, 5, 8]),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, [0.0, 0.25, 0.5, 0.75]),
        ({"distribution": "q_uniform", "min": 0, "max": 3}, [0, 1, 2]),
        ({"distribution": "q_uniform", "min": 0, "max": 0.5, "q": 0.1}, [0.0, 0.1, 0.2, 0.3, 0.4]),
    ],
    ids=str,
)
def test_a_grid_holds_exactly_these_values(config: Any, values: list[Any]) -> None:
    assert typed(grid_of(config)) == typed(values)


@pytest.mark.parametrize(
    ("values", "unique"),
    [
        ([1, 2, 1], [1, 2]),
        ([1, 1.0, 2], [1, 2]),
        ([1.0, 1], [1.0]),
        ([True, 1, 1.0, False, 0], [True, 1, False, 0]),
        (["a", "b", "a"], ["a", "b"]),
        (["1", 1], ["1", 1]),
        ([None, None, "null"], [None, "null"]),
        ([[1, 2], [1.0, 2.0], [True, 2]], [[1, 2], [True, 2]]),
        ([{"a": 1}, {"a": 1}, {"a": True}], [{"a": 1}, {"a": True}]),
        ([0.0, -0.0], [0.0]),
    ],
)
def test_equal_values_appear_once_in_a_grid(values: list[Any], unique: list[Any]) -> None:
    assert typed(grid_of({"values": values})) == typed(unique)


def test_equal_values_are_each_drawn_where_they_stand() -> None:
    assert [build([1, 1, 2]).at(quantile) for quantile in (0.0, 0.4, 0.9)] == [1, 1, 2]


def test_many_values_are_told_apart_in_a_moment() -> None:
    assert len(unique_values([i % 50_000 for i in range(200_000)])) == 50_000


def test_a_huge_integer_range_is_a_grid_without_a_list() -> None:
    assert grid_len({"min": 0, "max": 10**12}) == 10**12 + 1


def grid_len(config: Any) -> int:
    """Return the length of a grid without walking it."""
    grid = build(config).grid
    assert grid is not None
    return len(grid)


@pytest.mark.parametrize(
    "config",
    [
        {"min": 0.0, "max": 1.0},
        {"distribution": "log_uniform_values", "min": 1e-5, "max": 1},
        {"distribution": "q_log_uniform_values", "min": 1, "max": 256, "q": 8},
        {"distribution": "normal"},
        {"distribution": "q_normal", "q": 1},
        {"distribution": "beta"},
        {"values": [1, 2], "probabilities": [0.5, 0.5]},
    ],
    ids=str,
)
def test_what_a_grid_cannot_walk_has_no_grid(config: Any) -> None:
    assert build(config).grid is None


def test_a_grid_of_ten_million_floats_is_refused() -> None:
    with pytest.raises(ConfigError, match="q_uniform has"):
        grid_of({"distribution": "q_uniform", "min": 0, "max": 1, "q": 1e-9})


@pytest.mark.parametrize(
    ("quantile", "value"), [(0.0, "a"), (0.1, "a"), (0.25, "c"), (0.7, "c"), (0.75, "d"), (0.999, "d")]
)
def test_a_weighted_value_takes_its_share_and_one_of_weight_zero_none(quantile: float, value: str) -> None:
    assert WeightedCategorical(("a", "b", "c", "d"), (0.25, 0.0, 0.5, 0.25)).at(quantile) == value


def test_rounding_of_probabilities_leaves_no_gap_at_the_end() -> None:
    assert WeightedCategorical(("a", "b", "c"), (0.3333333, 0.3333333, 0.3333333)).at(0.99999999) == "c"


REFUSALS: list[tuple[Any, str]] = [
    (None, "is empty"),
    ({}, "is empty"),
    ([], "values is empty"),
    ({"values": []}, "values is empty"),
    ({"values": "a"}, "values must be a list"),
    ({"values": {"a": 1}}, "values is a list, or a mapping"),
    ({"distribution": "categorical"}, "values must be a list"),
    ({"distribution": "constant"}, "constant needs value"),
    ({"distribution": "unifrm", "min": 0, "max": 1}, "did you mean 'uniform'?"),
    ({"distribution": 3, "min": 0, "max": 1}, "distribution must be a name, got 3"),
    ({"vlaues": [1]}, "unknown key 'vlaues'; did you mean 'values'?"),
    ({"zzz": 1}, "unknown key 'zzz'; a parameter may have value, values"),
    ({"min": 1}, "needs max"),
    ({"max": 1}, "needs min"),
    ({"q": 1}, "needs values, value or min and max"),
    ({"min": 0, "max": 1, "q": 0.1}, "did you mean distribution: q_uniform?"),
    ({"distribution": "uniform", "min": 0, "max": 1, "q": 0.1}, "did you mean distribution: q_uniform?"),
    ({"distribution": "uniform", "min": 0, "max": 1, "mu": 1}, "uniform does not take mu"),
    ({"min": 1, "max": 1}, "int_uniform needs min < max, got min=1 and max=1"),
    ({"min": 2.0, "max": 1}, "uniform needs min < max, got min=2.0 and max=1"),
    ({"distribution": "int_uniform", "min": 1.0, "max": 2}, "int_uniform needs whole numbers, got min=1.0"),
    ({"min": "le-5", "max": 1.0}, "min must be a number, got 'le-5'; did you mean 1e-5?"),
    ({"min": "lO", "max": 1.0}, "min must be a number, got 'lO'"),
    ({"min": True, "max": 2}, "min must be a number, got True"),
    ({"min": None, "max": 2}, "needs min"),
    ({"min": 0.0, "max": math.inf}, "max must be a number, got inf"),
    ({"min": 0.0, "max": math.nan}, "max must be a number, got nan"),
    ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "needs 0 < min < max, got min=0 and max=1"),
    ({"distribution": "log_uniform_values", "min": -1, "max": 1}, "needs 0 < min < max"),
    ({"distribution": "inv_log_uniform_values", "min": 0, "max": 1}, "inv_log_uniform_values needs 0 < min < max"),
    ({"distribution": "q_log_uniform_values", "min": 0, "max": 1, "q": 1}, "needs 0 < min < max"),
    ({"distribution": "log_uniform", "min": 1, "max": 1000}, "did you mean log_uniform_values?"),
    ({"distribution": "inv_log_uniform", "min": -1000, "max": 1}, "beyond a float"),
    ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "needs q > 0, got q=0"),
    ({"distribution": "q_uniform", "min": 0, "max": 1, "q": -1}, "needs q > 0, got q=-1"),
    ({"distribution": "q_uniform", "min": 0, "max": 1, "q": "a"}, "q must be a number, got 'a'"),
    ({"distribution": "normal", "sigma": 0}, "needs sigma > 0"),
    ({"distribution": "log_normal", "sigma": -1}, "needs sigma > 0"),
    ({"distribution": "beta", "a": 0}, "beta needs a > 0 and b > 0"),
    ({"values": [1, 2], "probabilities": [1.0]}, "one probability per value, got 2 values and 1 probabilities"),
    ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "they sum to 1.1"),
    ({"values": [1, 2], "probabilities": [1.5, -0.5]}, "probabilities must be >= 0"),
    ({"values": [1, 2], "probabilities": [math.nan, 0.5]}, "sum to 1"),
    ({"values": [1, 2], "probabilities": ["a", 0.5]}, "probabilities must be numbers, got 'a'"),
    ({"values": [1, 2], "probabilities": []}, "probabilities is empty"),
    ({"value": 1, "values": [1]}, "does not take values"),
    ({"parameters": [1]}, "nested parameter holds 'parameters:' with a mapping"),
    ({"parameters": {"a": [1]}, "value": 1}, "and nothing beside it"),
]


@pytest.mark.parametrize(("config", "sentence"), REFUSALS, ids=[str(config) for config, _ in REFUSALS])
def test_a_parameter_that_cannot_be_meant_is_refused_in_one_sentence(config: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(config)

    assert [sentence in fault for fault in caught.value.faults] == [True], caught.value.faults


@pytest.mark.parametrize("build_it", [lambda: Categorical(()), lambda: IntUniform(2, 1), lambda: IntUniform(1, 1)])
def test_a_parameter_checks_itself(build_it: Any) -> None:
    with pytest.raises(ConfigError):
        build_it()


OTHERS: dict[str, Parameter] = {
    "normal": distribution("normal", mu=2, sigma=3),
    "log_normal": distribution("log_normal", mu=0, sigma=1),
    "q_normal": distribution("q_normal", mu=0, sigma=10, q=3),
    "q_log_normal": distribution("q_log_normal", mu=0, sigma=1, q=0.5),
    "q_log_uniform_values": distribution("q_log_uniform_values", min=1, max=1000, q=10),
    "q_beta": distribution("q_beta", a=2, b=2, q=0.25),
    "rounded beyond its bounds": distribution("q_uniform", min=1, max=9, q=5),
    "categorical": build({"values": ["a", 1, 2.5, None, "a", [1, 2]]}),
    "weighted": build({"values": ["a", "b", "c"], "probabilities": [0.2, 0.0, 0.8]}),
    "constant": build({"value": "x"}),
}


@pytest.mark.parametrize("name", [*BOUNDED, *OTHERS])
def test_a_value_has_a_quantile_at_which_it_is(name: str) -> None:
    parameter = {**{n: p for n, (p, _, _) in BOUNDED.items()}, **OTHERS}[name]
    for i in range(200):
        value = parameter.at(i / 200)
        found = parameter.quantile(value)
        assert found is not None
        assert 0 <= found < 1
        assert is_close(parameter.at(found), value), (i, value, found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, high + 1) for name, (_, _, high) in BOUNDED.items()),
        *((name, low - 1) for name, (_, low, _) in BOUNDED.items()),
        *((name, "text") for name in (*BOUNDED, "normal", "log_normal", "q_normal")),
        ("int_uniform", 1.5),
        ("int_uniform", True),
        ("categorical", "b"),
        ("categorical", True),
        ("weighted", "b"),
        ("constant", 1),
        ("log_normal", -1.0),
        ("rounded beyond its bounds", 20),
    ],
)
def test_a_value_that_a_parameter_does_not_take_has_no_quantile(name: str, value: Any) -> None:
    parameter = {**{n: p for n, (p, _, _) in BOUNDED.items()}, **OTHERS}[name]
    assert parameter.quantile(value) is None
