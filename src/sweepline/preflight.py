"""Asks our trainer, before the first run, whether it knows every override and has its data. One process, no torch."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping

from sweepline.config.sweepfile import SweepSettings
from sweepline.errors import ConfigError
from sweepline.runs import Run
from sweepline.values import format_value

PREPARE_FLAG = "--prepare"
MAX_VALUES_CHECKED = 64
_OWN_TRAINER_MARK = b"sweepline.training"


def check_with_trainer(settings: SweepSettings, first: Run, environ: Mapping[str, str]) -> None:
    """Let the trainer check its config with every swept value and prepare its data.

    Scripts named train_single.py that are not our trainer are left alone: they might start training.

    Raises:
        ConfigError: the trainer does not know a key, refuses a value, or cannot get its data; its own sentence.
    """
    command = settings.command
    if not command.is_native or command.program_path is None:
        return
    if _OWN_TRAINER_MARK not in command.program_path.read_bytes():
        return
    argv = command.build(first.params, first.seed, device="cpu", run_dir=settings.sweep_dir)
    split = argv.index("--")
    result = subprocess.run(
        [*argv[:split], PREPARE_FLAG, *argv[split:]],
        input="".join(json.dumps(overrides) + "\n" for overrides in _variations(settings)),
        capture_output=True,
        text=True,
        cwd=command.working_dir,
        env={**environ, "CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()] or [f"exit code {result.returncode}"]
        is_sentence = result.returncode == 2
        raise ConfigError(*(lines if is_sentence else [f"{command.program}: cannot be prepared: {lines[-1]}"]))


def _variations(settings: SweepSettings) -> Iterator[list[str]]:
    """Yield, for every listed value of every parameter, the one override to try on top of the first run."""
    for name, parameter in settings.space.parameters.items():
        for value in list(parameter.grid or ())[:MAX_VALUES_CHECKED]:
            yield [f"{name}={format_value(value)}"]
