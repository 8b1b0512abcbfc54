"""``sweepline align``: configs, runs and strangers against a champion; and what each difference gives."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.conftest import EXPERIMENT, Project

PRESET = EXPERIMENT / "cfg" / "presets" / "trial_69.yaml"
TRAINER = (EXPERIMENT / "train_single.py").read_text()
CONFIG = """
    epochs: 1
    batch_size: 50
    data: {name: digits, limit: 200, valid_fraction: 0.25}
    evaluate: {every: 1, split: valid}
    learner: {opt: sgd, step_size: 0.01}
    wandb: {mode: disabled}
"""
CHAMPION = """
    base: config.yaml
    batch_size: 10
    learner: {opt: adam, step_size: 0.0018498849832733245, beta1: 0.95, beta2: 0.999}
"""


@pytest.fixture
def lab(project: Project) -> Project:
    project.write("train_single.py", TRAINER)
    project.write("config.yaml", CONFIG)
    project.write("champion.yaml", CHAMPION)
    return project


def align(project: Project, *args: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code, and of the first configuration each key's state and values."""
    done = project.command("align", *args, "--json")
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    return done.returncode, {key["key"]: key for key in told["configs"][0]["keys"]}


def states(keys: dict[str, dict[str, Any]], *, but: str = "match") -> dict[str, str]:
    return {name: key["state"] for name, key in keys.items() if key["state"] != but}


def test_keys_and_what_is_built_of_them_are_compared(lab: Project) -> None:
    code, keys = align(lab, "champion.yaml", "config.yaml")
    assert code == 1
    different = states(keys)
    assert different["learner.opt"] == different["batch_size"] == different["built.optimizer"] == "mismatch"
    assert different["built.optimizer.betas"] == "missing here"
    assert "data.name" not in different
    assert keys["built.parameters"]["here"] == keys["built.parameters"]["champion"]


def test_a_rounded_rate_is_told_apart(lab: Project) -> None:
    lab.write("rounded.yaml", "base: champion.yaml\nlearner: {step_size: 0.00185}\n")
    code, keys = align(lab, "champion.yaml", "rounded.yaml", "--no-build")
    assert (code, states(keys)) == (1, {"learner.step_size": "rounded"})
    assert keys["learner.step_size"]["note"] == "6.2e-05 off"


def test_a_config_that_is_written_matches_to_the_last_digit(lab: Project) -> None:
    done = lab.command("align", "champion.yaml", "config.yaml", "--write", "aligned.yaml", "--no-build")
    assert "written: aligned.yaml" in done.stdout
    assert "0.0018498849832733245" in (lab.path / "aligned.yaml").read_text()
    assert yaml.safe_load((lab.path / "aligned.yaml").read_text())["base"] == "config.yaml"
    code, keys = align(lab, "champion.yaml", "aligned.yaml")
    assert (code, states(keys)) == (0, {})


def test_trial_69_is_verified_down_to_its_rates_on_the_built_optimizer(lab: Project) -> None:
    lab.write("presets/trial_69.yaml", PRESET.read_text())
    lab.write("aligned.yaml", "base: presets/trial_69.yaml\ndata: {name: digits}\n")
    code, keys = align(lab, "trial_69", "aligned.yaml")
    assert (code, states(keys)) == (0, {})
    rates = [round(keys[f"built.step_size of epoch {epoch}"]["here"], 8) for epoch in range(1, 8)]
    assert rates == [0.00184988, 0.00172608, 0.00138783, 0.00092578, 0.00046373, 0.00012549, 0.00184988]
    assert keys["built.optimizer.betas"]["here"] == [0.95, 0.999]
    assert keys["built.optimizer"]["here"] == "Adam"
    code, keys = align(lab, "trial_69", "config.yaml")
    assert len(states(keys, but="match")) > 10
    assert "data.name" not in keys  # a preset asks for nothing that it does not name


def test_differences_are_waived_with_a_reason(lab: Project) -> None:
    lab.write("waivers.yaml", "waive: {learner: another optimizer on purpose, batch_size: fits here}\n")
    code, keys = align(lab, "champion.yaml", "config.yaml", "--waivers", "waivers.yaml", "--no-build")
    assert code == 0
    assert keys["learner.opt"] | {"champion": 0, "here": 0} == {
        "key": "learner.opt",
        "champion": 0,
        "here": 0,
        "state": "waived",
        "note": "another optimizer on purpose",
    }


def test_what_follows_from_a_waived_key_is_waived_with_it(lab: Project) -> None:
    code, keys = align(lab, "champion.yaml", "config.yaml", "--except", "learner,batch_size")
    assert (code, states(keys, but="match")) == (0, dict.fromkeys(states(keys), "waived"))
    assert "built.optimizer.betas" in states(keys)


def test_two_sides_of_one_name_are_told_one_by_one(lab: Project) -> None:
    done = lab.command("align", "champion.yaml", "config.yaml", "config.yaml", "--no-build")
    assert done.stdout.count("config.yaml: ") == 2
    assert done.stderr == ""


def test_a_waiver_without_a_reason_is_refused(lab: Project) -> None:
    lab.write("waivers.yaml", "waive: {learner: }\n")
    done = lab.command("align", "champion.yaml", "config.yaml", "--waivers", "waivers.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "waive: learner needs a reason" in done.stderr


def test_a_strangers_json_is_compared_under_our_names(lab: Project) -> None:
    lab.write("stranger.json", '{"lr": 0.01, "optim": "sgd", "bs": 64}')
    lab.write("waivers.yaml", "names: {lr: learner.step_size, optim: learner.opt, bs: batch_size}\n")
    _, keys = align(lab, "stranger.json", "config.yaml", "--waivers", "waivers.yaml")
    assert keys["learner.step_size"]["state"] == keys["learner.opt"]["state"] == "match"
    assert keys["batch_size"]["state"] == "mismatch"
    assert keys["epochs"]["state"] == "missing in champion"


def test_frozen_configs_and_runs_are_champions(lab: Project) -> None:
    lab.write(
        "sweep.yaml",
        """
        program: train_single.py
        config: config.yaml
        name: small
        method: grid
        metric: {name: valid_loss}
        parameters: {learner.step_size: [0.1, 0.01]}
        seeds: [0]
        devices: cpu
        report: never
        """,
    )
    assert lab.run().returncode == 0
    code, keys = align(lab, "lr0.1-s0", "lr0.01-s0")
    assert {name for name in states(keys) if not name.startswith("built.")} == {"learner.step_size"}
    assert code == 1
    assert keys["environment.torch"]["state"] == "match"
    run_dir = next(lab.sweep_dir.glob("runs/*"))
    assert align(lab, str(run_dir), str(run_dir / "config.yaml"), "--no-build")[0] == 0
    words = ["--config", "config.yaml", "--", "output_dir=single", "device=cpu"]
    subprocess.run([sys.executable, "train_single.py", *words], cwd=lab.path, env=lab.environment(), check=True)
    frozen = next(lab.path.rglob("frozen_config_run_001.json"))
    code, keys = align(lab, str(frozen), "config.yaml", "--no-build")
    assert states(keys) == {"device": "mismatch"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere", "config.yaml"), "nowhere: neither a config file nor a run's folder, nor a preset"),
        (("champion.yaml", "broken.yaml"), "learner.step_size should be"),
        (("champion.yaml", "list.yaml"), "a configuration is a mapping of keys, got list"),
        (("champion.yaml", "config.yaml", "--write", "config.yaml"), "it is there already; name a file that is not"),
        (
            ("champion.yaml", "config.yaml", "--except", "lerner"),
            "lerner: no such key may differ; did you mean 'learner'",
        ),
        (("champion.yaml", "config.yaml", "--waivers", "list.yaml"), "waivers are 'waive:' with a reason"),
        (("champion.yaml", "config.yaml", "--waivers", "odd.yaml"), "a list or a word where a mapping belongs"),
        (("champion.yaml", "config.yaml", "--greedy"), "--greedy is of --ablate"),
        (("champion.yaml", "config.yaml", "config.yaml", "--ablate"), "name one configuration to begin at"),
        (("config.yaml", "config.yaml", "--ablate"), "differ in nothing that could be changed"),
        (("champion.yaml", "config.yaml", "--ablate", "--metric", "thing"), "say so with --goal"),
        (("champion.yaml", "config.yaml", "--ablate", "--order", "epochs"), "--order: epochs does not differ"),
        (("champion.yaml", "config.yaml", "--ablate", "--seeds", "1,1"), "write different whole numbers"),
    ],
)
def test_what_cannot_be_compared_is_said(lab: Project, words: tuple[str, ...], sentence: str) -> None:
    lab.write("broken.yaml", "base: config.yaml\nlearner: {step_size: -1}\n")
    lab.write("list.yaml", "[1, 2]\n")
    lab.write("odd.yaml", "waive: [a]\n")
    done = lab.command("align", *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_may_demand_alignment(lab: Project) -> None:
    sweep = """
        program: train_single.py
        config: config.yaml
        name: small
        method: grid
        metric: {name: valid_loss}
        parameters: {learner.step_size: [0.1, 0.01], learner.opt: adam}
        seeds: [0]
        devices: cpu
        report: never
        align: {champion: champion.yaml, except: [EXCEPTED]}
    """
    lab.write("sweep.yaml", sweep.replace("EXCEPTED", "batch_size"))
    done = lab.run()
    assert done.returncode == 2
    assert "align: learner.step_size is swept, so that runs differ from the champion; except it" in done.stderr
    assert "align: learner.beta1 is null, the champion's is 0.95; use that, or except learner.beta1" in done.stderr
    assert "learner.opt" not in done.stderr
    assert not list(lab.path.glob("outputs/*/runs/*"))
    excepted = "batch_size, learner.step_size, learner.beta1, learner.beta2"
    lab.write("sweep.yaml", sweep.replace("EXCEPTED", excepted))
    assert lab.run().returncode == 0


def test_the_way_to_the_champion_is_trained_key_by_key(lab: Project) -> None:
    dry = lab.command("align", "champion.yaml", "config.yaml", "--ablate", "-n")
    assert "4 changes, one change after the other: 5 configurations x 3 seeds = 15 runs" in dry.stdout
    assert "4. learner.beta1 null -> 0.95, learner.beta2 null -> 0.999" in dry.stdout  # one needs the other
    words = ("--ablate", "--seeds", "0,1", "--order", "learner.opt,learner.step_size", "--except", "learner.beta1")
    done = lab.command("align", "champion.yaml", "config.yaml", *words, "--except", "learner.beta2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    labels = [list(step["change"]["after"]) for step in told["steps"] if step["change"]]
    assert labels == [["learner.opt", "learner.step_size"], ["batch_size"]]
    first, second, last = told["steps"]
    assert set(first["values"]) == {"0", "1"}
    differences = [second["values"][seed] - first["values"][seed] for seed in ("0", "1")]
    assert second["gain"]["mean"] == pytest.approx(sum(differences) / 2)
    assert last["value"]["mean"] == pytest.approx(
        first["value"]["mean"] + second["gain"]["mean"] + last["gain"]["mean"]
    )


SCRIPT = """
    import argparse
    parser = argparse.ArgumentParser()
    for name in ("a", "b", "c", "seed"):
        parser.add_argument(f"--{name}", type=int)
    args = parser.parse_args()
    print(f"METRIC loss={100 - 10 * args.a - 1 * args.b - 20 * args.b * args.a + args.seed}")
"""


@pytest.fixture
def others(project: Project) -> Project:
    """Two runs of a program that is not ours."""
    project.write("script.py", SCRIPT)
    project.write(
        "sweep.yaml",
        """
        program: script.py
        name: small
        method: grid
        metric: {name: loss}
        parameters: {a: [0, 1], b: [0, 1], c: [0, 1]}
        seeds: [0]
        devices: cpu
        report: never
        """,
    )
    project.run()
    return project


def test_the_way_between_two_runs_of_any_program(others: Project) -> None:
    words = ("a1-b1-c1-s0", "a0-b0-c0-s0", "--ablate", "--metric", "loss", "--seeds", "0,1,2")
    done = others.command("align", *words)
    assert done.returncode == 0, done.stderr
    assert "most: b, -21 of -31 in all" in done.stdout
    assert "no more than chance could: c" in done.stdout
    told = json.loads(others.command("align", *words, "--json").stdout)
    assert [step["gain"]["mean"] for step in told["steps"][1:]] == [-10, -21, 0]


def test_a_greedy_way_takes_what_gives_most_first_and_tells_its_price(others: Project) -> None:
    words = ("--ablate", "--metric", "loss", "--seeds", "0,1", "--greedy")
    done = others.command("align", "a1-b1-c1-s0", "a0-b0-c0-s0", *words)
    assert (
        "3 changes, greedy: at each step the change that gives most: 7 configurations x 2 seeds = 14 runs"
        in done.stdout
    )
    ways = [line.split()[1] for line in done.stdout.splitlines() if " -> " in line]
    assert ways == ["a", "b", "c"]
    assert others.command("verify").returncode == 0


def test_a_metric_that_no_run_has_ends_the_way_at_its_beginning(others: Project) -> None:
    done = others.command("align", "a1-b1-c1-s0", "a0-b0-c0-s0", "--ablate", "--metric", "los", "--goal", "minimize")
    assert done.returncode == 2
    assert "--metric los: no run has it; did you mean 'loss'?" in done.stderr


def test_the_way_between_runs_is_trained_with_the_code_that_they_executed(others: Project) -> None:
    text = (others.path / "script.py").read_text()
    (others.path / "script.py").write_text(text.replace("100 -", "5000 -"))
    words = ("a1-b0-c0-s0", "a0-b0-c0-s0", "--ablate", "--seeds", "0,1", "--json")
    told = json.loads(others.command("align", *words).stdout)
    assert told["metric"] == "loss"  # the sweep's own
    assert [step["value"]["mean"] for step in told["steps"]] == [100.5, 90.5]


def test_one_seed_tells_nothing_for_sure(others: Project) -> None:
    done = others.command("align", "a1-b1-c1-s0", "a0-b0-c0-s0", "--ablate", "--seeds", "0")
    assert "one seed each: what a change gave cannot be told from chance" in done.stdout
    assert "most:" not in done.stdout
