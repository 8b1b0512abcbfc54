"""A run with a number: its frozen config, its batch size, the record of that, its weights; what the next should use."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepline.errors import SweeplineError
from sweepline.training.batchsize import policy
from sweepline.training.batchsize.probe import Probe, Setup
from sweepline.training.batchsize.tuner import memory_limit, tune
from sweepline.training.batchsize.tuninglog import (
    FAILED,
    KILLED,
    REUSED,
    SKIPPED,
    SUCCESS,
    TuningRecord,
    finish_record,
    note_killed,
    read_records,
    this_process,
    write_record,
)
from sweepline.training.config import TrainConfig
from sweepline.training.experiment import (
    SLURM_LOGS,
    find_experiment_dir,
    reserve_run_number,
    weights_path,
    write_whole,
)
from sweepline.training.frozen import freeze, propose

if TYPE_CHECKING:
    from torch import nn

STATE_FILE = "batch_size.json"  # in the run's folder: what it goes on with after a stop
TUNING_LOCK = ".tuning.lock"
STOPPED = "stopped; it goes on when it is started again"
OUT_OF_MEMORY = "out of memory"


def is_numbered(config: TrainConfig) -> bool:
    """Whether a run takes a number: asked to, started by hand, or with a batch size that is decided here."""
    if config.run_numbers != "auto":
        return config.run_numbers == "always"
    return config.batch_size_config.is_used or not os.environ.get("SWEEPLINE_RUN_DIR")


@dataclass
class NumberedRun:
    """One run of an experiment. ``config`` is what it trains with, ``given`` what it was started with."""

    given: TrainConfig
    config: TrainConfig
    experiment_dir: Path
    run_dir: Path | None
    record: TuningRecord

    @property
    def number(self) -> int:
        """Which run of the experiment this is."""
        return self.record.run_number

    def check_first_batch(self, n_at_once: int, n_examples: int) -> None:
        """Compare the first batch of training with what the tuning log says.

        Raises:
            SweeplineError: they differ.
        """
        told = read_records(self.experiment_dir)[self.number].run_batch_size
        if told is None or n_at_once != min(told, n_examples):
            raise SweeplineError(
                f"the first batch has {n_at_once} examples, the record of run {self.number} says {told}"
            )

    def succeed(self, model: nn.Module, *, n_splits: int) -> None:
        """Keep the weights, the end of the record, and what the next run should use."""
        import torch

        if n_splits > 1 and self.record.run_batch_size is not None:
            halves = -(-self.record.run_batch_size // n_splits)
            note = f"{self.record.run_batch_size} did not fit in training, went on with {halves} at once"
            self.record = replace(self.record, run_batch_size=halves, notes=_join(self.record.notes, note))
        path = weights_path(self.experiment_dir, self.config, self.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        torch.save(model.state_dict(), temporary)
        temporary.replace(path)
        self.record = finish_record(self.experiment_dir, self.record)
        self._keep("succeeded")
        if self.given.batch_size_config.is_used:
            self._propose(self.record.recommended_batch_size, is_tuned=True)

    def fail(self, error: str, *, ran_out_at: int | None = None) -> TuningRecord:
        """Write how the run failed, and after memory ran out what the next one should begin with."""
        self.record = finish_record(self.experiment_dir, self.record, error=error, ran_out_at=ran_out_at)
        self._keep(OUT_OF_MEMORY if ran_out_at is not None else "failed")
        if ran_out_at is not None:
            self._propose(self.record.recommended_batch_size, is_tuned=False)
        return self.record

    def stop(self) -> None:
        """Write that the run was asked to end, and goes on some time."""
        write_record(self.experiment_dir, replace(self.record, training_error=STOPPED, process=None))

    def settle(self, size: int, *, note: str) -> None:
        """Keep what a study without training has chosen."""
        self.record = replace(
            self.record,
            run_batch_size=size,
            recommended_batch_size=size,
            notes=_join(self.record.notes, note),
            process=None,
        )
        write_record(self.experiment_dir, self.record)
        self._propose(size, is_tuned=True)

    def _propose(self, size: int | None, *, is_tuned: bool) -> None:
        sizes = self.given.batch_size_config.model_copy(
            update={"tuned_batch_size": size, "optimize_batch_size": not is_tuned}
        )
        update = {"batch_size_config": sizes, "evaluate": self.config.evaluate}
        propose(self.given.model_copy(update=update), self.experiment_dir, by=self.number)

    def _keep(self, how: str) -> None:
        if self.run_dir is None:
            return
        state = {
            "run_number": self.number,
            "experiment_dir": str(self.experiment_dir),
            "state": how,
            "run_batch_size": self.record.run_batch_size,
            "evaluation_batch_size": self.record.evaluation_batch_size,
            "recommended_batch_size": self.record.recommended_batch_size,
        }
        write_whole(self.run_dir / STATE_FILE, json.dumps(state, indent=2) + "\n")


def begin(
    config: TrainConfig,
    *,
    outputs: Path,
    run_dir: Path | None,
    n_examples: int,
    device_name: str,
    build: Callable[[], Setup],
    tell: Callable[[str], None],
) -> NumberedRun:
    """Take a number, decide the batch size, and write both down. A run that was stopped goes on with what it had.

    ``tell`` takes pieces of lines for a person; ``run_dir`` is None where nothing is trained.

    Raises:
        SweeplineError: no batch size runs, or the experiment's folder cannot be used; the record says so too.
    """
    experiment_dir = find_experiment_dir(config, outputs).absolute()
    state = _read_state(run_dir, experiment_dir)
    going_on = read_records(experiment_dir).get(state["run_number"]) if state.get("state") == "running" else None
    if going_on is not None:
        tell(f"Run number: {going_on.run_number:03d}, going on\n")
        record = replace(going_on, training_error=None, process=this_process())
        write_record(experiment_dir, record)
    else:
        number = reserve_run_number(experiment_dir)
        tell(f"Run number: {number:03d}\n")
        (experiment_dir / SLURM_LOGS).mkdir(exist_ok=True)
        freeze(config, experiment_dir, number)
        for killed in note_killed(experiment_dir):
            tell(f"Run {killed:03d} was killed\n")
        record = _decide(
            config,
            experiment_dir,
            number,
            recommended=_recommended(config, state),
            n_examples=n_examples,
            device_name=device_name,
            build=build,
            tell=tell,
        )
    size, asked = record.run_batch_size or config.batch_size, config.evaluate.batch_size
    evaluate = config.evaluate.model_copy(update={"batch_size": min(asked, record.evaluation_batch_size or asked)})
    run = NumberedRun(
        given=config,
        config=config.model_copy(update={"batch_size": size, "evaluate": evaluate}),
        experiment_dir=experiment_dir,
        run_dir=run_dir,
        record=record,
    )
    run._keep("running")
    return run


def _read_state(run_dir: Path | None, experiment_dir: Path) -> dict[str, Any]:
    """Return what an earlier attempt of this very run has left; nothing where there was none."""
    if run_dir is None:
        return {}
    with suppress(OSError, ValueError, KeyError, TypeError):
        state: dict[str, Any] = json.loads((run_dir / STATE_FILE).read_text(encoding="utf-8"))
        if state["experiment_dir"] == str(experiment_dir):
            return state
    return {}


def _recommended(config: TrainConfig, state: Mapping[str, Any]) -> int | None:
    """Return what an attempt that ran out of memory recommends, where whoever starts this one has taken that up."""
    size = state.get("recommended_batch_size")
    is_taken_up = state.get("state") == OUT_OF_MEMORY and size == config.batch_size_config.max_batch_size
    return size if is_taken_up else None


def _decide(
    config: TrainConfig,
    experiment_dir: Path,
    number: int,
    *,
    recommended: int | None,
    n_examples: int,
    device_name: str,
    build: Callable[[], Setup],
    tell: Callable[[str], None],
) -> TuningRecord:
    """Decide the batch size of a run and write its record.

    ``recommended`` is what an earlier attempt of this run recommends and the caller has made its bound.
    """
    sizes = config.batch_size_config
    factor, note = policy.safety_factor(config)
    is_tuned = policy.is_tuned(config)
    record = TuningRecord(
        run_number=number,
        timestamp=datetime.now().isoformat(),
        config_key=policy.config_key(config),
        default_batch_size=sizes.default_batch_size or config.batch_size,
        tuned_batch_size_previous=sizes.tuned_batch_size,
        optimize_batch_size=bool(sizes.optimize_batch_size),
        safety_factor=factor,
        tuner_status=SKIPPED,
        notes=note or "",
        tuning_key=policy.tuning_key(config, device_name),
        process=this_process(),
    )
    if note and is_tuned:
        tell(f"{note}\n")
    if not is_tuned or recommended is not None:
        size, source = policy.size_without_tuning(config)
        if recommended is not None:
            size, source = recommended, "memory ran out before; recommended was"
        used = policy.limit_size(config, size, n_examples) if sizes.is_used or sizes.max_batch_size else size
        record = replace(record, run_batch_size=used, notes=_join(record.notes, f"{source} {size}"))
        write_record(experiment_dir, record)
    elif sizes.optimize_batch_size == "once":
        from filelock import FileLock

        with FileLock(experiment_dir / TUNING_LOCK):  # the others wait, and use what this one finds
            record = _reuse(config, experiment_dir, record, n_examples) or _tune(
                config, experiment_dir, record, n_examples=n_examples, build=build, tell=tell
            )
    else:
        record = _tune(config, experiment_dir, record, n_examples=n_examples, build=build, tell=tell)
    if not sizes.is_used:
        return record
    accumulated = f", accumulated to {sizes.target_batch_size}" if sizes.target_batch_size else ""
    tell(
        f"Training batch size: {record.run_batch_size}{accumulated} (tuned_prev: {sizes.tuned_batch_size}, "
        f"safety_factor: {factor}; {record.notes})\n"
    )
    return record


def _reuse(config: TrainConfig, experiment_dir: Path, record: TuningRecord, n_examples: int) -> TuningRecord | None:
    """Take what the latest tuner of such a set-up has found, unless training ran out of memory with it."""
    records = read_records(experiment_dir)
    like = [other for _, other in sorted(records.items()) if other.tuning_key == record.tuning_key]
    latest = next((other for other in reversed(like) if other.tuner_max_batch_size is not None), None)
    if latest is None or latest.tuner_max_batch_size is None:
        return None
    has_failed = (latest.training_error or "").startswith((OUT_OF_MEMORY, KILLED))
    cap, own_cap = latest.tuner_cap or latest.tuner_max_batch_size, policy.size_cap(config, n_examples)
    if has_failed or (latest.tuner_max_batch_size == cap and cap < own_cap):  # its bound was not memory
        return None
    used = policy.apply_factor(latest.tuner_max_batch_size, record.safety_factor)
    record = replace(
        record,
        tuner_status=REUSED,
        tuner_max_batch_size=latest.tuner_max_batch_size,
        tuner_cap=latest.tuner_cap,
        run_batch_size=policy.limit_size(config, used, n_examples),
        evaluation_batch_size=latest.evaluation_batch_size,
        notes=_join(record.notes, f"run {latest.run_number} found {latest.tuner_max_batch_size}"),
    )
    write_record(experiment_dir, record)
    return record


def _tune(
    config: TrainConfig,
    experiment_dir: Path,
    record: TuningRecord,
    *,
    n_examples: int,
    build: Callable[[], Setup],
    tell: Callable[[str], None],
) -> TuningRecord:
    write_record(experiment_dir, replace(record, tuner_status="running"))
    probes: list[Probe] = []
    try:
        tuned = tune(config, n_examples=n_examples, build=build, tell=tell, keep=probes.extend)
    except SweeplineError as error:
        failed = replace(record, tuner_status=FAILED, tuner_trials=len(probes), probes=[p.to_dict() for p in probes])
        finish_record(experiment_dir, failed, error=f"batch size: {error}")
        raise
    found = tuned.found.batch_size
    used = policy.apply_factor(found, record.safety_factor)
    exact = Decimal(found) * Decimal(str(record.safety_factor))
    record = replace(
        record,
        tuner_status=SUCCESS,
        tuner_max_batch_size=found,
        tuner_cap=tuned.found.cap,
        tuner_trials=tuned.found.n_trials,
        run_batch_size=policy.limit_size(config, used, n_examples),
        evaluation_batch_size=tuned.evaluation_batch_size,
        memory_limit_bytes=tuned.limit_bytes,
        notes=_join(record.notes, f"{found} * {record.safety_factor} = {exact.normalize():f} -> {used}"),
        probes=[probe.to_dict() for probe in probes],
    )
    write_record(experiment_dir, record)
    return record


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def run_limit(config: TrainConfig) -> int | None:
    """Return the bytes that training may take; None unless the config says so."""
    return memory_limit(config) if config.batch_size_config.memory_budget_gib is not None else None


def limited(config: TrainConfig) -> TrainConfig:
    """Return a config whose batch size is within its own bound."""
    bound = config.batch_size_config.max_batch_size
    if bound is None or config.batch_size <= bound:
        return config
    return config.model_copy(update={"batch_size": bound})


def report_size(config: TrainConfig, *, n_splits: int) -> dict[str, float]:
    """Return the metric that tells the size that was really used, where it was not simply asked for."""
    sizes = config.batch_size_config
    is_telling = n_splits > 1 or sizes.is_used or sizes.max_batch_size is not None
    return {"run_batch_size": -(-config.batch_size // n_splits)} if is_telling else {}
