"""The shape of what a sweep file says of where runs execute: ``slurm``, ``pilot`` and ``ray``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from sweepline.config.quantities import Count, Duration, Words, parse_duration

Kind = Literal["auto", "local", "slurm", "pilot", "ray"]

_SLURM_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])(?:i?B)?", re.IGNORECASE)
_MIB = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0 * 1024}
_FACTOR = re.compile(r"x\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
OWN_SBATCH_KEYS = {
    "job-name": "it is the name of the sweep, by which it asks for its jobs",
    "clusters": "the jobs of a sweep are on one cluster: set SLURM_CLUSTERS for the sweep",
    "array": "the runs are the array: see array_parallelism",
    "output": "it is slurm_logs/NAME_run_001.out in the sweep's folder",
    "error": "it is slurm_logs/NAME_run_001.out in the sweep's folder",
    "open-mode": "logs are appended to",
    "requeue": "the sweep submits what was taken back itself, and counts the attempts",
    "no-requeue": "the sweep submits what was taken back itself, and counts the attempts",
    "signal": "see margin",
    "comment": "the sweep finds its jobs by it",
    "wrap": "the job runs a run of the sweep",
    "parsable": "the sweep reads the number of the job",
    "wait": "the sweep waits itself",
    "test-only": "sweepline run -n shows the script",
}
"""Options of sbatch that the sweep sets itself, and what to do instead."""
_HOST_AND_PORT = re.compile(r"[^\s:/]+:\d+|\[[0-9A-Fa-f:]+\]:\d+")
_ONE_WORD = re.compile(r"[^\n\0]*")


def _read_time(value: Any) -> Any:
    """Return seconds, from ``2h`` or from what Slurm writes."""
    if isinstance(value, (int, float)):
        raise ValueError(f"{value!r} may be seconds or minutes: write 2h, 90m or, in quotes, '02:00:00'")
    found = _SLURM_TIME.fullmatch(str(value).strip())
    if found is None or (":" not in str(value) and found["days"] is None):
        return parse_duration(value)
    parts = [int(part) for part in found["parts"].split(":")]
    if found["days"] is not None:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return float(((int(found["days"]) * 24 + hours) * 60 + minutes) * 60 + seconds)
    hours, minutes, seconds = (0, *parts) if len(parts) == 2 else parts
    return float((hours * 60 + minutes) * 60 + seconds)


def _read_memory(value: Any) -> Any:
    """Return MiB."""
    found = _MEMORY.fullmatch(str(value).strip()) if isinstance(value, str) else None
    if found is None or not float(found[1]):
        raise ValueError(f"needs an amount of memory such as 16G or 4000M, got {value!r}")
    return max(1, round(float(found[1]) * _MIB[found[2].upper()]))


def _read_factor(value: Any) -> Any:
    found = _FACTOR.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or not 1 < float(found[1]) <= 10:
        raise ValueError(f"needs a factor above 1 such as x2, got {value!r}")
    return float(found[1])


_TEXT = {"type": "string"}
Time = Annotated[float, BeforeValidator(_read_time), WithJsonSchema(_TEXT)]
Memory = Annotated[int, BeforeValidator(_read_memory), WithJsonSchema(_TEXT)]
Factor = Annotated[float, BeforeValidator(_read_factor), WithJsonSchema(_TEXT)]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MoreMemoryModel(_Block):
    """What a run gets more of that was killed for its memory."""

    mem: Factor = Field(description="such as x2: so many times the memory of the attempt before")


class MoreTimeModel(_Block):
    """What a run gets more of whose time was over."""

    time: Factor = Field(description="such as x2: so many times the time of the attempt before")


class SlurmModel(_Block):
    """What each run asks of Slurm, by sbatch's names."""

    partition: str | None = Field(None, description="as sbatch has it")
    account: str | None = Field(None, description="who pays")
    qos: str | None = Field(None, description="quality of service")
    time: Time | None = Field(None, description="of one run: 2h, or as Slurm writes it, in quotes: '1-12:00:00'")
    gres: str | None = Field(None, description="such as gpu:1")
    cpus_per_task: Count | None = Field(None, description="cores of a run; threads: auto is as many")
    mem: Memory | None = Field(None, description="such as 16G")
    nodes: Count | None = Field(None, description="of one run, which starts its own processes on the others")
    constraint: str | None = Field(None, description="features of a node, such as a100")
    setup: tuple[str, ...] = Field((), description="lines of the script before the run, such as module load cuda")
    array_parallelism: Count | None = Field(
        None, description="at most so many runs of one array at a time; max_concurrent counts those that wait too"
    )
    extra: dict[str, Any] = Field({}, description="any other option of sbatch, as {exclusive: true, mail-user: me}")
    on_oom: MoreMemoryModel | None = Field(None, description="{mem: x2}: a run killed for its memory goes again")
    on_timeout: MoreTimeModel | None = Field(None, description="{time: x2}: a run whose time was over goes again")
    margin: Duration | None = Field(
        None, description="how long before its time is over a run is asked to save and end; default: grace and 30 s"
    )
    poll: Duration = Field(10.0, description="how often Slurm is asked how the jobs stand")

    @model_validator(mode="after")
    def _check_amounts(self) -> SlurmModel:
        if self.on_oom is not None and self.mem is None:
            raise ValueError("on_oom: gives more of mem, which is not set: write mem: 16G, or what a run usually needs")
        if self.on_timeout is not None and self.time is None:
            raise ValueError("on_timeout: gives more of time, which is not set: write time: 2h")
        if self.margin is not None and self.time is not None and self.margin >= self.time:
            raise ValueError(f"margin: {self.margin:.0f} s of a time of {self.time:.0f} s leave nothing for the run")
        return self

    @field_validator("partition", "account", "qos", "gres", "constraint")
    @classmethod
    def _check_line(cls, text: str | None) -> str | None:
        return text if text is None else one_line(text)

    @field_validator("setup")
    @classmethod
    def _check_setup(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(line for text in lines for line in str(text).splitlines())

    @field_validator("extra")
    @classmethod
    def _check_extra(cls, extra: Mapping[str, Any]) -> dict[str, Any]:
        found = {str(key).lstrip("-").replace("_", "-"): value for key, value in extra.items()}
        for key, value in found.items():
            own = key.replace("-", "_")
            if own in cls.model_fields and own not in ("extra", "setup", "poll", "margin"):
                raise ValueError(f"{key}: is a key of its own: slurm: {{{own}: ...}}")
            if key in OWN_SBATCH_KEYS:
                raise ValueError(f"{key}: is set by the sweep: {OWN_SBATCH_KEYS[key]}")
            if not re.fullmatch(r"[a-z][a-z0-9-]*", key):
                raise ValueError(f"{key!r} is no long option of sbatch")
            if value is not None and not isinstance(value, (str, int, float, bool)):
                raise ValueError(f"{key}: is a text, a number, or true for an option without value, got {value!r}")
            one_line(str(value))
        return found


class PilotModel(_Block):
    """The allocation that a sweep fills."""

    nodes: tuple[str, ...] | None = Field(None, description="names of the nodes; default: as the scheduler tells them")
    starter: Words | None = Field(
        None, description="command that starts a process on ${node}: [ssh, '${node}']; default in Slurm: srun"
    )
    gpus: Annotated[int, Field(strict=True, ge=0)] | None = Field(
        None, description="of each node; default: as Slurm tells them, else none"
    )
    cpus: Count | None = Field(None, description="cores of each node; default: as the scheduler tells them")


class RayModel(_Block):
    """What each run asks of Ray."""

    address: str | None = Field(None, description="auto, or HOST:PORT; default: $RAY_ADDRESS, else a Ray of its own")
    num_cpus: float = Field(1.0, gt=0, description="of each run")
    num_gpus: float = Field(0.0, ge=0, description="of each run, which sees no others; 0.5: two share one")

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        if address is not None and address != "auto" and not _HOST_AND_PORT.fullmatch(address):
            raise ValueError(f"needs auto or HOST:PORT of the cluster's head, got {address!r}")
        return address


def one_line(text: str) -> str:
    """Return a text that fits a line of a script.

    Raises:
        ValueError: it does not.
    """
    if not _ONE_WORD.fullmatch(text):
        raise ValueError(f"must be one line, got {text!r}")
    return text
