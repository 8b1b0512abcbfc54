"""Variables and folders of runs, results in files, and commands around a sweep."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Project

SHOW = """
    import argparse, json, os
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    args = parser.parse_args()
    print(json.dumps({"cwd": os.getcwd(), **os.environ}))
    open("here.txt", "w").write("mine")
    print(f"METRIC loss={args.lr}")
"""


def sweep(project: Project, *keys: str, program: str = SHOW, parameters: str = "{lr: [0.1, 0.2]}") -> None:
    project.write("train.py", program)
    text = (
        f"program: train.py\nname: own\nmetric: {{name: loss}}\nparameters: {parameters}\nreport: never\ndevices: cpu\n"
    )
    project.write("sweep.yaml", text + "\n".join(keys) + "\n")


def seen(project: Project) -> list[dict[str, str]]:
    assert (done := project.command("run", "--plain")).returncode == 0, done.stdout + done.stderr
    logs = sorted(project.sweep_dir.glob("runs/*/stdout.log"))
    return [json.loads(log.read_text().splitlines()[0]) for log in logs]


def test_variables_are_told_to_each_run(project: Project) -> None:
    sweep(project, "env: {A: 'x-${lr}-${run_name}', B: true, N: 3, OUT: '${run_dir}/o', GONE: null}")
    project.environ["GONE"] = "inherited"
    found = seen(project)
    assert {one["A"] for one in found} == {"x-0.1-lr0.1", "x-0.2-lr0.2"}
    assert {(one["B"], one["N"], one.get("GONE")) for one in found} == {("true", "3", None)}
    assert all(one["OUT"].endswith("/files/o") for one in found)


def test_what_is_a_secret_reaches_the_run_and_no_file(project: Project) -> None:
    sweep(
        project,
        "env: {HF_TOKEN: '${envvar:HF_TOKEN}', FLAG: 'a ${envvar:OTHER}'}",
        "command: ['${interpreter}', '${program}', '${args}']",
    )
    project.environ |= {"HF_TOKEN": "hush-hush", "OTHER": "shy"}
    assert {one["HF_TOKEN"] for one in seen(project)} == {"hush-hush"}
    texts = {
        path: path.read_text(errors="replace")
        for path in project.path.rglob("*")
        if path.is_file() and path.name != "stdout.log"
    }
    assert not [path for path, text in texts.items() if "hush-hush" in text or "shy" in text]
    commands = [text for path, text in texts.items() if path.name == "command.txt"]
    assert all('HF_TOKEN="${HF_TOKEN}"' in text and "FLAG='a '\"${OTHER}\"" in text for text in commands)
    assert "hush-hush" not in project.command("run", "-n", "--fresh").stdout


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (
            "env: {WANDB_API_KEY: abc}",
            "env.WANDB_API_KEY: looks like a secret, and the file is copied beside the results",
        ),
        ("env: {CUDA_VISIBLE_DEVICES: 0}", "is set by the sweep for each run; use devices"),
        ("env: {OMP_NUM_THREADS: 2}", "use threads"),
        ("env: {9a: 2}", "is no name of a variable"),
        ("cwd: nowhere", "cwd: no folder 'nowhere'"),
        ("metrics_from: [csv]", "metrics_from.0: 'csv'"),
        ("metrics_from: [{json: {path: a.json, att: b}}]", "json takes no 'att'"),
        ("prepare: 3", "needs a command"),
        ("metrics: {loss: '(a) (b)'}", "needs one group for the number"),
    ],
)
def test_what_cannot_be_is_a_sentence(project: Project, key: str, sentence: str) -> None:
    sweep(project, key)
    done = project.command("run", "-n")
    assert done.returncode == 2
    assert sentence in done.stderr


def test_a_tokenizers_switch_is_no_secret(project: Project) -> None:
    sweep(project, "env: {TOKENIZERS_PARALLELISM: 'false'}")
    assert {one["TOKENIZERS_PARALLELISM"] for one in seen(project)} == {"false"}


def test_each_run_starts_in_its_own_folder(project: Project) -> None:
    sweep(project, "cwd: run")
    found = seen(project)
    assert len({one["cwd"] for one in found}) == 2
    assert all(one["cwd"] == one["PWD"] for one in found)
    assert len(list(project.sweep_dir.glob("runs/*/files/here.txt"))) == 2
    assert not (project.path / "here.txt").exists()
    line = project.command("show", "lr0.1", "--json").stdout
    assert f"cd {found[0]['cwd'].rsplit('/', 2)[0]}" in json.loads(line)["command"]


def test_runs_in_their_own_folders_start_warm(project: Project) -> None:
    sweep(
        project,
        "cwd: run",
        "start: warm",
        "env: {PYTHONPATH: lib, SAME: 1}",
        program="import helper\n" + SHOW.replace("\n    ", "\n"),
    )
    project.write("lib/helper.py", "import decimal\n")
    done = project.command("run", "--plain")
    assert done.returncode == 0, done.stdout
    assert "cold" not in done.stdout


def test_runs_start_where_the_file_says(project: Project) -> None:
    (project.path / "elsewhere").mkdir()
    sweep(project, "cwd: elsewhere")
    assert {one["cwd"] for one in seen(project)} == {str((project.path / "elsewhere").resolve())}


def test_other_variables_are_other_runs(project: Project) -> None:
    sweep(project, "env: {A: 1}")
    seen(project)
    sweep(project, "env: {A: 2}")
    assert "2 new" in project.command("run", "--plain").stdout


WRITES = """
    import argparse, csv, json, os
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    args = parser.parse_args()
    os.makedirs("logs/version_0", exist_ok=True)
    with open("logs/version_0/metrics.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerows([["epoch", "step", "train_loss", "loss"], [0, 9, args.lr, ""], [0, 9, "", args.lr * 2]])
    history = [{"step": i, "epoch": i / 2, "loss": args.lr * i} for i in (1, 2)]
    json.dump({"log_history": history + [{"eval_acc": 0.5, "step": 2}], "best": None}, open("state.json", "w"))
    with open("log.jsonl", "w") as file:
        file.writelines(json.dumps({"iter": i, "f1": args.lr + i}) + "\\n" for i in range(3))
        file.write('{"iter": 4, "f1"')
    json.dump({"acc": [0.1, 0.2], "val": [1, 2]}, open("keras.json", "w"))
"""


@pytest.mark.parametrize(
    ("source", "metric", "value", "history"),
    [
        ("", "loss", 0.2, "0,9,,0.1,\n0,9,,,0.2"),
        ("", "f1", 2.1, None),
        ("{csv: logs/version_0/metrics.csv}", "train_loss", 0.1, None),
        ("{csv: 'logs/*/metrics.csv'}", "loss", 0.2, None),
        ("{json: state.json}", "eval_acc", 0.5, None),
        ("{json: {path: '${run_dir}/state.json', at: log_history}}", "loss", 0.2, ",1,0.1,\n1,2,0.2,"),
        ("{json: {path: state.json, at: log_history.0}}", "loss", 0.1, None),
        ("{json: keras.json}", "val", 2, "1,0.1,1.0\n2,0.2,2.0"),
        ("{json: log.jsonl}", "f1", 2.1, "0,0.1\n1,1.1\n2,2.1"),
    ],
)
def test_results_are_read_from_files(
    project: Project, source: str, metric: str, value: float, history: str | None
) -> None:
    sweep(project, "cwd: run", f"metrics_from: [{source}]", program=WRITES, parameters="{lr: [0.1]}")
    project.write("sweep.yaml", (project.path / "sweep.yaml").read_text().replace("name: loss", f"name: {metric}"))
    done = project.command("run", "--plain")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = project.rows()
    assert rows[metric][0] == pytest.approx(value)
    assert f"{metric} from " in rows.reason[0]
    if history is not None:
        text = next(project.sweep_dir.glob("runs/*/metrics.csv")).read_text().replace("\r\n", "\n")
        assert history in text


def test_scalars_of_tensorboard_are_read(project: Project) -> None:
    pytest.importorskip("torch.utils.tensorboard")
    program = """
        import argparse
        from torch.utils.tensorboard import SummaryWriter
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float)
        args = parser.parse_args()
        writer = SummaryWriter("runs/now")
        for step in range(3):
            writer.add_scalar("loss", args.lr / (step + 1), step)
        writer.close()
    """
    sweep(project, "cwd: run", program=program, parameters="{lr: [0.5]}")
    assert project.command("run", "--plain").returncode == 0
    assert project.rows().loss[0] == pytest.approx(0.5 / 3, rel=1e-6)


def test_what_trackio_keeps_is_read(project: Project) -> None:
    """The tables are those that trackio 0.43 makes, as far as they are read."""
    program = """
        import argparse, json, os, sqlite3
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float)
        args = parser.parse_args()
        database = sqlite3.connect(os.environ["TRACKIO_DIR"] + "/project.db")
        database.execute("create table metrics (id integer primary key, step integer, metrics text, timestamp text)")
        for step in range(3):
            told = json.dumps({"loss": args.lr / (step + 1), "note": "x"})
            at = f"2026-01-02T03:04:0{step}.500000+00:00"
            database.execute("insert into metrics (step, metrics, timestamp) values (?, ?, ?)", (step, told, at))
        database.commit()
    """
    sweep(
        project,
        "env: {TRACKIO_DIR: '${run_dir}'}",
        "metrics_from: [trackio]",
        program=program,
        parameters="{lr: [0.6]}",
    )
    assert project.command("run", "--plain").returncode == 0
    assert project.rows().loss[0] == pytest.approx(0.2)
    assert "time_s" not in project.rows()
    history = next(project.sweep_dir.glob("runs/*/metrics.csv")).read_text().split()
    assert history[0] == "step,loss,time_s"
    assert history[1:3] == ["0,0.6,0.0", "1,0.3,1.0"]


@pytest.mark.parametrize("named", ["metrics_from: [mlflow]", "retry: 0"])
def test_what_mlflow_keeps_is_read(project: Project, named: str) -> None:
    """The table is that of MLflow 3.17, as far as it is read; it is looked for where nothing names it, too."""
    program = """
        import sqlite3, sys
        lr = float(sys.argv[1].partition("=")[2])
        database = sqlite3.connect("mlflow.db")
        database.execute(
            "create table metrics (key text, value float, timestamp bigint, run_uuid text, step bigint, is_nan boolean)"
        )
        for step in range(3):
            database.execute("insert into metrics values ('loss', ?, ?, 'a', ?, 0)", (lr / (step + 1), step, step))
        database.commit()
    """
    sweep(project, "cwd: run", named, program=program, parameters="{lr: [0.6]}")
    assert project.command("run", "--plain").returncode == 0
    assert project.rows().loss[0] == pytest.approx(0.2)


def test_a_file_that_another_run_has_written_is_not_taken(project: Project) -> None:
    sweep(
        project,
        "metrics_from: [{csv: logs/version_0/metrics.csv}]",
        "max_concurrent: 1",
        program=WRITES,
        parameters="{lr: [0.1]}",
    )
    assert project.command("run", "--plain").returncode == 0
    assert project.rows().loss[0] == pytest.approx(0.2)
    project.write("train.py", "print('nothing')")
    project.command("run", "--fresh", "--plain")
    rows = project.rows()
    assert "metrics_from: logs/version_0/metrics.csv: no file that this run alone can have written" in rows.reason[0]


def test_a_metric_of_another_name_is_mended_without_training_again(project: Project) -> None:
    sweep(project, "cwd: run", program=WRITES, parameters="{lr: [0.1]}")
    text = (project.path / "sweep.yaml").read_text()
    project.write("sweep.yaml", text.replace("name: loss", "name: los"))
    project.command("run", "--plain")
    assert "no METRIC los; there is loss" in project.rows().reason[0]
    project.write("sweep.yaml", text)
    again = project.command("run", "--plain")
    assert "1 results were read again" in again.stdout
    assert project.rows().loss[0] == pytest.approx(0.2)
    assert list(project.rows().attempt) == [1]


def test_one_expression_finds_several_metrics_and_their_place(project: Project) -> None:
    program = """
        print("Epoch 3")
        print("step 5 | loss 1.5e-05 acc 0.25")
        print("step 6 | loss nan acc 0.5")
        print("val at 7: 0.125")
    """
    metrics = r"""
metrics:
  train: 'step (?P<step>\d+) \| loss (?P<loss>{number}) acc (?P<acc>{number})'
  epoch: 'Epoch {number}'
  val: 'val at (?P<step>\d+): (?P<val>{number})'
"""
    sweep(project, metrics, program=program, parameters="{lr: {value: 1}}")
    project.write("train.py", program)
    assert project.command("run", "--plain").returncode == 0
    text = next(project.sweep_dir.glob("runs/*/metrics.csv")).read_text().replace("\r\n", "\n")
    assert text == "epoch,step,loss,acc,val\n3,5,1.5e-05,0.25,\n3,6,nan,0.5,\n3,7,,,0.125\n"


HOOK = """
    import json, os, sys
    with open("told.jsonl", "a") as file:
        file.write(json.dumps({k: v for k, v in os.environ.items() if k.startswith("SWEEPLINE_")}) + "\\n")
    print("the hook has worked")
    sys.exit(int(sys.argv[1]))
"""


def told(project: Project) -> list[dict[str, str]]:
    path = project.path / "told.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_commands_around_a_sweep_are_told_what_has_happened(project: Project) -> None:
    fails = SHOW.replace('print(f"METRIC', 'assert args.lr < 0.2, "too large"\n    print(f"METRIC')
    hooks = [f"{key}: '${{interpreter}} hook.py 0'" for key in ("prepare", "on_failure", "on_end")]
    sweep(project, *hooks, program=fails)
    project.write("hook.py", HOOK)
    assert project.command("run", "--plain").returncode == 1
    first, failure, end = told(project)
    assert [one["SWEEPLINE_HOOK"] for one in (first, failure, end)] == ["prepare", "on_failure", "on_end"]
    assert (failure["SWEEPLINE_RUN_NAME"], failure["SWEEPLINE_STATE"]) == ("lr0.2", "failed")
    assert failure["SWEEPLINE_REASON"] == "AssertionError: too large"
    assert (end["SWEEPLINE_N_FINISHED"], end["SWEEPLINE_N_FAILED"]) == ("1", "1")
    assert json.loads(end["SWEEPLINE_BEST_PARAMETERS"]) == {"lr": 0.1}
    assert (project.sweep_dir / "hooks.log").read_text().count("the hook has worked") == 3


def test_nothing_starts_where_the_preparation_fails(project: Project) -> None:
    sweep(project, "prepare: ['${interpreter}', hook.py, 3]")
    project.write("hook.py", HOOK)
    done = project.command("run", "--plain")
    assert done.returncode == 2
    assert "prepare: " in done.stderr
    assert "has failed (exit code 3): the hook has worked; nothing was started" in done.stderr
    assert not list(project.path.glob("outputs/own/runs/*"))


def test_a_hook_that_fails_costs_a_sentence_and_no_run(project: Project) -> None:
    sweep(project, "on_end: nonesuch", "on_failure: [a, b]")
    done = project.command("run", "--plain")
    assert done.returncode == 0
    assert "on_end: nonesuch cannot be started: No such file or directory" in done.stdout


def test_columns_that_are_padded_are_read_by_their_names(project: Project) -> None:
    text = """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float)
        args = parser.parse_args()
        open("table.csv", "w").write(f"    epoch,      loss\\n        3,       {args.lr}\\n")
    """
    sweep(project, "cwd: run", "metrics_from: [{csv: table.csv}]", program=text)
    done = project.run("--plain")

    assert done.returncode == 0, done.stdout
    assert sorted(project.rows()["loss"]) == [0.1, 0.2]


@pytest.mark.parametrize(
    "program",
    [
        "open('results.json', 'w').write('[' * 200000)",
        "import sqlite3; d = sqlite3.connect('x.db'); "
        "d.execute('create table metrics (id, step, metrics, timestamp)'); "
        "d.execute('insert into metrics values (1, 1, null, null)'); d.commit()",
        "open('metrics.json', 'wb').write(bytes(range(256)))",
        "import os; os.mkdir('results.json')",
    ],
)
def test_a_file_that_holds_anything_costs_a_remark_and_no_sweep(project: Project, program: str) -> None:
    sweep(project, "cwd: run", parameters="{lr: {value: 1}}")
    project.write("train.py", program)
    done = project.command("run", "--plain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(project.rows().state) == ["finished"]


def test_a_file_that_two_runs_may_have_written_is_nobodys(project: Project) -> None:
    program = """
        import argparse, json, pathlib, time
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float)
        args = parser.parse_args()
        pathlib.Path(f"here-{args.lr}").touch()
        while len(list(pathlib.Path().glob("here-*"))) < 2:
            time.sleep(0.01)
        pathlib.Path("results.json").write_text(json.dumps({"loss": args.lr}))
        pathlib.Path(f"done-{args.lr}").touch()
        while len(list(pathlib.Path().glob("done-*"))) < 2:
            time.sleep(0.01)
    """
    sweep(project, "metrics_from: [{json: results.json}]", "max_concurrent: 2", program=program)
    assert project.command("run", "--plain").returncode == 0
    rows = project.rows()
    assert "loss" not in rows or rows["loss"].isna().all()
    assert all("no file that this run alone can have written" in reason for reason in rows.reason)


@pytest.mark.parametrize("name", ["DB_PASS", "GITHUB_PAT", "X_TOKENS", "AUTH", "PASSPHRASE"])
def test_names_of_secrets_are_known(project: Project, name: str) -> None:
    sweep(project, f"env: {{{name}: abc}}")
    assert "looks like a secret" in project.command("run", "-n").stderr
