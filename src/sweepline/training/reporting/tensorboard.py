"""One run in TensorBoard: scalars, and its parameters for the HParams view, in one folder of event files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepline.contract.values import flatten, format_value, is_number
from sweepline.training.config.schema import TrainConfig
from sweepline.training.reporting.console import say
from sweepline.training.reporting.exitcodes import EXIT_STOPPED
from sweepline.training.reporting.trackers import Tracker

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

FOLDER = "tensorboard"


class TensorBoardRun:
    """The event files of a run that is under way."""

    def __init__(self, writer: SummaryWriter, parameters: Mapping[str, float | str]) -> None:
        """Write down the parameters, before anything can go wrong.

        Nothing says which metrics there will be: TensorBoard takes the scalars that it finds, of all runs.
        """
        from tensorboard.plugins.hparams import metadata
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

        self._writer = writer
        started = SessionStartInfo()
        for name, value in parameters.items():
            kind = "string_value" if isinstance(value, str) else "number_value"
            setattr(started.hparams[name], kind, value)
        self._add_to_hparams(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=started))

    def log(self, metrics: Mapping[str, float], place: Mapping[str, int]) -> None:
        """Add one epoch's scalars, at its optimizer step."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, place["step"])

    def finish(self, exit_code: int, metrics: Mapping[str, float]) -> None:
        """Write down how the run ended, unless it goes on later, and close."""
        from tensorboard.plugins.hparams import api_pb2, metadata
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

        if exit_code != EXIT_STOPPED:
            status = api_pb2.STATUS_FAILURE if exit_code else api_pb2.STATUS_SUCCESS
            entry = HParamsPluginData(session_end_info=SessionEndInfo(status=status))
            self._add_to_hparams(metadata.SESSION_END_INFO_TAG, entry)
        self._writer.close()

    def _add_to_hparams(self, tag: str, entry: Any) -> None:
        """Add what the HParams view reads: a summary without a value."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import metadata

        value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(entry))
        if self._writer.file_writer is not None:
            self._writer.file_writer.add_summary(Summary(value=[value]))


def start_tensorboard(config: TrainConfig, run_dir: Path, beside: Mapping[str, Any] | None = None) -> Tracker | None:
    """Start writing into ``tensorboard/``; None when switched off or not installed.

    ``beside`` are keys that say what trained where it differs from the config.
    """
    if not config.tensorboard:
        return None
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        say("tensorboard is not installed: pip install 'sweepline[tensorboard]'")
        return None
    parameters = _numbers_and_text(config) | dict(beside or {})
    try:
        return Tracker("TensorBoard", TensorBoardRun(SummaryWriter(str(run_dir / FOLDER)), parameters))
    except Exception as error:
        say(f"TensorBoard cannot be started, the run is not written for it: {type(error).__name__}: {error}")
        return None


def _numbers_and_text(config: TrainConfig) -> dict[str, float | str]:
    """Return the config by dotted name, as TensorBoard has it: without nulls, what is no number as text.

    The whole of it, as any key may be swept: those that differ between runs come first in the view.
    """
    values = {name: value for name, value in flatten(config.model_dump(mode="json")).items() if value is not None}
    return {name: value if is_number(value) else format_value(value) for name, value in values.items()}
