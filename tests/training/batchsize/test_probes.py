"""Probes in processes of their own: real allocation failures, kills, hangs and errors, told apart."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import Any

import pytest

from sweepline.training.memory import is_out_of_memory, is_unsupported, tells_out_of_memory
from tests.conftest import ASSETS, DEADLINE_S

SCENARIOS = (
    "plain",
    "hanging",
    "killed",
    "aborting",
    "exiting",
    "crashing",
    "wrong",
    "chained",
    "unsupported",
    "unsupported once",
    "last batch of one",
    "last batch of one, dropped",
    "large",
    "large in evaluation",
    "too large in evaluation",
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What one process found that probed everything, one after the other."""
    process = subprocess.run(
        [sys.executable, str(ASSETS / "probing.py"), *SCENARIOS],
        cwd=tmp_path_factory.mktemp("probing"),
        stdout=subprocess.PIPE,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    return {told["name"]: told for told in map(json.loads, process.stdout.splitlines())}


def statuses(found: dict[str, Any]) -> list[str]:
    return [f"{probe['status']} in {probe['phase']}" for probe in found["probes"]]


def test_a_size_that_fits_tells_its_memory_and_its_time(told: dict[str, dict[str, Any]]) -> None:
    (probe,) = told["plain"]["probes"]
    assert told["plain"]["fits"] is True
    assert probe["status"] == "ok"
    assert probe["evaluation_batch_size"] == 40
    assert 0 < probe["step_s"] < probe["seconds"]
    assert 0 <= probe["peak_bytes"] < 64 << 20
    assert told["plain"]["said"].startswith("Trying batch_size=8 ... ok (")


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("hanging", "timeout in ", "not ready in time"),
        ("killed", "oom in ", "out of memory"),
        ("aborting", "oom in ", "out of memory"),
        ("chained", "oom in train", "out of memory"),
        ("large", "oom in train", "out of memory"),
    ],
)
def test_what_does_not_fit_is_told_as_such(told: dict[str, dict[str, Any]], name: str, status: str, said: str) -> None:
    assert told[name]["fits"] is False
    assert statuses(told[name]) == [status]
    assert told[name]["said"] == f"Trying batch_size=8 ... {said}\n"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("wrong", "batch size 8 fails in its train phase, not for want of memory: ValueError: shapes do not match"),
        ("exiting", "batch size 8 fails in its unknown phase, not for want of memory: exit code 3: no such licence"),
        ("crashing", "batch size 8 fails in its unknown phase, not for want of memory: signal 11"),
        (
            "last batch of one",
            "batch size 8 fails in its last batch phase, not for want of memory: ValueError: Expected",
        ),
    ],
)
def test_an_error_that_no_size_mends_stops_the_tuner(told: dict[str, dict[str, Any]], name: str, sentence: str) -> None:
    assert told[name]["fits"] is None
    assert told[name]["error"].startswith(sentence)


def test_a_last_batch_that_is_dropped_is_not_tried(told: dict[str, dict[str, Any]]) -> None:
    assert statuses(told["last batch of one, dropped"]) == ["ok in evaluate"]


def test_what_a_library_does_not_support_is_tried_once_more(told: dict[str, dict[str, Any]]) -> None:
    assert statuses(told["unsupported"]) == ["unsupported in train", "unsupported in train"]
    assert told["unsupported"]["fits"] is False
    assert statuses(told["unsupported once"]) == ["unsupported in train", "ok in evaluate"]
    assert told["unsupported once"]["fits"] is True


def test_evaluation_that_does_not_fit_makes_its_own_batches_smaller(told: dict[str, dict[str, Any]]) -> None:
    found = told["large in evaluation"]
    assert (found["fits"], found["evaluation"]) == (True, 20)
    assert statuses(found) == ["oom in evaluate", "ok in evaluate"]


def test_evaluation_that_never_fits_is_out_of_memory(told: dict[str, dict[str, Any]]) -> None:
    found = told["too large in evaluation"]
    assert (found["fits"], found["evaluation"]) == (False, 1)
    assert {probe["status"] for probe in found["probes"]} == {"oom"}


class OutOfMemoryError(RuntimeError):
    """Of the name that torch gives its own."""


def chain(*errors: BaseException) -> BaseException:
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA error"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("std::bad_alloc"),
        OSError(12, "Cannot allocate memory"),
        ImportError("libfoo.so: cannot map zero-fill pages"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        chain(ValueError("a"), KeyError("b"), RuntimeError("out of memory")),
    ],
)
def test_out_of_memory_is_known_through_the_whole_chain_of_causes(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("out of memory"),
        RuntimeError("shape mismatch"),
        OSError(28, "No space left"),
        ImportError("no such module"),
    ],
)
def test_other_errors_are_not_out_of_memory(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_out_of_memory(first)


def test_errors_of_want_of_support_are_known() -> None:
    assert is_unsupported(RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"))
    assert not is_unsupported(RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"))
    in_doubt = RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR")
    assert is_unsupported(in_doubt)
    assert not is_out_of_memory(in_doubt)  # no GPU is full here
    assert tells_out_of_memory("terminate called after throwing an instance of 'std::bad_alloc'")


def test_the_process_that_is_no_fork_does_the_same() -> None:
    from sweepline.training.batchsize.prober import Prober
    from sweepline.training.batchsize.processes import spawning
    from sweepline.training.config.loading import load_config

    config = load_config(None, ["data.name=digits", "data.limit=100", "device=cpu", "evaluate.every=1"])
    prober = Prober(spawning(config), budget_bytes=64 << 20)
    assert prober.try_size(16, False) is True
    (probe,) = prober.probes
    assert (probe.status, probe.phase, probe.evaluation_batch_size) == ("ok", "evaluate", 297)
    assert probe.step_s is not None
