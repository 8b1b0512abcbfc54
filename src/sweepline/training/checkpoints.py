"""Checkpoints: one file each, whole or not at all, the last generations kept, and nothing in them that could run.

A checkpoint is read with ``weights_only``, so that a planted one is refused instead of executed. One that is damaged is
passed over for the one before it.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sweepline.contract.runfolder import CHECKPOINTS
from sweepline.training.loop import EpochResult, LoopState
from sweepline.training.memory import gpus_in_use
from sweepline.training.optim.optimization import Optimization
from sweepline.training.tasks.base import Task

VERSION = 1  # of what a file holds; another is passed over
_NAME = re.compile(r"ckpt_(\d+)\.pt")


class CheckpointFolder:
    """The checkpoints of one run, named by step: ``ckpt/ckpt_000123.pt``. ``say`` takes sentences for the user.

    Those whose content has another value than ``identity`` under ``identity_key`` are passed over.
    """

    def __init__(
        self, run_dir: Path, *, identity_key: str, identity: str, keep: int, say: Callable[[str], None]
    ) -> None:
        self.path, self.keep, self.say = run_dir / CHECKPOINTS, keep, say
        self._identity_key, self._identity = identity_key, identity

    def drop_leftovers(self) -> None:
        """Remove what a process that was killed while it saved has left."""
        for leftover in self.path.glob("*.tmp"):
            leftover.unlink(missing_ok=True)

    def write(self, step: int, content: dict[str, Any]) -> Path:
        """Write one, on the disk when this returns, and drop the generations that are not kept; return where.

        Raises:
            OSError: the disk does not take it. torch reports a full one as a RuntimeError.
        """
        path = self.path / f"ckpt_{step:06d}.pt"
        self.path.mkdir(parents=True, exist_ok=True)
        write_durably(path, {"version": VERSION, self._identity_key: self._identity, **content})
        for old in [known for known in self.paths() if known != path][self.keep - 1 :]:
            old.unlink(missing_ok=True)
        return path

    def set_others_aside(self) -> None:
        """Give those of other identities another name; their tensors are not read for it."""
        for _ in self.read(sets_aside=True, is_mapped=True):
            continue

    def read(self, *, sets_aside: bool = False, is_mapped: bool = False) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the content of each that is whole and of this identity, the newest first.

        With ``sets_aside`` those of others get another name: nothing that is saved from now on is measured by them.
        Tensors that are ``is_mapped`` are read once they are looked at.
        """
        for path in self.paths():
            try:
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_mapped)
            except Exception as error:  # whatever a damaged or planted file makes of the reader
                reason = "is not a weights-only checkpoint" if "weights_only" in str(error) else "is unreadable"
                self.say(f"{path.name} {reason}: passed over")
                continue
            if not isinstance(content, dict) or content.get("version") != VERSION:
                self.say(f"{path.name} is of another format: passed over")
            elif content.get(self._identity_key) != self._identity:
                self.say(f"{path.name} is of another {self._identity_key.partition('_')[0]}: passed over")
                if sets_aside:
                    path.replace(path.with_name(f"other_{path.name}"))
            else:
                yield path, content

    def paths(self) -> list[Path]:
        """Return the files, the newest first."""
        found = [path for path in self.path.glob("ckpt_*.pt") if _NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: int(path.stem.partition("_")[2]), reverse=True)


class Checkpoints:
    """What is saved of a run of the trainer, every ``interval_s`` seconds, and put back."""

    def __init__(
        self,
        run_dir: Path,
        *,
        config_hash: str,
        keep: int,
        interval_s: float,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interval_s, self.say = interval_s, say
        self._kept = CheckpointFolder(run_dir, identity_key="config_hash", identity=config_hash, keep=keep, say=say)
        self._clock = clock
        self._saved_at = clock()
        self._kept.drop_leftovers()

    @property
    def has_saved(self) -> bool:
        """Whether there is one in the folder."""
        return any(self._kept.path.glob("ckpt_*.pt"))

    @property
    def is_due(self) -> bool:
        """Whether the last one is older than the interval."""
        return self._clock() - self._saved_at >= self.interval_s

    def save(
        self,
        model: nn.Module,
        optimization: Optimization,
        state: LoopState,
        history: list[EpochResult],
        *,
        task: Task | None = None,
    ) -> None:
        """Write a checkpoint, on the disk when this returns, and drop the generations that are not kept.

        One that the disk does not take is said and left out: the run goes on, the one before it stays.
        """
        content = {
            "torch": str(torch.__version__),  # its own type is nothing that weights_only reads
            "model": model.state_dict(),
            **optimization.state_dict(),
            "state": state.to_dict(),
            "history": [[r.epoch, r.step, r.samples, dict(r.metrics)] for r in history],
            "random": random_states(_device_of(model)),
        }
        if task is not None and (task_state := task.state_dict()):
            content["task"] = task_state
        self._saved_at = self._clock()
        try:
            self._kept.write(state.step, content)
        except (OSError, RuntimeError, MemoryError) as error:  # torch reports a full disk as a RuntimeError
            with suppress(OSError):
                self._kept.drop_leftovers()
            self.say(f"ckpt_{state.step:06d}.pt could not be saved: {error}")

    def restore(
        self,
        model: nn.Module,
        optimization: Optimization,
        *,
        task: Task | None = None,
        n_epochs: int | None = None,
    ) -> tuple[LoopState, list[EpochResult]] | None:
        """Put the newest usable checkpoint into model, optimizer, task and random states; None when there is none.

        ``n_epochs`` is how long the run shall be: a checkpoint of one that has gone on for longer is of no use.
        """
        for path, content in self._kept.read(sets_aside=True):
            if n_epochs is not None and content["state"]["epoch"] > n_epochs + 1:  # at the end it is the one behind
                self.say(f"{path.name} is of a later epoch than {n_epochs}: passed over")
                continue
            model.load_state_dict(content["model"])
            optimization.load_state_dict(content)
            if task is not None and "task" in content:
                task.load_state_dict(content["task"])
            history = [
                EpochResult(epoch, step, samples, metrics) for epoch, step, samples, metrics in content["history"]
            ]
            state = LoopState.from_dict(content["state"])
            set_random_states(content["random"], _device_of(model))
            written_by = content.get("torch", str(torch.__version__))
            if written_by != str(torch.__version__):
                self.say(f"{path.name} is of torch {written_by}, this is {torch.__version__}: results may differ")
            self.say(f"goes on from {path.name}: epoch {state.epoch}, step {state.step}")
            return state, history
        return None


def random_states(device: torch.device | None = None) -> dict[str, Any]:
    """Return what the generators of random numbers would draw next, as plain values and tensors.

    Of the GPUs that of ``device`` alone; without one, of those that this process has tensors on.
    """
    import numpy as np

    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, internal, gauss_next = random.getstate()
    states: dict[str, Any] = {
        "python": [version, list(internal), gauss_next],
        "numpy": [name, [int(key) for key in keys], int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
    }
    if gpus := _gpus(device):
        states["gpus"] = [torch.cuda.get_rng_state(gpu) for gpu in gpus]
    return states


def set_random_states(states: dict[str, Any], device: torch.device | None = None) -> None:
    """Undo :func:`random_states`; the GPUs may have other numbers than they had: the first is set as the first was."""
    import numpy as np

    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))
    name, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(states["torch"])
    gpus, of_all = _gpus(device), states.get("cuda", [])  # once kept: of all GPUs of the machine, by their numbers
    kept = states.get("gpus") or [of_all[gpu] for gpu in gpus if gpu < len(of_all)]
    for gpu, state in zip(gpus, kept, strict=False):
        torch.cuda.set_rng_state(state, gpu)


def _gpus(device: torch.device | None) -> list[int]:
    if device is None:
        return gpus_in_use()
    return [device.index or 0] if device.type == "cuda" else []


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def write_durably(path: Path, content: Any) -> None:
    """Save with torch, on the disk and whole when this returns."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
