"""Scripts that are not ours, unchanged: flags, results in prose, wandb.config."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Project

CLASSIC = """
    program: classic_mnist.py
    name: classic
    method: grid
    metric: {name: accuracy, goal: maximize}
    parameters:
      lr: [1.0, 0.001]
      gamma: {value: 0.7}
      batch-size: {value: 32}
      epochs: {value: 1}
    metrics:
      accuracy: 'Accuracy: (\\d+)/'
      test_loss: 'Average loss: ([0-9.]+)'
    max_concurrent: 2
    devices: cpu
"""


def test_the_classic_mnist_script_runs_unchanged_and_its_prose_becomes_metrics(project: Project) -> None:
    project.asset("classic_mnist.py")
    project.write("sweep.yaml", CLASSIC)
    result = project.run()
    rows = project.rows().set_index("lr")
    assert result.returncode == 0, result.stdout
    assert rows.accuracy[1.0] > rows.accuracy[0.001]
    assert rows.test_loss[1.0] < rows.test_loss[0.001]


def test_the_classic_script_learns_from_the_real_mnist(project: Project, mnist_root: Path) -> None:
    project.asset("classic_mnist.py")
    project.write("sweep.yaml", CLASSIC.replace("[1.0, 0.001]", "[1.0]"))
    result = project.run(MNIST_ROOT=str(mnist_root))
    assert result.returncode == 0, result.stdout
    assert project.rows().accuracy[0] > 250  # of 400


def test_a_script_that_reads_wandb_config_gets_its_parameters_and_its_logs_are_read_back(project: Project) -> None:
    project.asset("wandb_script.py")
    project.write(
        "sweep.yaml",
        """
        program: wandb_script.py
        name: configured
        method: grid
        metric: {name: loss, goal: minimize}
        command: ['${interpreter}', '${program}']
        parameters:
          lr: [0.25, 1e-5]
          optimizer:
            parameters:
              momentum: {value: 0.9}
              name: {value: sgd}
        devices: cpu
        max_concurrent: 2
        """,
    )
    result = project.run()
    rows = project.rows().set_index("lr")
    assert result.returncode == 0, result.stdout + result.stderr
    assert rows.loss[0.25] == 0.75
    assert rows.loss[1e-5] == 1e-5 * 3
    assert set(rows.momentum) == {0.9}


def test_a_script_of_any_language_is_run_without_an_interpreter(project: Project) -> None:
    script = project.write("score.sh", '#!/bin/sh\necho "METRIC score=${1#--a=}"\n')
    script.chmod(0o755)
    project.write(
        "sweep.yaml",
        "program: score.sh\nmethod: grid\nmetric: {name: score}\nparameters: {a: [1, 2.5]}\ndevices: cpu\n",
    )
    result = project.run()
    assert result.returncode == 0, result.stderr
    assert sorted(project.rows().score) == [1.0, 2.5]


def test_nested_parameters_reach_other_programs_as_one_mapping_per_name(project: Project) -> None:
    project.write("show.py", "import json, sys\njson.dump(sys.argv[1:], open('argv.json', 'w'))\n")
    project.write(
        "sweep.yaml",
        """
        program: show.py
        method: grid
        metric: {name: loss}
        parameters:
          opt: {parameters: {lr: {values: [0.1]}, nesterov: {value: true}}}
          plain.dotted: {value: none}
        devices: cpu
        """,
    )
    project.run()
    assert json.loads((project.path / "argv.json").read_text()) == [
        "--opt={'lr': 0.1, 'nesterov': True}",
        "--plain.dotted=none",
    ]


OUTPUT_SCRIPT = """
    import argparse
    from pathlib import Path

    parser = argparse.ArgumentParser()
    parser.add_argument("--depth", type=int, default=7)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    assert not list(args.out.iterdir()), "the folder holds somebody else's files"
    (args.out / "best.txt").write_text("x")
    print(f"METRIC loss={args.depth}")
"""


def test_a_parser_that_refuses_null_is_told_of_once_and_satisfied_with_its_style(project: Project) -> None:
    project.write("app/__main__.py", OUTPUT_SCRIPT)
    text = """
        program: app
        name: outputs
        method: grid
        metric: {name: loss}
        parameters: {depth: [null, 3, [4]], out: "${run_dir}"}
        max_concurrent: 1
        """
    project.write("sweep.yaml", text)
    refused = project.run("--keep-going")
    project.write("sweep.yaml", f"{text}arguments: {{style: argparse, lists: comma}}\n")
    taken = project.run("--keep-going")

    assert refused.stdout.count("arguments: argparse in the sweep file") == 1
    assert [(row.state, row.loss) for row in project.rows().itertuples()][-3:] == [
        ("finished", 7),
        ("finished", 3),
        ("finished", 4),
    ], taken.stdout


def test_an_option_that_is_ignored_is_told_after_the_first_pair_of_runs(project: Project) -> None:
    project.write(
        "train.py",
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float)
        args, _ = parser.parse_known_args()  # --width is swallowed
        print(f"METRIC loss={args.lr * 2 + 0.123}")
        """,
    )
    project.write(
        "sweep.yaml",
        """
        program: train.py
        name: small
        method: grid
        metric: {name: loss}
        parameters: {lr: [0.1, 0.2, 0.3], width: [1, 2]}
        devices: cpu
        max_concurrent: 1
        report: never
        """,
    )
    lines = project.run().stdout.splitlines()
    (told,) = [n for n, line in enumerate(lines) if line.startswith("width may have no effect: ")]
    assert "lr0.1-width1 and lr0.1-width2 differ in it alone" in lines[told]
    assert sum("finished lr" in line for line in lines[:told]) == 2
    assert not any(line.startswith("lr may have no effect") for line in lines)
    project.write("train.py", (project.path / "train.py").read_text() + "# edited\n")
    assert "may have no effect" not in project.run("--fresh", "--set", "width=1").stdout
