"""A run with a number: its frozen config, its record, its weights, and what the next should use. Not how it trains."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sweepline.contract.text import display_path
from sweepline.errors import ConfigError, SweeplineError
from sweepline.training.config.files import RUN_SIZE, STEP_SIZE
from sweepline.training.config.schema import TrainConfig
from sweepline.training.experiment import frozen
from sweepline.training.experiment.folder import find_experiment_dir, weights_path
from sweepline.training.experiment.recordfiles import record_path
from sweepline.training.experiment.records import (
    OUT_OF_MEMORY,
    TuningRecord,
    find_record,
    finish_record,
    join_notes,
    mark_killed,
    this_process,
    write_record,
)
from sweepline.training.experiment.state import (
    FAILED,
    RUNNING,
    SUCCEEDED,
    Settled,
    find_stopped,
    read_state,
    settled_size,
    write_state,
)
from sweepline.training.folder import describe_environment
from sweepline.training.reporting.console import say

if TYPE_CHECKING:
    import torch
    from torch import nn

LATEST = "latest.pth"
"""In an experiment's models: a link to the weights that were saved last."""
STOPPED = "stopped; it goes on when it is started again"


class Decide(Protocol):
    """What decides the batch size of a new run, and writes the record of it."""

    def __call__(self, experiment_dir: Path, number: int, settled: Settled | None) -> TuningRecord:
        """Return the record of the run; ``settled`` is a size that an earlier attempt of this run has settled.

        Raises:
            SweeplineError: no size runs; the record says so.
        """


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
        recorded = record.run_batch_size if record else None
        if recorded is None or len(inputs) != min(recorded, n_examples):
            raise SweeplineError(
                f"the first batch has {len(inputs)} examples, the record of run {self.number} says {recorded}"
            )

    def succeed(self, model: nn.Module, *, n_splits: int, best: Path | None = None) -> None:
        """Keep the weights, with those of the best epoch, the end of the record, and what the next run should use.

        Raises:
            SweeplineError: the weights or the record cannot be written.
        """
        if n_splits > 1 and self.record.run_batch_size is not None:
            halves = -(-self.record.run_batch_size // n_splits)
            remark = f"{self.record.run_batch_size} did not fit in training, went on with {halves} at once"
            self.record = replace(self.record, run_batch_size=halves, notes=join_notes(self.record.notes, remark))
        path = self._keep_weights(model, best)
        say(f"weights saved to {display_path(path)}")
        self.record = finish_record(self.experiment_dir, self.record)
        self.keep_state(SUCCEEDED)
        if self.given.batch_size_config.is_used:
            where = display_path(record_path(self.experiment_dir, self.number))
            say(f"batch size {self.record.run_batch_size} recorded in {where}")
        if self.given.batch_size_config.is_used:
            self._propose(self.record.recommended_batch_size, is_tuned=True)

    def _keep_weights(self, model: nn.Module, best: Path | None) -> Path:
        """Save them, those of the best epoch beside them; return where."""
        import torch

        path = weights_path(self.experiment_dir, self.config, self.number)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(model.state_dict(), temporary)
            temporary.replace(path)
            if best is not None and best.is_file():
                shutil.copyfile(best, temporary)
                temporary.replace(path.with_name(f"{path.stem}_best.pth"))
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            with suppress(OSError):
                temporary.unlink()
            raise SweeplineError(f"{path}: the weights cannot be kept: {error}") from None
        self._link_latest(path)
        return path

    def _link_latest(self, path: Path) -> None:
        """Have ``latest.pth`` name the weights; a file system without links has none, which harms no run."""
        temporary = path.with_name(f".{LATEST}.{os.getpid()}")
        try:
            temporary.symlink_to(path.name)
            temporary.replace(path.with_name(LATEST))
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            say(f"{LATEST} does not name {path.name}, which is kept: {error.strerror or error}")

    def fail(self, error: str, *, ran_out_at: int | None = None) -> TuningRecord:
        """Write how the run failed, and after memory ran out what the next one should begin with.

        A run that has succeeded stays so, whatever goes wrong afterwards.
        """
        if self.record.training_succeeded:
            return self.record
        self.record = finish_record(self.experiment_dir, self.record, error=error, ran_out_at=ran_out_at)
        self.keep_state(OUT_OF_MEMORY if ran_out_at is not None else FAILED)
        if ran_out_at is not None:
            self._propose(self.record.recommended_batch_size, is_tuned=False)
        return self.record

    def stop(self) -> None:
        """Write that the run was asked to end, and goes on some time."""
        write_record(self.experiment_dir, replace(self.record, training_error=STOPPED, process=None))

    def choose_size(self, size: int, *, why: str) -> None:
        """Keep what was chosen without training."""
        self.record = replace(
            self.record,
            run_batch_size=size,
            recommended_batch_size=size,
            notes=join_notes(self.record.notes, why),
            process=None,
        )
        write_record(self.experiment_dir, self.record)
        self.freeze_decision()
        self._propose(size, is_tuned=True)

    def _propose(self, size: int | None, *, is_tuned: bool) -> None:
        """Write what the next run should use; where that fails this run has still been what it was."""
        sizes = self.given.batch_size_config.model_copy(
            update={"tuned_batch_size": size, "optimize_batch_size": not is_tuned}
        )
        update = {"batch_size_config": sizes, "evaluate": self.config.evaluate}
        try:
            config, key = self.given.model_copy(update=update), self.record.tuning_key or "any"
            path = frozen.propose(config, self.experiment_dir, by=self.number, key=key)
            say(f"the next run can use --frozen-config {display_path(path)}")
        except (OSError, ConfigError) as error:
            reason, _, _ = str(error).partition(";")  # what else to do would be of no use to this run
            say(f"no config is proposed for the next run: {reason}")

    def freeze_decision(self) -> None:
        """Add to the frozen config with what the run trains, and where."""
        record = self.record
        outcome = {
            RUN_SIZE: record.run_batch_size,
            frozen.EVALUATION_SIZE: record.evaluation_batch_size,
            STEP_SIZE: record.effective_step_size,
            frozen.ENVIRONMENT: describe_environment(),
        }
        frozen.add_decision(self.given, self.experiment_dir, self.number, outcome)

    def keep_state(self, how: str) -> None:
        """Write into the run's own folder what the next attempt goes on with; nothing where it has none."""
        if self.run_dir is not None:
            write_state(self.run_dir, how, config=self.given, experiment_dir=self.experiment_dir, record=self.record)


def begin(
    config: TrainConfig, *, outputs: Path, run_dir: Path | None, decide: Decide, tell: Callable[[str], None]
) -> NumberedRun:
    """Take a number, have the batch size decided, and write both down. A run that was stopped goes on with what it had.

    ``tell`` takes pieces of lines for a person; ``run_dir`` is None where nothing is trained.

    Raises:
        SweeplineError: no batch size runs, or the experiment's folder cannot be used; the record says so too.
    """
    experiment_dir = find_experiment_dir(config, outputs).absolute()
    state = read_state(run_dir)
    record = find_stopped(config, experiment_dir, state)
    if record is not None:
        tell(f"Run number: {record.run_number:03d}, going on\n")
        record = replace(record, training_error=None, process=this_process())
        write_record(experiment_dir, record)
    else:
        number = frozen.begin_number(config, experiment_dir)
        tell(f"Run number: {number:03d}\n")
        for killed in mark_killed(experiment_dir):
            tell(f"Run {killed:03d} was killed\n")
        record = decide(experiment_dir, number, settled_size(config, state))
    size, asked = record.run_batch_size or config.batch_size, config.evaluate.batch_size
    evaluate = config.evaluate.model_copy(update={"batch_size": min(asked, record.evaluation_batch_size or asked)})
    run = NumberedRun(
        given=config,
        config=config.model_copy(update={"batch_size": size, "evaluate": evaluate}),
        experiment_dir=experiment_dir,
        run_dir=run_dir,
        record=record,
    )
    run.freeze_decision()
    run.keep_state(RUNNING)
    return run
