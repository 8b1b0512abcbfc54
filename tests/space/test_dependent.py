"""Conditional and computed parameters, zipped ones, and combinations that are listed: which runs there are of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweepline.config.sweepfile import load_sweep
from sweepline.errors import ConfigError
from sweepline.space.dependent import fits_of
from sweepline.space.plan import Plan, count_all
from sweepline.space.samplers.base import Tally

HEAD = "program: train.py\nmetric: {name: loss}\n"
CHOICES = """
method: grid
parameters:
  opt:
    values:
      sgd: {parameters: {lr: [1.0, 0.1], momentum: [0.0, 0.9]}}
      adam: {parameters: {lr: [0.001]}}
      lion:
  nesterov: {values: [true, false], when: {momentum: '>0'}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan_of(text: str, *fixed: str) -> Plan:
    return Plan(load_sweep(Path("sweep.yaml"), text=HEAD + text, fixed=fixed).space)


def combinations(text: str, *fixed: str) -> list[dict[str, Any]]:
    """Return what a sweep file runs, after checking that its count says so too."""
    plan = plan_of(text, *fixed)
    found = [dict(params) for params in plan.combinations(Tally())]
    assert count_all(plan).n_kept == len(found)
    return found


def faults_of(text: str, *fixed: str) -> str:
    with pytest.raises(ConfigError) as caught:
        plan_of(text, *fixed)
    return "\n".join(caught.value.faults)


def test_parameters_of_a_choice_are_there_with_it_alone() -> None:
    assert combinations(CHOICES) == [
        {"opt": "sgd", "lr": 1.0, "momentum": 0.0},
        {"opt": "sgd", "lr": 1.0, "momentum": 0.9, "nesterov": True},
        {"opt": "sgd", "lr": 1.0, "momentum": 0.9, "nesterov": False},
        {"opt": "sgd", "lr": 0.1, "momentum": 0.0},
        {"opt": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
        {"opt": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": False},
        {"opt": "adam", "lr": 0.001},
        {"opt": "lion"},
    ]


@pytest.mark.parametrize(
    "opt",
    [
        "[{value: sgd, parameters: {m: [1, 2]}}, adam]",
        "{values: [{value: sgd, parameters: {m: [1, 2]}}, adam]}",
        "{values: {sgd: {parameters: {m: [1, 2]}}, adam: }}",
    ],
)
def test_a_choice_is_written_as_an_item_or_as_a_key(opt: str) -> None:
    assert combinations(f"method: grid\nparameters: {{opt: {opt}}}") == [
        {"opt": "sgd", "m": 1},
        {"opt": "sgd", "m": 2},
        {"opt": "adam"},
    ]


def test_a_choice_below_a_choice_needs_both() -> None:
    text = """
method: grid
parameters:
  a:
    values:
      x: {parameters: {b: {values: {y: {parameters: {c: [1, 2]}}, z: }}}}
      w:
"""
    assert combinations(text) == [
        {"a": "x", "b": "y", "c": 1},
        {"a": "x", "b": "y", "c": 2},
        {"a": "x", "b": "z"},
        {"a": "w"},
    ]


def test_the_count_is_no_product_over_what_is_absent() -> None:
    """Twenty conditional parameters of ten values would be 10^20 combinations."""
    lines = [f"  p{i}: {{values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], when: {{a: {i}}}}}" for i in range(20)]
    text = "method: grid\nparameters:\n  a: {values: [" + ", ".join(map(str, range(20))) + "]}\n" + "\n".join(lines)
    assert plan_of(text).n_combinations == len(combinations(text)) == 200


@pytest.mark.parametrize(
    ("when", "holding"),
    [
        ("{a: 1}", {1}),
        ("{a: [1, 2]}", {1, 2}),
        ("{a: '>= 2'}", {2, 3}),
        ("{a: '!=1'}", {2, 3}),
        ("{a: 1, c: 5}", {1}),
        ("{a: 1, c: 6}", set()),
        ('"a > 1 and c == 5"', {2, 3}),
        ('"a / 2 == 1"', {2}),
        ('"a > 7"', set()),
    ],
)
def test_conditions(when: str, holding: set[int]) -> None:
    """``holding`` are the values of a with which the condition holds, and b is there."""
    constant = "" if "c" not in when else ", c: 5"
    found = combinations(f"method: grid\nparameters: {{a: [1, 2, 3], b: {{values: [8, 9], when: {when}}}{constant}}}")
    expected = [(a, b) for a in (1, 2, 3) for b in ((8, 9) if a in holding else (None,))]
    assert [(point["a"], point.get("b")) for point in found] == expected


def test_a_condition_on_an_absent_parameter_does_not_hold() -> None:
    text = "method: grid\nparameters: {a: [1, 2], b: {value: 5, when: {a: 1}}, c: {value: 6, when: {b: '!=7'}}}"
    assert combinations(text) == [{"a": 1, "b": 5, "c": 6}, {"a": 2}]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a / 2", 32),
        ("a / 3", 64 / 3),
        ("a // 3", 21),
        ("a ** 0.5", 8.0),
        ("2 ** -a", 2.0**-64),
        ("int(a * 0.3)", 19),
        ("min(a, 10)", 10),
        ("round(sqrt(a) / 3, 1)", 2.7),
        ("'big' if a > 32 else 'small'", "big"),
        ("w + '_x'", "word_x"),
        ("a > 3", True),
        ("[a, 2]", [64, 2]),
        ("log2(a)", 6.0),
        ("n.b * a", 192),
    ],
)
def test_a_parameter_is_computed(expression: str, value: Any) -> None:
    text = f'method: grid\nparameters: {{a: 64, w: word, n: {{parameters: {{b: 3}}}}, c: {{expr: "{expression}"}}}}'
    (found,) = combinations(text)
    assert found["c"] == value
    assert type(found["c"]) is type(value)


def test_computed_ones_follow_each_other_whatever_their_order_and_a_constraint_that_sets() -> None:
    text = """
method: grid
parameters: {c: {expr: b + 1}, b: {expr: a * 2}, a: [1, 2, 3]}
constraints: ["a=3 -> a=2"]
"""
    assert combinations(text) == [{"c": 3, "b": 2, "a": 1}, {"c": 5, "b": 4, "a": 2}]


def test_a_constraint_reads_computed_parameters() -> None:
    text = "method: grid\nparameters: {a: [1, 2, 3, 4], b: {expr: a * a}}\n"
    text += "constraints: [{exclude: b > 4}, {when: {b: 1}, skip: true}]"
    assert combinations(text) == [{"a": 2, "b": 4}]


def test_what_is_computed_of_something_absent_is_absent() -> None:
    text = "method: grid\nparameters: {a: [1, 2], m: {value: 3, when: {a: 1}}, "
    text += "d: {expr: 2 * m}, e: {expr: m if a == 1 else 0}}"
    assert combinations(text) == [{"a": 1, "m": 3, "d": 6, "e": 3}, {"a": 2, "e": 0}]


def test_a_constraint_reads_an_absent_parameter_as_null() -> None:
    text = """
method: grid
parameters: {a: [1, 2], m: {values: [3, 4], when: {a: 1}}}
constraints: [{exclude: m > 3}, {when: {m: 3}, set: {m: 5}}]
"""
    assert combinations(text) == [{"a": 1, "m": 5}, {"a": 2}]
    assert combinations(text.replace("m > 3", "m == null")) == [{"a": 1, "m": 5}, {"a": 1, "m": 4}]


def test_random_draws_are_of_the_choice_that_was_drawn() -> None:
    text = """
method: random
samples: 200
parameters:
  opt:
    values:
      sgd: {parameters: {lr: {min: 1.0, max: 2.0}}}
      adam: {parameters: {lr: {min: 0.0, max: 0.1}, beta: {min: 0.8, max: 1.0}}}
  half: {expr: lr / 2}
"""
    found = combinations(text)
    assert len(found) == 200
    for params in found:
        is_sgd = params["opt"] == "sgd"
        assert ("beta" in params, params["lr"] >= 1, params["half"]) == (not is_sgd, is_sgd, params["lr"] / 2)
    assert 70 < sum(params["opt"] == "sgd" for params in found) < 130


def test_a_finite_conditional_space_is_drawn_to_its_last_combination() -> None:
    drawn = combinations(CHOICES.replace("grid", "random") + "samples: 100")
    key = repr
    assert sorted(drawn, key=key) == sorted(combinations(CHOICES), key=key)


def test_zipped_parameters_go_together() -> None:
    text = "method: grid\nzip: [lr, epochs]\nparameters: {lr: [1, 2, 1], epochs: [10, 20, 10], z: [a, b]}"
    assert combinations(text) == [
        {"lr": lr, "epochs": epochs, "z": z} for lr, epochs in [(1, 10), (2, 20)] for z in "ab"
    ]
    assert combinations(text + "\nconstraints: ['lr=2 -> epochs=10']")[-1] == {"lr": 2, "epochs": 10, "z": "b"}


def test_zipped_parameters_are_drawn_together() -> None:
    values = ", ".join(map(str, range(50)))
    text = "method: random\nsamples: 20\nzip: [[a, b], [c, d]]\n"
    text += f"parameters: {{a: [{values}], b: [{values}], c: [1, 2], d: [3, 4]}}"
    for params in combinations(text):
        assert (params["a"], params["c"] + 2) == (params["b"], params["d"])


def test_listed_runs_come_first_and_alone_where_nothing_varies() -> None:
    text = "method: grid\nparameters: {opt: adam, k: {expr: 'lr * 10'}}\nruns: [{lr: 1}, {lr: 2, note: x}, {lr: 1}]"
    assert combinations(text) == [{"opt": "adam", "k": 10, "lr": 1}, {"opt": "adam", "k": 20, "lr": 2, "note": "x"}]
    assert combinations("method: grid\nruns: [{a: 1, b: [2]}, {a: 3}]") == [{"a": 1, "b": [2]}, {"a": 3}]


def test_listed_runs_stand_beside_the_product_and_merge_with_it() -> None:
    text = "method: grid\nparameters: {a: [1, 2], b: 7}\nruns: [{a: 2}, {a: 5}]\nconstraints: [{exclude: a > 5}]"
    assert [params["a"] for params in combinations(text)] == [2, 5, 1]
    assert [params["a"] for params in combinations(text.replace("a > 5", "a == 5"))] == [2, 1]


def test_listed_runs_come_before_draws_and_count_as_such() -> None:
    text = "method: random\nsamples: 3\nparameters: {a: {min: 0.0, max: 1.0}}\nruns: [{a: 5}]"
    first, *drawn = combinations(text)
    assert (first["a"], len(drawn)) == (5, 2)


def test_what_is_set_picks_the_runs_that_are_equal() -> None:
    assert combinations(CHOICES, "momentum=0.9", "lr=1.0", "nesterov=true") == [
        {"opt": "sgd", "lr": 1.0, "momentum": 0.9, "nesterov": True}
    ]
    zipped = "method: grid\nzip: [lr, epochs]\nparameters: {lr: [1, 2], epochs: [10, 20]}"
    assert combinations(zipped, "lr=2") == [{"lr": 2, "epochs": 20}]
    assert combinations(zipped, "lr=9") == [{"lr": 9, "epochs": 10}, {"lr": 9, "epochs": 20}]
    ids = {run.run_id for run in plan_of(CHOICES).runs()}
    assert {run.run_id for run in plan_of(CHOICES, "opt=sgd").runs()} < ids


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("parameters: {a: {expr: b}, b: {expr: a}}", "each follows from the other"),
        ("parameters: {a: {expr: lrr}, lr: [1, 2]}", "unknown parameter 'lrr'; did you mean 'lr'?"),
        ("parameters: {a: {values: [1], when: {bb: 1}}, b: 1}", "depends on unknown parameter 'bb'"),
        ("parameters: {a: {expr: '__import__'}}", "unknown parameter '__import__'"),
        ("parameters: {a: {expr: 'open(1)'}}", "Call is not allowed"),
        ("parameters: {a: {expr: 'a.b.c()'}}", "Call is not allowed"),
        ("parameters: {a: {expr: 3}}", "expr is a text"),
        ("parameters: {a: {expr: '1', values: [1]}}", "stands alone or beside when"),
        ("parameters: {a: {values: [1], when: 3}}", "when must be"),
        ("parameters: {a: {values: {x: 3}}}", "values is a list, or a mapping"),
        ("parameters: {a: [1, 2], b: {expr: a}}\nconstraints: ['a=1 -> b=2']", "b is computed; set what"),
        (
            "parameters: {a: [1, 2], b: {value: 3, when: {a: 1}}}\nconstraints: ['b=3 -> a=2']",
            "sets a, on which depends",
        ),
        ("parameters: {a: [1, 2], b: [1]}\nzip: [a, b]", "lists of one length, got a 2, b 1"),
        ("parameters: {a: [1, 2]}\nzip: [a]", "two parameters or more"),
        ("parameters: {a: [1, 2], b: [1, 2]}\nzip: [a, bb]", "unknown parameter 'bb'"),
        ("parameters: {a: [1, 2], b: {expr: a}}\nzip: [a, b]", "b needs a list of values"),
        ("parameters: {a: [1, 2], b: [1, 2], c: [1, 2]}\nzip: [[a, b], [b, c]]", "b is named twice"),
        ("parameters: {a: [1, 2], b: {expr: a}}\nruns: [{b: 3}]", "b is computed; name what"),
        ("parameters: {a: [1, 2], b: {value: 3, when: {a: 1}}}\nruns: [{a: 2, b: 4}]", "b is not there"),
        ("parameters: {a: [1, 2]}\nruns: [3]", "must be a mapping"),
        ("parameters: {a: [1, 2]}\nruns: [{seed: 3}]", "name it in every run"),
        ("parameters: {}", "name at least one parameter, or list runs"),
    ],
)
def test_faults_are_sentences(text: str, wanted: str) -> None:
    assert wanted in faults_of(f"method: grid\n{text}")


@pytest.mark.parametrize("expression", ["1 / (a - a)", "9**9**9", "exp(1000 * a)", "sqrt(0 - a)", "a + 'x'"])
def test_what_cannot_be_computed_is_said_when_it_is_planned(expression: str) -> None:
    plan = plan_of(f'method: grid\nparameters: {{a: [1, 2], b: {{expr: "{expression}"}}}}')
    with pytest.raises(ConfigError, match=r"expression .* for a=1|number too large"):
        count_all(plan)


def test_names_and_ids_leave_out_what_is_absent() -> None:
    names: Sequence[str] = [run.name for run in plan_of(CHOICES).runs()]
    assert names[0] == "sgd-lr1.0-m0.0"
    assert names[-1] == "lion"
    assert len({run.run_id for run in plan_of(CHOICES).runs()}) == len(names)


def test_what_is_set_picks_of_listed_runs_those_that_equal_it() -> None:
    text = "method: grid\nruns: [{opt: sgd, lr: 1}, {opt: sgd, lr: 2}, {opt: adam, lr: 2}]"
    assert combinations(text, "opt=adam") == [{"opt": "adam", "lr": 2}]
    assert combinations(text, "lr=2", "opt=sgd") == [{"opt": "sgd", "lr": 2}]
    assert combinations(text, "lr=5") == [{"opt": "sgd", "lr": 5}, {"opt": "adam", "lr": 5}]
    beside = text + "\nparameters: {opt: [sgd, adam], lr: [3, 4]}"
    assert combinations(beside, "lr=4") == [{"opt": "sgd", "lr": 4}, {"opt": "adam", "lr": 4}]


def test_what_is_set_of_a_computed_parameter_picks_where_it_comes_to_that() -> None:
    text = "method: grid\nparameters: {batch: [64, 128, 256], micro: {expr: batch / 2}}"
    assert combinations(text, "micro=64") == [{"batch": 128, "micro": 64}]


def test_what_is_set_of_a_conditional_parameter_picks_the_alternatives_that_take_it() -> None:
    assert combinations(CHOICES, "lr=0.001") == [{"opt": "adam", "lr": 0.001}]
    assert {params["opt"] for params in combinations(CHOICES, "lr=7.0")} == {"sgd", "adam"}


@pytest.mark.parametrize(
    ("expression", "values"),
    [("b or 7", [3, 7]), ("b and 7", [7, None]), ("[a, b]", [[1, 3], None]), ("'t-' + z", ["t-u", "t-u"])],
)
def test_absent_parameters_in_expressions(expression: str, values: list[Any]) -> None:
    text = "method: grid\nparameters: {a: [1, 2], b: {value: 3, when: {a: 1}}, z: u, "
    found = combinations(text + f'c: {{expr: "{expression}"}}}}')
    assert [params.get("c") for params in found] == values


def test_a_computed_parameter_is_not_a_product_beside_listed_runs() -> None:
    text = "method: grid\nparameters: {opt: sgd, c: {expr: 3 * 2, when: {opt: sgd}}}\nruns: [{lr: 1.0}, {lr: 2.0}]"
    assert combinations(text) == [{"opt": "sgd", "c": 6, "lr": 1.0}, {"opt": "sgd", "c": 6, "lr": 2.0}]


def test_a_constraint_cannot_set_what_is_computed_under_a_condition() -> None:
    text = "method: grid\nparameters: {a: [1, 2], x: {expr: a * 10, when: {a: 1}}}\n"
    assert "x is computed" in faults_of(text + "constraints: [{when: {a: 1}, set: {x: 99}}]")


def test_whether_a_parameter_is_passed_is_part_of_what_a_run_is() -> None:
    text = "method: grid\nparameters: {arm: {values: [a, b], pass: false}, x: 1}"
    hidden, passed = plan_of(text), plan_of(text.replace(", pass: false", ""))
    assert {run.run_id for run in hidden.runs()}.isdisjoint(run.run_id for run in passed.runs())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("method: grid\nparameters: {a: [0, 1], b: {expr: 1 / a}}\n", "parameter b: expression '1 / a' fails for a=0"),
        ("method: grid\nparameters: {a: [0, 1], b: {values: [1], when: 1 / a > 0}}\n", "parameter b: when: expression"),
    ],
)
def test_what_fails_while_it_is_planned_names_its_parameter(text: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(wanted)):
        combinations(text)


def test_a_batch_size_is_measured_for_each_value_that_may_be_drawn_however_that_is_decided() -> None:
    text = (
        "method: random\nsamples: 9\nparameters:\n  size: {fits: {}}\n  lr: {min: 0.1, max: 1.0}\n"
        "  width: {values: [64, 1024], probabilities: [0.5, 0.5]}\n  kind: [a, b]\n"
        "  depth: {values: [1, 2], when: {kind: a}}\n"
    )
    fits = fits_of(plan_of(text).space.parameters["size"])
    assert fits is not None
    assert set(fits.names) == {"width", "kind", "depth"}
