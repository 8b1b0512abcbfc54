"""Files of other tools become sweep files that mean the same, and say which of their keys they could not carry over."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from sweepline.config.drafting.filetext import format_sweep
from sweepline.config.importers.base import Imported
from sweepline.config.importers.registry import import_file, recognize
from sweepline.config.sweepfile import load_sweep
from sweepline.contract.yamlfile import parse_yaml
from sweepline.errors import ConfigError

KATIB = """
    apiVersion: kubeflow.org/v1beta1
    kind: Experiment
    metadata: {name: mnist}
    spec:
      objective: {type: maximize, goal: 0.99, objectiveMetricName: accuracy}
      algorithm: {algorithmName: bayesianoptimization, algorithmSettings: [{name: random_state, value: "10"}]}
      parallelTrialCount: 3
      maxTrialCount: 12
      maxFailedTrialCount: 3
      parameters:
        - {name: lr, parameterType: double, feasibleSpace: {min: "0.001", max: "0.1", distribution: logUniform}}
        - {name: layers, parameterType: int, feasibleSpace: {min: "2", max: "5"}}
        - {name: opt, parameterType: categorical, feasibleSpace: {list: [sgd, adam]}}
      trialTemplate:
        trialParameters: [{name: rate, reference: lr}, {name: n, reference: layers}, {name: opt, reference: opt}]
        trialSpec:
          kind: Job
          spec: {template: {spec: {containers: [{image: mnist, command: [python3, train.py,
            "--lr=${trialParameters.rate}", "--layers", "${trialParameters.n}", "--opt=${trialParameters.opt}"]}]}}}
      earlyStopping: {algorithmName: medianstop, algorithmSettings: [{name: start_step, value: "5"}]}
"""
DETERMINED = """
    name: mnist
    entrypoint: python3 train.py --data x
    hyperparameters:
      lr: {type: log, base: 10, minval: -4, maxval: -1}
      width: {type: int, minval: 8, maxval: 64}
      opt: {type: categorical, vals: [sgd, adam]}
      optim: {momentum: {type: const, val: 0.9}}
      batch: 64
    searcher: {name: adaptive_asha, metric: val_loss, smaller_is_better: true, max_trials: 16, max_length: {batches: 9}}
    environment: {image: x}
"""
NNI = """
    experimentName: mnist
    searchSpace:
      lr: {_type: loguniform, _value: [0.0001, 0.1]}
      layers: {_type: randint, _value: [1, 5]}
      batch: {_type: choice, _value: [16, 32]}
      q: {_type: quniform, _value: [0, 10, 2]}
    trialCommand: python3 train.py --data x
    trialConcurrency: 2
    maxTrialNumber: 10
    tuner: {name: TPE, classArgs: {optimize_mode: maximize}}
    assessor: {name: Medianstop, classArgs: {start_step: 4}}
    trainingService: {platform: local}
    nniManagerIp: 10.0.0.1
"""
AZURE = """
    type: sweep
    sampling_algorithm: {type: random, seed: 3}
    search_space:
      lr: {type: loguniform, min_value: -6, max_value: -1}
      layers: {type: randint, upper: 5}
      opt: {type: choice, values: [sgd, adam]}
    objective: {goal: minimize, primary_metric: val_loss}
    trial:
      code: .
      command: python train.py --data ${{inputs.data}} --lr ${{search_space.lr}} --layers ${{search_space.layers}}
      environment: azureml:env@latest
    inputs: {data: {type: uri_file, path: iris.csv}}
    limits: {max_total_trials: 20, max_concurrent_trials: 4, timeout: 7200}
    early_termination: {type: truncation_selection, truncation_percentage: 20, delay_evaluation: 3}
"""
SEML = """
    seml: {executable: train.py, name: example, output_dir: logs}
    slurm: {experiments_per_job: 4}
    fixed: {training: {epochs: 500}}
    grid:
      lr: {type: loguniform, min: 1.0e-3, max: 1.0e-1, num: 3}
      a: {type: choice, options: [1, 2], zip_id: z}
      b: {type: choice, options: [3, 4], zip_id: z}
      depth: {type: range, min: 1, max: 4, step: 1}
"""
GUILD = r"""
    - model: mnist
      operations:
        train:
          main: train
          flags: {lr: "loguniform[1e-4:1e-1]", dropout: [0.1, 0.2], epochs: {default: 3}}
          objective: -accuracy
          output-scalars: {accuracy: 'Accuracy: (\value)', step: 'Epoch (\step)'}
        evaluate: {main: evaluate, flags: {beam: 5}}
"""
RAY = """
    cartpole:
      run: train.py
      num_samples: 4
      metric: reward
      mode: max
      stop: {steps: 100}
      config: {lr: {grid_search: [0.01, 0.001]}, gamma: "tune.uniform(0.9, 0.99)", model: {width: 64}}
"""
HYDRA = """
    defaults: [_self_, {override hydra/sweeper: optuna}]
    hydra:
      sweeper:
        sampler: {_target_: optuna.samplers.TPESampler, seed: 123}
        direction: maximize
        storage: sqlite:///x.db
        n_trials: 20
        n_jobs: 2
        params:
          lr: tag(log, interval(1e-5, 1e-1))
          depth: range(1, 5)
          opt: choice(sgd, "adam, w")
          width: 8,16
    lr: 1
"""
FILES = {
    "Katib": KATIB,
    "Determined": DETERMINED,
    "NNI": NNI,
    "Azure ML": AZURE,
    "seml": SEML,
    "Guild": GUILD,
    "Ray Tune": RAY,
    "Hydra": HYDRA,
}
LOG = "log_uniform_values"
PARAMETERS: dict[str, dict[str, Any]] = {
    "Katib": {
        "lr": {"distribution": LOG, "min": 0.001, "max": 0.1},
        "layers": {"distribution": "int_uniform", "min": 2, "max": 5},
        "opt": {"values": ["sgd", "adam"]},
    },
    "Determined": {
        "lr": {"distribution": LOG, "min": 1e-4, "max": 0.1},
        "width": {"distribution": "int_uniform", "min": 8, "max": 64},
        "opt": {"values": ["sgd", "adam"]},
        "optim.momentum": {"value": 0.9},
        "batch": {"value": 64},
    },
    "NNI": {
        "lr": {"distribution": LOG, "min": 1e-4, "max": 0.1},
        "layers": {"distribution": "int_uniform", "min": 1, "max": 4},
        "batch": {"values": [16, 32]},
        "q": {"distribution": "q_uniform", "min": 0.0, "max": 10.0, "q": 2},
    },
    "Azure ML": {
        "lr": {"distribution": LOG, "min": pytest.approx(0.00247875), "max": pytest.approx(0.36787944)},
        "layers": {"distribution": "int_uniform", "min": 0, "max": 4},
        "opt": {"values": ["sgd", "adam"]},
    },
    "seml": {
        "training.epochs": {"value": 500},
        "lr": {"values": [0.001, 0.01, 0.1]},
        "a": {"values": [1, 2]},
        "b": {"values": [3, 4]},
        "depth": {"values": [1, 2, 3]},
    },
    "Guild": {
        "lr": {"distribution": LOG, "min": 1e-4, "max": 0.1},
        "dropout": {"values": [0.1, 0.2]},
        "epochs": {"value": 3},
    },
    "Ray Tune": {
        "lr": {"values": [0.01, 0.001]},
        "gamma": {"distribution": "uniform", "min": 0.9, "max": 0.99},
        "model.width": {"value": 64},
    },
    "Hydra": {
        "lr": {"distribution": LOG, "min": 1e-5, "max": 0.1},
        "depth": {"distribution": "int_uniform", "min": 1, "max": 5},
        "opt": {"values": ["sgd", "adam, w"]},
        "width": {"values": [8, 16]},
    },
}
OTHERS: dict[str, dict[str, Any]] = {
    "Katib": {
        "method": "bayes",
        "sampler": "gp",
        "metric": {"name": "accuracy", "goal": "maximize"},
        "stop_sweep": {"target": 0.99},
        "samples": 12,
        "max_concurrent": 3,
        "early_terminate": {"type": "median", "warmup": 5, "min_runs": 3},
    },
    "Determined": {"method": "random", "samples": 16, "early_terminate": {"type": "asha", "factor": 4}},
    "NNI": {"method": "bayes", "samples": 10, "max_concurrent": 2, "early_terminate": {"type": "median", "warmup": 4}},
    "Azure ML": {
        "method": "random",
        "seed": 3,
        "samples": 20,
        "max_concurrent": 4,
        "early_terminate": {"type": "percentile", "percentile": 80.0, "warmup": 3},
    },
    "seml": {"method": "grid", "zip": [["a", "b"]]},
    "Guild": {"method": "random", "metric": {"name": "accuracy", "goal": "maximize"}},
    "Ray Tune": {"method": "random", "samples": 4, "metric": {"name": "reward", "goal": "maximize"}},
    "Hydra": {"method": "bayes", "sampler": "tpe", "samples": 20, "seed": 123, "max_concurrent": 2},
}
NOT_CARRIED_OVER = {
    "Katib": ["maxFailedTrialCount", "algorithmSettings.random_state", "trialTemplate.image"],
    "Determined": ["environment"],
    "NNI": ["nniManagerIp", "nni.get_next_parameter"],
    "Azure ML": ["environment", "limits.timeout"],
    "seml": ["slurm"],
    "Guild": ["evaluate"],
    "Ray Tune": ["stop", "grid_search"],
    "Hydra": ["storage", "direction"],
}
COMMANDS = {
    "Katib": ["${interpreter}", "${program}", "--lr=${lr}", "--layers", "${layers}", "--opt=${opt}"],
    "Determined": ["${interpreter}", "${program}", "--data", "x", "${args}"],
    "NNI": ["${interpreter}", "${program}", "--data", "x", "${args}"],
    "Azure ML": ["${interpreter}", "${program}", "--data", "iris.csv", "--lr", "${lr}", "--layers", "${layers}"],
    "seml": ["${interpreter}", "${program}", "with", "${args_no_hyphens}"],
    "Guild": None,
    "Ray Tune": None,
    "Hydra": ["${interpreter}", "${program}", "${args_no_hyphens}", "hydra.run.dir=${run_dir}"],
}
TOOLS = list(FILES)


def imported(folder: Path, tool: str) -> Imported:
    path = folder / "other.yaml"
    path.write_text(textwrap.dedent(FILES[tool]))
    (folder / "train.py").write_text("@hydra.main(config_name='other')\ndef main(cfg): ...\n")
    return import_file(path)[1]


@pytest.mark.parametrize("tool", TOOLS)
def test_parameters_have_the_same_values_and_ranges(tmp_path: Path, tool: str) -> None:
    assert imported(tmp_path, tool).keys["parameters"] == PARAMETERS[tool]


@pytest.mark.parametrize("tool", TOOLS)
def test_method_metric_and_limits_are_carried_over(tmp_path: Path, tool: str) -> None:
    keys = imported(tmp_path, tool).keys

    assert {key: keys.get(key) for key in OTHERS[tool]} == OTHERS[tool]


@pytest.mark.parametrize("tool", TOOLS)
def test_the_command_hands_over_what_it_did(tmp_path: Path, tool: str) -> None:
    keys = imported(tmp_path, tool).keys

    assert Path(keys["program"]).name == "train.py"
    assert keys.get("command") == COMMANDS[tool]


@pytest.mark.parametrize("tool", TOOLS)
def test_each_key_that_is_not_carried_over_is_named(tmp_path: Path, tool: str) -> None:
    told = [key for key, _ in imported(tmp_path, tool).notes]

    assert [key for key in NOT_CARRIED_OVER[tool] if key not in told] == []


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_written_is_a_sweep_file(tmp_path: Path, tool: str) -> None:
    found = imported(tmp_path, tool)
    settings = load_sweep(tmp_path / "sweep.yaml", text=format_sweep(found.keys))

    assert list(settings.space.parameters) == list(PARAMETERS[tool])


@pytest.mark.parametrize("tool", TOOLS)
def test_a_sweep_of_another_tools_file_says_what_it_is(tmp_path: Path, tool: str) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(textwrap.dedent(FILES[tool]))

    with pytest.raises(ConfigError, match=rf"this is an? .*{tool}.*: sweepline import .*other.yaml makes a sweep file"):
        load_sweep(path)


@pytest.mark.parametrize(
    "text",
    ["parameters: {a: [1, 2]}", "program: x.py\nruns: [{a: 1}]", "method: grid", "train: {epochs: 3}", "3", "[1]"],
)
def test_sweep_files_and_other_yaml_are_of_no_tool(text: str) -> None:
    assert recognize(parse_yaml(text, "x").value) is None


def test_a_search_space_of_nni_may_be_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "space.json").write_text('{"lr": {"_type": "choice", "_value": [0.1, 0.2]}}')
    path = tmp_path / "config.yml"
    path.write_text("searchSpaceFile: space.json\ntrialCommand: python3 train.py\ntuner: {name: Random}\n")

    assert import_file(path)[1].keys["parameters"] == {"lr": {"values": [0.1, 0.2]}}
    assert import_file(tmp_path / "space.json")[1].keys["parameters"] == {"lr": {"values": [0.1, 0.2]}}


def test_choices_of_nni_with_parameters_of_their_own_are_conditional(tmp_path: Path) -> None:
    path = tmp_path / "space.json"
    path.write_text(
        '{"layer": {"_type": "choice", "_value": [{"_name": "none"}, {"_name": "conv", "size": '
        '{"_type": "choice", "_value": [3, 5]}}]}}'
    )

    below = {"conv": {"parameters": {"size": {"values": [3, 5]}}}, "none": None}
    assert import_file(path)[1].keys["parameters"] == {"layer": {"values": below}}


def test_a_grid_of_determined_has_as_many_values_as_its_counts(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    text = """
        hyperparameters:
          lr: {type: log, minval: -3, maxval: -1, count: 3}
          n: {type: int, minval: 1, maxval: 9, count: 3}"""
    path.write_text(f"{textwrap.dedent(text)}\nsearcher: {{name: grid, metric: loss}}\nentrypoint: python train.py\n")

    assert import_file(path)[1].keys["parameters"] == {"lr": {"values": [1e-3, 0.01, 0.1]}, "n": {"values": [1, 5, 9]}}


def test_the_older_form_of_hydras_search_space_is_read(tmp_path: Path) -> None:
    path = tmp_path / "optuna.yaml"
    text = """
        hydra: {sweeper: {n_trials: 5, direction: minimize, search_space: {
          x: {type: float, low: -5.5, high: 5.5, step: 0.5}, n: {type: int, low: 1, high: 8, log: true},
          opt: {type: categorical, choices: [a, b]}}}}
    """
    path.write_text(textwrap.dedent(text))

    assert import_file(path)[1].keys["parameters"] == {
        "x": {"distribution": "q_uniform", "min": -5.5, "max": 5.5, "q": 0.5},
        "n": {"distribution": "q_log_uniform_values", "min": 1, "max": 8, "q": 1},
        "opt": {"values": ["a", "b"]},
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("parameters: {a: [1]}", "is a sweep file already, as W&B's are: sweepline run"),
        ("foo: 3", "is of no tool that is known here"),
        ("lr: {_type: uniform, _value: [0]}", "lr: _type 'uniform' with _value"),
        ("hyperparameters: {lr: {type: odd, minval: 0, maxval: 1}}\nsearcher: {name: random}", "unknown type 'odd'"),
        ("hyperparameters: {lr: {type: int}}\nsearcher: {name: random}", "lr.minval must be a number, got None"),
        ("kind: Experiment\napiVersion: kubeflow.org/v1beta1\nspec: {parameters: 3}", "has not its shape"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence_with_the_file(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=f"other.yaml: .*{sentence}") as caught:
        import_file(path)
    assert len(caught.value.faults) == 1


def test_guilds_scalars_are_expressions_for_numbers_and_a_step_places_them(tmp_path: Path) -> None:
    found = imported(tmp_path, "Guild").keys

    assert found["metrics"] == {"accuracy": "Accuracy: ({number})", "step": r"Epoch (\d+)"}


def test_katibs_events_and_variables_are_carried_over(tmp_path: Path) -> None:
    text = """
        apiVersion: kubeflow.org/v1beta1
        kind: Experiment
        spec:
          objective: {type: maximize, objectiveMetricName: acc}
          algorithm: {algorithmName: grid}
          parameters: [{name: lr, parameterType: discrete, feasibleSpace: {list: ["0.1", "0.2"]}}]
          metricsCollectorSpec:
            collector: {kind: TensorFlowEvent}
            source: {fileSystemPath: {path: /logs, kind: Directory}}
          trialTemplate:
            trialParameters: [{name: lr, reference: lr}]
            trialSpec:
              spec: {template: {spec: {containers: [{
                command: [python, train.py, "--lr=${trialParameters.lr}"],
                env: [{name: MODE, value: fast}, {name: API_KEY, value: x}]}]}}}
    """
    path = tmp_path / "katib.yaml"
    path.write_text(textwrap.dedent(text))
    found = import_file(path)[1].keys

    assert (found["metrics_from"], found["env"]) == (["tensorboard"], {"MODE": "fast"})
