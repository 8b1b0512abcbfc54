"""What names a run: its id, its label, and how its objective ranks it."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepline.runs import Objective, canonical_json, run_id_of, run_name_of, short_name

HOSTILE_TEXTS = [
    *["", ".", "..", "...", "/", "/abs/path", "../../up", "a/b", "a\\b", "C:\\x", "~", "a\nb", "nul\0", "-x", "$(x)"],
    *["é火", "a b", "con", " ", "_", "x" * 1000],
]


@pytest.mark.parametrize(
    ("objective", "summaries"),
    [
        (Objective(name="a"), {}),
        (Objective(name="a", summary="best"), {"a": ("a", "min")}),
        (Objective(name="a", goal="maximize", summary="best"), {"a": ("a", "max")}),
        (Objective(name="a", goal="maximize", summary="min"), {"a": ("a", "min")}),
        (Objective(name="val.loss.min"), {"val.loss.min": ("val.loss", "min")}),
        (Objective(name="val.loss"), {}),
    ],
)
def test_an_objective_says_which_value_of_a_run_is_its_result(
    objective: Objective, summaries: dict[str, tuple[str, str]]
) -> None:
    assert objective.summaries == summaries


def test_a_run_id_is_twelve_hex_digits() -> None:
    assert re.fullmatch("[0-9a-f]{12}", run_id_of({"a": 1}, 0, "identity"))


def test_a_run_id_stays_from_one_version_to_the_next() -> None:
    assert run_id_of({"lr": 0.001, "opt": "adam"}, 0, "identity") == "7c4acb695366"


def test_a_run_id_does_not_depend_on_the_order_of_parameters() -> None:
    assert run_id_of({"a": 1, "b": {"c": 2, "d": 3}}, 0, "x") == run_id_of({"b": {"d": 3, "c": 2}, "a": 1}, 0, "x")


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (0.0, -0.0), ([1, 2], (1.0, 2.0)), ({"x": 1}, {"x": 1.0}), (10**16, 1e16), (math.nan, float("nan"))],
    ids=repr,
)
def test_equal_values_have_one_run_id(one: Any, other: Any) -> None:
    assert run_id_of({"a": one}, 0, "x") == run_id_of({"a": other}, 0, "x")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (True, 1),
        (False, 0),
        (True, "true"),
        (None, "null"),
        (None, False),
        (1, "1"),
        (1, 1.0000000000000002),
        ([1], [True]),
        ([1], 1),
        (math.nan, "nan"),
        (math.inf, -math.inf),
        (2**53, 2**53 + 1),
        ("", " "),
    ],
    ids=repr,
)
def test_different_values_have_different_run_ids(one: Any, other: Any) -> None:
    assert run_id_of({"a": one}, 0, "x") != run_id_of({"a": other}, 0, "x")


@pytest.mark.parametrize(
    ("params", "seed", "identity"),
    [({"b": 1}, 0, "x"), ({"a": 1}, 1, "x"), ({"a": 1}, None, "x"), ({"a": 1}, 0, "y"), ({"a": 1, "b": None}, 0, "x")],
)
def test_name_seed_and_identity_are_part_of_a_run_id(params: dict[str, Any], seed: int | None, identity: str) -> None:
    assert run_id_of(params, seed, identity) != run_id_of({"a": 1}, 0, "x")


def test_text_with_any_character_has_a_run_id() -> None:
    assert run_id_of({"a": "\0\n\ud800 火"}, 0, "x") != run_id_of({"a": "\0\n 火"}, 0, "x")


@given(st.dictionaries(st.text(), st.integers() | st.floats() | st.booleans() | st.text(), max_size=5), st.randoms())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_order_of_parameters_gives_one_text(params: dict[str, Any], random: Any) -> None:
    names = list(params)
    random.shuffle(names)

    assert canonical_json({name: params[name] for name in names}) == canonical_json(params)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"learner.opt": "adam", "learner.step_size": 0.001, "batch_size": 64}, "adam-lr0.001-bs64-s0"),
        ({"learner.weight_decay": 1e-05, "learner.momentum": 0.9}, "wd1e-05-m0.9-s0"),
        ({"epochs": 3, "dropout": 0.1, "x": None, "flag": True}, "ep3-do0.1-xnull-flagtrue-s0"),
        ({"hidden_size": 128, "layers": [64, 32]}, "hs128-layers_64_32_-s0"),
        ({}, "s0"),
    ],
)
def test_a_run_is_named_by_its_swept_values_and_seed(params: dict[str, Any], name: str) -> None:
    assert run_name_of(params, list(params), 0) == name


def test_a_parameter_that_is_not_swept_is_not_in_the_name() -> None:
    assert run_name_of({"opt": "adam", "epochs": 3}, ["opt"], 1) == "adam-s1"


def test_a_run_without_seed_and_swept_values_has_a_name() -> None:
    assert run_name_of({}, [], None) == "run"


def test_a_long_name_is_cut_visibly() -> None:
    name = run_name_of({"x": "y" * 500}, ["x"], 0)

    assert (len(name), name[-1]) == (96, "~")


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=repr)
@pytest.mark.parametrize("seed", [None, 0])
def test_a_run_name_is_never_a_path(text: str, seed: int | None) -> None:
    assert re.fullmatch(r"(?!\.{1,2}$)[\w.+=~-]{1,96}", run_name_of({"x": text}, ["x"], seed))


@pytest.mark.parametrize(
    ("parameter", "short"),
    [
        ("learner.step_size", "lr"),
        ("optimizer/learning_rate", "lr"),
        ("batch_size", "bs"),
        ("hidden_size", "hs"),
        ("n-heads", "nh"),
        ("lr", "lr"),
        ("gamma", "gamma"),
        ("a_b", "a_b"),
    ],
)
def test_a_parameter_is_abbreviated(parameter: str, short: str) -> None:
    assert short_name(parameter) == short


@pytest.mark.parametrize(
    ("goal", "value", "than", "is_better"),
    [
        ("minimize", 1.0, 2.0, True),
        ("minimize", 2.0, 1.0, False),
        ("minimize", 1.0, 1.0, False),
        ("maximize", 2.0, 1.0, True),
        ("maximize", 1.0, 2.0, False),
        ("minimize", 1.0, None, True),
        ("minimize", math.inf, None, True),
        ("minimize", -math.inf, 0.0, True),
        ("minimize", math.nan, None, False),
        ("minimize", math.nan, 1.0, False),
        ("maximize", math.nan, 1.0, False),
    ],
)
def test_a_value_beats_another_by_the_goal_and_nan_never_does(
    goal: str, value: float, than: float | None, is_better: bool
) -> None:
    assert Objective(name="loss", goal=goal).is_better(value, than) is is_better


@pytest.mark.parametrize(
    ("goal", "order"),
    [
        ("minimize", [-math.inf, 0.5, 2.0, math.inf, None, math.nan]),
        ("maximize", [math.inf, 2.0, 0.5, -math.inf, None, math.nan]),
    ],
)
def test_runs_sort_best_first_with_missing_and_nan_last(goal: str, order: list[float | None]) -> None:
    mixed = [2.0, None, math.inf, math.nan, -math.inf, 0.5]

    assert repr(sorted(mixed, key=Objective(name="loss", goal=goal).sort_key)) == repr(order)
