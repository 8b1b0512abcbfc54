"""Our trainer: spoken to by dotted overrides, and proved by the config that it writes down."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import sweepline
from sweepline.contract.runfolder import OVERRIDES
from sweepline.contract.values import format_value
from sweepline.programs.base import NOTHING, Command
from sweepline.runs import Params

NATIVE_PROGRAM = "train_single.py"
BUILT_IN_TRAINER = Path(sweepline.__file__).parent / "training" / "__main__.py"
"""What ``program: train_single.py`` means where no file of that name is: the installed trainer."""
_OWN_TRAINER_MARK = b"sweepline.training"


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeCommand(Command):
    """``policy`` holds what the sweep file asks of our trainer beside the parameters."""

    proves_overrides: ClassVar[bool] = True
    policy: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs_program(self) -> bool:
        """It does."""
        return True

    @property
    def is_own_trainer(self) -> bool:
        """Whether the program is our trainer, and no other script that is called train_single.py."""
        return self.program_path is not None and _OWN_TRAINER_MARK in self.program_path.read_bytes()

    def build(
        self,
        params: Params,
        seed: int | None,
        *,
        device: str,
        run_dir: Path,
        of_run: Mapping[str, str] = NOTHING,
        reveal: bool = True,
    ) -> list[str]:
        """Return our own interpreter, the program, its config file, and the overrides."""
        argv = [sys.executable, str(self.program_path or self.program)]
        if self.config:
            argv += ["--config", str(self.config)]
        argv.append("--")
        return argv + [f"{key}={format_value(value)}" for key, value in self.asked(params, seed, device).items()]

    def asked(self, params: Params, seed: int | None, device: str) -> dict[str, Any]:
        """Return the overrides."""
        asked: dict[str, Any] = {} if "device" in params else {"device": device}
        asked.update({name: value for name, value in self.policy.items() if name not in params})
        asked.update((name, value) for name, value in params.items() if name not in self.unpassed)
        if seed is not None and "seed" not in asked:
            asked["seed"] = seed
        return asked

    @property
    def takes_port(self) -> bool:
        """It does not listen."""
        return False

    def may_ask_wandb(self, is_mentioned: Callable[[], bool]) -> bool:
        """It does not."""
        return False

    def write_inputs(self, run_dir: Path, params: Params, seed: int | None, device: str) -> None:
        """Write the overrides, for whoever proves them later."""
        lines = (f"{format_value(k)}: {format_value(v)}\n" for k, v in self.asked(params, seed, device).items())
        (run_dir / OVERRIDES).write_text("".join(lines), encoding="utf-8", errors="surrogateescape")
