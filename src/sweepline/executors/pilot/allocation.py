"""The nodes that a scheduler has given to the job in which the sweep was started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.local.slots import n_cores
from sweepline.executors.places import PilotOptions

_LIMIT_S = 60.0
_GRES = re.compile(r"gpu(?::[^:()]+)?:(\d+)")
_STEP = ("--overlap", "--nodes=1", "--ntasks=1", "--nodelist=${node}", "--mem=0", "--cpu-bind=none")
"""A step of one process beside others, with all that the job has of the node."""

_HOST_FILES = ("PBS_NODEFILE", "LSB_DJOB_HOSTFILE", "PE_HOSTFILE", "COBALT_NODEFILE", "OAR_NODEFILE")
"""Where PBS, LSF, Grid Engine, Cobalt and OAR list the nodes of a job, a line for each."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node, with what of it belongs to the allocation."""

    name: str
    n_cpus: int
    n_gpus: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Nodes, and the command that starts a process on ``${node}``. ``job`` is its number where Slurm has given it."""

    nodes: Sequence[Node]
    starter: Sequence[str]
    job: str = ""

    @property
    def is_slurm(self) -> bool:
        """Whether Slurm starts the processes, and hands the environment over."""
        return bool(self.job)

    def describe(self) -> str:
        """Return ``2 nodes (n1, n2), 4 GPUs each``."""
        names = ", ".join(node.name for node in self.nodes[:8]) + (", ..." if len(self.nodes) > 8 else "")
        n = len(self.nodes)
        gpus = {node.n_gpus for node in self.nodes}
        cpus = {node.n_cpus for node in self.nodes}
        per_node = f"{_range(gpus)} GPUs" if max(gpus) else f"{_range(cpus)} cores"
        return f"{n} node{'s' * (n > 1)} ({names}), {per_node}{' each' if n > 1 else ''}"


def _range(counts: set[int]) -> str:
    return str(max(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def find_allocation(
    options: PilotOptions, *, is_asked_for: bool, environ: Mapping[str, str] = os.environ
) -> Allocation | None:
    """Return the allocation that this process is in; None where there is none, or it is this machine alone.

    Raises:
        ExecutorUnavailableError: one is asked for, and there is none or its nodes cannot be told.
    """
    if options.nodes is not None and is_asked_for:
        return _build(options, [Node(name, n_cores()) for name in options.nodes])
    job = environ.get("SLURM_JOB_ID", "")
    if job:
        nodes = _slurm_nodes(_name_of(job, environ)) if is_asked_for or not _is_all_of_it(environ) else []
        return _build(options, nodes, job=job) if nodes else None
    if not is_asked_for:  # other schedulers have no starter that is known to work
        return None
    file = next((environ[name] for name in _HOST_FILES if environ.get(name)), None)
    if file is None:
        raise ExecutorUnavailableError(
            "executor: pilot needs an allocation: start the sweep in a job of Slurm, PBS or LSF (salloc, sbatch, qsub, "
            "bsub), or name the nodes under pilot: {nodes: [n1, n2], starter: [ssh, '${node}']}"
        )
    return _build(options, _listed_nodes(Path(file)))


def _name_of(job: str, environ: Mapping[str, str]) -> str:
    """Return what scontrol calls a job; the last task of an array has the array's own number."""
    index = environ.get("SLURM_ARRAY_TASK_ID")
    return job if index is None else f"{environ.get('SLURM_ARRAY_JOB_ID', job)}_{index}"


def _is_all_of_it(environ: Mapping[str, str]) -> bool:
    """Whether this process is on the one node of its job, which needs no other keeper then."""
    return environ.get("SLURM_JOB_NUM_NODES", environ.get("SLURM_NNODES", "1")) == "1" and bool(
        environ.get("SLURMD_NODENAME")
    )


def _build(options: PilotOptions, nodes: Sequence[Node], *, job: str = "") -> Allocation:
    starter = options.starter
    if starter is None and job:
        starter = ["srun", f"--jobid={job}", *_STEP]
    if starter is None:
        raise ExecutorUnavailableError(
            "executor: pilot needs the command that starts a process on a node here: pilot: {starter: [ssh, '${node}']}"
        )
    if not any("${node}" in word for word in starter):
        raise ExecutorUnavailableError("pilot.starter: names no ${node}, on which the process is to be started")
    if shutil.which(starter[0]) is None:
        raise ExecutorUnavailableError(f"pilot.starter: {starter[0]} is not on PATH")
    told = [Node(node.name, options.n_cpus or node.n_cpus, _given(options.n_gpus, node.n_gpus)) for node in nodes]
    return Allocation(nodes=told, starter=starter, job=job if options.starter is None else "")


def _given(wanted: int | None, found: int) -> int:
    return found if wanted is None else wanted


def _slurm_nodes(job: str) -> list[Node]:
    """Return the nodes of a job as Slurm's controller tells them.

    Raises:
        ExecutorUnavailableError: it does not.
    """
    text = _ask(["scontrol", "show", "job", "-d", job])
    found: list[Node] = []
    for line in text.splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "CPU_IDs" in fields and "Nodes" in fields:
            n_gpus = sum(map(int, _GRES.findall(fields.get("GRES", ""))))
            names = _ask(["scontrol", "show", "hostnames", fields["Nodes"]]).split()
            found += [Node(name, _count(fields["CPU_IDs"]), n_gpus) for name in names]
    if not found:
        raise ExecutorUnavailableError(f"the nodes of job {job} cannot be told: scontrol show job -d names none")
    return found


def _ask(words: Sequence[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExecutorUnavailableError(f"the nodes of the allocation cannot be told: {words[0]}: {error}") from None
    if done.returncode:
        raise ExecutorUnavailableError(
            f"the nodes of the allocation cannot be told: {(done.stderr or 'scontrol failed').strip()}"
        )
    return done.stdout


def _count(ids: str) -> int:
    """Return how many numbers ``0-3,8`` has."""
    ends = [[int(end) for end in part.split("-")] for part in ids.split(",")]
    return sum(part[-1] - part[0] + 1 for part in ends)


def _listed_nodes(path: Path) -> list[Node]:
    """Return the nodes of a file with a line for each core or each node, as PBS and LSF write it.

    Raises:
        ExecutorUnavailableError: it cannot be read.
    """
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise ExecutorUnavailableError(f"{path}: the list of nodes cannot be read: {error.strerror}") from None
    names = [words[0] for words in lines]
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    has_one_each = all(n == 1 for n in counts.values())
    return [Node(name, n_cores() if has_one_each else n) for name, n in counts.items()]
