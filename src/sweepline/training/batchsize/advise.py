"""What fits, what is efficient, and which batch size to use: what ``sweepline batch-size`` prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweepline.training import memory
from sweepline.training.batchsize.advice import Advice, advise, fit_step_time
from sweepline.training.batchsize.decide import Decider
from sweepline.training.batchsize.noise import Course, NoiseMeter, summarize
from sweepline.training.batchsize.policy import limit_size
from sweepline.training.batchsize.probe import OK, Probe, Setup
from sweepline.training.batchsize.prober import Prober
from sweepline.training.batchsize.processes import starting
from sweepline.training.batchsize.setup import SetupBuilder
from sweepline.training.building import build_task, build_training
from sweepline.training.config.loading import load_config
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import default_size, scaled_step_size
from sweepline.training.datasets.examples import Examples
from sweepline.training.datasets.splits import load_data
from sweepline.training.device import device_name, resolve_device
from sweepline.training.experiment.numbered import begin
from sweepline.training.experiment.records import TuningRecord
from sweepline.training.folder import experiment_dir
from sweepline.training.loop import TrainingStoppedError, Watcher, train
from sweepline.training.reporting.console import print_line, print_part
from sweepline.training.seeding import set_up_process

N_MEASUREMENTS = 40  # of the noise scale, over the short training: five windows of the start or the end
TIMED_STEPS = {1: 400, 4: 100, 16: 30, 64: 8, 256: 6}  # batch size and how many steps of it
UNKNOWN = "not identifiable"


def advise_on(path: Path | None, overrides: Sequence[str], *, n_steps: int) -> dict[str, Any]:
    """Probe sizes, measure the noise scale in a short training, print what follows; return where it is recorded.

    Raises:
        SweeplineError: no size runs, or the config cannot be used.
    """
    config = load_config(path, [*overrides, "batch_size_config.optimize_batch_size=true"])
    set_up_process(config)
    device = resolve_device(config.device)
    config = config.model_copy(update={"device": str(device)})
    memory.runs_per_device()  # what it cannot use is said before a number is taken
    data = load_data(config)
    build = SetupBuilder(config, data)
    decide = Decider(
        config=config,
        n_examples=len(data[0]),
        device_name=device_name(device),
        build=build,
        tell=print_part,
        is_described=False,
    )
    run = begin(config, outputs=experiment_dir(path) / "outputs", run_dir=None, decide=decide, tell=print_part)
    usable = run.record.run_batch_size or 1
    timings = time_steps(config, build, usable=usable)
    at_size = limit_size(config, min(default_size(config), usable), len(data[0]))
    course = measure_noise(config, data[0], batch_size=at_size, n_steps=n_steps)
    advice = advise(
        usable=usable,
        default=default_size(config),
        critical=course.pooled,
        step_time=fit_step_time(timings),
    )
    stand_in = "" if config.learner.opt.lower() == "sgd" else f"; for {config.learner.opt} it is a stand-in"
    lines = {
        "largest that fits": _describe_fit(run.record),
        "critical size": _describe_critical(course, f"{n_steps} steps at {at_size}") + stand_in,
        "fastest size": _describe_fastest(advice),
        "chosen": f"{advice.chosen} ({advice.reason}){describe_rule(config, advice)}",
    }
    for name, text in lines.items():
        print_line(f"{name:18} {text}")
    run.choose_size(advice.chosen, why="; ".join(f"{name} {text}" for name, text in lines.items()))
    return {"experiment_dir": str(run.experiment_dir), "run_number": run.number}


def time_steps(config: TrainConfig, build: Callable[[], Setup], *, usable: int) -> list[Probe]:
    """Return how long steps of small and of usual sizes take, without what a memory limit costs.

    The times of small ones show the part of a step that does not depend on its size.
    """
    prober = Prober(starting(build, config.device.partition(":")[0]))
    return [prober.time_size(size, n_steps) for size, n_steps in TIMED_STEPS.items() if size <= usable]


def _describe_fit(record: TuningRecord) -> str:
    found = record.tuner_max_batch_size or 1
    failed = [p["batch_size"] for p in record.probes if p["status"] != OK and p["batch_size"] > found]
    beyond = f"{min(failed)} does not" if failed else "nothing larger was tried"
    limit = f", limit {record.memory_limit_bytes / 2**20:,.0f} MiB" if record.memory_limit_bytes else ""
    return f"{found} ({beyond}{limit})"


def _describe_critical(course: Course, where: str) -> str:
    if course.pooled is None:
        return f"{UNKNOWN} (noise hides the gradient in {where}; --steps N for more)"
    ends = f"from {course.start or UNKNOWN} at the start to {course.end or UNKNOWN} at the end"
    return f"{course.pooled} (gradient noise scale in {where}, {ends})"


def _describe_fastest(advice: Advice) -> str:
    line = advice.step_time
    if line is None:
        return f"{UNKNOWN} (the time of a step is not a fixed part and one per example)"
    if advice.fastest is None:
        return f"{UNKNOWN} (without a critical size)"
    return (
        f"{advice.fastest} ({advice.fastest_low}..{advice.fastest_high or ''}; a step takes "
        f"{1e3 * line.fixed_s:.2f} ms + {1e6 * line.per_example_s:.1f} µs an example)"
    )


def describe_rule(config: TrainConfig, advice: Advice) -> str:
    """Return what the step size would become by the rule that goes with the optimizer; nothing is changed by it."""
    before = config.batch_size_config.reference_batch_size or config.batch_size
    if advice.chosen == before:
        return ""
    is_linear = config.learner.opt.lower() == "sgd"
    sizes = config.batch_size_config.model_copy(
        update={
            "lr_rule": "linear" if is_linear else "sqrt",
            "reference_batch_size": before,
            "critical_batch_size": max(1, round(advice.critical.value)) if advice.critical else None,
        }
    )
    rate = scaled_step_size(config.model_copy(update={"batch_size_config": sizes}), advice.chosen)
    rule = "linear, no further than to the critical size" if is_linear else "sqrt"
    return f"; the step size {config.learner.step_size} at {before} would become {rate:.3g} (lr_rule {rule})"


def measure_noise(config: TrainConfig, training: Examples, *, batch_size: int, n_steps: int) -> Course:
    """Train for some steps and return the noise scale of them, of the first and of the last."""
    model, optimization, _ = build_training(config, training)
    task = build_task(config, model, training, None)
    meter = NoiseMeter(task, every=max(1, n_steps // N_MEASUREMENTS))
    n_epochs = -(-n_steps * batch_size // len(training))
    short = config.model_copy(
        update={
            "batch_size": batch_size,
            "epochs": n_epochs,
            "batch_size_config": config.batch_size_config.model_copy(update={"target_batch_size": None}),
        }
    )
    n_done = 0

    def is_enough() -> bool:
        nonlocal n_done
        n_done += 1
        return n_done > n_steps

    watcher = Watcher(should_stop=is_enough, before_step=lambda step, index, n: meter.measure(step, index, n_at_once=n))
    with suppress(TrainingStoppedError):
        for _ in train(task, optimization, short, watcher=watcher):
            pass
    return summarize(meter.measurements)
