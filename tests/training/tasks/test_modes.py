"""Modes: what a teacher, a curriculum, two experts and an autoencoder change of the loss and of the order."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from sweepline.contract.runfolder import BEST_WEIGHTS
from sweepline.errors import ConfigError
from sweepline.training.building import build_task, build_training
from sweepline.training.config.identity import result_identity
from sweepline.training.config.loading import load_config
from sweepline.training.config.schema import TrainConfig
from sweepline.training.datasets.examples import Examples
from sweepline.training.datasets.splits import find_dataset
from sweepline.training.folder import write_effective_config
from sweepline.training.loop import LoopState, evaluate, train
from sweepline.training.tasks.base import Task
from sweepline.training.tasks.curriculum import Curriculum, difficulty_of
from sweepline.training.tasks.distill import PROJECTION, Distilled, last_linear
from sweepline.training.tasks.fusion import Fusion
from sweepline.training.tasks.supervised import INITIAL, Classify, Regress

COMMON = ("data.name=digits", "device=cpu", "batch_size=32", "learner.opt=adam", "learner.step_size=0.003")
INDEX = torch.arange(40)


@pytest.fixture(scope="module")
def digits() -> tuple[Examples, Examples]:
    """Few examples to train on, and others."""
    examples = find_dataset(load_config(None, COMMON)).load("train")
    return examples.between(0, 200), examples.part(torch.arange(600, 900))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, digits: tuple[Examples, Examples]) -> Callable[..., str]:
    """A function that trains a network and returns its folder, as a run leaves it."""

    def make(model: str, *words: str, epochs: int = 3) -> str:
        config = load_config(None, [*COMMON, f"model.name={model}", f"epochs={epochs}", *words])
        task, optimization = pair(config, *digits)
        for _ in train(task, optimization, config):
            pass
        folder = tmp_path_factory.mktemp(model)
        write_effective_config(config, folder, {})
        torch.save(task.model.state_dict(), folder / BEST_WEIGHTS)
        return str(folder)

    return make


def pair(config: TrainConfig, training: Examples, held_out: Examples | None = None) -> tuple[Task, object]:
    model, optimization, _ = build_training(config, training)
    return build_task(config, model, training, held_out), optimization


def task_of(words: list[str], training: Examples, held_out: Examples | None = None) -> Task:
    return pair(load_config(None, [*COMMON, *words]), training, held_out)[0]


def test_a_distilled_loss_is_that_of_labels_and_teacher(
    digits: tuple[Examples, Examples], trained: Callable[..., str]
) -> None:
    words = ["model.name=mlp", "training.use_knowledge_distillation=true", f"training.teacher={trained('simple_cnn')}"]
    task = task_of([*words, "training.temperature=2", "training.alpha=0.3"], *digits)
    assert isinstance(task, Distilled)
    inputs, targets = digits[0].batch(INDEX)
    with torch.no_grad():
        student, teacher = task.model(inputs), task.frozen["teacher"](inputs)
    of_labels = functional.cross_entropy(student, targets)
    soft = functional.softmax(teacher / 2, 1)
    divergence = (soft * (soft.log() - functional.log_softmax(student / 2, 1))).sum(1).mean()
    assert task.loss(INDEX).loss.item() == pytest.approx((0.7 * of_labels + 0.3 * 4 * divergence).item(), rel=1e-5)
    assert all(not p.requires_grad for p in task.frozen["teacher"].parameters())
    assert not task.frozen["teacher"].training


def test_without_a_share_of_the_teacher_a_distilled_run_is_a_plain_one(
    digits: tuple[Examples, Examples], trained: Callable[..., str]
) -> None:
    teacher = trained("simple_cnn")
    words = ["model.name=mlp", "epochs=2"]
    taught = [*words, "training.use_knowledge_distillation=true", f"training.teacher={teacher}", "training.alpha=0"]
    weights = []
    for overrides in (words, taught):
        config = load_config(None, [*COMMON, *overrides])
        task, optimization = pair(config, *digits)
        for _ in train(task, optimization, config):  # type: ignore[arg-type]
            pass
        weights.append(torch.cat([p.detach().reshape(-1) for p in task.model.parameters()]))
    assert torch.equal(*weights)


def test_features_are_compared_through_a_projection_that_is_trained(
    digits: tuple[Examples, Examples], trained: Callable[..., str]
) -> None:
    words = ["model.name=mlp", "training.use_knowledge_distillation=true", f"training.teacher={trained('simple_cnn')}"]
    task = task_of([*words, "training.feature_weight=0.5"], *digits)
    projection = getattr(task.model, PROJECTION)
    assert (projection.in_features, projection.out_features) == (32, 128)
    plain = task_of(words, *digits)
    difference = task.loss(INDEX).loss.item() - plain.loss(INDEX).loss.item()
    assert difference > 0
    task.loss(INDEX).loss.backward()
    assert bool(projection.weight.grad.any())
    layer = last_linear(task.model)
    assert layer is not None
    assert layer.out_features == 10


@pytest.mark.parametrize("key", ["teacher", "experts"])
def test_a_network_that_gives_no_scores_teaches_nobody(
    digits: tuple[Examples, Examples], trained: Callable[..., str], key: str
) -> None:
    auto = trained("conv_autoencoder", "training.mode=autoencoder", epochs=1)
    words = {
        "teacher": ["model.name=mlp", "training.use_knowledge_distillation=true", f"training.teacher={auto}"],
        "experts": ["model.name=dqn", "training.mode=fusion", f"training.experts=[{auto},{auto}]"],
    }[key]
    with pytest.raises(ConfigError, match=f"training.{key} .*: was trained in the mode autoencoder; use one that was"):
        task_of(words, *digits)


def test_a_student_with_a_projection_is_loaded_as_a_teacher(
    digits: tuple[Examples, Examples], trained: Callable[..., str]
) -> None:
    taught = ["training.use_knowledge_distillation=true", f"training.teacher={trained('simple_cnn')}"]
    student = trained("mlp", *taught, "training.feature_weight=0.5")
    again = ["model.name=mlp", "training.use_knowledge_distillation=true", f"training.teacher={student}"]
    assert isinstance(task_of(again, *digits), Distilled)


def test_a_curriculum_takes_the_easiest_first_and_all_in_the_end(
    digits: tuple[Examples, Examples], trained: Callable[..., str]
) -> None:
    scorer = trained("mlp")
    words = ["model.name=mlp", "training.mode=curriculum", f"training.difficulty={scorer}", "epochs=8"]
    task = task_of([*words, "training.start_share=0.25", "training.grow_epochs=4"], *digits)
    assert isinstance(task, Curriculum)
    own = task_of(["model.name=mlp"], digits[0], digits[0])
    own.model.load_state_dict(torch.load(Path(scorer) / BEST_WEIGHTS, weights_only=True))
    own.model.eval()
    easiest = difficulty_of(own).argsort(stable=True)
    assert [task.n_used(epoch) for epoch in (1, 2, 3, 4, 5)] == [50, 100, 150, 200, 200]
    assert set(task.order(1).tolist()) == set(easiest[:50].tolist())
    assert all(len(task.order(epoch)) == 200 for epoch in range(1, 6))
    counts = torch.bincount(task.order(1), minlength=200)
    assert set(counts[easiest[:50]].tolist()) == {4}
    assert torch.equal(task.order(4), own.order(4))
    assert torch.equal(task.order(2), task.order(2))


def test_difficulty_by_an_autoencoder_is_its_error(
    digits: tuple[Examples, Examples], trained: Callable[..., str]
) -> None:
    scorer = trained("conv_autoencoder", "training.mode=autoencoder")
    task = task_of(["model.name=mlp", "training.mode=curriculum", f"training.difficulty={scorer}"], *digits)
    assert isinstance(task, Curriculum)
    own = task_of(["model.name=conv_autoencoder", "training.mode=autoencoder"], digits[0], digits[0])
    own.model.load_state_dict(torch.load(Path(scorer) / BEST_WEIGHTS, weights_only=True))
    inputs, _ = digits[0].batch(torch.arange(200))
    with torch.no_grad():
        errors = (own.model.eval()(inputs) - inputs).square().mean((1, 2, 3))
    assert torch.equal(task._easiest_first, errors.argsort(stable=True))


def test_an_autoencoder_loses_to_its_inputs(digits: tuple[Examples, Examples]) -> None:
    task = task_of(["model.name=conv_autoencoder", "training.mode=autoencoder"], *digits)
    inputs, _ = digits[0].batch(INDEX)
    with torch.no_grad():
        wanted = (task.model(inputs) - inputs).square().mean()
    assert task.loss(INDEX).loss.item() == pytest.approx(wanted.item())
    assert list(evaluate(task, n_together=100)) == ["loss"]


def test_fusion_knows_what_every_weight_comes_to(
    digits: tuple[Examples, Examples], trained: Callable[..., str]
) -> None:
    experts = [trained("mlp", epochs=1), trained("simple_cnn", epochs=1)]
    words = ["model.name=dqn", "training.mode=fusion", f"training.experts=[{', '.join(experts)}]"]
    task = task_of([*words, "training.n_weights=3"], *digits)
    assert isinstance(task, Fusion)
    inputs, targets = digits[1].batch(torch.arange(300))
    with torch.no_grad():
        scores = [functional.softmax(expert(inputs), 1) for expert in task.frozen.values()]
    for i, weight in enumerate((0.0, 0.5, 1.0)):
        mixed = (1 - weight) * scores[0] + weight * scores[1]
        assert task.evaluated is not None
        assert torch.equal(task.evaluated.rewards[:, i], (mixed.argmax(1) == targets).float())
    found = evaluate(task, n_together=70)
    alone = [float((s.argmax(1) == targets).float().mean()) for s in scores]
    assert [found["expert_1_accuracy"], found["expert_2_accuracy"]] == pytest.approx(alone)
    assert min(alone) <= found["accuracy"] <= 1


def test_a_bandit_learns_from_what_it_took_alone(
    digits: tuple[Examples, Examples], trained: Callable[..., str]
) -> None:
    experts = [trained("mlp", epochs=1), trained("simple_cnn", epochs=1)]
    words = ["model.name=dqn", "training.mode=fusion", f"training.experts=[{', '.join(experts)}]"]
    task = task_of([*words, "training.feedback=taken", "training.epsilon=0"], *digits)
    task.loss(INDEX[:1]).loss.backward()
    last = last_linear(task.model)
    assert last is not None
    assert last.bias.grad is not None
    assert int((last.bias.grad != 0).sum()) == 1


def test_what_is_centered_begins_at_zero_and_keeps_the_new_network() -> None:
    words = ["data.name=poly_teacher", "data.args={dim: 6, n_examples: 64}", "training.centered=true"]
    config = load_config(None, [*COMMON, *words, "model.name=mlp", "model.parametrization=mup", "learner.opt=sgd"])
    training = find_dataset(config).load("train")
    task, optimization = pair(config, training, training)
    assert isinstance(task, Regress)
    assert task.loss(INDEX).loss.item() == pytest.approx(training.targets[INDEX].square().mean().item())
    state = LoopState()
    for _ in train(task, optimization, config, state=state):  # type: ignore[arg-type]
        pass
    again = pair(config, training, training)[0]
    again.model.load_state_dict(task.model.state_dict())
    one, other = (evaluate(each, n_together=64)["loss"] for each in (task, again))
    assert one == other
    assert INITIAL in again.evaluating(training).frozen
    assert evaluate(again.evaluating(training), n_together=64)["loss"] == one


def test_fresh_examples_are_new_every_epoch_and_the_same_for_a_run_that_goes_on() -> None:
    words = ["data.name=poly_teacher", "data.args={dim: 6, n_examples: 64, fresh: true}", "model.name=mlp"]
    config = load_config(None, [*COMMON, *words, "learner.opt=sgd"])
    task = pair(config, find_dataset(config).load("train"))[0]
    epochs = []
    for epoch in (1, 2, 1):
        task.order(epoch)
        epochs.append(task.training.inputs.clone())
    assert torch.equal(epochs[0], epochs[2])
    assert not torch.equal(epochs[0], epochs[1])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["training.mode=curriculum"], "set training.difficulty"),
        (["training.mode=fusion", "model.name=dqn"], "set training.experts to two"),
        (["training.use_knowledge_distillation=true"], "needs training.teacher"),
        (["training.mode=autoencoder"], "simple_cnn cannot be trained in the mode autoencoder; use conv_autoencoder"),
        (["model.name=dqn"], "dqn cannot be trained in the mode normal"),
        (["training.mode=fusionn"], "did you mean 'fusion'?"),
        (["model.args={a: 1}"], "is for what you bring yourself"),
        (
            [
                *("training.mode=fusion", "model.name=dqn", "training.experts=[a, b]", "training.teacher=t"),
                "training.use_knowledge_distillation=true",
            ],
            "a teacher helps with normal and curriculum alone",
        ),
    ],
)
def test_what_a_mode_lacks_is_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, [*COMMON, *words])
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["training.loss=mse"], "has classes; use cross_entropy or mse_one_hot"),
        (["training.use_knowledge_distillation=true", "training.teacher=/nowhere"], "nothing of this name"),
        (["model.name=encoder_decoder", "model.patch=3"], "does not divide images of 8 x 8"),
        (["model.name=decoder_only", "model.heads=3"], "multiple of 4, and of model.heads 3"),
    ],
)
def test_what_does_not_go_together_is_a_sentence(
    words: list[str], sentence: str, digits: tuple[Examples, Examples]
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        task_of(words, *digits)


def test_images_are_needed_where_the_network_says_so() -> None:
    words = ["data.name=poly_teacher", "data.args={n_examples: 8}"]
    config = load_config(None, [*COMMON, *words])
    with pytest.raises(ConfigError, match=r"needs images, inputs are of shape \(20,\); use mlp"):
        build_training(config, find_dataset(config).load("train"))


def test_other_weights_of_the_teacher_are_another_run(trained: Callable[..., str]) -> None:
    teacher = trained("mlp")
    words = ["training.use_knowledge_distillation=true", f"training.teacher={teacher}"]
    before = result_identity(load_config(None, [*COMMON, *words]), 100)
    state = torch.load(Path(teacher) / BEST_WEIGHTS, weights_only=True)
    torch.save({name: value + 1 for name, value in state.items()}, Path(teacher) / BEST_WEIGHTS)
    assert result_identity(load_config(None, [*COMMON, *words]), 100) != before


def test_weights_of_another_network_are_refused(digits: tuple[Examples, Examples], trained: Callable[..., str]) -> None:
    teacher = Path(trained("mlp"))
    torch.save(nn.Linear(3, 3).state_dict(), teacher / BEST_WEIGHTS)
    words = ["training.use_knowledge_distillation=true", f"training.teacher={teacher}"]
    with pytest.raises(ConfigError, match=r"best\.pt does not fit"):
        task_of(words, *digits)


class TestGoingOn:
    """A network that begins with the weights of one that was trained."""

    def test_it_begins_with_them_and_not_with_new_ones(
        self, digits: tuple[Examples, Examples], trained: Callable[..., str]
    ) -> None:
        folder = trained("mlp", epochs=2)
        config = load_config(None, [*COMMON, "model.name=mlp", f"model.weights={folder}", "seed=5", "epochs=1"])
        model, optimization, remarks = build_training(config, digits[0])
        kept = torch.load(Path(folder) / BEST_WEIGHTS, weights_only=True)
        assert remarks == []
        assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
        task = build_task(config, model, *digits)
        for _ in train(task, optimization, config):
            pass
        assert not any(torch.equal(value, kept[name]) for name, value in model.state_dict().items())

    def test_the_latest_weights_of_an_experiment_are_named_by_their_link(self, tmp_path: Path) -> None:
        words = [*COMMON, "model.name=mlp", "epochs=1", "data.limit=100", f"output_dir={tmp_path}"]
        argv = [sys.executable, "-m", "sweepline.training", "--", *words]
        subprocess.run(argv, check=True, capture_output=True, cwd=tmp_path)
        (latest,) = tmp_path.rglob("models/latest.pth")
        config = load_config(None, [*COMMON, "model.name=mlp", f"model.weights={latest}"])
        model, _, _ = build_training(config, find_dataset(config).load("train"))
        kept = torch.load(latest, weights_only=True)
        assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())

    def test_other_weights_are_another_run(self, trained: Callable[..., str]) -> None:
        configs = [
            load_config(None, [*COMMON, "model.name=mlp", *words])
            for words in ([], [f"model.weights={trained('mlp')}"])
        ]
        assert result_identity(configs[0], 100) != result_identity(configs[1], 100)

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["model.name=mlp", "model.width=8"], r"is another network: model\.width is 32 there"),
            (["model.name=simple_cnn"], r"is another network: model\.name is 'mlp' there"),
            (["model.name=mlp", "model.parametrization=mup"], r"model\.parametrization is 'standard' there"),
        ],
    )
    def test_another_network_is_a_sentence(
        self, words: list[str], sentence: str, digits: tuple[Examples, Examples], trained: Callable[..., str]
    ) -> None:
        config = load_config(None, [*COMMON, *words, f"model.weights={trained('mlp')}"])
        with pytest.raises(ConfigError, match=sentence):
            build_training(config, digits[0])

    def test_a_run_that_is_not_there_is_a_sentence(self, digits: tuple[Examples, Examples]) -> None:
        config = load_config(None, [*COMMON, "model.name=mlp", "model.weights=/nowhere"])
        with pytest.raises(ConfigError, match=r"model\.weights /nowhere: nothing of this name"):
            build_training(config, digits[0])


def test_the_loss_of_a_fresh_classifier_is_that_of_chance(digits: tuple[Examples, Examples]) -> None:
    for model in ("mlp", "encoder_decoder", "decoder_only"):
        task = task_of([f"model.name={model}"], *digits)
        assert isinstance(task, Classify)
        assert task.loss(INDEX).loss.item() == pytest.approx(math.log(10), rel=0.25)


def test_examples_without_a_copy_are_the_first(digits: tuple[Examples, Examples]) -> None:
    few = digits[0].between(0, 10)
    assert few.inputs.data_ptr() == digits[0].inputs.data_ptr()
    assert replace(few, n_classes=0, targets=torch.zeros(10, 3)).n_outputs == 3


def test_a_folder_is_a_teacher_once_its_run_has_ended(tmp_path: Path, digits: tuple[Examples, Examples]) -> None:
    words = [*COMMON, "model.name=mlp", "epochs=2", "checkpoint.interval_s=0", "data.limit=100", "run_numbers=never"]
    argv = [sys.executable, "-m", "sweepline.training", "--", *words]
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "SWEEPLINE_RUN_DIR": str(tmp_path)})
    newest = max((tmp_path / "ckpt").glob("ckpt_*.pt"), key=lambda path: path.name)
    assert torch.load(newest, weights_only=True)["state"]["epoch"] == 3
    taught = ["model.name=mlp", "training.use_knowledge_distillation=true", f"training.teacher={tmp_path}"]
    assert isinstance(task_of(taught, *digits), Distilled)
    newest.unlink()
    with pytest.raises(ConfigError, match="the run has not ended: it stands at epoch 2"):
        task_of(taught, *digits)


def test_a_curriculum_that_follows_the_epochs_is_another_run_with_more_of_them(trained: Callable[..., str]) -> None:
    words = [*COMMON, "model.name=mlp", "training.mode=curriculum", f"training.difficulty={trained('mlp')}"]
    few, many = (load_config(None, [*words, f"epochs={n}"]) for n in (4, 8))
    assert result_identity(few, 100) != result_identity(many, 100)
    few, many = (load_config(None, [*words, f"epochs={n}", "training.grow_epochs=3"]) for n in (4, 8))
    assert result_identity(few, 100) == result_identity(many, 100)


def test_a_network_that_was_trained_centered_helps_nobody(
    digits: tuple[Examples, Examples], trained: Callable[..., str]
) -> None:
    scorer = trained("mlp", "training.centered=true")
    with pytest.raises(ConfigError, match="was trained centered"):
        task_of(["model.name=mlp", "training.mode=curriculum", f"training.difficulty={scorer}"], *digits)
