"""From what a sweep file says of where runs execute to the options of the executors."""

from __future__ import annotations

from typing import Any

from sweepline.config.faults import Faults
from sweepline.config.placemodels import PilotModel, RayModel, SlurmModel
from sweepline.executors.places import PilotOptions, RayOptions
from sweepline.executors.slurm.options import SlurmOptions

_PASSED_ON = ("partition", "account", "qos", "gres", "cpus_per_task", "nodes", "constraint")
_GPU_OPTIONS = ("gpus", "gpus-per-node", "gpus-per-task")
_LEAST_TIMES = 2
_MARGIN_S = 30.0  # what a job takes to end beyond the grace of its run


def slurm_options(model: SlurmModel, faults: Faults, *, grace_s: float) -> SlurmOptions:
    """Return what runs ask of Slurm; a run is asked to end early enough to have its grace."""
    margin_s = model.margin or grace_s + _MARGIN_S
    if model.time is not None and margin_s >= model.time:
        faults.error(
            ("slurm", "time"),
            f"{model.time:.0f} s are over before a run that is asked to end {margin_s:.0f} s earlier, for its grace "
            "to be over then, could begin: more time, a shorter grace, or margin",
        )
    elif model.time is not None and model.time < _LEAST_TIMES * margin_s:
        faults.warn(
            ("slurm", "time"),
            f"a run is asked to save and end {margin_s:.0f} s before {model.time:.0f} s are over; margin changes that",
        )
    named = {name.replace("_", "-"): value for name in _PASSED_ON if (value := getattr(model, name)) is not None}
    return SlurmOptions(
        directives={name: _text_of(value) for name, value in {**named, **model.extra}.items() if value is not False},
        time_s=model.time,
        mem_mib=model.mem,
        setup=model.setup,
        array_parallelism=model.array_parallelism,
        more_memory=model.on_oom.mem if model.on_oom is not None else None,
        more_time=model.on_timeout.time if model.on_timeout is not None else None,
        margin_s=margin_s,
        poll_s=model.poll,
        n_cpus=model.cpus_per_task or 1,
        n_gpus=_count_gpus(model),
    )


def _count_gpus(model: SlurmModel) -> int:
    """Return how many GPUs a job asks for, in any of the ways that sbatch has; ``gpu`` and ``gpu:a100`` are one."""
    told = {"gres": model.gres, **{name: value for name, value in model.extra.items() if name in _GPU_OPTIONS}}
    parts = [(name, part) for name, text in told.items() if text for part in str(text).split(",")]
    named = [part for name, part in parts if name != "gres" or part.partition(":")[0] in ("gpu", "gres/gpu")]
    numbers = [part.rpartition(":")[2] for part in named]
    return sum(int(number) if number.isdecimal() else 1 for number in numbers)


def _text_of(value: Any) -> str | None:
    """Return the value of a directive; None where it has none."""
    return None if value is True or value is None else str(value)


def pilot_options(model: PilotModel) -> PilotOptions:
    """Return what is said of the allocation."""
    return PilotOptions(
        nodes=model.nodes,
        starter=None if model.starter is None else tuple(model.starter),
        n_gpus=model.gpus,
        n_cpus=model.cpus,
    )


def ray_options(model: RayModel) -> RayOptions:
    """Return what runs ask of Ray."""
    return RayOptions(address=model.address, num_cpus=model.num_cpus, num_gpus=model.num_gpus)
