"""What a script tells of its runs is found in its text, with expressions that find it in its output."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from sweepline.config.drafting.objective import choose_objective
from sweepline.programs.inspection.expressions import compile_pattern
from sweepline.programs.inspection.facts import ScriptFacts, Told
from sweepline.programs.inspection.metricwords import goal_of
from sweepline.programs.inspection.script import inspect_script


def told_by(folder: Path, text: str) -> dict[str, Told]:
    path = folder / "train.py"
    path.write_text(textwrap.dedent(text))
    return {told.name: told for told in inspect_script(path).told}


def read(told: Told, line: str) -> str | None:
    """Return the number that a metric's expression finds on a line."""
    match = compile_pattern(told.pattern).search(line)
    return match[1] if match else None


PRINTED = [
    ('print(f"Test accuracy: {acc:.4f}")', "test_accuracy", "Test accuracy: 0.9123"),
    ('print("val loss {:.3f} at epoch {}".format(loss, epoch))', "val_loss", "val loss 0.9123 at epoch 3"),
    ('print("loss: %.3f" % loss)', "loss", "loss: 0.9123"),
    ('print("Loss", loss)', "loss", "Loss 0.9123"),
    ('print("mse: " + str(mse))', "mse", "mse: 0.9123"),
    ('logger.info("f1 = %s", f1)', "f1", "INFO f1 = 0.9123"),
    ('line = f"Best acc {best:.2f}%"\nprint(line)', "best_acc", "Best acc 0.9123%"),
    ('sys.stdout.write(f"\\rAUC={auc}")', "auc", "AUC=0.9123"),
    ('print(f"Loss_D: {loss_d:.3f}")', "loss_d", "Loss_D: 0.9123"),
    ("bar.set_postfix(loss=loss.item())", "loss", "100% loss=0.9123"),
    ('print(f"Acc@1 {top1.val:.3f} ({top1.avg:.3f})")', "acc1", "Acc@1 0.5 (0.9123)"),
    ("print(f\"Result on {n} test images: {stats['acc1']:.1f}%\")", "acc1", "Result on 100 test images: 0.9123%"),
]


@pytest.mark.parametrize(("text", "name", "line"), PRINTED, ids=[name for name, _, _ in PRINTED])
def test_a_printed_number_is_named_and_found_again(tmp_path: Path, text: str, name: str, line: str) -> None:
    found = told_by(tmp_path, text)

    assert list(found) == [name]
    assert read(found[name], line) == "0.9123"


@pytest.mark.parametrize(
    "text",
    [
        'print(f"epoch {epoch}, lr {lr:.5f}")',
        'print(f"best loss epoch: {epoch}")',
        'print(f"Saving model with precision to {path}")',
        'open("log.txt").write(f"loss: {loss}")',
        'print(f"loss: {loss:.3f}", file=log)',
    ],
)
def test_what_is_no_metric_of_the_output_is_left_out(tmp_path: Path, text: str) -> None:
    assert told_by(tmp_path, text) == {}


def test_labels_that_end_alike_are_told_apart(tmp_path: Path) -> None:
    found = told_by(tmp_path, 'print(f"Epoch {e}: loss {a:.3f}, val loss {b:.3f}")\n')
    line = "Epoch 3: loss 0.5, val loss 0.7"

    assert {name: read(told, line) for name, told in found.items()} == {"loss": "0.5", "val_loss": "0.7"}


def test_one_label_in_training_and_in_evaluation_gives_two_metrics(tmp_path: Path) -> None:
    text = """
        def train():
            print(f"Train Epoch {e} Loss: {loss:.3f}")
        def test():
            print(f"Test set Loss: {loss:.3f}")
    """
    found = told_by(tmp_path, text)
    lines = ["Train Epoch 3 Loss: 0.5", "Test set Loss: 0.7"]

    assert [[read(told, line) for line in lines] for told in found.values()] == [["0.5", None], [None, "0.7"]]


def test_metric_lines_need_no_expression(tmp_path: Path) -> None:
    found = told_by(tmp_path, 'print(f"METRIC epoch={epoch} loss={loss} acc={acc}")\n')

    assert {name: (told.source, told.pattern) for name, told in found.items()} == {
        "loss": ("line", ""),
        "acc": ("line", ""),
    }


@pytest.mark.parametrize(
    ("text", "name", "source"),
    [
        ('import wandb\nwandb.log({"val/acc": acc, "epoch": 3})', "val/acc", "wandb"),
        ('writer.add_scalar("charts/episodic_return", r, step)', "charts/episodic_return", "tensorboard"),
        ('self.log("val_loss", loss, prog_bar=True)', "val_loss", "lightning"),
        ('self.log("val_loss", loss)', "val_loss", "log"),
        ('mlflow.log_metric("rmse", rmse)', "rmse", "log"),
        ("from sweepline import log_metrics\nlog_metrics(epoch=3, val_loss=0.5)", "val_loss", "line"),
    ],
    ids=["wandb", "tensorboard", "lightning", "lightning, unseen", "mlflow", "sweepline"],
)
def test_logged_names_are_found_with_where_they_go(tmp_path: Path, text: str, name: str, source: str) -> None:
    found = told_by(tmp_path, text)

    assert {key: told.source for key, told in found.items()} == {name: source}


def test_keras_prints_the_metrics_that_compile_names(tmp_path: Path) -> None:
    text = """
        import keras
        model.compile(loss="mse", metrics=["accuracy"])
        model.fit(x, y, validation_split=0.1)
    """
    found = told_by(tmp_path, text)
    line = "1s - loss: 0.5 - accuracy: 0.8 - val_loss: 0.7 - val_accuracy: 0.6"

    assert [read(told, line) for told in found.values()] == ["0.5", "0.7", "0.8", "0.6"]


def test_a_stage_in_a_name_stands_for_the_parts_that_are_handed_over(tmp_path: Path) -> None:
    text = """
        class Model:
            def training_step(self): return self.step("train")
            def validation_step(self): return self.step("val")
            def step(self, stage): self.log(f"{stage}_loss", 1.0, prog_bar=True)
    """
    assert sorted(told_by(tmp_path, text)) == ["train_loss", "val_loss"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('print(f"train acc: {a:.3f}")\nprint(f"val loss: {b:.3f}")', "val_loss"),
        ('print(f"val loss: {b:.3f} val acc: {a:.3f}")', "val_acc"),
        ('print(f"val acc: {a:.3f} test acc: {b:.3f}")', "val_acc"),
        ('mlflow.log_metric("val_acc", 1)\nprint(f"loss: {b:.3f}")', "loss"),
    ],
    ids=["held-out before training", "a score before a loss", "validation before test", "read before unread"],
)
def test_the_likeliest_objective_is(tmp_path: Path, text: str, name: str) -> None:
    objective = choose_objective(list(told_by(tmp_path, text).values()), lambda told: told.source != "log")

    assert objective is not None
    assert objective.name == name


@pytest.mark.parametrize(
    ("name", "goal"),
    [("val_loss", "minimize"), ("val/acc", "maximize"), ("test_ppl", "minimize"), ("episodic_return", "maximize")],
)
def test_the_goal_follows_from_the_name(name: str, goal: str) -> None:
    assert goal_of(name) == goal


def facts_of(folder: Path, text: str) -> ScriptFacts:
    path = folder / "train.py"
    path.write_text(textwrap.dedent(text))
    return inspect_script(path)


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        (
            'print(f"Epoch {epoch}: loss {loss:.4f}, val acc {acc:.2f}%")',
            "Epoch 3: loss 7.5e-05, val acc 91.25%",
            {"epoch": "3", "loss": "7.5e-05", "val_acc": "91.25"},
        ),
        (
            'print("step %5d/%d | train loss %8.3f | lr %.1e" % (step, n, loss, lr))',
            "step   120/900 | train loss    0.251 | lr 1.0e-3",
            {"step": "120", "train_loss": "0.251"},
        ),
        (
            'print("[%d/%d] Loss_D: %.4f Loss_G: %.4f" % (epoch, n, d, g))',
            "[2/25] Loss_D: 0.5 Loss_G: nan",
            {"epoch": "2", "loss_d": "0.5", "loss_g": "nan"},
        ),
        (
            'print(f"iter {i}: loss {losses.val:.3f} ({losses.avg:.3f}) acc {top1.val:.3f} ({top1.avg:.3f})")',
            "iter 7: loss 0.1 (0.2) acc 0.3 (0.4)",
            {"step": "7", "loss": "0.2", "acc": "0.4"},
        ),
    ],
    ids=["an epoch", "padded numbers", "an epoch without a label", "means in parentheses"],
)
def test_one_expression_finds_all_metrics_of_a_line_and_where_they_stand(
    tmp_path: Path, text: str, line: str, found: dict[str, str]
) -> None:
    (expression,) = facts_of(tmp_path, text).expressions
    match = compile_pattern(expression.pattern).search(line)

    assert match is not None
    assert match.groupdict() == found


@pytest.mark.parametrize(
    ("text", "name", "source", "path"),
    [
        (
            """
            rows = []
            rows.append({"epoch": 1, "val_loss": loss})
            pd.DataFrame(rows).to_csv("history.csv")
            """,
            "val_loss",
            "csv",
            "history.csv",
        ),
        (
            """
            with open(os.path.join("out", "log.csv"), "w") as f:
                writer = csv.DictWriter(f, fieldnames=["epoch", "val_acc"])
            """,
            "val_acc",
            "csv",
            "out/log.csv",
        ),
        ('f = open("log.csv", "w")\nf.write("epoch,train_loss\\n")', "train_loss", "csv", "log.csv"),
        (
            """
            metrics = {f"val_{k}": v for k, v in dict(loss=1).items()}
            with open("metrics.json", "w") as f:
                json.dump({**metrics, "n": 3}, f)
            """,
            "val_loss",
            "json",
            "metrics.json",
        ),
        (
            'with (out / "log.jsonl").open("a") as f:\n    f.write(json.dumps({"loss": x}) + "\\n")',
            "loss",
            "json",
            "log.jsonl",
        ),
        (
            """
            import keras
            model.compile(metrics=["accuracy"])
            model.fit(x, verbose=0, validation_data=v, callbacks=[keras.callbacks.TensorBoard("logs")])
            """,
            "epoch_accuracy",
            "tensorboard",
            "logs/validation",
        ),
    ],
    ids=["pandas", "DictWriter", "a header", "json.dump", "JSON lines", "Keras's TensorBoard"],
)
def test_metrics_in_files_are_found_with_their_file(
    tmp_path: Path, text: str, name: str, source: str, path: str
) -> None:
    told = told_by(tmp_path, text)[name]

    assert (told.source, told.file.path if told.file else None) == (source, path)


def test_tags_that_a_loop_writes_are_those_of_its_dictionary(tmp_path: Path) -> None:
    text = """
        def evaluate():
            return {"loss": 1.0, "acc": 2.0}
        stats = evaluate()
        for name, value in stats.items():
            writer.add_scalar(f"val/{name}", value, epoch)
    """
    assert sorted(told_by(tmp_path, text)) == ["val/acc", "val/loss"]


def test_json_on_the_output_is_found_by_its_keys(tmp_path: Path) -> None:
    found = told_by(tmp_path, 'print(json.dumps({"epoch": 1, "val_loss": loss}))')

    assert read(found["val_loss"], '{"epoch": 1, "val_loss": 0.5}') == "0.5"


def test_what_is_logged_into_a_file_is_not_on_the_output(tmp_path: Path) -> None:
    assert told_by(tmp_path, 'logging.basicConfig(filename="x.log")\nlogging.info(f"loss: {x:.3f}")') == {}


def test_files_are_told_by_what_they_begin_with(tmp_path: Path) -> None:
    text = """
        parser.add_argument("--out", default="runs")
        args = parser.parse_args()
        torch.save(model, os.path.join(args.out, "model.pt"))
        plt.savefig("loss.png")
        np.load("/abs/x.npy")
        def load(root="../data"):
            return open(root + "/train.txt")
    """
    facts = facts_of(tmp_path, "import argparse\nparser = argparse.ArgumentParser()\n" + textwrap.dedent(text))

    assert [(place.setting, place.path) for place in facts.writes] == [("out", "model.pt"), ("", "loss.png")]
    assert {place.path for place in facts.reads} == {"../data/train.txt", "../data"}


def test_variables_are_found_with_their_defaults(tmp_path: Path) -> None:
    text = """
        import os
        width = os.environ.get("WIDTH", "64")
        data = os.environ["DATA_DIR"]
        if "CACHE" in os.environ:
            cache = os.environ["CACHE"]
        rank = os.environ["LOCAL_RANK"]
    """
    found = {flag.name: (flag.default, flag.is_required) for flag in facts_of(tmp_path, text).variables}

    assert found == {"WIDTH": (64, False), "DATA_DIR": (None, True), "CACHE": (None, False)}


def test_names_that_a_logger_hands_on_are_tags(tmp_path: Path) -> None:
    text = """
        class Logger:
            def log(self, key, value, step):
                self.writer.add_scalar(key, value, step)
        logger.log("eval/reward", reward, 3)
    """
    assert {name: told.source for name, told in told_by(tmp_path, text).items()} == {"eval/reward": "tensorboard"}
