"""Which batch size a run trains with: given, found by an earlier run, or searched now. Not what becomes of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from sweepline.errors import SweeplineError
from sweepline.fits.search import apply_factor
from sweepline.training.batchsize import policy
from sweepline.training.batchsize.probe import Probe, Setup
from sweepline.training.batchsize.tuner import tune
from sweepline.training.config.schema import TrainConfig
from sweepline.training.config.sizes import default_size, effective_step_size, examples_per_step
from sweepline.training.experiment.records import (
    FAILED,
    KILLED,
    OUT_OF_MEMORY,
    REUSED,
    RUNNING,
    SKIPPED,
    SUCCESS,
    TuningRecord,
    finish_record,
    join_notes,
    newest_first,
    this_process,
    write_record,
)
from sweepline.training.experiment.state import Settled

TUNING_LOCK = ".tuning.lock"
_WAITING_S = 20.0  # between two signs of life of a run that waits for the tuner of another


@dataclass(frozen=True, kw_only=True)
class Decider:
    """Decides the batch size of a new run of an experiment, and writes its record.

    ``build`` makes what probes run, ``tell`` takes pieces of lines for a person. ``is_described`` has it say what was
    decided.
    """

    config: TrainConfig
    n_examples: int
    device_name: str
    build: Callable[[], Setup]
    tell: Callable[[str], None]
    is_described: bool = True

    def __call__(self, experiment_dir: Path, number: int, settled: Settled | None) -> TuningRecord:
        """Decide, write the run's record and return it; see :class:`~sweepline.training.experiment.numbered.Decide`."""
        sizes, record = self.config.batch_size_config, self._new_record(number)
        if record.notes and policy.is_tuned(self.config):
            self.tell(f"{record.notes}\n")
        if not policy.is_tuned(self.config) or settled is not None:
            record = self._take_given(record, settled)
        elif sizes.optimize_batch_size == "once":
            record = self._find_once(experiment_dir, record)
        else:
            record = self._search(experiment_dir, record)
        record = replace(record, effective_step_size=self._step_size(record))
        write_record(experiment_dir, record)
        if self.is_described:
            self.tell(self._describe(record))
        return record

    def _describe(self, record: TuningRecord) -> str:
        """Return what a person should know of a size that was decided here; nothing where it was simply asked for."""
        sizes = self.config.batch_size_config
        if not sizes.is_used:
            return ""
        accumulated = f", accumulated to {sizes.target_batch_size}" if sizes.target_batch_size else ""
        text = (
            f"Training batch size: {record.run_batch_size}{accumulated} (tuned_prev: {sizes.tuned_batch_size}, "
            f"safety_factor: {record.safety_factor}; {record.notes})\n"
        )
        per_step = min(examples_per_step(self._used(record)), self.n_examples)
        n_steps = -(-self.n_examples // per_step)
        if policy.is_tuned(self.config) and n_steps < policy.FEW_STEPS:
            text += (
                f"An epoch has {n_steps} step{'s' if n_steps > 1 else ''} with this size, which trains little: "
                "batch_size_config.max_batch_size bounds it\n"
            )
        return text

    def _used(self, record: TuningRecord) -> TrainConfig:
        return self.config.model_copy(update={"batch_size": record.run_batch_size or self.config.batch_size})

    def _step_size(self, record: TuningRecord) -> float:
        return effective_step_size(self._used(record), self.n_examples)

    def _new_record(self, number: int) -> TuningRecord:
        sizes = self.config.batch_size_config
        factor, remark = policy.safety_factor(self.config)
        return TuningRecord(
            run_number=number,
            timestamp=datetime.now().isoformat(),
            config_key=policy.config_key(self.config),
            default_batch_size=default_size(self.config),
            tuned_batch_size_previous=sizes.tuned_batch_size,
            optimize_batch_size=sizes.optimize_batch_size,
            safety_factor=factor,
            tuner_status=SKIPPED,
            notes=remark or "",
            tuning_key=policy.tuning_key(self.config, self.device_name),
            process=this_process(),
        )

    def _take_given(self, record: TuningRecord, settled: Settled | None) -> TuningRecord:
        size, source = settled or policy.size_without_tuning(self.config)
        sizes = self.config.batch_size_config
        is_limited = sizes.is_used or sizes.max_batch_size is not None
        used = policy.limit_size(self.config, size, self.n_examples) if is_limited else size
        return replace(record, run_batch_size=used, notes=join_notes(record.notes, f"{source} {size}"))

    def _find_once(self, experiment_dir: Path, record: TuningRecord) -> TuningRecord:
        """Take what the latest run of such a set-up has found; the first searches, and the others wait for it."""
        from filelock import FileLock, Timeout

        write_record(experiment_dir, replace(record, tuner_status=RUNNING))
        lock, has_waited = FileLock(experiment_dir / TUNING_LOCK), False
        while True:
            try:
                lock.acquire(timeout=_WAITING_S if has_waited else 0)
                break
            except Timeout:
                self.tell("Waiting for another run, which searches the batch size\n")
                has_waited = True
        try:
            return self._reuse(experiment_dir, record) or self._search(experiment_dir, record)
        finally:
            lock.release()

    def _reuse(self, experiment_dir: Path, record: TuningRecord) -> TuningRecord | None:
        latest = find_reusable(newest_first(experiment_dir), record.tuning_key)
        if latest is None or latest.tuner_max_batch_size is None:
            return None
        cap, own_cap = latest.tuner_cap or latest.tuner_max_batch_size, policy.size_cap(self.config, self.n_examples)
        if latest.tuner_max_batch_size == cap and cap < own_cap:  # its bound was not memory
            return None
        used = apply_factor(latest.tuner_max_batch_size, record.safety_factor)
        found_by = latest.tuner_run or latest.run_number
        record = replace(
            record,
            tuner_status=REUSED,
            tuner_max_batch_size=latest.tuner_max_batch_size,
            tuner_cap=latest.tuner_cap,
            tuner_run=found_by,
            run_batch_size=policy.limit_size(self.config, used, self.n_examples),
            evaluation_batch_size=latest.evaluation_batch_size,
            memory_limit_bytes=latest.memory_limit_bytes,
            notes=join_notes(record.notes, f"run {found_by} found {latest.tuner_max_batch_size}"),
        )
        write_record(experiment_dir, record)
        return record

    def _first_size(self, experiment_dir: Path, record: TuningRecord) -> int:
        """Return where the search begins: no higher than recommended where memory ran out in the latest such run."""
        first = policy.first_size(self.config)
        alike = (other for other in newest_first(experiment_dir) if other.tuning_key == record.tuning_key)
        latest = next((other for other in alike if other.run_number != record.run_number), None)
        has_run_out = latest is not None and (latest.training_error or "").startswith(OUT_OF_MEMORY)
        return min(first, latest.recommended_batch_size or first) if latest and has_run_out else first

    def _search(self, experiment_dir: Path, record: TuningRecord) -> TuningRecord:
        write_record(experiment_dir, replace(record, tuner_status=RUNNING))
        probes: list[Probe] = []
        try:
            tuned = tune(
                self.config,
                n_examples=self.n_examples,
                build=self.build,
                tell=self.tell,
                keep=probes.extend,
                first=self._first_size(experiment_dir, record),
            )
        except SweeplineError as error:
            tried = [probe.to_dict() for probe in probes]
            failed = replace(record, tuner_status=FAILED, tuner_trials=len(probes), probes=tried)
            finish_record(experiment_dir, failed, error=f"batch size: {error}")
            raise
        found = tuned.found.batch_size
        used = apply_factor(found, record.safety_factor)
        exact = Decimal(found) * Decimal(str(record.safety_factor))
        record = replace(
            record,
            tuner_status=SUCCESS,
            tuner_max_batch_size=found,
            tuner_cap=tuned.found.cap,
            tuner_run=record.run_number,
            tuner_trials=tuned.found.n_trials,
            run_batch_size=policy.limit_size(self.config, used, self.n_examples),
            evaluation_batch_size=tuned.evaluation_batch_size,
            memory_limit_bytes=tuned.limit_bytes,
            notes=join_notes(record.notes, f"{found} * {record.safety_factor} = {exact.normalize():f} -> {used}"),
            probes=[probe.to_dict() for probe in probes],
        )
        write_record(experiment_dir, record)  # before others look what was found
        return record


def find_reusable(newest: Iterable[TuningRecord], key: str | None) -> TuningRecord | None:
    """Return the latest record of a set-up that shows what fits; None where it cannot be relied on.

    It cannot once memory ran out in training with it. A run that was killed shows nothing where another has succeeded
    with what the same tuner found; where none has, it may have been for want of memory.
    """
    latest = None
    for other in newest:
        if other.tuning_key != key or other.tuner_max_batch_size is None:
            continue
        error = other.training_error or ""
        if latest is not None and (other.tuner_run or other.run_number) != (latest.tuner_run or latest.run_number):
            return None
        if error.startswith(OUT_OF_MEMORY):
            return None
        latest = latest or other
        if not error.startswith(KILLED):
            return latest
    return None
