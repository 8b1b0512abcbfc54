"""A sweep file is read whole: each fault is one sentence with file, line and key; what W&B tolerates is a warning."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweepline.config.settings import SweepSettings
from sweepline.config.sweepfile import load_sweep
from sweepline.errors import ConfigError
from sweepline.space.parameters import Constant, IntUniform
from sweepline.space.plan import Plan, count_all
from sweepline.space.samplers.base import Tally

HEAD = "program: train.py\nmetric: {name: loss, goal: minimize}\nname: test\n"
"""Three lines without a fault, so that what follows begins at line 4."""

LIST = "parameters: {a: [1, 2], b: [x, y]}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that messages say ``sweep.yaml``."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text: str, **options: Any) -> SweepSettings:
    """Return the settings of a sweep file in the working directory."""
    path = Path("sweep.yaml")
    path.write_text(text)
    return load_sweep(path, **options)


def faults_of(text: str, **options: Any) -> tuple[str, ...]:
    """Return the faults for which a sweep file is refused."""
    with pytest.raises(ConfigError) as caught:
        load(text, **options)
    return caught.value.faults


def warnings_of(text: str) -> list[str]:
    return list(load(text).warnings)


def combinations(settings: SweepSettings) -> list[dict[str, Any]]:
    return [dict(params) for params in Plan(settings.space).combinations(Tally())]


FAULTS: dict[str, tuple[str, str]] = {
    "empty file": ("", r"sweep.yaml: the file is empty; it needs at least 'parameters:'"),
    "remarks only": ("# nothing\n", r"sweep.yaml: the file is empty.*"),
    "a list": ("- a\n", r"sweep.yaml:1: a sweep file is a mapping of keys, got list"),
    "a word": ("hello\n", r"sweep.yaml:1: a sweep file is a mapping of keys, got str"),
    "syntax": ("a: 1\nb: [1, 2\nc: 3\n", r"sweep.yaml:3:2: YAML syntax: .*"),
    "tab": ("parameters:\n\ta: 1\n", r"sweep.yaml:2:1: YAML syntax: .*indent with spaces, not tabs"),
    "no parameters": (HEAD, r"sweep.yaml:1: parameters: is empty; name at least one parameter, or list runs"),
    "empty parameters": (HEAD + "parameters: {}\n", r"sweep.yaml:4: parameters: is empty; .*list runs"),
    "parameters as a list": (HEAD + "parameters: [a]\n", r"sweep.yaml:4: parameters: must be a mapping, got \['a'\]"),
    "a word for a list": (
        HEAD + "parameters: {a: {value: 1}}\npreload: torch\n",
        r"sweep.yaml:5: preload: should be a valid list, got 'torch'",
    ),
    "parameters left out": (HEAD + "parameters:\n", r"sweep.yaml:4: parameters: must be a mapping, got None"),
    "unknown key in a parameter": (
        HEAD + "parameters:\n  a:\n    vlaues: [1]\n",
        r"sweep.yaml:5: parameters.a: unknown key 'vlaues'; did you mean 'values'\?",
    ),
    "null parameter": (HEAD + "parameters:\n  a:\n  b: [1]\n", r"sweep.yaml:5: parameters.a: is empty; .*"),
    "empty list": (HEAD + "parameters:\n  a: {values: []}\n", r"sweep.yaml:5: parameters.a: values is empty; .*"),
    "empty short list": (HEAD + "parameters:\n  a: []\n", r"sweep.yaml:5: parameters.a: values is empty; .*"),
    "min above max": (
        HEAD + "parameters:\n  a: {min: 2, max: 1}\n",
        r"sweep.yaml:5: parameters.a: int_uniform needs min < max, got min=2 and max=1",
    ),
    "min is max": (
        HEAD + "method: random\nparameters:\n  a: {min: 0.5, max: 0.5}\n",
        r"sweep.yaml:6: parameters.a: uniform needs min < max, got min=0.5 and max=0.5",
    ),
    "log of zero": (
        HEAD + "method: random\nparameters:\n  a: {distribution: log_uniform_values, min: 0, max: 1.0}\n",
        r"sweep.yaml:6: parameters.a: log_uniform_values needs 0 < min < max, got min=0 and max=1.0; use uniform, .*",
    ),
    "bound that is no number": (
        HEAD + "method: random\nparameters:\n  a: {min: le-5, max: 1.0}\n",
        r"sweep.yaml:6: parameters.a: min must be a number, got 'le-5'; did you mean 1e-5\?",
    ),
    "nested parameter": (
        HEAD + "parameters:\n  opt:\n    parameters:\n      lr: {min: 2, max: 1}\n",
        r"sweep.yaml:7: parameters.opt.parameters.lr: int_uniform needs min < max, .*",
    ),
    "nested beside a value": (
        HEAD + "parameters:\n  opt: {value: 1, parameters: {lr: [1]}}\n",
        r"sweep.yaml:5: parameters.opt: a nested parameter holds 'parameters:' with a mapping, and nothing beside .*",
    ),
    "nested and dotted": (
        HEAD + "parameters:\n  opt: {parameters: {lr: [1]}}\n  opt.lr: [2]\n",
        r"sweep.yaml:\d+: parameters.*: opt.lr stands twice: both nested and dotted, .*; keep one",
    ),
    "probabilities": (
        HEAD + "method: random\nparameters:\n  a: {values: [1, 2], probabilities: [0.5, 0.6]}\n",
        r"sweep.yaml:6: parameters.a: probabilities must be >= 0 and sum to 1, they sum to 1.1",
    ),
    "unknown method": (
        HEAD + LIST + "method: gird\n",
        r"sweep.yaml:5: method: unknown value 'gird'; did you mean 'grid'\?",
    ),
    "method of another kind": (HEAD + LIST + "method: 3\n", r"sweep.yaml:5: method: should be 'grid', .*, got 3"),
    "text for a number": (HEAD + LIST + "samples: ten\n", r"sweep.yaml:5: samples: should be .*integer, got 'ten'"),
    "true for a number": (HEAD + LIST + "repeats: true\n", r"sweep.yaml:5: repeats: should be .*integer, got True"),
    "zero samples": (HEAD + LIST + "samples: 0\n", r"sweep.yaml:5: samples: should be .*1, got 0"),
    "negative retry": (HEAD + LIST + "retry: -1\n", r"sweep.yaml:5: retry: should be .*0, got -1"),
    "timeout": (HEAD + LIST + "timeout: soon\n", r"sweep.yaml:5: timeout: needs a time .* 2h, got 'soon'"),
    "no timeout at all": (HEAD + LIST + "timeout: 0\n", r"sweep.yaml:5: timeout: needs a time above zero .*, got 0"),
    "devices": (HEAD + LIST + "devices: []\n", r"sweep.yaml:5: devices: needs auto, cpu, or a list .*, got \[\]"),
    "runs per device": (
        HEAD + LIST + "runs_per_device: many\n",
        r"sweep.yaml:5: runs_per_device: needs auto \(as many as fit into a GPU's memory\) or a number .*, got 'many'",
    ),
    "threads": (HEAD + LIST + "threads: many\n", r"sweep.yaml:5: threads: needs auto or a number .*, got 'many'"),
    "no seeds": (HEAD + LIST + "seeds: []\n", r"sweep.yaml:5: seeds: is empty; list at least one seed, or .*"),
    "seed of another kind": (
        HEAD + LIST + "seeds:\n  - 0\n  - one\n",
        r"sweep.yaml:7: seeds.1: should be .*integer, got 'one'",
    ),
    "seeds against repeats": (
        HEAD + LIST + "seeds: [1, 2]\nrepeats: 3\n",
        r"sweep.yaml:6: repeats: is 3, but seeds lists 2; keep one of them",
    ),
    "command as text": (
        HEAD + LIST + "command: python train.py\n",
        r"sweep.yaml:5: command: should be a.* list, got 'python train.py'",
    ),
    "list in a command": (HEAD + LIST + "command: [python, [a]]\n", r"sweep.yaml:5: command.1\b.*"),
    "constraint on an unknown parameter": (
        HEAD + "parameters: {momentum: [1, 2]}\nconstraints:\n  - momentun=1 -> skip\n",
        r"sweep.yaml:6: constraints.0: constraint on unknown parameter 'momentun'; did you mean 'momentum'\?",
    ),
    "set of an unknown parameter": (
        HEAD + LIST + "constraints:\n  - {when: {a: 1}, set: {zz: 1}}\n",
        r"sweep.yaml:6: constraints.0: constraint on unknown parameter 'zz'; there are a, b",
    ),
    "exclude of an unknown parameter": (
        HEAD + LIST + "constraints:\n  - {exclude: 'zz > 1'}\n",
        r"sweep.yaml:6: constraints.0: constraint on unknown parameter 'zz'; there are a, b",
    ),
    "constraint of another shape": (
        HEAD + LIST + "constraints:\n  - {wen: {a: 1}, skip: true}\n",
        r"sweep.yaml:6: constraints.0: unknown key 'wen' in a constraint; there are when, set, unset, skip, exclude",
    ),
    "constraint that calls": (
        HEAD + LIST + "constraints:\n  - {exclude: 'open(a)'}\n",
        r"sweep.yaml:6: constraints.0: expression 'open\(a\)': Call is not allowed; .*",
    ),
    "constraints as text": (
        HEAD + LIST + "constraints: a=1 -> skip\n",
        r"sweep.yaml:5: constraints: should be .*list.*",
    ),
    "continuous in a grid": (
        HEAD + "method: grid\nparameters:\n  lr: {min: 0.0, max: 1.0}\n",
        r"sweep.yaml:6: parameters.lr: a grid needs a list, .*use values or q_uniform.*",
    ),
    "weighted in a grid": (
        HEAD + "parameters:\n  a: {values: [1, 2], probabilities: [0.5, 0.5]}\n",
        r"sweep.yaml:5: parameters.a: a grid needs a list, .*",
    ),
    "nested continuous in a grid": (
        HEAD + "parameters:\n  opt:\n    parameters:\n      lr: {min: 0.0, max: 1.0}\n",
        r"sweep.yaml:7: parameters.opt.parameters.lr: a grid needs a list, .*",
    ),
    "broken pattern": (
        HEAD + LIST + "metrics:\n  acc: 'Acc ('\n",
        r"sweep.yaml:6: metrics.acc: 'Acc \(' is no regular expression: .*",
    ),
    "pattern without a group": (
        HEAD + LIST + "metrics:\n  acc: 'Acc'\n",
        r"sweep.yaml:6: metrics.acc: 'Acc' needs one group for the number, .*",
    ),
    "pattern with two groups": (
        HEAD + LIST + "metrics:\n  acc: '(A) (B)'\n",
        r"sweep.yaml:6: metrics.acc: .* needs one group .*",
    ),
    "pattern that is no text": (
        HEAD + LIST + "metrics:\n  acc: 5\n",
        r"sweep.yaml:6: metrics.acc: should be .*, got 5",
    ),
    "missing config": (
        HEAD + LIST + "config: nowhere.yaml\n",
        r"sweep.yaml:5: config: no file 'nowhere.yaml' beside the sweep file.*",
    ),
    "unknown key of logging": (
        HEAD + LIST + "logging:\n  wandb: {projct: x}\n",
        r"sweep.yaml:6: logging.wandb.projct: unknown key; did you mean 'project'\?",
    ),
    "unknown key of the local log": (
        HEAD + LIST + "logging:\n  local: {csv: x}\n",
        r"sweep.yaml:6: logging.local.csv: unknown key.* csv_path.*",
    ),
    "own block of another shape": (
        HEAD + LIST + "x-sweepline: [1]\n",
        r"sweep.yaml:5: x-sweepline: must be a mapping of sweepline's keys",
    ),
    "fault in the own block": (
        HEAD + LIST + "x-sweepline:\n  samples: ten\n",
        r"sweep.yaml:6: x-sweepline.samples: should be .*, got 'ten'",
    ),
}


@pytest.mark.parametrize(("text", "pattern"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_sentence_with_file_line_and_key(text: str, pattern: str) -> None:
    assert [bool(re.fullmatch(pattern, fault)) for fault in faults_of(text)] == [True], faults_of(text)


def test_a_missing_sweep_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^nowhere\.yaml: no such file$"):
        load_sweep(Path("nowhere.yaml"))


def test_a_sweep_file_that_is_not_utf8_is_refused_with_its_line() -> None:
    Path("sweep.yaml").write_bytes(b"name: x\nproject: caf\xe9\nparameters: {a: [1]}\n")

    with pytest.raises(ConfigError, match=r"^sweep\.yaml:2: not UTF-8"):
        load_sweep(Path("sweep.yaml"))


def test_all_faulty_parameters_and_constraints_are_named_at_once() -> None:
    faults = faults_of(
        HEAD
        + "parameters:\n  a: {min: 2, max: 1}\n  b: {vlaues: [1]}\n  c: {values: []}\n  d: [1]\n"
        + "constraints:\n  - zz=1 -> skip\n  - d\nmetrics: {acc: '('}\nconfig: nowhere.yaml\n"
    )

    assert [fault.split(": ")[1] for fault in sorted(faults, key=lambda fault: int(fault.split(":")[1]))] == [
        "parameters.a",
        "parameters.b",
        "parameters.c",
        "constraints.0",
        "constraints.1",
        "metrics.acc",
        "config",
    ]


def test_all_keys_of_the_wrong_kind_are_named_at_once() -> None:
    faults = faults_of(HEAD + LIST + "samples: ten\nretry: -1\ntimeout: soon\nmethod: gird\n")

    assert {fault.split(": ")[1] for fault in faults} == {"samples", "retry", "timeout", "method"}


def test_a_key_of_the_wrong_kind_hides_no_faulty_parameter() -> None:
    faults = faults_of(HEAD + "samples: ten\nparameters:\n  a: {min: 2, max: 1}\n")

    assert {fault.split(": ")[1] for fault in faults} == {"samples", "parameters.a"}


def test_all_continuous_parameters_of_a_grid_are_named_at_once() -> None:
    faults = faults_of(HEAD + "parameters:\n  a: {min: 0.0, max: 1.0}\n  b: [1]\n  c: {distribution: normal}\n")

    assert [fault.split(": ")[1] for fault in faults] == ["parameters.a", "parameters.c"]


def test_all_unknown_keys_of_a_parameter_are_named_at_once() -> None:
    faults = "\n".join(faults_of(HEAD + "parameters:\n  a: {vlaues: [1], mxx: 2}\n"))

    assert ("'vlaues'" in faults, "'mxx'" in faults) == (True, True), faults


def test_a_constraint_on_a_faulty_parameter_is_not_blamed_too() -> None:
    faults = faults_of(HEAD + "parameters:\n  a: {min: 2, max: 1}\n  b: [1]\nconstraints: ['a=1 -> skip']\n")

    assert [fault.split(": ")[1] for fault in faults] == ["parameters.a"], faults


def test_a_grid_above_the_limit_is_refused_in_a_moment() -> None:
    text = HEAD + "parameters:\n" + "".join(f"  p{i}: {{min: 1, max: 1000}}\n" for i in range(4))
    started = time.process_time()

    (fault,) = faults_of(text)

    assert ("1,000,000,000,000 combinations (limit 1,000,000)" in fault, time.process_time() - started < 5) == (
        True,
        True,
    )


def test_a_limit_lets_a_huge_grid_pass() -> None:
    text = HEAD + "run_cap: 3\nparameters:\n" + "".join(f"  p{i}: {{min: 1, max: 1000}}\n" for i in range(4))

    assert count_all(Plan(load(text).space)).n_kept == 3


def test_a_raised_grid_limit_lets_a_larger_grid_pass() -> None:
    text = HEAD + "grid_limit: 2000000\nparameters: {a: {min: 1, max: 1500000}}\n"

    assert Plan(load(text).space).n_combinations == 1_500_000


WARNINGS: dict[str, tuple[str, str]] = {
    "unknown key": (
        HEAD + LIST + "paramters: 3\n",
        r"sweep.yaml:5: paramters: unknown key.*did you mean 'parameters'\?",
    ),
    "unlike any key": (HEAD + LIST + "zzz: 3\n", r"sweep.yaml:5: zzz: unknown key.*"),
    "key twice": (HEAD + LIST + "method: grid\nmethod: random\n", r"sweep.yaml:6: method: is written twice; .*last.*"),
    "parameter twice": (
        HEAD + "parameters:\n  a: [1]\n  a: [2]\n",
        r"sweep.yaml:6: parameters.a: is written twice; .*",
    ),
    "misspelled goal": (
        "program: t.py\nname: x\nmetric: {name: loss, goal: maximise}\n" + LIST,
        r"sweep.yaml:3: metric.goal: unknown goal 'maximise', read as maximize; .*",
    ),
    "senseless goal": (
        "program: t.py\nname: x\nmetric: {name: loss, goal: up}\n" + LIST,
        r"sweep.yaml:3: metric.goal: unknown goal 'up', read as minimize; .*",
    ),
    "senseless summary": (
        "program: t.py\nname: x\nmetric: {name: loss, summary: mean}\n" + LIST,
        r"sweep.yaml:3: metric.summary: unknown value 'mean'; there are 'last', 'min', 'max' or 'best'; ignored",
    ),
    "metric as text": ("program: t.py\nname: x\nmetric: loss\n" + LIST, r"sweep.yaml:3: metric: .*'loss'.*"),
    "metric without name": (
        "program: t.py\nname: x\nmetric: {goal: minimize}\n" + LIST,
        r"sweep.yaml:3: metric.*name.*",
    ),
    "no metric": ("program: t.py\nname: x\n" + LIST, r"sweep.yaml.*: .*metric.*"),
    "no program": (
        "name: x\nmetric: {name: loss}\n" + LIST,
        r"sweep.yaml.*: program: names no program: write program: FILE, the script that trains once",
    ),
    "early_terminate as text": (HEAD + LIST + "early_terminate: hyperband\n", r"sweep.yaml:5: early_terminate: .*"),
    "early_terminate of an unknown type": (
        HEAD + LIST + "early_terminate: {type: medium, min_iter: 3}\n",
        r"sweep.yaml:5: early_terminate: needs type: hyperband .*ignored",
    ),
    "early_terminate without its iterations": (
        HEAD + LIST + "early_terminate: {type: hyperband, max_iter: 3}\n",
        r"sweep.yaml:5: early_terminate: needs type: hyperband .*ignored",
    ),
    "early_terminate with text for a number": (
        HEAD + LIST + "early_terminate: {type: hyperband, min_iter: many}\n",
        r"sweep.yaml:5: early_terminate[\w.]*: (?!is read but).*",
    ),
    "empty early_terminate": (HEAD + LIST + "early_terminate: {}\n", r"sweep.yaml:5: early_terminate: .*"),
    "parameter name with a space": (HEAD + "parameters:\n  a b: [1]\n", r"sweep.yaml:5: parameters.a b: odd .*name.*"),
    "parameter name with a hyphen first": (
        HEAD + "parameters:\n  -x: [1]\n",
        r"sweep.yaml:5: parameters.-x: odd .*name.*",
    ),
    "unknown macro": (
        HEAD + LIST + "command:\n  - ${program}\n  - ${arsg}\n",
        r"sweep.yaml:7: command.1: unknown macro \$\{arsg\}: the item is dropped; did you mean 'args'\?",
    ),
    "log_uniform that means values": (
        HEAD + "method: random\nparameters:\n  lr: {distribution: log_uniform, min: 0.0001, max: 0.001}\n",
        r"sweep.yaml:6: parameters.lr: .*exponents of e: this is 1.0001 .. 1.001; did you mean log_uniform_values\?",
    ),
    "q_log_uniform that means values": (
        HEAD + "method: random\nparameters:\n  lr: {distribution: q_log_uniform, min: 1, max: 3}\n",
        r"sweep.yaml:6: parameters.lr: .*exponents of e.*",
    ),
    "no among values": (
        HEAD + "parameters:\n  a:\n    values:\n      - no\n      - maybe\n",
        r"sweep.yaml:7: parameters.a.values.0: no is read as a boolean; quote it if the word is meant",
    ),
    "uniform with values": (
        HEAD + "parameters:\n  a: {distribution: uniform, values: [1]}\n",
        r"sweep.yaml:5: parameters.a: distribution uniform has values; read as categorical",
    ),
    "unknown key of the own block": (
        HEAD + LIST + "x-sweepline:\n  sampls: 3\n",
        r"sweep.yaml:6: x-sweepline.sampls: unknown key.*did you mean 'samples'\?",
    ),
}


@pytest.mark.parametrize(("text", "pattern"), WARNINGS.values(), ids=WARNINGS)
def test_what_wandb_tolerates_is_one_warning(text: str, pattern: str) -> None:
    assert [bool(re.fullmatch(pattern, warning)) for warning in warnings_of(text)] == [True], warnings_of(text)


@pytest.mark.parametrize(("text", "pattern"), WARNINGS.values(), ids=WARNINGS)
def test_what_wandb_tolerates_is_an_error_when_strict(text: str, pattern: str) -> None:
    assert [bool(re.fullmatch(pattern, fault)) for fault in faults_of(text, is_strict=True)] == [True]


def test_a_file_without_fault_has_no_warning_even_when_strict() -> None:
    assert load(HEAD + LIST, is_strict=True).warnings == ()


@pytest.mark.parametrize(
    "key", ["description: x", "controller: {type: local}", "image_uri: x", "x-note: 1", "$schema: x"]
)
def test_a_key_of_wandb_s_schema_is_no_error_when_strict(key: str) -> None:
    load(HEAD + LIST + key + "\n", is_strict=True)


def test_the_last_of_two_equal_keys_wins() -> None:
    assert combinations(load(HEAD + "parameters:\n  a: [1]\n  a: [2]\n")) == [{"a": 2}]


@pytest.mark.parametrize(("goal", "read_as"), [("MINIMIZE", "minimize"), ("maximise", "maximize"), ("up", "minimize")])
def test_a_goal_is_read_as_the_nearest_one(goal: str, read_as: str) -> None:
    objective = load(f"program: t.py\nmetric: {{name: loss, goal: {goal}}}\n" + LIST).objective

    assert objective is not None
    assert (objective.name, objective.goal) == ("loss", read_as)


@pytest.mark.parametrize("bad", ["early_terminate: hyperband", "project: [x]", "description: [x]"])
def test_an_unusable_key_costs_no_other_key(bad: str) -> None:
    settings = load(HEAD + LIST + bad + "\n")

    assert (settings.name, settings.objective is None) == ("test", False)


def test_numbers_as_name_and_project_are_text() -> None:
    settings = load("program: t.py\nname: 2024\nproject: 7\n" + LIST)

    assert settings.wandb is not None
    assert (settings.name, settings.wandb.project) == ("2024", "7")


def test_keys_of_the_own_block_are_read() -> None:
    settings = load(
        HEAD + LIST + "method: random\nx-sweepline: {samples: 3, retry: 2, timeout: 1h 30m, devices: cpu}\n"
    )

    assert (settings.space.limit, settings.retry, settings.timeout_s, settings.devices) == (3, 2, 5400.0, "cpu")


def test_an_unknown_key_of_the_own_block_has_no_effect() -> None:
    assert load(HEAD + LIST + "method: grid\nx-sweepline: {method: random}\n").space.method == "grid"


def test_the_smaller_of_samples_and_run_cap_counts() -> None:
    assert load(HEAD + LIST + "method: random\nsamples: 60\nrun_cap: 5\n").space.limit == 5


@pytest.mark.parametrize(
    ("more", "needs_limit"),
    [("method: random\n", True), ("method: bayes\n", True), ("method: random\nrun_cap: 3\n", False), ("", False)],
)
def test_a_search_without_end_says_that_it_needs_a_limit(more: str, needs_limit: bool) -> None:
    assert load(HEAD + LIST + more).needs_limit is needs_limit


def test_nested_parameters_become_dotted_names() -> None:
    settings = load(HEAD + "parameters:\n  opt: {parameters: {lr: [1], deep: {parameters: {x: [2]}}}}\n  b: [3]\n")

    assert combinations(settings) == [{"opt.lr": 1, "opt.deep.x": 2, "b": 3}]


def test_nested_names_are_sorted_in_place() -> None:
    text = HEAD + "parameters:\n  opt-x: [1, 2]\n  opt: {parameters: {lr: [3, 4]}}\n"

    assert [(c["opt.lr"], c["opt-x"]) for c in combinations(load(text))] == [(3, 1), (3, 2), (4, 1), (4, 2)]


def test_the_example_of_72_combinations_is_54() -> None:
    settings = load(
        HEAD
        + "parameters:\n"
        + "  learner.opt: [sgd, adam]\n"
        + "  learner.step_size: {values: [1e-1, 1e-2, 1e-3]}\n"
        + "  learner.momentum: {values: [0.0, 0.9]}\n"
        + "  learner.weight_decay: {values: [0.0, 1e-2]}\n"
        + "  batch_size: {values: [64, 128, 256]}\n"
        + "constraints:\n"
        + "  - {when: {learner.opt: adam}, set: {learner.momentum: 0.0}}\n"
        + '  - {when: {learner.opt: sgd, learner.step_size: ">=0.5"}, skip: true}\n'
        + '  - "learner.opt=adam -> learner.momentum=0.0"\n'
    )

    assert count_all(Plan(settings.space)) == Tally(n_walked=72, n_skipped=0, n_merged=18)


def test_exponents_without_a_point_are_numbers() -> None:
    assert repr(combinations(load(HEAD + "parameters: {lr: [1e-3, 1E5, 5e-05]}\n"))[0]) == "{'lr': 0.001}"


def test_a_fixed_value_replaces_a_swept_parameter() -> None:
    assert combinations(load(HEAD + LIST, fixed=["a=7"])) == [{"a": 7, "b": "x"}, {"a": 7, "b": "y"}]


def test_a_fixed_value_is_typed() -> None:
    settings = load(HEAD + LIST, fixed=["a=1e-4", "b=[1, true]", "c='1'"])

    assert repr(combinations(settings)) == "[{'a': 0.0001, 'b': [1, True], 'c': '1'}]"


def test_a_fixed_value_replaces_a_nested_parameter_in_its_place() -> None:
    settings = load(HEAD + "parameters: {opt: {parameters: {lr: [1, 2]}}}\n", fixed=["opt.lr=5"])

    assert settings.command.arguments(combinations(settings)[0], None) == {"opt": {"lr": 5}}


def test_a_fixed_value_frees_a_grid_of_its_continuous_parameter() -> None:
    settings = load(HEAD + "parameters: {lr: {min: 0.0, max: 1.0}}\n", fixed=["lr=0.5"])

    assert settings.space.parameters == {"lr": Constant(0.5)}


def test_the_last_fixed_value_of_a_name_wins() -> None:
    assert load(HEAD + LIST, fixed=["a=1", "a=2"]).space.parameters["a"] == Constant(2)
    following = HEAD + "parameters: {a: [1, 2], b: {expr: 'a * 10'}, c: {values: [3, 4], when: {a: 2}}}\n"
    assert combinations(load(following, fixed=["b=10", "b=20", "c=3", "c=4"])) == [{"a": 2, "b": 20, "c": 4}]


def test_a_fixed_value_without_equals_sign_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^override 'a': expected key=value"):
        load(HEAD + LIST, fixed=["a"])


def test_a_sweep_runs_in_the_folder_of_its_file(folder: Path) -> None:
    assert load(HEAD + LIST).experiment_dir == folder


@pytest.mark.parametrize(
    ("inner", "files", "expected"),
    [
        ("cfg", [], "."),
        ("configs", [], "configs"),
        ("configs", ["train.py"], "."),
        ("configs", ["train.py", "configs/train.py"], "configs"),
        ("configs", ["train.py", "configs/outputs/a/plan.json"], "configs"),
        ("conf/sweeps", ["train.py"], "."),
        ("cfg2", ["train.py"], "cfg2"),
    ],
)
@pytest.mark.parametrize("program", ["program: train.py\n", "command: [/bin/sh, train.py, '${args}']\n"])
def test_a_folder_of_configs_beside_the_program_stands_for_its_parent(
    folder: Path, inner: str, files: list[str], expected: str, program: str
) -> None:
    path = folder / inner / "sweep.yaml"
    (folder / "train.py").unlink(missing_ok=True)
    for file in [path, *(folder / name for name in files)]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    path.write_text(program + HEAD.replace("program: train.py\n", "") + LIST)

    assert load_sweep(path).experiment_dir == (folder / expected).resolve()


@pytest.mark.parametrize(
    ("program", "file", "expected"),
    [
        ("program: pkg.train\ncommand: [python, -m, '${program}']", "pkg/train.py", "."),
        ("program: pkg.train\ncommand: [python, -m, '${program}']", "src/pkg/train.py", "."),
        ("command: [python, -m, pkg, '${args}']", "pkg/__main__.py", "."),
        ("command: [torchrun, -m, pkg.train]", "src/pkg/train/__init__.py", "."),
        ("command: [python, scripts/train.py, base.yaml]", "scripts/train.py", "."),
        ("program: train:main", "train.py", "."),
        ("program: pkg", "pkg/__main__.py", "."),
        ("command: [python, -m, pkg.train]", "pkg/other.py", "configs"),
        ("command: [python, '${args}']", "train.py", "configs"),
    ],
)
def test_modules_and_words_of_the_command_tell_the_folder_too(
    folder: Path, program: str, file: str, expected: str
) -> None:
    for path in (folder / file, folder / "configs" / "base.yaml"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "configs" / "sweep.yaml").write_text(f"{program}\n" + HEAD.replace("program: train.py\n", "") + LIST)

    assert load_sweep(folder / "configs" / "sweep.yaml").experiment_dir == (folder / expected).resolve()


def test_program_outputs_and_csv_are_relative_to_the_experiment_folder(folder: Path) -> None:
    experiment = folder / "my experiment"
    (experiment / "cfg").mkdir(parents=True)
    (experiment / "train.py").touch()
    path = experiment / "cfg" / "sweep.yaml"
    path.write_text(HEAD + LIST + "logging: {local: {csv_path: cfg/runs.csv}}\n")

    settings = load_sweep(path)

    assert (settings.command.program_path, settings.command.working_dir, settings.sweep_dir, settings.csv_path) == (
        experiment / "train.py",
        experiment,
        experiment / "outputs" / "test",
        experiment / "cfg" / "runs.csv",
    )


def test_a_program_that_is_not_in_the_experiment_folder_is_found_in_the_working_directory(folder: Path) -> None:
    (folder / "sweeps").mkdir()
    (folder / "train.py").touch()
    path = folder / "sweeps" / "sweep.yaml"
    path.write_text(HEAD + LIST)

    assert load_sweep(path).command.program_path == folder / "train.py"


@pytest.mark.parametrize(("stem", "name"), [("sweep", "exp"), ("demo", "demo")])
def test_a_sweep_without_name_is_called_after_its_file_or_folder(folder: Path, stem: str, name: str) -> None:
    (folder / "exp" / "cfg").mkdir(parents=True)
    path = folder / "exp" / "cfg" / f"{stem}.yaml"
    path.write_text("program: train.py\n" + LIST)

    assert load_sweep(path).name == name


@pytest.mark.parametrize("name", ["../../up", "/abs", "..", ".", "a/b", "a\\nb", "  ", "é", "x" * 300])
def test_the_name_of_a_sweep_is_one_folder_below_outputs(folder: Path, name: str) -> None:
    settings = load(f'program: t.py\nname: "{name}"\n' + LIST)

    assert (settings.sweep_dir.resolve().parent, len(settings.name) <= 80) == (folder / "outputs", True)


Mutation = Callable[[Path], object]


def write_native(folder: Path) -> None:
    """Write an experiment for our trainer, with a config that inherits from another."""
    (folder / "train_single.py").touch()
    (folder / "other").mkdir(exist_ok=True)
    (folder / "other" / "train_single.py").touch()
    (folder / "base.yaml").write_text("epochs: 3\n")
    (folder / "config.yaml").write_text("base: base.yaml\nseed: 0\nlearner: {opt: sgd, momentum: 0.9}\n")


def identity(sweep: str = "program: train_single.py\n" + LIST, **options: Any) -> str:
    return load(sweep, **options).space.identity


REWRITTEN: dict[str, str] = {
    "remarks": "# new\nbase: base.yaml\n\nseed: 0 # here\nlearner: {opt: sgd, momentum: 0.9}\n",
    "key order": "learner: {momentum: 0.9, opt: sgd}\nseed: 0\nbase: base.yaml\n",
    "block style": "base: 'base.yaml'\nseed: 0\nlearner:\n  opt: sgd\n  momentum: 9.0e-1\n",
    "line ends": "base: base.yaml\r\nseed: 0\r\nlearner: {opt: sgd, momentum: 0.9}\r\n",
}
CHANGED: dict[str, str] = {
    "value": "base: base.yaml\nseed: 1\nlearner: {opt: sgd, momentum: 0.9}\n",
    "type": "base: base.yaml\nseed: '0'\nlearner: {opt: sgd, momentum: 0.9}\n",
    "true for one": "base: base.yaml\nseed: false\nlearner: {opt: sgd, momentum: 0.9}\n",
    "new key": "base: base.yaml\nseed: 0\nnew: 1\nlearner: {opt: sgd, momentum: 0.9}\n",
    "no base": "seed: 0\nlearner: {opt: sgd, momentum: 0.9}\n",
}


@pytest.mark.parametrize("text", REWRITTEN.values(), ids=REWRITTEN)
def test_rewriting_the_config_without_changing_it_keeps_the_identity(folder: Path, text: str) -> None:
    write_native(folder)
    before = identity()

    (folder / "config.yaml").write_bytes(text.encode())

    assert identity() == before


@pytest.mark.parametrize("text", CHANGED.values(), ids=CHANGED)
def test_changing_the_config_changes_the_identity(folder: Path, text: str) -> None:
    write_native(folder)
    before = identity()

    (folder / "config.yaml").write_text(text)

    assert identity() != before


def test_changing_what_the_config_inherits_changes_the_identity(folder: Path) -> None:
    write_native(folder)
    before = identity()

    (folder / "base.yaml").write_text("epochs: 4\n")

    assert identity() != before


@pytest.mark.parametrize(
    "sweep",
    [
        "program: other/train_single.py\n" + LIST,
        "program: train_single.py\ncommand: [python, '${program}']\n" + LIST,
    ],
    ids=["program", "command"],
)
def test_another_program_or_command_changes_the_identity(folder: Path, sweep: str) -> None:
    write_native(folder)

    assert identity(sweep) != identity()


@pytest.mark.parametrize(
    "more",
    [
        "samples: 3\n",
        "method: random\n",
        "name: other\n",
        "retry: 2\n",
        "max_concurrent: 1\n",
        "project: p\n",
        "# new\n",
    ],
)
def test_policy_changes_no_identity(folder: Path, more: str) -> None:
    write_native(folder)

    assert identity("program: train_single.py\n" + LIST + more) == identity()


def test_a_base_that_inherits_from_itself_is_named(folder: Path) -> None:
    write_native(folder)
    (folder / "config.yaml").write_text("base: config.yaml\nseed: 0\n")

    (fault,) = faults_of("program: train_single.py\n" + LIST)
    assert fault == "config.yaml: base: inherits from itself through config.yaml"


def test_a_fault_in_the_config_is_named_with_its_own_file_and_line(folder: Path) -> None:
    write_native(folder)
    (folder / "config.yaml").write_text("seed: 0\nlearner: [1\n")

    assert [fault.split(": ")[0] for fault in faults_of("program: train_single.py\n" + LIST)] == ["config.yaml:3:1"]


def test_our_trainer_has_one_drawn_seed_where_the_file_names_none() -> None:
    settings = load("program: train_single.py\n" + LIST)

    assert [type(seed) for seed in settings.space.seeds] == [int]


def test_another_program_has_no_seed_where_the_file_names_none() -> None:
    assert load(HEAD + LIST).space.seeds == (None,)


def test_repeats_draw_as_many_seeds() -> None:
    assert len(set(load(HEAD + LIST + "repeats: 5\n").space.seeds)) == 5


def test_a_seed_listed_twice_is_one() -> None:
    assert load(HEAD + LIST + "seeds: [3, 4, 3]\n").space.seeds == (3, 4)


def test_integer_bounds_are_an_integer_parameter() -> None:
    assert load(HEAD + "parameters: {n: {min: 1, max: 3}}\n").space.parameters == {"n": IntUniform(1, 3)}
