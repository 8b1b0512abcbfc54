"""Whether what can be trained is sound: every model with every task that goes with it, in seconds, on real digits.

What is looked for are faults that a falling loss hides: gradients that do not arrive, labels that leak into inputs,
evaluation on what was trained on, runs that do not repeat themselves, checkpoints that forget.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from sweepline.contract.runfolder import BEST_WEIGHTS
from sweepline.errors import SweeplineError
from sweepline.training import calling, plugins
from sweepline.training.building import build_task, build_training, offer_of_shapes, shapes_of
from sweepline.training.checkpoints import Checkpoints
from sweepline.training.config.loading import load_config
from sweepline.training.config.schema import TrainConfig
from sweepline.training.datasets.examples import Examples
from sweepline.training.datasets.splits import find_dataset, load_training
from sweepline.training.folder import write_effective_config
from sweepline.training.loop import LoopState, evaluate, train
from sweepline.training.optim.optimization import Optimization
from sweepline.training.registry import MODELS, TASKS
from sweepline.training.seeding import set_up_process
from sweepline.training.tasks.base import Task, WrappedTask, metric_names
from sweepline.training.tasks.distill import PROJECTION, Distilled
from sweepline.training.tasks.losses import cross_entropy
from sweepline.training.tasks.supervised import Classify
from sweepline.training.trying import single_batch

N_TRAINED, N_HELD_OUT, N_OVERFITTED, N_LOOKED_AT = 400, 600, 32, 64
N_STEPS, N_EPOCHS = 1000, 12
NEAR_LN = 0.25  # share of ln(classes) by which the first loss may be off
N_SIGMAS = 4.0  # above chance that accuracy on shuffled labels may be: by luck once in 30,000 times
TELLING_PIXEL = 0.9  # held-out accuracy of one pixel alone that no image has

COMMON = (
    *("data.name=digits", "device=cpu", "epochs=2", "batch_size=32", "learner.opt=adam", "learner.step_size=0.003"),
)

Make = Callable[[Examples, Examples | None, TrainConfig], tuple[Task, Optimization]]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, whether it is as it should be, and what was found."""

    name: str
    is_ok: bool
    found: str


def make_pair(training: Examples, held_out: Examples | None, config: TrainConfig) -> tuple[Task, Optimization]:
    """Return a task and what optimizes it, as a run with this config has them."""
    model, optimization, _ = build_training(config, training)
    return build_task(config, model, training, held_out), optimization


def smoke_pair(
    training: Examples,
    held_out: Examples,
    config: TrainConfig,
    make: Make = make_pair,
    *,
    n_declared: int | None = None,
) -> Iterator[Check]:
    """Yield what is found of a model with a task.

    Args:
        training: the examples to train on; few hundred are enough.
        held_out: others, to evaluate on.
        config: with which model, task and optimizer.
        make: makes the task and its optimization.
        n_declared: how many parameters the model should have, where that is declared.
    """
    task, optimization = make(training, held_out, config)
    first = torch.arange(min(N_LOOKED_AT, len(training)))
    yield from _check_first_step(task, optimization, first, training.n_classes if _begins_at_chance(task) else 0)
    if n_declared is not None:
        own = [p for name, p in task.model.named_parameters() if not name.startswith(PROJECTION)]
        n = sum(parameter.numel() for parameter in own)
        yield Check("parameters as declared", n == n_declared, f"{n:,} of {n_declared:,}")
    yield _check_overfits(training, config, make)
    if training.n_classes and training.inputs.dtype == torch.uint8:
        yield _check_pixels(training, held_out)
    yield _check_apart(training, held_out)
    if "accuracy" in metric_names(task):
        yield _check_chance(training, held_out, config, make)
    yield _check_repeats(training, config, make)
    yield _check_checkpoint(training, config, make)


def _check_first_step(task: Task, optimization: Optimization, index: torch.Tensor, n_classes: int) -> Iterator[Check]:
    seen: list[torch.Tensor] = []
    hook = task.model.register_forward_hook(lambda _model, _inputs, output: seen.append(output))
    task.model.train()
    outcome = task.loss(index)
    hook.remove()
    is_finite = bool(outcome.loss.isfinite()) and all(bool(o.isfinite().all()) for o in seen if torch.is_tensor(o))
    yield Check("finite", is_finite, f"loss {outcome.loss.item():.4g}")
    if n_classes:
        expected = math.log(n_classes)
        is_near = abs(outcome.loss.item() - expected) <= NEAR_LN * expected
        found = f"{outcome.loss.item():.3f}, ln({n_classes}) is {expected:.3f}"
        yield Check("first loss near ln(classes)", is_near, found)
    optimization.zero_grad()
    optimization.backward(outcome.loss)
    parameters = [(name, p) for name, p in task.model.named_parameters() if p.requires_grad]
    without = [name for name, p in parameters if p.grad is None or not bool(p.grad.any())]
    found = f"none in {', '.join(without[:3])}" if without else f"in all {len(parameters)} tensors"
    yield Check("gradients reach every parameter", not without, found)


def _begins_at_chance(task: Task) -> bool:
    """Whether a fresh network's loss is that of scores which are all alike."""
    inner = task.task if isinstance(task, WrappedTask) and not isinstance(task, Distilled) else task
    return isinstance(inner, Classify) and inner.criterion is cross_entropy


def _check_overfits(training: Examples, config: TrainConfig, make: Make) -> Check:
    """Look whether the task can learn a few examples by heart."""
    few = training.part(torch.arange(min(N_OVERFITTED, len(training))))
    task, optimization = make(few, None, config)
    index = torch.arange(len(few))
    task.model.train()
    losses: list[float] = []
    measured: dict[str, float] = {}
    is_learned = False
    while not is_learned and len(losses) < N_STEPS:
        optimization.zero_grad()
        outcome = task.loss(index)
        losses.append(outcome.loss.item())
        measured = task.metrics({name: value.item() for name, value in outcome.sums.items()}, outcome.n)
        optimization.backward(outcome.loss)
        optimization.apply(task.model)
        is_right = len(losses) >= N_STEPS // 5 and measured.get("accuracy") == 1.0  # a teacher's loss has a floor
        is_learned = losses[-1] < 0.1 * losses[0] or is_right
    found = f"loss {losses[0]:.3f} -> {losses[-1]:.3f} in {len(losses)} steps"
    return Check("one batch can be overfitted", is_learned, found)


def _check_pixels(training: Examples, held_out: Examples) -> Check:
    """Look for a pixel that tells the label: images have none, so that a label was written into them."""
    best, where = 0.0, 0
    pixels, others = training.inputs.flatten(1).long(), held_out.inputs.flatten(1).long()
    for i in range(pixels.shape[1]):
        counts = torch.zeros(256, training.n_classes, dtype=torch.long)
        counts.index_put_(
            (pixels[:, i], training.targets), torch.ones(len(training), dtype=torch.long), accumulate=True
        )
        share = (counts.argmax(1)[others[:, i]] == held_out.targets).float().mean().item()
        best, where = (share, i) if share > best else (best, where)
    return Check("no pixel tells the label", best < TELLING_PIXEL, f"pixel {where} is right for {best:.0%}")


def _check_apart(training: Examples, held_out: Examples) -> Check:
    known = {image.numpy().tobytes() for image in training.inputs}
    n = sum(image.numpy().tobytes() in known for image in held_out.inputs)
    return Check("held-out examples are not trained on", n <= len(held_out) // 100, f"{n} of {len(held_out)}")


def _check_chance(training: Examples, held_out: Examples, config: TrainConfig, make: Make) -> Check:
    """Train on labels that mean nothing: whoever is right about others like them has seen them."""
    generator = torch.Generator().manual_seed(1)
    shuffled = [
        replace(part, targets=part.targets[torch.randperm(len(part), generator=generator)])
        for part in (training, held_out)
    ]
    task, optimization = make(shuffled[0], shuffled[1], config)
    for _ in train(task, optimization, config.model_copy(update={"epochs": N_EPOCHS})):
        pass
    accuracy = evaluate(task, n_together=1000)["accuracy"]
    counts = torch.bincount(held_out.targets, minlength=held_out.n_classes)
    chance = counts.max().item() / len(held_out)
    limit = chance + N_SIGMAS * math.sqrt(chance * (1 - chance) / len(held_out))
    found = f"accuracy {accuracy:.3f}, chance {chance:.3f}, by luck at most {limit:.3f}"
    return Check("shuffled labels stay at chance", accuracy <= limit, found)


def _weights(task: Task) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in task.model.parameters()])


def _trained(training: Examples, config: TrainConfig, make: Make) -> torch.Tensor:
    task, optimization = make(training, None, config)
    for _ in train(task, optimization, config):
        pass
    return _weights(task)


def _check_repeats(training: Examples, config: TrainConfig, make: Make) -> Check:
    first, second = (_trained(training, config, make) for _ in range(2))
    other = _trained(training, config.model_copy(update={"seed": config.seed + 1}), make)
    if not torch.equal(first, second):
        return Check("two runs are identical", False, f"weights are up to {(first - second).abs().max():.2g} apart")
    return Check("two runs are identical", not torch.equal(first, other), "and another seed gives others")


def _check_checkpoint(training: Examples, config: TrainConfig, make: Make) -> Check:
    """Look whether a run that goes on from a checkpoint ends where one that went on without ends."""
    longer = config.model_copy(update={"epochs": config.epochs + 1})
    with tempfile.TemporaryDirectory() as folder:
        said: list[str] = []
        kept = Checkpoints(Path(folder), config_hash="smoke", keep=2, interval_s=0.0, say=said.append)
        task, optimization = make(training, None, config)
        state = LoopState()
        for result in train(task, optimization, longer, state=state):
            if result.epoch == config.epochs:
                kept.save(task.model, optimization, state, [result], task=task)
        again, its_own = make(training, None, config)
        with torch.no_grad():
            for parameter in again.model.parameters():
                parameter.add_(1.0)  # so that weights which are not restored show
        found = kept.restore(again.model, its_own, task=again)
        if found is None:
            return Check("a checkpoint is gone on from", False, "; ".join(said) or "it was not saved")
        for _ in train(again, its_own, longer, state=found[0]):
            pass
    is_same = torch.equal(_weights(task), _weights(again))
    return Check("a checkpoint is gone on from", is_same, "to the same bits" if is_same else "to other weights")


def smoke_all() -> Iterator[tuple[str, list[Check], float]]:
    """Yield for each model with each mode that it can be trained in its name, what is found, and the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        helpers = _train_helpers(Path(folder))
        for mode, model, helped in _pairs(helpers):
            words = [f"model.name={model}", f"training.mode={mode}", *(word for _, word in helped)]
            name = ", ".join([model, mode, *(help_name for help_name, _ in helped if help_name)])
            yield name, *_smoke_one(load_config(None, [*COMMON, *words]))


def _smoke_config(path: Path | None, overrides: Sequence[str]) -> Iterator[tuple[str, list[Check], float]]:
    """Yield the same for what a config names: its model, mode, data and optimizer, on the CPU."""
    on_cpu = [*overrides, "device=cpu", "precision=32"]
    asked = load_config(path, on_cpu)
    build_training(asked, load_training(asked))  # of all examples, and batches of the size that is to be trained with
    config = load_config(path, [*on_cpu, "epochs=2", "batch_size=32"])
    yield f"{config.model.name}, {config.training.mode}", *_smoke_one(config)


def _smoke_one(config: TrainConfig) -> tuple[list[Check], float]:
    began = time.perf_counter()
    set_up_process(config)
    training, held_out = _examples(config)
    settings = MODELS.settings_of(config.model.name, config.model)
    n = settings.n_parameters(*shapes_of(config, training)) if settings is not None else _declared(config, training)
    checks = list(smoke_pair(training, held_out, config, n_declared=n))
    return checks, time.perf_counter() - began


def _declared(config: TrainConfig, training: Examples) -> int | None:
    """Return how many parameters a network of a user's own is said to have."""
    build = MODELS.load(config.model.name)
    mark = plugins.mark_of(build, "model")
    if mark.n_parameters is None:
        return None
    own = {name: p.default for name, p in calling.parameters_of(build).items() if p.default is not p.empty}
    offered = {**own, **offer_of_shapes(*shapes_of(config, training)), **config.model.args}
    return int(calling.call(mark.n_parameters, f"model {config.model.name}: n_parameters", offered, {}))


def _pairs(helpers: Mapping[str, str]) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Yield mode, model, and what helps: a word for it, and an override."""
    needed = {
        "curriculum": [("", f"training.difficulty={helpers['conv_autoencoder']}")],
        "fusion": [("", f"training.experts=[{helpers['simple_cnn']}, {helpers['mlp']}]")],
    }
    for mode in TASKS.names:
        for model in MODELS.names:
            entry = MODELS.entry(model)
            if entry is not None and mode in entry.modes:
                yield mode, model, needed.get(mode, [])
    taught = [("distillation", "training.use_knowledge_distillation=true"), ("", f"training.teacher={helpers['mlp']}")]
    yield "normal", "simple_cnn", [*taught, ("", "training.feature_weight=0.1")]
    yield "curriculum", "mlp", [*needed["curriculum"], *taught]


def _train_helpers(folder: Path) -> dict[str, str]:
    """Train what other modes build on, by name of the network; return the folders."""
    found = {}
    for model, mode in (("simple_cnn", "normal"), ("mlp", "normal"), ("conv_autoencoder", "autoencoder")):
        config = load_config(None, [*COMMON, f"model.name={model}", f"training.mode={mode}"])
        set_up_process(config)
        task, optimization = make_pair(_examples(config)[0], None, config)
        for _ in train(task, optimization, config):
            pass
        kept = folder / model
        kept.mkdir()
        write_effective_config(config, kept, {})
        torch.save(task.model.state_dict(), kept / BEST_WEIGHTS)
        found[model] = str(kept)
    return found


def _examples(config: TrainConfig) -> tuple[Examples, Examples]:
    """Return some examples to train on and others to evaluate on, drawn from the training portion."""
    examples = find_dataset(config).load("train")
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0))
    n_trained = min(N_TRAINED, 2 * len(examples) // 5)
    while single_batch(config, n_trained):
        n_trained -= 1
    held_out = examples.part(order[n_trained : n_trained + N_HELD_OUT])
    return examples.part(order[:n_trained]), held_out


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is found; return 0 when all is as it should be, else 1."""
    parser = argparse.ArgumentParser(prog="sweepline smoke", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--config", type=Path, help="look at what this config names instead of at all that is built in")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args(argv)
    try:
        return _report(args)
    except SweeplineError as error:
        print(f"sweepline: {error}", file=sys.stderr)
        return 2


def _report(args: argparse.Namespace) -> int:
    found, is_ok = [], True
    looked_at = (
        smoke_all() if args.config is None and not args.overrides else _smoke_config(args.config, args.overrides)
    )
    for name, checks, seconds in looked_at:
        is_ok = is_ok and all(check.is_ok for check in checks)
        found.append({"name": name, "seconds": round(seconds, 2), "checks": [asdict(check) for check in checks]})
        if not args.json:
            print(f"{name}  ({seconds:.1f} s)")
            for check in checks:
                print(f"  {'ok    ' if check.is_ok else 'FAILED'}  {check.name}: {check.found}", flush=True)
    if args.json:
        print(json.dumps({"is_ok": is_ok, "found": found}, indent=1))
    return 0 if is_ok else 1


if __name__ == "__main__":
    sys.exit(main())
