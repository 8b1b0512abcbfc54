"""Expressions for ``exclude``: they compare and compute, and do nothing else."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepline.errors import ConfigError
from sweepline.space.expressions import parse_expression

PARAMS = {
    "opt": "sgd",
    "lr": 0.5,
    "n": 7,
    "flag": True,
    "nothing": None,
    "layers": [64, 32],
    "learner.opt": "adam",
    "learner.deep.x": 3,
    "a-b": 2,
    "class": 5,
}


@pytest.mark.parametrize(
    "text",
    [
        "lr == 0.5",
        "lr != 0.4",
        "lr < 1",
        "lr <= 0.5",
        "n > 6",
        "n >= 7",
        "0 < lr < 1 < n",
        "opt == 'sgd'",
        'opt == "sgd"',
        "opt in ['sgd', 'adam']",
        "opt in ('sgd', 'adam')",
        "opt in {'sgd', 'adam'}",
        "opt not in ['adam']",
        "'g' in opt",
        "64 in layers",
        "layers == [64, 32]",
        "nothing is None",
        "nothing == null",
        "opt is not None",
        "flag == true",
        "flag and not false",
        "flag",
        "lr > 1 or n == 7",
        "not (lr > 1 or n == 6)",
        "lr * 2 == 1",
        "n + 1 == 8",
        "n - 8 == -1",
        "+n == 7",
        "n / 2 == 3.5",
        "n // 2 == 3",
        "n % 2 == 1",
        "learner.opt == 'adam'",
        "learner.deep.x == 3",
        "params['a-b'] == 2",
        'params["class"] + params["a-b"] == n',
        "params['learner.opt'] == 'adam'",
        "  lr == 0.5  ",
        "lr == 5e-1",
        "opt == 'sgd' and (lr > 0.4 or n in [1, 2]) and learner.opt != 'sgd'",
    ],
)
def test_an_expression_holds(text: str) -> None:
    assert parse_expression(text)(PARAMS) is True


@pytest.mark.parametrize(
    "text", ["lr == 0.4", "opt == 'adam'", "opt in []", "not flag", "nothing", "1 < lr < 2", "n % 7", "layers == []"]
)
def test_an_expression_does_not_hold(text: str) -> None:
    assert parse_expression(text)(PARAMS) is False


def test_and_and_or_do_not_compute_what_they_need_not() -> None:
    assert parse_expression("opt == 'sgd' or opt > 1")(PARAMS) is True


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("lr > 1 and learner.opt == 'adam' and lr < 2", ("lr", "learner.opt")),
        ("params['a-b'] > params['c d']", ("a-b", "c d")),
        ("true and none and x in [y, 1]", ("x", "y")),
        ("1 < 2", ()),
    ],
)
def test_an_expression_names_its_parameters_once(text: str, names: tuple[str, ...]) -> None:
    assert parse_expression(text).names == names


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "__import__('os').system('x')",
        "open('x')",
        "len(layers)",
        "lr.real()",
        "''.join",
        "(1).real",
        "[].append",
        "''.__class__.__mro__",
        "[x for x in layers]",
        "{x for x in layers}",
        "(x for x in layers)",
        "{x: 1 for x in layers}",
        "lambda: 1",
        "(x := 1)",
        "f'{lr}'",
        "f''",
        "{'a': 1}",
        "layers[0]",
        "layers[0:1]",
        "params[0]",
        "params[lr]",
        "params['a']['b']",
        "other['a']",
        "[*layers]",
        "lr @ 2",
        "n << 2",
        "n >> 2",
        "n | 2",
        "n & 2",
        "n ^ 2",
        "~n",
        "b'x' == 1",
        "1j == 1",
        "... == 1",
        "(yield)",
        "await lr",
        "x = 1",
        "import os",
        "lr > 1; lr",
        "lr >",
        "",
        "   ",
        "(",
        "'",
        "lr > 1\nlr < 2",
        "a b",
        "1.2.3",
        "\0",
        "lr > 1" * 400,
        "(" * 500 + "1" + ")" * 500,
        "-" * 1900 + "1",
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_anything_that_is_no_comparison_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^expression "):
        parse_expression(text)


def test_a_refusal_says_what_is_not_allowed() -> None:
    with pytest.raises(ConfigError, match=r"^expression 'open\(1\)': Call is not allowed; use comparisons"):
        parse_expression("open(1)")


def test_a_syntax_error_says_its_column() -> None:
    with pytest.raises(ConfigError, match=r"cannot be read at column 6: "):
        parse_expression("lr > )")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("opt > 1", "opt='sgd'"),
        ("nothing < 1", "nothing=None"),
        ("lr < opt", "lr=0.5, opt='sgd'"),
        ("layers > 1", "layers=[64, 32]"),
        ("opt + 1 == 2", "opt='sgd'"),
        ("flag + 1 == 2", "flag=True"),
        ("-opt == 1", "opt='sgd'"),
        ("opt * n == 1", "opt='sgd', n=7"),
        ("layers * n == 1", "layers=[64, 32], n=7"),
        ("opt % n == 1", "opt='sgd', n=7"),
        ("1 in n", "n=7"),
        ("1 in opt", "opt='sgd'"),
        ("n / 0 == 1", "n=7"),
        ("n % 0 == 1", "n=7"),
        ("n // 0.0 == 1", "n=7"),
        (" * ".join(["n"] + ["1" + "0" * 300] * 3) + " > 1", "n=7"),
    ],
)
def test_values_of_the_wrong_kind_are_named(text: str, values: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_expression(text)(PARAMS)

    assert values in str(caught.value)


def test_a_value_that_is_a_list_written_as_a_tuple_is_the_same_list() -> None:
    assert parse_expression("layers == (64, 32)")(PARAMS) is True


def outcome_of(text: str) -> str:
    """Return ``parsed`` or ``refused``."""
    try:
        parse_expression(text)
    except ConfigError:
        return "refused"
    return "parsed"


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_parses_or_is_a_config_error(text: str) -> None:
    assert outcome_of(text) in ("parsed", "refused")


TOKENS = [
    *["lr", "opt", "n", "a.b", "params", "['a-b']", "'x'", "1", "0.5", "1e400", "true", "None", "\\d", "'\\d'"],
    *[" and ", " or ", " not ", " in ", " is ", " if ", " else ", "lambda ", "==", "<", ">=", "!=", ":=", "="],
    *["+", "-", "*", "/", "//", "%", "**", "(", ")", "[", "]", "{", "}", ",", ":", ".", "\n", " ", "f'", "0_", "1if"],
]


@given(st.lists(st.sampled_from(TOKENS), max_size=12).map("".join))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_any_text_of_python_words_parses_or_is_a_config_error(text: str) -> None:
    assert outcome_of(text) in ("parsed", "refused")


OPERANDS = st.sampled_from(["x", "y", "1", "0", "2.5", "'s'", "[1, 's']", "none", "true"])
OPERATORS = st.sampled_from(
    ["+", "-", "*", "/", "//", "%", "==", "<", ">=", " in ", " not in ", " and ", " or ", " is "]
)
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
)


@given(OPERANDS, st.lists(st.tuples(OPERATORS, OPERANDS), max_size=5), VALUES, VALUES)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_any_values_give_true_false_or_a_config_error(first: str, rest: list[tuple[str, str]], x: Any, y: Any) -> None:
    expression = parse_expression(first + "".join(map("".join, rest)))

    try:
        answer: bool | None = expression({"x": x, "y": y})
    except ConfigError:
        answer = None

    assert answer in (True, False, None)


def test_nan_compares_as_in_python() -> None:
    assert parse_expression("lr < 1 or lr >= 1")({"lr": math.nan}) is False


@pytest.mark.parametrize(
    ("text", "params", "holds"),
    [
        ("batch-size > 1 and lr > 1", {"batch-size": 2, "lr": 2}, True),
        ("batch-size - lr == 0", {"batch-size": 2, "lr": 2}, True),
        ("a-b > 1", {"a": 5, "b": 3, "a-b": 0}, False),
        ("a-b-c == 1", {"a-b": 0, "a-b-c": 1}, True),
        ("lambda > 0.5", {"lambda": 0.6}, True),
        ("opt.batch-size in [1, 2]", {"opt.batch-size": 1}, True),
        ("model/lr == 1 and name == 'batch-size'", {"model/lr": 1, "name": "batch-size", "batch-size": 3}, True),
        ('params["batch-size"] == 2', {"batch-size": 2}, True),
        ("1st > 1", {"1st": 2}, True),
    ],
)
def test_a_parameter_that_is_no_python_name_stands_as_it_is(text: str, params: dict[str, Any], holds: bool) -> None:
    assert parse_expression(text, list(params))(params) is holds
