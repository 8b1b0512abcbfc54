"""What the modes of training are worth: each against the baseline that it should beat, over seeds, paired by seed.

``python -m benchmarks.modes [digits] [mnist]``: digits and the real MNIST ($SWEEPLINE_DATA). Every pair trains for the
same number of optimizer steps.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import Figure, run_json

SEEDS = range(5)
ADAM = ("learner.opt=adam", "learner.step_size=0.002", "device=cpu", "batch_size=64")
TESTED = ("evaluate.every=1000", "evaluate.final_test=never")
SETTINGS = {
    "digits": {"data": ("data.name=digits",), "few": 300, "many": 1200, "long": 40, "short": 20},
    "mnist": {"data": ("data.name=mnist",), "few": 2000, "many": 10000, "long": 20, "short": 10},
}
"""``few`` examples are there for networks that are compared, ``many`` for what learns of networks; epochs otherwise."""
PCA = """
import json, sys
import torch
from sweepline.training.config.loading import load_config
from sweepline.training.datasets.splits import load_data
train, _, test = load_data(load_config(None, sys.argv[2:]))
inputs = [part.batch(torch.arange(len(part)))[0].flatten(1) for part in (train, test)]
mean = inputs[0].mean(0)
_, _, components = torch.pca_lowrank(inputs[0] - mean, q=int(sys.argv[1]), center=False, niter=8)
kept = (inputs[1] - mean) @ components @ components.T + mean
print(json.dumps({"pca": (inputs[1] - kept).square().mean().item(), "mean": (inputs[1] - mean).square().mean().item()}))
"""


class _Modes:
    """The runs of one data set, in a folder of their own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, own = name, folder, SETTINGS[name]
        self.data: tuple[str, ...] = own["data"]  # type: ignore[assignment]
        names = ("few", "many", "long", "short")
        self.few, self.many, self.long, self.short = (int(own[name]) for name in names)  # type: ignore[call-overload]

    def figures(self) -> Iterator[Figure]:
        """Yield all of them."""
        yield from self._autoencoder()
        yield from self._distillation()
        yield from self._curriculum()
        yield from self._fusion()

    def _train(self, run: str, *words: str, seed: int, epochs: int) -> dict[str, float]:
        """Train a run and return its last metrics, evaluated on the test portion at the end."""
        run_dir = self.folder / f"{run}_{seed}"
        run_dir.mkdir()
        argv = [
            *(sys.executable, "-m", "sweepline.training", "--", *self.data, *ADAM, f"seed={seed}"),
            *(f"epochs={epochs}", f"evaluate.every={epochs}", "run_numbers=never", "checkpoint.interval_s=0", *words),
        ]
        environ = {**os.environ, "SWEEPLINE_RUN_DIR": str(run_dir)}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=self.folder, env=environ)
        if done.returncode:
            raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stderr}")
        lines = [line.split() for line in done.stdout.splitlines() if line.startswith("METRIC ")]
        return {k: float(v) for words_ in lines for k, v in (word.split("=") for word in words_[1:])}

    def _figure(self, what: str, ours: Sequence[float], others: Sequence[float], unit: str = "%") -> Figure:
        """Return the differences by seed, and the means that they are of."""
        scale = 100 if unit == "%" else 1
        differences = [scale * (a - b) for a, b in zip(ours, others, strict=True)]
        means = f"{scale * statistics.mean(ours):.4g} against {scale * statistics.mean(others):.4g}"
        return Figure(f"{self.name}: {what} ({means}), difference", differences, unit=unit)

    def _autoencoder(self) -> Iterator[Figure]:
        losses = []
        for seed in SEEDS:
            words = ("model.name=conv_autoencoder", "model.latent=8", "training.mode=autoencoder", "batch_size=32")
            epochs = 60 if self.name == "digits" else 5
            limit = f"data.limit={self.many}"
            losses.append(self._train("autoencoder", *words, limit, seed=seed, epochs=epochs)["test_loss"])
        base = run_json(PCA, "8", *self.data, limit)
        yield self._figure("autoencoder, 8 numbers, loss against PCA of 8", losses, [base["pca"]] * len(losses), "")
        yield self._figure("autoencoder, loss against the mean image", losses, [base["mean"]] * len(losses), "")

    def _distillation(self) -> Iterator[Figure]:
        teacher_epochs = 30 if self.name == "digits" else 3
        teacher = self._train("teacher", "model.name=simple_cnn", seed=100, epochs=teacher_epochs)
        student = ("model.name=mlp", "model.width=32", f"data.limit={self.few}")
        alone = [self._train("alone", *student, seed=s, epochs=self.long)["test_accuracy"] for s in SEEDS]
        taught = [
            self._train(
                "taught",
                *student,
                "training.use_knowledge_distillation=true",
                f"training.teacher={self.folder / 'teacher_100'}",
                "training.alpha=0.9",
                seed=s,
                epochs=self.long,
            )["test_accuracy"]
            for s in SEEDS
        ]
        what = f"mlp of {self.few} examples taught by a CNN of all ({100 * teacher['test_accuracy']:.2f} %), or alone"
        yield self._figure(what, taught, alone)

    def _curriculum(self) -> Iterator[Figure]:
        scorer = ("model.name=conv_autoencoder", "model.latent=8", "training.mode=autoencoder")
        few = f"data.limit={self.few}"
        self._train("scorer", *scorer, few, seed=100, epochs=self.short)
        self._train("earlier", "model.name=mlp", few, seed=101, epochs=self.short)
        plain = [self._train("plain", "model.name=simple_cnn", few, seed=s, epochs=self.short) for s in SEEDS]
        for run, by in (("scorer_100", "an autoencoder's loss"), ("earlier_101", "an earlier run's loss")):
            words = ("training.mode=curriculum", f"training.difficulty={self.folder / run}")
            eased = [
                self._train(f"eased_{run}", "model.name=simple_cnn", few, *words, seed=s, epochs=self.short)
                for s in SEEDS
            ]
            accuracies = [[found["test_accuracy"] for found in runs] for runs in (eased, plain)]
            yield self._figure(f"CNN of {self.few} examples, the easy ones first by {by}, or all", *accuracies)

    def _fusion(self) -> Iterator[Figure]:
        experts = (("simple_cnn", self.few // 3), ("mlp", self.few))
        for model, limit in experts:
            words = (f"model.name={model}", f"data.limit={limit}")
            self._train(f"expert_{model}", *words, seed=100, epochs=self.long)
        names = ", ".join(str(self.folder / f"expert_{model}_100") for model, _ in experts)
        for feedback in ("all", "taken"):
            fused = [
                self._train(
                    f"fused_{feedback}",
                    *("model.name=dqn", "model.width=64", "model.depth=3", "training.mode=fusion"),
                    f"training.experts=[{names}]",
                    f"training.feedback={feedback}",
                    # Of examples that a network was trained on it is surer than it has reason to be.
                    *(f"data.skip={self.few}", f"data.limit={self.many}"),
                    seed=s,
                    epochs=self.short,
                )
                for s in SEEDS
            ]
            chosen = [found["test_accuracy"] for found in fused]
            best = [max(f["test_expert_1_accuracy"], f["test_expert_2_accuracy"]) for f in fused]
            constant = [found["test_constant_accuracy"] for found in fused]
            yield self._figure(f"fusion (feedback {feedback}), or the better network", chosen, best)
            yield self._figure(f"fusion (feedback {feedback}), or the best constant weight", chosen, constant)


def _of(names: Sequence[str]) -> Iterator[Figure]:
    has_mnist = (Path(os.environ.get("SWEEPLINE_DATA", "")) / "MNIST" / "raw").is_dir()
    for name in names or (("digits", "mnist") if has_mnist else ("digits",)):
        with tempfile.TemporaryDirectory() as folder:
            yield from _Modes(name, Path(folder)).figures()


if __name__ == "__main__":
    for figure in _of(sys.argv[1:]):
        sys.stdout.write(json.dumps({"title": figure.title, "values": list(figure.values)}) + "\n")
        sys.stdout.flush()
