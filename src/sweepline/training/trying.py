"""What users bring is tried on a copy before anything is trained, so that what fails is one sentence.

What is drawn meanwhile is undone. A copy is given up at once; what is tried costs a few examples.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sweepline.errors import ConfigError
from sweepline.training import calling, memory
from sweepline.training.config.monitor import monitor_of
from sweepline.training.config.schema import LearnerConfig, TrainConfig
from sweepline.training.config.sizes import examples_per_step
from sweepline.training.datasets.examples import Examples
from sweepline.training.optim.optimizers import build_optimizer
from sweepline.training.registry import MODELS, TASKS
from sweepline.training.seeding import unchanged_randomness
from sweepline.training.tasks.base import NAMES_OF_LOOP, Outcome, Task, metric_names

_CPU = torch.device("cpu")
_LAST = "the last"
N_TRIED = 2


def check_network(
    config: TrainConfig, model: nn.Module, training: Examples, input_shape: tuple[int, ...], n_outputs: int
) -> None:
    """Try a network of a user's own on two examples, as it is evaluated and as it is trained.

    Raises:
        ConfigError: it has nothing to train, fails, or returns another shape than its mode needs.
    """
    what = f"model {config.model.name}"
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(f"{what}: has no parameters to train")
    inputs = _inputs(training, input_shape, min(N_TRIED, len(training)))
    if any(isinstance(parameter, nn.parameter.UninitializedParameter) for parameter in model.parameters()):
        raise ConfigError(f"{what}: has lazy layers; give them their sizes, which n_inputs and input_shape tell")
    wanted = tuple(inputs.shape) if config.training.mode == "autoencoder" else (len(inputs), n_outputs)
    is_own_task = TASKS.is_brought(config.training.mode)  # it may take any outputs, and is tried itself
    shown = f"for inputs {tuple(inputs.shape)}"
    with unchanged_randomness(_CPU):
        copied = _tried(f"{what}: copying it", lambda: copy.deepcopy(model))
        for is_trained in (False, True):
            if is_trained and (is_own_task or len(inputs) < N_TRIED):
                return
            with torch.set_grad_enabled(is_trained):
                outputs = _tried(f"{what}:", lambda: copied.train(is_trained)(inputs), shown)  # noqa: B023 - called at once
            found = tuple(outputs.shape) if torch.is_tensor(outputs) else type(outputs).__name__
            if found != wanted and not is_own_task:
                raise ConfigError(f"{what}: returns {found} {shown}{' in training' * is_trained}, not {wanted}")
        _tried(f"{what}: its gradient", outputs.sum().backward, shown)


def check_last_batch(config: TrainConfig, model: nn.Module, training: Examples, input_shape: tuple[int, ...]) -> None:
    """Try a network on a batch of one example where an epoch has one, as few ways of normalizing can do without others.

    Raises:
        ConfigError: it cannot be trained on that.
    """
    which = single_batch(config, len(training))
    has_norm = any(isinstance(module, _BatchNorm) for module in model.modules())
    if not which or not (has_norm or MODELS.is_brought(config.model.name)):
        return
    device = next(model.parameters()).device
    try:
        with unchanged_randomness(device), torch.no_grad():
            copy.deepcopy(model).train()(_inputs(training, input_shape, 1).to(device))
    except Exception as error:
        raise ConfigError(
            f"batch_size {config.batch_size}: {which}, which model {config.model.name} cannot be trained on "
            f"({calling.blame(error)}); set {'drop_last: true or ' if which.startswith(_LAST) else ''}another "
            "batch_size"
        ) from error


def single_batch(config: TrainConfig, n_examples: int) -> str:
    """Return in words which batch of an epoch has one example; nothing where none has."""
    n_per_step = min(examples_per_step(config), n_examples)
    if config.batch_size == 1 or n_per_step == 1:
        return "a batch has 1 example"
    if n_per_step % config.batch_size == 1:
        return f"a step's {n_per_step:,} examples leave a batch of 1 example"
    if n_examples % n_per_step % config.batch_size == 1 and not config.drop_last:
        return f"{_LAST} batch of an epoch of {n_examples:,} has 1 example"
    return ""


def _inputs(training: Examples, input_shape: tuple[int, ...], n: int) -> torch.Tensor:
    """Return what enters a network for the first examples: zeros where it is not the examples themselves."""
    if input_shape != training.input_shape:
        return torch.zeros(n, *input_shape)
    return training.batch(torch.arange(n))[0]


def check_optimizer(learner: LearnerConfig, model: nn.Module) -> None:
    """Let an optimizer of a user's own do a step of a copy of a network, with gradients at random.

    Raises:
        ConfigError: it fails, or has no step size that could be set.
    """
    what = f"learner.opt {learner.opt}"
    with unchanged_randomness(next((parameter.device for parameter in model.parameters()), _CPU)):
        optimizer, _ = build_optimizer(learner, copy.deepcopy(model))
        if any("lr" not in group for group in optimizer.param_groups):
            raise ConfigError(f"{what}: has no lr: take lr, and give it on: super().__init__(params, {{'lr': lr}})")
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.randn_like(parameter) if parameter.requires_grad else None
        closure = inspect.signature(optimizer.step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise ConfigError(
                f"{what}: step(closure) cannot be called: gradients are there, and no closure is given; write "
                "step(self, closure=None)"
            )
        try:
            _tried(f"{what}: step()", optimizer.step)
        except ConfigError as error:
            if isinstance(error.__cause__, NotImplementedError):
                raise ConfigError(f"{what}: has no step(): write step(self, closure=None)") from error
            raise


def check_task(config: TrainConfig, task: Task) -> None:
    """Let a copy of a task of a user's own do all that a run asks of it: with two examples, else with a batch.

    A task that cannot be copied is not tried: trying it would change it.

    Raises:
        ConfigError: something fails, or does not return what it should.
    """
    sizes = sorted({min(n, task.n_examples) for n in (N_TRIED, config.batch_size)})
    for n in sizes:
        copied = _copied(task)
        if copied is None:
            return
        try:
            with unchanged_randomness(task.device):
                _try_task(f"training.mode {config.training.mode}", copied, n)
            return
        except ConfigError:
            if n == sizes[-1]:
                raise


def check_measured(config: TrainConfig, task: Task) -> None:
    """Look at what a task of a user's own sums up and measures.

    Raises:
        ConfigError: it fails, a sum has a name of the loop's own, or what the config watches is not measured.
    """
    what = f"training.mode {config.training.mode}"
    try:
        sums, metrics = list(task.zero_sums()), metric_names(task)
    except Exception as error:
        raise ConfigError(f"{what}: fails in zero_sums or metrics: {calling.blame(error)}") from error
    for name in sums:
        if name in NAMES_OF_LOOP:
            raise ConfigError(f"{what}: a sum is named {name}, as is a count of the loop; name it sum_of_{name}")
    monitor = monitor_of(config)
    wanting = {
        "stop_diverged": config.stop_diverged,
        "evaluate.final_test best": config.evaluate.final_test == "best"
        and config.early_stopping.monitor is None
        and monitor is not None,
    }
    for key, is_wanting in wanting.items():
        if is_wanting and "loss" not in metrics:
            there_is = ", ".join(metrics) or "none"
            raise ConfigError(f"{what}: {key} needs a metric named loss; metrics returns {there_is}")


def _copied(task: Task) -> Task | None:
    """Return a copy with the same examples and the same networks that are not trained; None where there can be none."""
    shared: list[Any] = list(task.frozen.values())
    for examples in (task.training, task.held_out):
        shared += [] if examples is None else [examples, examples.inputs, examples.targets]
    try:
        return copy.deepcopy(task, {id(one): one for one in shared})
    except (TypeError, RuntimeError, NotImplementedError):  # it holds a file, a lock, a tensor within a graph
        return None


def _try_task(what: str, task: Task, n: int) -> None:
    zero = _tried(f"{what}: zero_sums()", task.zero_sums)
    if not isinstance(zero, dict):
        raise ConfigError(f"{what}: zero_sums() returns a {type(zero).__name__}, not a dict of tensors")
    if type(task).order is not Task.order:
        order = _tried(f"{what}: order()", lambda: task.order(1))
        if not torch.is_tensor(order) or order.dtype != torch.int64 or order.ndim != 1:
            raise ConfigError(f"{what}: order() returns a {type(order).__name__}, not a tensor of int64, (n,)")
    task.model.train()
    outcome = _outcome(f"{what}: loss()", lambda: task.loss(torch.arange(n, device=task.device)), zero)
    if not outcome.loss.requires_grad:
        raise ConfigError(f"{what}: loss() returns a loss without a graph, so that nothing can be learned from it")
    _tried(f"{what}: the gradient of loss()", outcome.loss.backward)
    _check_metrics(what, task, outcome)
    if task.n_held_out:
        task.model.eval()
        index = torch.arange(min(n, task.n_held_out), device=task.device)
        with torch.no_grad():
            outcome = _outcome(f"{what}: evaluate()", lambda: task.evaluate(index), zero)
        _check_metrics(what, task, outcome)


def _outcome(what: str, ask: Callable[[], Any], zero: dict[str, torch.Tensor]) -> Outcome:
    """Return what examples come to, where it is a mean loss and sums that add to those of none."""
    found = _tried(what, ask)
    if not isinstance(found, Outcome):
        raise ConfigError(f"{what} returns a {type(found).__name__}, not Outcome(loss, n, sums)")
    for name, value in {"the loss": found.loss, **found.sums}.items():
        if not torch.is_tensor(value) or value.numel() != 1:
            shape = tuple(value.shape) if torch.is_tensor(value) else type(value).__name__
            raise ConfigError(f"{what}: {name} should be a tensor of one number, (), got {shape}")
    if unknown := [name for name in found.sums if name not in zero]:
        raise ConfigError(f"{what} sums {unknown[0]}, which zero_sums() does not have: {', '.join(zero) or 'none'}")
    for name, value in found.sums.items():
        _tried(f"{what}: adding its {name} to that of zero_sums()", partial(zero[name].clone().add_, value))
    return found


def _check_metrics(what: str, task: Task, outcome: Outcome) -> None:
    sums = {name: value.item() for name, value in outcome.sums.items()}
    found = _tried(f"{what}: metrics()", lambda: task.metrics(sums, outcome.n))
    if not isinstance(found, Mapping):
        raise ConfigError(f"{what}: metrics() returns a {type(found).__name__}, not numbers by name")


def _tried(what: str, ask: Callable[[], Any], shown: str = "") -> Any:
    """Return what something of a user's own returns; ``shown`` says to what, where that helps.

    Raises:
        ConfigError: it fails; want of memory goes on as what it is.
    """
    try:
        return ask()
    except Exception as error:
        if memory.is_out_of_memory(error):
            raise
        raise ConfigError(f"{what} fails{shown and ' '}{shown}: {calling.blame(error)}") from error
