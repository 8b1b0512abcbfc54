"""What there is beyond this machine: Slurm, and the allocation that this process is in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from sweepline.engine.doctor.finding import Finding, note, ok
from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.pilot.allocation import find_allocation
from sweepline.executors.places import PilotOptions
from sweepline.executors.slurm.client import SlurmClient, SlurmError

_MAX_SHOWN = 6


def look_at_clusters() -> Iterator[Finding]:
    """Yield what a sweep could use beside this machine; nothing where there is no sign of more."""
    if shutil.which("sbatch") is not None:
        yield _look_at_slurm()
    try:
        allocation = find_allocation(PilotOptions(), is_asked_for=False)
    except ExecutorUnavailableError as error:
        yield note("allocation", str(error), "name the nodes under pilot:, or --executor local")
    else:
        if allocation is not None:
            yield ok("allocation", f"{allocation.describe()}: sweeps fill it")


def _look_at_slurm() -> Finding:
    client = SlurmClient()
    try:
        partitions = client.list_partitions()
    except SlurmError as error:
        return note("slurm", f"does not answer: {error}", "executor: slurm cannot be used before it does")
    shown = ", ".join(partitions[:_MAX_SHOWN]) + (", ..." if len(partitions) > _MAX_SHOWN else "")
    accounts = "" if client.keeps_accounts() else "; no accounting: jobs that it has forgotten count as taken back"
    return ok("slurm", f"partitions {shown}; arrays of {client.read_array_size():,}{accounts}; executor: slurm")
