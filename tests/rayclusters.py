"""Clusters of Ray on this machine: several nodes in one host, with GPUs that are none."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

NEEDS_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")

_TAG = "SWEEPLINE_TEST_CLUSTER"
_OPTIONS = {"include_dashboard": False, "object_store_memory": 80 << 20}
_MAIN = """
import json, os, shutil, sys
from ray.cluster_utils import Cluster
head, others = json.loads(sys.argv[1]), json.loads(sys.argv[2])
cluster = Cluster(initialize_head=True, head_node_args=head)
nodes = [cluster.head_node, *(cluster.add_node(**node) for node in others)]
cluster.wait_for_nodes()
raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
sys.__stdout__.write(json.dumps({"address": cluster.address, "raylets": raylets}) + "\\n")
sys.__stdout__.flush()
sys.stdin.read()
cluster.shutdown()
shutil.rmtree(head["temp_dir"], ignore_errors=True)
"""


class RayCluster:
    """A head and other nodes, each told as ``ray.cluster_utils.Cluster.add_node`` wants it."""

    def __init__(self, head: Mapping[str, Any], *others: Mapping[str, Any]) -> None:
        self._token = uuid.uuid4().hex
        self.temp_dir = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # the names of sockets must be short
        own_folder = {"temp_dir": str(self.temp_dir)}
        words = [
            json.dumps({**_OPTIONS, **own_folder, **head}),
            json.dumps([{**_OPTIONS, **other} for other in others]),
        ]
        self._environ = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", _TAG: self._token}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environ,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = next((line for line in self._process.stdout if line.startswith(b"{")), None)
        if line is None:  # Ray gives its own processes a minute, which a machine under load may not meet
            self._process.stdout.close()
            self._raylets = []
            self.close()
            pytest.skip("Ray could not start the nodes of a cluster in its minute")
        told = json.loads(line)
        self.address: str = told["address"]
        self._raylets: list[int] = told["raylets"]
        self._process.stdout.close()

    def kill_node(self, index: int, *, whole: bool = True) -> None:
        """Kill a node, 0 is the head; only the process of Ray that is the node where not the ``whole`` of it."""
        raylet = self._raylets[index]
        below = f"RAY_RAYLET_PID={raylet}\0".encode()
        others = [pid for pid in _pids() if whole and below in _read(pid, "environ")]
        for pid in (raylet, *others):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def start_node_without(self, folder: Path, **resources: float) -> subprocess.Popen[bytes]:
        """Start a node that sees nothing of what is in a folder."""
        hide = 'mount -t tmpfs none "$1" && shift && exec "$@"'
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={self.address}", "--block"]
        options = [f"--{name.replace('_', '-')}={number}" for name, number in resources.items()]
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", hide, "sh", str(folder), *ray, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environ,
        )

    def processes(self, *, of: str = "sweepline") -> list[int]:
        """Return the processes below the cluster's that have a word in their command lines."""
        return [pid for pid in find_processes(of) if self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        return f"{_TAG}={self._token}".encode() in _read(pid, "environ")

    def close(self) -> None:
        """End all of it."""
        assert self._process.stdin is not None
        self._process.stdin.close()  # twice is as good
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for pid in filter(self._is_ours, _pids()):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.temp_dir, ignore_errors=True)


def find_processes(word: str) -> list[int]:
    """Return all processes that have a word in their command lines."""
    return [pid for pid in _pids() if word.encode() in _read(pid, "cmdline")]


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # gone
        return b""


@functools.cache
def shared_cluster() -> RayCluster:
    """A cluster of one node for all tests of a process that do it no harm; it ends with the process."""
    return RayCluster({"num_cpus": 4})
