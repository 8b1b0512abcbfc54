"""Rules: how they are written, what they mean, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepline.errors import ConfigError
from sweepline.space.constraints import Condition, parse_constraint


def holds(wanted: Any, value: Any) -> bool:
    """Return whether ``when: {x: wanted}`` holds for ``x = value``."""
    params = {"x": value}
    return not parse_constraint({"when": {"x": wanted}, "skip": True}).apply(params)


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (1, 1),
        (1, 1.0),
        (True, True),
        ("adam", "adam"),
        (None, None),
        (math.nan, math.nan),
        ([1, 2], [1, 2]),
        ([1, 2], (1, 2)),
        ([1, 2], 2),
        (["sgd", "adam"], "adam"),
        ([None, 1], None),
        (">=0.5", 0.5),
        (">= 0.5", 1),
        ("<=1e-3", 1e-4),
        (">1", 2),
        ("<1", 0.5),
        ("<-1", -2),
        ("!=adam", "sgd"),
        ("!=1", 2),
        ("!=1", True),
        ("==adam", "adam"),
        ("==1", 1.0),
        ('=="1"', "1"),
        ("==null", None),
        (">b", "c"),
        ("!=[sgd, adam]", "lion"),
    ],
    ids=repr,
)
def test_a_condition_holds(wanted: Any, value: Any) -> None:
    assert holds(wanted, value)


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (1, True),
        (True, 1),
        (1, "1"),
        ("null", None),
        ([1, 2], 3),
        ([1, 2], True),
        ([1, 2], [2, 1]),
        ([1, 2], [1]),
        (">=0.5", 0.4),
        (">=0.5", "0.6"),
        (">=0.5", "adam"),
        (">=0", None),
        (">=0", False),
        (">=0", True),
        (">=0", math.nan),
        (">=0", [1]),
        ("!=adam", "adam"),
        ("!=1", 1.0),
        ("!=[sgd, adam]", "adam"),
        ("==1", True),
        ("adam", "sgd"),
    ],
    ids=repr,
)
def test_a_condition_does_not_hold(wanted: Any, value: Any) -> None:
    assert not holds(wanted, value)


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("opt=adam -> momentum=0.0", {"when": {"opt": "adam"}, "set": {"momentum": 0.0}}),
        ("opt==adam->momentum=0.0", {"when": {"opt": "adam"}, "set": {"momentum": 0.0}}),
        ("opt=adam -> skip", {"when": {"opt": "adam"}, "skip": True}),
        ("lr>=0.5 -> skip", {"when": {"lr": ">=0.5"}, "skip": True}),
        ("lr >= 0.5 and opt = sgd -> skip", {"when": {"lr": ">=0.5", "opt": "sgd"}, "skip": True}),
        ("lr>=0.5, opt=sgd -> skip", {"when": {"lr": ">=0.5", "opt": "sgd"}, "skip": True}),
        ("opt=[a, b], lr=1 -> skip", {"when": {"opt": ["a", "b"], "lr": 1}, "skip": True}),
        ("opt!=adam -> a=1, b=[1, 2]", {"when": {"opt": "!=adam"}, "set": {"a": 1, "b": [1, 2]}}),
        ("opt=adam -> a=1 and b=true", {"when": {"opt": "adam"}, "set": {"a": 1, "b": True}}),
        ("a-b.c/d=1 -> skip", {"when": {"a-b.c/d": 1}, "skip": True}),
        ('name="a b" -> skip', {"when": {"name": "a b"}, "skip": True}),
    ],
)
def test_a_rule_as_text_is_the_same_as_its_mapping(text: str, mapping: Any) -> None:
    assert parse_constraint(text) == parse_constraint(mapping)


@pytest.mark.parametrize(
    ("raw", "params", "after"),
    [
        ("opt=adam -> momentum=0.0", {"opt": "adam", "momentum": 0.9}, {"opt": "adam", "momentum": 0.0}),
        ("opt=adam -> momentum=0.0", {"opt": "sgd", "momentum": 0.9}, {"opt": "sgd", "momentum": 0.9}),
        ({"when": {"opt": "adam"}, "set": {"lr": None}}, {"opt": "adam", "lr": 1}, {"opt": "adam", "lr": None}),
        ({"when": {"opt": "adam"}, "unset": "lr"}, {"opt": "adam", "lr": 1}, {"opt": "adam", "lr": None}),
        ({"when": {"a": 1}, "set": {"a": 2}, "unset": ["b"]}, {"a": 1, "b": 1}, {"a": 2, "b": None}),
    ],
)
def test_a_rule_sets_values_where_its_conditions_hold(raw: Any, params: dict[str, Any], after: dict[str, Any]) -> None:
    parse_constraint(raw).apply(params)

    assert params == after


@pytest.mark.parametrize(
    ("params", "is_kept"),
    [({"lr": 1.0, "opt": "sgd"}, False), ({"lr": 1.0, "opt": "adam"}, True), ({"lr": 0.1, "opt": "sgd"}, True)],
)
def test_a_rule_drops_only_where_all_its_conditions_hold(params: dict[str, Any], is_kept: bool) -> None:
    assert parse_constraint({"when": {"lr": ">=0.5", "opt": "sgd"}, "skip": True}).apply(params) is is_kept


def test_exclude_drops_where_its_expression_holds() -> None:
    assert parse_constraint({"exclude": "lr > 0.5"}).apply({"lr": 1.0}) is False


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ("opt=adam, lr>1 -> momentum=0.0", ("opt", "lr", "momentum")),
        ("opt=adam -> skip", ("opt",)),
        ("opt=adam -> opt=sgd", ("opt",)),
        ({"exclude": "learner.lr * 2 > batch and opt in ['a']"}, ("learner.lr", "batch", "opt")),
    ],
)
def test_a_rule_names_every_parameter_that_it_reads_or_writes(raw: Any, names: tuple[str, ...]) -> None:
    assert parse_constraint(raw).names == names


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"when": {"opt": "adam"}, "set": {"momentum": 0.0}}, "opt=adam -> momentum=0.0"),
        ({"when": {"lr": ">=0.5", "opt": "sgd"}, "skip": True}, "lr>=0.5 and opt=sgd -> skip"),
        ({"exclude": "lr > 1"}, "exclude lr > 1"),
    ],
)
def test_a_rule_shows_itself_as_text(raw: Any, text: str) -> None:
    assert parse_constraint(raw).text == text


REFUSALS: list[tuple[Any, str]] = [
    (5, "a constraint is a mapping or a text"),
    (None, "a constraint is a mapping or a text"),
    (["a=1 -> skip"], "a constraint is a mapping or a text"),
    ({}, "needs when"),
    ({"when": {}}, "needs when"),
    ({"when": "a=1", "skip": True}, "needs when"),
    ({"when": {"a": 1}}, "needs either set"),
    ({"when": {"a": 1}, "skip": False}, "needs either set"),
    ({"when": {"a": 1}, "skip": "yes"}, "needs either set"),
    ({"when": {"a": 1}, "set": {"b": 1}, "skip": True}, "needs either set"),
    ({"when": {"a": 1}, "set": {}}, "set must be a mapping"),
    ({"when": {"a": 1}, "set": "b=1"}, "set must be a mapping"),
    ({"wen": {"a": 1}, "skip": True}, "unknown key 'wen' in a constraint; there are when, set, unset, skip, exclude"),
    ({"exclude": "a > 1", "when": {"a": 1}}, "exclude stands alone"),
    ({"exclude": 5}, "exclude stands alone"),
    ({"when": {"a": 1}, "unset": 5}, "unset must be a parameter's name or a list of them, got 5"),
    ({"when": {"a": 1}, "unset": "b", "skip": True}, "needs either set"),
    ({"exclude": "a >"}, "cannot be read"),
    ("", "expected 'parameter=value -> parameter=value'"),
    ("a=1", "expected 'parameter=value -> parameter=value'"),
    ("a=1 ->", "expected 'parameter=value -> parameter=value'"),
    ("-> skip", "expected 'parameter=value -> parameter=value'"),
    ("a -> skip", "cannot read 'a'; expected parameter=value"),
    ("a=1 -> b", "cannot read 'b'; expected parameter=value"),
    ("a=1 -> b>2", "parameters are set with '='"),
    ("a=1 -> b!=2", "parameters are set with '='"),
]


@pytest.mark.parametrize(("raw", "sentence"), REFUSALS, ids=[str(raw) for raw, _ in REFUSALS])
def test_a_constraint_of_another_shape_is_refused_in_one_sentence(raw: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_constraint(raw)

    assert [sentence in fault for fault in caught.value.faults] == [True], caught.value.faults


@given(st.text(max_size=40) | st.text(alphabet="ab1=<>!-, []and skip\"'", max_size=30))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_is_a_rule_or_a_config_error(text: str) -> None:
    try:
        names = parse_constraint(text).names
    except ConfigError:
        names = ("refused",)

    assert names


@given(
    st.sampled_from(["==", "!=", ">=", "<=", ">", "<"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_condition_on_any_values_is_true_or_false(operator: str, wanted: Any, value: Any) -> None:
    assert Condition("x", wanted, operator).holds(value) in (True, False)
