"""Speaks to Ray for a sweep, in a process of its own.

Ray ends the process that it is in when its cluster has gone for good, prints into it, and may take as long as it likes
to answer. Lines of JSON go to and fro over a socket, whose end means that the other side is dead. What is said to the
sweep has an ``ev``: ``hello``, ``refused`` (no cluster), and of a run with its ``key`` what its helper says, and
``failed`` (it could not be started), ``cancelled`` (it never began), ``lost``.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, TaskCancelledError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweepline.contract.text import one_line
from sweepline.executors.local.keeper.messages import Messages, encode
from sweepline.executors.ray import remote

_ROOT = str(Path(__file__).resolve().parents[3])
_OBJECT_STORE_BYTES = 80 << 20  # the least that Ray takes: what goes through it are lines
_ANSWER_S = 10.0  # for a connection to a cluster; Ray itself would wait much longer
_MOST_WAITING = 20_000  # runs under way that wait for a wish
_CHUNK = 1 << 20


class RefusedError(Exception):
    """There is no such cluster, or it cannot run anything of this sweep."""


class Bridge:
    """Submits attempts, and hands on what they say."""

    def __init__(self, options: Mapping[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._attempt = ray.remote(
            num_cpus=options["num_cpus"],
            num_gpus=options["num_gpus"],
            max_retries=0,  # the sweep itself starts the next attempt
            max_calls=0,  # the worker is used again: what needs the GPU is not in it
            num_returns="streaming",
        )(remote.run_attempt)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        actor = ray.remote(num_cpus=0, max_concurrency=_MOST_WAITING, scheduling_strategy=here)(remote.Stops)
        self._stops = actor.remote()
        self._generators: dict[str, Any] = {}
        self._following: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Do what the sweep asks for until it asks for the end, or is dead."""
        messages = Messages()
        while data := await self._reader.read(_CHUNK):
            for message in messages.feed(data):
                if message["do"] == "close":
                    return
                self._handle(message)

    def _handle(self, message: Mapping[str, Any]) -> None:
        key = message["key"]
        if message["do"] == "start":
            following = asyncio.create_task(self._follow(key, encode(message["told"])))
            self._following.add(following)
            following.add_done_callback(self._following.discard)
        elif message["do"] == "tell":
            self._stops.tell.remote(key, encode(message["wish"]))
        elif key in self._generators:
            ray.cancel(self._generators[key], force=message["now"])

    async def _follow(self, key: str, told: bytes) -> None:
        """Hand on what an attempt says, and then how its task ended, where it has not said it."""
        try:
            generator = self._attempt.options(name=f"sweepline {key}").remote(_ROOT, told, key, self._stops)
            self._generators[key] = generator
            async for reference in generator:
                self._tell({"key": key, **json.loads(await reference)})
                await self._writer.drain()
        except TaskCancelledError:
            self._tell({"ev": "cancelled", "key": key})
        except OutOfMemoryError as error:
            self._tell({"ev": "lost", "key": key, "why": _sentence(error), "is_out_of_memory": True})
        except RayTaskError as error:
            self._tell_failed(key, error)
        except RayError as error:
            self._tell({"ev": "lost", "key": key, "why": _sentence(error), "is_out_of_memory": False})
        finally:
            self._generators.pop(key, None)
            self._stops.forget.remote(key)

    def _tell_failed(self, key: str, error: RayTaskError) -> None:
        cause = error.cause if isinstance(error.cause, Exception) else error
        is_lost = str(cause) == remote.DIED
        why = remote.DIED if is_lost else _sentence(cause)
        self._tell({"ev": "lost" if is_lost else "failed", "key": key, "why": why, "is_out_of_memory": False})

    def _tell(self, message: Mapping[str, Any]) -> None:
        self._writer.write(encode(message))


def _sentence(error: BaseException) -> str:
    """Return what Ray says, without the pages that follow it."""
    return f"{type(error).__name__}: {one_line(str(error)).partition('. ')[0]}"


def connect(options: Mapping[str, Any]) -> dict[str, Any]:
    """Connect to the cluster that is asked for, or start one; return what it is.

    Raises:
        RefusedError: it is not there, or does not take us.
    """
    address = options["address"] or os.environ.get("RAY_ADDRESS") or "local"
    if address.startswith("ray://"):
        raise RefusedError(
            f"{address} is the address of a Ray client: start the sweep on a node of the cluster, and "
            "give HOST:PORT of its head, or auto"
        )
    own: dict[str, Any] = {}
    if address == "local":
        own = {
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_temp_dir": options["temp_dir"],
            "_system_config": {"memory_monitor_refresh_ms": 0},  # the kernel is to kill what has too much, not all
        }
    elif address != "auto":
        _check_answers(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
    except (Exception, SystemExit) as error:
        raise RefusedError(f"{'its own cluster' if own else address}: {_sentence(error)}") from None
    return {"is_own": bool(own), "address": address, **_describe_nodes(options)}


def _check_answers(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise RefusedError(f"{address}: is no HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise RefusedError(f"nothing answers at {address}: {error}") from None


def _describe_nodes(options: Mapping[str, Any]) -> dict[str, Any]:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fits = any(
        node.get("CPU", 0) >= options["num_cpus"] and node.get("GPU", 0) >= options["num_gpus"] for node in nodes
    )
    totals = {kind: sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
    return {"n_nodes": len(nodes), "n_cpus": totals["CPU"], "n_gpus": totals["GPU"], "fits": fits}


async def _serve(options: Mapping[str, Any], lifeline: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=lifeline)
    await Bridge(options, reader, writer).serve()


def main() -> None:
    """Be the other end of a sweep."""
    lifeline = socket.socket(fileno=int(sys.argv[1]))
    with lifeline.makefile("rb", buffering=0) as file:
        options = json.loads(file.readline())
    try:
        lifeline.sendall(encode({"ev": "hello", **connect(options)}))
        ray.cloudpickle.register_pickle_by_value(remote)
        asyncio.run(_serve(options, lifeline))
    except RefusedError as error:
        lifeline.sendall(encode({"ev": "refused", "why": str(error)}))
    finally:
        ray.shutdown()
        shutil.rmtree(options["temp_dir"], ignore_errors=True)


if __name__ == "__main__":
    main()
