"""``sweepline init`` drafts a sweep file that runs: values arrive, and the metric that is printed is read."""

from __future__ import annotations

import pytest

from tests.conftest import Project

SCRIPT = """
    import argparse

    def main():
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=0.1, help="step size")
        parser.add_argument("--batch-size", type=int, default=32)
        parser.add_argument("--no-cuda", action="store_true")
        args = parser.parse_args()
        print(f"Epoch 1: train loss {args.lr:.4f}, val accuracy {args.batch_size / 100:.4f}")

    main()
"""


def test_a_draft_runs_as_it_stands(project: Project) -> None:
    project.write("train.py", SCRIPT)
    told = project.command("init", "train.py")
    ran = project.run("--plain")

    assert (told.returncode, ran.returncode) == (0, 0), told.stderr + ran.stderr
    rows = project.rows()
    assert sorted(set(rows["lr"])) == [0.03, 0.1, 0.3]
    assert (rows["val_accuracy"] == rows["batch-size"] / 100).all()


def test_what_was_found_and_the_next_step_are_told(project: Project) -> None:
    project.write("train.py", SCRIPT)
    told = project.command("init", "train.py").stdout

    assert "found 3 flags, read by argparse" in told
    assert "swept: lr = 0.03, 0.1, 0.3" in told
    assert "objective: maximize val_accuracy" in told
    assert told.splitlines()[-1] == "wrote sweep.yaml; look it over, then: sweepline run -n sweep.yaml"


def test_the_script_is_not_executed(project: Project) -> None:
    project.write("train.py", "open('executed', 'w')\n" + "import argparse\n")
    project.write("train.py", "lr = 0.1\nexec(open('conf.py').read())\nopen('executed', 'w')\n")
    told = project.command("init", "train.py")

    assert told.returncode == 0, told.stderr
    assert not (project.path / "executed").exists()


def test_a_file_that_is_there_stays_without_force(project: Project) -> None:
    project.write("train.py", SCRIPT)
    sweep = project.write("sweep.yaml", "mine: 1\n")
    refused = project.command("init", "train.py")
    forced = project.command("init", "train.py", "--force")

    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "sweep.yaml: is there already" in refused.stderr
    assert (forced.returncode, "mine" in sweep.read_text()) == (0, False)


def test_other_flags_stand_there_as_comments_that_can_be_uncommented(project: Project) -> None:
    project.write("train.py", SCRIPT)
    project.command("init", "train.py")
    sweep = project.path / "sweep.yaml"
    sweep.write_text(sweep.read_text().replace("  # no-cuda:", "  no-cuda:"))
    dry = project.run("-n").stdout

    assert "--no-cuda" in dry
    assert "12 combinations" in dry or "18 combinations" in dry


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(
            "import sys\nsys.argv\nLR = 0.1\nprint(LR)\n",
            "its settings are constants (LR = 0.1 in train.py:3)",
            id="constants",
        ),
        pytest.param("print('hello')\n", "takes no arguments that its text tells", id="nothing"),
        pytest.param(
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--name')\n",
            "of 1 flag (read by argparse) none has a number as its default",
            id="no number",
        ),
    ],
)
def test_where_nothing_can_be_swept_one_sentence_says_why(project: Project, text: str, words: str) -> None:
    project.write("train.py", text)
    told = project.command("init", "train.py")

    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert words in told.stderr
    assert not (project.path / "sweep.yaml").exists()


def test_what_is_required_is_to_be_filled_in(project: Project) -> None:
    text = """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("data")
        parser.add_argument("--model", required=True)
        parser.add_argument("--out-dir", default="out")
        parser.add_argument("--lr", type=float, default=0.1)
    """
    project.write("train.py", text)
    told = project.command("init", "train.py").stdout
    dry = project.run("-n").stdout

    assert "to be filled in where sweep.yaml says REPLACE_ME or required: data, model" in told
    assert "train.py REPLACE_ME --model=REPLACE_ME --lr=0.03" in dry
    assert "--out-dir=" in dry


def test_environment_variables_reach_a_script_that_reads_them(project: Project) -> None:
    project.write("train.py", 'import os\nlr = float(os.environ.get("LR", 0.1))\nprint(f"METRIC loss={lr}")\n')
    project.command("init", "train.py")
    ran = project.run("--plain")

    assert ran.returncode == 0, ran.stderr
    assert sorted(project.rows()["loss"]) == [0.03, 0.1, 0.3]


def test_hydra_programs_get_overrides_and_a_folder_of_their_own(project: Project) -> None:
    project.write("conf/config.yaml", "lr: 0.1\n")
    text = """
        import hydra
        @hydra.main(version_base=None, config_path="conf", config_name="config")
        def main(cfg):
            print(f"val loss: {cfg.lr:.3f}")
        main()
    """
    project.write("train.py", text)
    project.command("init", "train.py")
    ran = project.run("--plain")

    assert ran.returncode == 0, ran.stderr
    assert sorted(project.rows()["val_loss"]) == [0.03, 0.1, 0.3]
