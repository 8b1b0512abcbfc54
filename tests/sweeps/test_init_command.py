"""``sweepline init`` drafts a sweep file that runs: values arrive, and the metric that is printed is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

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
        pytest.param(
            "N_CLASSES = 10\nbatch_size = 128\nprint(N_CLASSES, batch_size)\n",
            "let it read them, as batch_size = type(128)(os.environ.get('batch_size', 128))",
            id="of constants the likeliest",
        ),
        pytest.param(
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--config', required=True)\n",
            "config: FILE in the sweep file, and --config=${config_file} in its command",
            id="a file of settings",
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
    dry = project.run("-n", "--commands").stdout

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


ARGUMENTS = """
import argparse, csv, json, os
from torch_writer import SummaryWriter
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
"""
WRITER = f"""
import sys
from pathlib import Path
sys.path.append({str(Path(__file__).parents[2])!r})
from tests.eventlogs import write_log

class SummaryWriter:
    def __init__(self, log_dir="runs/now"):
        self.folder = Path(log_dir)
        self.folder.mkdir(parents=True)
        self.points = {{}}
    def add_scalar(self, tag, value, step):
        self.points.setdefault(tag, []).append((step, value))
    def close(self):
        write_log(self.folder, self.points)
"""
ENDS = {
    "TensorBoard, where it starts": """
args = parser.parse_args()
writer = SummaryWriter()
writer.add_scalar("val/acc", args.lr, 1)
writer.close()
""",
    "TensorBoard, where a flag says": """
parser.add_argument("--tb", default="logs")
args = parser.parse_args()
writer = SummaryWriter(os.path.join(args.tb, "events"))
writer.add_scalar("val/acc", args.lr, 1)
writer.close()
""",
    "CSV": """
args = parser.parse_args()
with open("log.csv", "w") as file:
    table = csv.DictWriter(file, fieldnames=["epoch", "val/acc"])
    table.writeheader()
    table.writerow({"epoch": 1, "val/acc": args.lr})
""",
    "JSON, in the folder of a flag": """
parser.add_argument("--save-to", default="out")
args = parser.parse_args()
os.makedirs(args.save_to, exist_ok=True)
with open(os.path.join(args.save_to, "end.json"), "w") as file:
    json.dump({"val/acc": args.lr}, file)
""",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_draft_reads_what_a_script_leaves_in_files(project: Project, end: str) -> None:
    project.write("torch_writer.py", WRITER)
    project.write("train.py", ARGUMENTS + end)
    told = project.command("init", "train.py")
    ran = project.run("--plain")

    assert (told.returncode, ran.returncode) == (0, 0), told.stderr + ran.stdout + ran.stderr
    assert sorted(project.rows()["val/acc"].round(3)) == [0.03, 0.1, 0.3]
    assert not {"runs", "logs", "out", "log.csv"} & {path.name for path in project.path.iterdir()}


def test_runs_stay_where_their_input_is(project: Project) -> None:
    project.write("data/train.txt", "0.5")
    text = """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=0.1)
        args = parser.parse_args()
        scale = float(open("data/train.txt").read())
        open("model.txt", "w").write("x")
        print(f"val loss {args.lr * scale:.4f}")
    """
    project.write("train.py", text)
    project.command("init", "train.py")
    draft = (project.path / "sweep.yaml").read_text()
    ran = project.run("--plain")

    assert "# cwd: run" in draft
    assert "look for data/train.txt (train.py:" in draft
    assert ran.returncode == 0, ran.stdout


def test_several_metrics_of_a_line_become_points_of_an_epoch(project: Project) -> None:
    project.write(
        "train.py", SCRIPT.replace("Epoch 1:", "Epoch {1 * epoch}:").replace("print(", "epoch = 4\n        print(")
    )
    text = project.path / "train.py"
    text.write_text(text.read_text().replace("{1 * epoch}", "{epoch}"))
    project.command("init", "train.py")
    project.run("--plain")
    rows = project.rows()

    assert (rows["val_accuracy"] == rows["batch-size"] / 100).all()
    assert (rows["train_loss"] == rows["lr"]).all()
    history = next(project.sweep_dir.glob("runs/*/metrics.csv")).read_text().splitlines()
    assert ",4," in f",{history[1]},"


def test_other_variables_stand_there_as_comments_and_a_download_too(project: Project) -> None:
    project.write("download.sh", "")
    text = 'import os\nroot = os.environ.get("ROOT", "/x")\nkey = os.environ.get("API_KEY")\n'
    project.write("train.py", SCRIPT.replace("\n    ", "\n") + text)
    project.command("init", "train.py")
    draft = (project.path / "sweep.yaml").read_text()

    assert "#   ROOT: /x" in draft
    assert '#   API_KEY: "${envvar:API_KEY}"' in draft
    assert "# prepare: [./download.sh]" in draft


LOGS_TO_MLFLOW = """
    import argparse

    import mlflow

    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    args = parser.parse_args()
    with mlflow.start_run():
        mlflow.log_metrics({"val_loss": args.lr})
"""


def test_what_is_logged_to_mlflow_is_read_from_a_store_for_each_run(project: Project) -> None:
    project.write("train.py", LOGS_TO_MLFLOW)
    told = project.command("init", "train.py")
    assert "logged to MLflow, read back from its database" in told.stdout
    draft = yaml.safe_load((project.path / "sweep.yaml").read_text())
    assert draft["metrics_from"] == ["mlflow"]
    assert draft["env"] == {"MLFLOW_TRACKING_URI": "sqlite:///${run_dir}/mlflow.db"}


def test_a_store_that_the_script_chooses_itself_is_not_read(project: Project) -> None:
    project.write(
        "train.py", LOGS_TO_MLFLOW.replace("with mlflow", "mlflow.set_tracking_uri('http://x')\n    with mlflow")
    )
    assert "logged to a tracker that the sweep does not read" in project.command("init", "train.py").stdout
