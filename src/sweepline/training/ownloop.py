"""For those with a training loop of their own: a batch size that fits, run numbers, frozen configs, checkpoints."""

from __future__ import annotations

import hashlib
import io
import json
import operator
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sweepline.errors import ConfigError
from sweepline.fits.search import apply_factor, search_by_memory
from sweepline.training import memory
from sweepline.training.batchsize.prober import Prober, describe_probes
from sweepline.training.batchsize.processes import describe_build, spawning
from sweepline.training.batchsize.tuner import COARSEST, Patience
from sweepline.training.checkpoints import CheckpointFolder, random_states, set_random_states
from sweepline.training.device import device_name
from sweepline.training.experiment.folder import frozen_path, locked, write_whole
from sweepline.training.reporting.console import print_part

TUNED = "tuned_batch_sizes.json"


@dataclass(frozen=True, slots=True)
class TunedBatchSize:
    """``batch_size`` to use, ``largest`` that ran, and what each probe came to; ``is_reused``: known before."""

    batch_size: int
    largest: int
    safety_factor: float
    probes: list[dict[str, Any]]
    is_reused: bool = False


def tune_batch_size(
    make: Callable[..., Any],
    *,
    first: int = 64,
    cap: int,
    safety_factor: float = 0.5,
    memory_gib: float | None = None,
    device: str = "cpu",
    granularity: int | None = None,
    max_trials: int = 10,
    steps_per_probe: int = 3,
    probe_timeout_s: float = 300.0,
    key: Any = None,
    folder: str | Path | None = None,
    tell: Callable[[str], None] = print_part,
) -> TunedBatchSize:
    """Return a batch size that fits, tried with one's own training step, each size in a process of its own.

    Args:
        make: ``make(device)`` returns ``step(n)``, which does one optimizer step on n examples, or that and
            ``evaluate(n)``. It is called in the probes' processes, so that it must be a function of a module or of the
            script itself, whose main part is guarded by ``if __name__ == "__main__"``.
        first: where the search begins.
        cap: the largest size of interest, such as the number of examples.
        safety_factor: the share of the largest size that is used.
        memory_gib: what a probe may allocate beyond what is there before; None: nine tenths of what is free, divided by
            the number of runs that share it ($SWEEPLINE_RUNS_PER_DEVICE).
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        granularity: what sizes are multiples of, and how near the search comes to the limit; None: ``first``, at most
            an eighth of what fits. Where sizes tell what memory they take, one at most runs out of it.
        max_trials: how many sizes may be tried.
        steps_per_probe: how many steps make a probe.
        probe_timeout_s: how long one may take.
        key: what decides how much memory is needed, as plain values; with ``folder`` what was found for it is used
            again.
        folder: where what is found is kept.
        tell: takes pieces of lines for a person.

    Raises:
        ConfigError: ``make`` is nothing that another process can import, or returns no step.
        SweeplineError: no size runs, or a probe fails for another reason than memory.
    """
    how = {
        **describe_build(make, what="make"),
        "adapt": {"device": device, "n_examples": cap, "memory_gib": memory_gib},
    }

    def find() -> TunedBatchSize:
        is_cpu = device == "cpu"
        budget = int(memory_gib * memory.GIB) if memory_gib is not None else memory.usable_bytes() if is_cpu else None
        prober = Prober(
            spawning(how),
            n_steps=steps_per_probe,
            budget_bytes=budget if is_cpu else None,
            timeout_s=probe_timeout_s,
            tell=tell,
        )
        patience = Patience(prober.probes, 10 * probe_timeout_s, watches_speed=is_cpu and memory_gib is None)
        found = search_by_memory(
            prober.try_size,
            prober.peaks,
            first=first,
            cap=cap,
            limit=budget,
            granularity=granularity or first,
            coarsest=Fraction(1) if granularity else COARSEST,
            max_trials=max_trials,
            is_enough=patience.is_enough,
        )
        size = apply_factor(found.batch_size, safety_factor)
        tell(f"Batch size: {size} ({found.batch_size} * {safety_factor}; {describe_probes(prober.probes)})\n")
        return TunedBatchSize(size, found.batch_size, safety_factor, [probe.to_dict() for probe in prober.probes])

    if folder is None or key is None:
        return find()
    digest = _digest([key, _device_name(device), memory.runs_per_device(), memory_gib, cap])[:16]
    # Who comes meanwhile waits for what is found, and finds no less memory by it.
    with locked(Path(folder), f".{TUNED}.lock", use="sizes are kept there"):
        store = Path(folder) / TUNED
        return _known_or_found(store, digest, find, key=key, safety_factor=safety_factor, tell=tell)


def _known_or_found(
    store: Path,
    digest: str,
    find: Callable[[], TunedBatchSize],
    *,
    key: Any,
    safety_factor: float,
    tell: Callable[[str], None],
) -> TunedBatchSize:
    """Return what a file has of a set-up, else what is found, which is kept there."""
    known = _read_tuned(store).get(digest)
    if known is not None:
        largest = int(known["largest"])
        size = apply_factor(largest, safety_factor)
        tell(f"Batch size: {size} (found on {known['found_at']})\n")
        return TunedBatchSize(size, largest, safety_factor, known["probes"], True)
    found = find()
    record = {"found_at": datetime.now().isoformat(timespec="seconds"), "key": key, "largest": found.largest}
    tuned = {**_read_tuned(store), digest: {**record, "probes": found.probes}}
    write_whole(store, json.dumps(tuned, indent=2, default=str) + "\n")
    return found


def _device_name(device: str) -> str:
    import torch

    return device_name(torch.device(device))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _read_tuned(store: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(store.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def freeze_config(config: Mapping[str, Any], folder: str | Path, number: int) -> Path:
    """Write the config of a run, which is then never changed; return where.

    Args:
        config: plain values, as JSON has them.
        folder: of the experiment.
        number: of the run, from :func:`reserve_run_number`.

    Raises:
        ConfigError: the run has one already, the config holds something else than plain values, or that is no number.
    """
    path = frozen_path(Path(folder), _whole(number, 1, "freeze_config: number", "reserve_run_number gives one"))
    head = {"_frozen_config_version": "1.0", "_frozen_at": datetime.now().isoformat()}
    try:
        text = json.dumps({**head, **config}, indent=2, allow_nan=False)
    except TypeError as error:
        raise ConfigError(f"{path}: a config holds numbers, texts, lists and mappings: {error}") from None
    except ValueError:
        raise ConfigError(
            f"{path}: a config holds numbers that JSON has: write NaN and infinities as texts, or leave them out"
        ) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise ConfigError(f"{path}: run {number} has a frozen config, which is not changed; reserve a number") from None
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    return path


def _whole(value: Any, least: int, what: str, hint: str) -> int:
    """Return a whole number of any kind, such as NumPy's.

    Raises:
        ConfigError: it is none, or less than ``least``.
    """
    with suppress(TypeError):
        if not isinstance(value, bool) and (number := operator.index(value)) >= least:
            return number
    raise ConfigError(f"{what} needs a whole number, {least} or more, got {value!r}: {hint}")


def load_frozen_config(path: str | Path) -> dict[str, Any]:
    """Return a config that was frozen.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: is no frozen config: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: a frozen config is a mapping of keys, got {type(value).__name__}")
    return {key: item for key, item in value.items() if not key.startswith("_frozen")}


class Checkpoints:
    """Checkpoints of a loop of one's own: one file each, whole or not at all, the last ones kept.

    ::

        with Checkpoints(run_dir, identity={"lr": 0.1}) as checkpoints:
            step = checkpoints.restore(model=model, optimizer=optimizer) or 0
            while step < 1000:
                ...
                step += 1
                if step % 100 == 0:
                    checkpoints.save(step, model=model, optimizer=optimizer)

    They are read with torch's ``weights_only``, so that a planted one is refused instead of executed. What Python,
    NumPy and torch draw next is part of them, and restored last.
    """

    def __init__(self, run_dir: str | Path, *, identity: Any = None, keep: int = 2) -> None:
        """Look into a folder.

        Args:
            run_dir: the run's folder; ``ckpt/`` is made in it.
            identity: plain values that decide what is computed: a checkpoint of others is passed over.
            keep: how many of the last stay; at least 2, should one be damaged.
        """
        self.remarks: list[str] = []
        """Why checkpoints were passed over; it is printed too."""
        self._kept = CheckpointFolder(
            Path(run_dir), identity_key="identity", identity=_digest(identity), keep=max(2, keep), say=self._note
        )
        self._has_saved = False

    def __enter__(self) -> Self:
        """Drop what a process that was killed while it saved has left."""
        self._kept.drop_leftovers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep everything as it is."""

    def save(self, step: int, **objects: Any) -> Path:
        """Write a checkpoint, on the disk when this returns.

        Args:
            step: how many steps were done.
            objects: by name, what has ``state_dict`` and ``load_state_dict``; or plain values.

        Raises:
            ConfigError: ``step`` is no count, or an object is nothing that could be read back.
            OSError: the disk does not take it; those before it stay.
        """
        step = _whole(step, 0, "Checkpoints.save: step", "count the steps that were done")
        states = {name: o.state_dict() if hasattr(o, "state_dict") else o for name, o in objects.items()}
        if not self._has_saved:
            _check_readable(states)
            self._kept.set_others_aside()
            self._has_saved = True
        return self._kept.write(step, {"step": step, "objects": states, "random": random_states()})

    def restore(self, **objects: Any) -> int | None:
        """Put the latest checkpoint that is whole into the objects; return its step, None where there is none.

        Plain values are in :attr:`values` afterwards.
        """
        for path, content in self._kept.read():
            missing = [name for name in objects if name not in content["objects"]]
            if missing:
                self._note(f"{path.name} holds no {missing[0]}: passed over")
                continue
            for name, target in objects.items():
                target.load_state_dict(content["objects"][name])
            self.values = {name: value for name, value in content["objects"].items() if name not in objects}
            set_random_states(content["random"])
            return int(content["step"])
        return None

    values: Mapping[str, Any] = {}
    """What a restored checkpoint held beside the objects that were asked for."""

    def _note(self, remark: str) -> None:
        self.remarks.append(remark)
        print_part(f"sweepline: {remark}\n")


def _check_readable(objects: Mapping[str, Any]) -> None:
    """Refuse what torch would write and not read again; of tensors, which it does read, nothing is written here.

    Raises:
        ConfigError: names it.
    """
    import torch

    for name, value in objects.items():
        buffer = io.BytesIO()
        torch.save(_without_tensors(value), buffer)
        buffer.seek(0)
        try:
            torch.load(buffer, weights_only=True)
        except Exception as error:  # pickle's own errors, and torch's
            raise ConfigError(
                f"Checkpoints.save: {name} holds a {_unreadable(error)} and could not be read back; give numbers, "
                "texts, lists, mappings and tensors: float(x) makes a number of one of NumPy's"
            ) from None


def _without_tensors(value: Any) -> Any:
    """Return plain containers with None for each tensor."""
    import torch

    if type(value) in (list, tuple):
        return [_without_tensors(item) for item in value]
    if type(value) in (dict, OrderedDict):
        return {key: _without_tensors(item) for key, item in value.items()}
    return None if type(value) in (torch.Tensor, torch.nn.Parameter) else value


def _unreadable(error: Exception) -> str:
    found = re.search(r"GLOBAL (\S+)", str(error))
    return found[1] if found else "value that torch does not read with weights_only"
