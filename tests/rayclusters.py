"""Clusters of Ray on this machine: several nodes in one host, with GPUs that are none."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

NEEDS_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")

_MAIN = """
import json, os, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args=json.loads(sys.argv[1]))
for node in json.loads(sys.argv[2]):
    cluster.add_node(**node)
nodes = sorted(cluster.list_all_nodes(), key=lambda node: not node.head)
raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
sys.__stdout__.write(json.dumps({"address": cluster.address, "raylets": raylets}) + "\\n")
sys.__stdout__.flush()
sys.stdin.read()
cluster.shutdown()
"""
OPTIONS = {"include_dashboard": False, "object_store_memory": 80 << 20}


class RayCluster:
    """A head and other nodes, each told as ``ray.cluster_utils.Cluster.add_node`` wants it."""

    def __init__(self, head: dict[str, Any], *others: dict[str, Any]) -> None:
        words = [json.dumps(OPTIONS | head), json.dumps([OPTIONS | other for other in others])]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_health_check_period_ms": "1000"},
            start_new_session=True,
        )
        assert self._process.stdout is not None
        told = next(line for line in self._process.stdout if line.startswith(b"{"))
        self.address: str = json.loads(told)["address"]
        self._raylets: list[int] = json.loads(told)["raylets"]

    def kill_node(self, index: int) -> None:
        """Kill a node; 0 is the head."""
        os.kill(self._raylets[index], signal.SIGKILL)

    def close(self) -> None:
        """End all of it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@functools.cache
def shared_cluster() -> RayCluster:
    """A cluster of one node for all tests of a process that do it no harm; it ends with the process."""
    return RayCluster({"num_cpus": 4})
