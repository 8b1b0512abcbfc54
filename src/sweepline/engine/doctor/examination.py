"""All that is looked at, in the order in which it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from sweepline.engine.doctor.clusters import look_at_clusters
from sweepline.engine.doctor.finding import Finding
from sweepline.engine.doctor.folder import look_at_folder
from sweepline.engine.doctor.machine import (
    look_at_descriptors,
    look_at_gpus,
    look_at_memory,
    look_at_process_limits,
    look_at_processors,
)
from sweepline.engine.doctor.packages import look_at_packages


def examine(folder: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is found of this machine, of ``folder``, and of the Python that would run programs."""
    on_gpus, gpus, slots = look_at_gpus(environ)
    yield from look_at_packages(environ, gpus)
    yield from on_gpus
    yield look_at_processors()
    yield look_at_memory()
    yield from look_at_process_limits()
    if slots is not None:
        yield look_at_descriptors(slots)
    yield from look_at_folder(folder)
    yield from look_at_clusters()
