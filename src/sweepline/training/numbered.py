"""A run with a number: its frozen config, its record, its weights, and what the next should use."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepline.errors import ConfigError, SweeplineError
from sweepline.training import frozen
from sweepline.training.batchsize.decide import Decider, join_notes
from sweepline.training.batchsize.probe import Setup
from sweepline.training.batchsize.tuner import memory_limit
from sweepline.training.batchsize.tuninglog import (
    OUT_OF_MEMORY,
    TuningRecord,
    find_record,
    finish_record,
    note_killed,
    this_process,
    write_record,
)
from sweepline.training.config import TrainConfig
from sweepline.training.console import say
from sweepline.training.environment import describe_environment, is_in_sweep
from sweepline.training.experiment import SLURM_LOGS, find_experiment_dir, weights_path, write_whole
from sweepline.training.identity import asked_identity

if TYPE_CHECKING:
    import torch
    from torch import nn

STATE_FILE = "batch_size.json"  # in the run's folder: what it goes on with after a stop
RUN, SUCCEEDED, FAILED = "running", "succeeded", "failed"
STOPPED = "stopped; it goes on when it is started again"


def is_numbered(config: TrainConfig) -> bool:
    """Whether a run takes a number: asked to, started by hand, or with a batch size that is decided here."""
    if config.run_numbers != "auto":
        return config.run_numbers == "always"
    return config.batch_size_config.is_used or not is_in_sweep()


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

    def check_first_batch(self, inputs: torch.Tensor, n_examples: int) -> None:
        """Compare what enters the network in the first step, of ``n_examples``, with what the record says.

        Raises:
            SweeplineError: they differ.
        """
        record = find_record(self.experiment_dir, self.number)
        told = record.run_batch_size if record else None
        if told is None or len(inputs) != min(told, n_examples):
            raise SweeplineError(
                f"the first batch has {len(inputs)} examples, the record of run {self.number} says {told}"
            )

    def succeed(self, model: nn.Module, *, n_splits: int) -> None:
        """Keep the weights, the end of the record, and what the next run should use.

        Raises:
            SweeplineError: the weights or the record cannot be written.
        """
        if n_splits > 1 and self.record.run_batch_size is not None:
            halves = -(-self.record.run_batch_size // n_splits)
            note = f"{self.record.run_batch_size} did not fit in training, went on with {halves} at once"
            self.record = replace(self.record, run_batch_size=halves, notes=join_notes(self.record.notes, note))
        self._keep_weights(model)
        self.record = finish_record(self.experiment_dir, self.record)
        self._keep(SUCCEEDED)
        if self.given.batch_size_config.is_used:
            self._propose(self.record.recommended_batch_size, is_tuned=True)

    def _keep_weights(self, model: nn.Module) -> None:
        import torch

        path = weights_path(self.experiment_dir, self.config, self.number)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(model.state_dict(), temporary)
            temporary.replace(path)
        except (OSError, RuntimeError) as error:  # torch tells a full disk as a RuntimeError
            with suppress(OSError):
                temporary.unlink()
            raise SweeplineError(f"{path}: the weights cannot be kept: {error}") from None

    def fail(self, error: str, *, ran_out_at: int | None = None) -> TuningRecord:
        """Write how the run failed, and after memory ran out what the next one should begin with.

        A run that has succeeded stays so, whatever goes wrong afterwards.
        """
        if self.record.training_succeeded:
            return self.record
        self.record = finish_record(self.experiment_dir, self.record, error=error, ran_out_at=ran_out_at)
        self._keep(OUT_OF_MEMORY if ran_out_at is not None else FAILED)
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
            notes=join_notes(self.record.notes, note),
            process=None,
        )
        write_record(self.experiment_dir, self.record)
        self._freeze_decision()
        self._propose(size, is_tuned=True)

    def _propose(self, size: int | None, *, is_tuned: bool) -> None:
        """Write what the next run should use; where that fails this run has still been what it was."""
        sizes = self.given.batch_size_config.model_copy(
            update={"tuned_batch_size": size, "optimize_batch_size": not is_tuned}
        )
        update = {"batch_size_config": sizes, "evaluate": self.config.evaluate}
        try:
            frozen.propose(self.given.model_copy(update=update), self.experiment_dir, by=self.number)
        except (OSError, ConfigError) as error:
            say(f"no config is proposed for the next run: {str(error).partition(chr(59))[0]}")

    def _freeze_decision(self) -> None:
        record = self.record
        marks = {
            frozen.RUN_SIZE: record.run_batch_size,
            frozen.EVALUATION_SIZE: record.evaluation_batch_size,
            frozen.STEP_SIZE: record.effective_step_size,
            frozen.ENVIRONMENT: describe_environment(),
        }
        frozen.note_decision(self.given, self.experiment_dir, self.number, marks)

    def _keep(self, how: str) -> None:
        if self.run_dir is None:
            return
        state = {
            "run_number": self.number,
            "experiment_dir": str(self.experiment_dir),
            "asked": asked_identity(self.given),
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
    is_study: bool = False,
) -> NumberedRun:
    """Take a number, decide the batch size, and write both down. A run that was stopped goes on with what it had.

    ``tell`` takes pieces of lines for a person; ``run_dir`` is None where nothing is trained, as in a study.

    Raises:
        SweeplineError: no batch size runs, or the experiment's folder cannot be used; the record says so too.
    """
    experiment_dir = find_experiment_dir(config, outputs).absolute()
    state = _read_state(run_dir)
    record = _find_stopped(config, experiment_dir, state)
    if record is not None:
        tell(f"Run number: {record.run_number:03d}, going on\n")
        record = replace(record, training_error=None, process=this_process())
        write_record(experiment_dir, record)
    else:
        number = frozen.begin_number(config, experiment_dir)
        tell(f"Run number: {number:03d}\n")
        with suppress(OSError):
            (experiment_dir / SLURM_LOGS).mkdir(exist_ok=True)
        for killed in note_killed(experiment_dir):
            tell(f"Run {killed:03d} was killed\n")
        decider = Decider(
            config=config,
            experiment_dir=experiment_dir,
            n_examples=n_examples,
            device_name=device_name,
            build=build,
            tell=tell,
            settled=_settled(config, state),
        )
        record = decider.decide(number)
        if not is_study:
            tell(decider.describe(record))
    size, asked = record.run_batch_size or config.batch_size, config.evaluate.batch_size
    evaluate = config.evaluate.model_copy(update={"batch_size": min(asked, record.evaluation_batch_size or asked)})
    run = NumberedRun(
        given=config,
        config=config.model_copy(update={"batch_size": size, "evaluate": evaluate}),
        experiment_dir=experiment_dir,
        run_dir=run_dir,
        record=record,
    )
    run._freeze_decision()
    run._keep(RUN)
    return run


def _read_state(run_dir: Path | None) -> dict[str, Any]:
    """Return what an earlier attempt of this very run has left; nothing where there was none."""
    if run_dir is None:
        return {}
    with suppress(OSError, ValueError):
        state = json.loads((run_dir / STATE_FILE).read_text(encoding="utf-8"))
        return state if isinstance(state, dict) else {}
    return {}


def _goes_on(config: TrainConfig, state: Mapping[str, Any]) -> bool:
    """Whether an attempt was stopped in this folder, and the same is asked for; an older version did not tell."""
    return state.get("state") == RUN and state.get("asked") in (asked_identity(config), None)


def _find_stopped(config: TrainConfig, experiment_dir: Path, state: Mapping[str, Any]) -> TuningRecord | None:
    """Return the record of the run that goes on in this folder; None where none does, or it has ended."""
    is_here = state.get("experiment_dir") == str(experiment_dir)
    if not _goes_on(config, state) or not is_here or not isinstance(state.get("run_number"), int):
        return None
    record = find_record(experiment_dir, state["run_number"])
    return None if record is None or record.training_succeeded else record


def _settled(config: TrainConfig, state: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return the size that an earlier attempt has settled, and how; None where it is to be decided."""
    size = state.get("run_batch_size")
    if _goes_on(config, state) and isinstance(size, int):
        return size, "went on, elsewhere, with"
    recommended = state.get("recommended_batch_size")
    if state.get("state") == OUT_OF_MEMORY and recommended == config.batch_size_config.max_batch_size and recommended:
        return recommended, "memory ran out before; recommended was"
    return None


def run_limit(config: TrainConfig) -> int | None:
    """Return the bytes that training may take; None unless the config says so."""
    return memory_limit(config) if config.batch_size_config.memory_budget_gib is not None else None


def limited(config: TrainConfig) -> TrainConfig:
    """Return a config whose batch size is within its own bound."""
    bound = config.batch_size_config.max_batch_size
    if bound is None or config.batch_size <= bound:
        return config
    return config.model_copy(update={"batch_size": bound})
