"""A real cluster for the tests of engines that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.slurmcluster import SlurmCluster, why_not


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """A Slurm cluster of two nodes with four GPUs each; skipped with the reason where none can be."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    made = SlurmCluster(tmp_path_factory.mktemp("slurm") / "cluster")
    try:
        made.start()
    except (AssertionError, OSError) as error:  # a container may forbid devices, or daemons their ports
        made.stop()
        pytest.skip(f"no Slurm cluster can be started here: {error}")
    yield made
    made.stop()
