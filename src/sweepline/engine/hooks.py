"""Commands of the user's own around a sweep: before its first run, when a run has failed, at the end.

They are told what has happened by their environment. A shell is never asked.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sweepline.config.settings import SweepSettings
from sweepline.contract.text import display_path, one_line
from sweepline.engine.signals import StopRequests
from sweepline.errors import ConfigError
from sweepline.recording.events import RunRecord
from sweepline.recording.folders import SweepFolder
from sweepline.runs import UNSUCCESSFUL

PREPARE, ON_FAILURE, ON_END = "prepare", "on_failure", "on_end"
_LOG = "hooks.log"
_POLL_S, _LAST_S = 0.05, 60.0
_MAX_AT_ONCE = 4
_TAIL_BYTES = 2000


class Hooks:
    """Starts the commands of a sweep file. What they print is in ``hooks.log`` of the sweep's folder."""

    def __init__(self, settings: SweepSettings, folder: SweepFolder) -> None:
        self._settings, self._folder = settings, folder
        self._running: list[subprocess.Popen[bytes]] = []
        self._waiting: list[Mapping[str, str]] = []
        self._notes: list[str] = []
        self._begin = 0  # of what the command that was started last has printed

    @property
    def _log(self) -> Path:
        return self._folder.path / _LOG

    def prepare(self, requests: StopRequests, meanwhile: Callable[[], None]) -> None:
        """Do what has to be done before the first run, and wait for it; ``meanwhile`` is called again and again.

        Raises:
            ConfigError: it fails, or cannot be started; nothing shall run then.
        """
        words = self._settings.hooks.get(PREPARE)
        if not words:
            return
        process = self._start(PREPARE, words, {})
        while process.poll() is None:
            meanwhile()
            if requests.n_received:
                self._stop(process)
                return
            time.sleep(_POLL_S)
        if process.returncode != 0:
            raise ConfigError(
                f"prepare: {words[0]} has failed (exit code {process.returncode}): {self._last_line()}; nothing was "
                f"started, all that it printed is in {display_path(self._log)}"
            )

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        """End a command and all that it has started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(self._settings.grace_s)

    def note_end(self, record: RunRecord) -> None:
        """Tell of a run that has failed; does not wait."""
        if ON_FAILURE in self._settings.hooks and record.state in UNSUCCESSFUL:
            self._waiting.append(_describe(record, self._folder))
        self.look()

    def look(self) -> None:
        """Take notice of commands that have ended, and start what waits for them."""
        for process in [process for process in self._running if process.poll() is not None]:
            self._running.remove(process)
            if process.returncode != 0:
                self._note(f"on_failure has failed (exit code {process.returncode}): {self._last_line()}")
        while self._waiting and len(self._running) < _MAX_AT_ONCE:
            try:
                words = self._settings.hooks[ON_FAILURE]
                self._running.append(self._start(ON_FAILURE, words, self._waiting.pop(0)))
            except ConfigError as error:
                self._note(str(error))

    def end(self, told: Mapping[str, str]) -> None:
        """Tell that the sweep has ended, and how; waits for a minute."""
        until = time.monotonic() + _LAST_S
        while (self._running or self._waiting) and time.monotonic() < until:
            self.look()
            time.sleep(_POLL_S)
        if self._running or self._waiting:
            self._note(
                f"on_failure: {len(self._running)} still work after {_LAST_S:.0f} s, {len(self._waiting)} failed runs "
                "were told to nobody"
            )
        words = self._settings.hooks.get(ON_END)
        if not words:
            return
        try:
            process = self._start(ON_END, words, told)
            if process.wait(_LAST_S) != 0:
                self._note(f"on_end has failed (exit code {process.returncode}): {self._last_line()}")
        except ConfigError as error:
            self._note(str(error))
        except subprocess.TimeoutExpired:
            self._note(f"on_end still works after {_LAST_S:.0f} s; it is left to itself")

    def take_notes(self) -> list[str]:
        """Return what is worth saying since the last call, each thing once."""
        notes, self._notes = self._notes, []
        return notes

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _start(self, name: str, words: Sequence[str], told: Mapping[str, str]) -> subprocess.Popen[bytes]:
        command = self._settings.command
        words = [command.interpreter if word == "${interpreter}" else word for word in words]
        own = {
            "SWEEPLINE_HOOK": name,
            "SWEEPLINE_SWEEP": self._settings.name,
            "SWEEPLINE_SWEEP_FILE": str(self._settings.path),
            "SWEEPLINE_SWEEP_DIR": str(self._folder.path.resolve()),
        }
        try:
            with self._log.open("ab") as log:
                self._begin = log.tell()
                return subprocess.Popen(
                    words,
                    cwd=self._settings.experiment_dir,
                    env={**os.environ, **own, **told},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for the sweep, which ends it
                )
        except OSError as error:
            raise ConfigError(f"{name}: {words[0]} cannot be started: {error.strerror}") from None

    def _last_line(self) -> str:
        try:
            text = self._log.read_bytes()[self._begin :][-_TAIL_BYTES:].decode("utf-8", "replace").strip()
        except OSError:
            return "what it printed is gone"
        return one_line(text.splitlines()[-1]) if text else "it printed nothing"


def _describe(record: RunRecord, folder: SweepFolder) -> dict[str, str]:
    return {
        "SWEEPLINE_RUN_ID": record.run_id,
        "SWEEPLINE_RUN_NAME": record.name,
        "SWEEPLINE_RUN_DIR": str(folder.run_dir(record.run_id).resolve()),
        "SWEEPLINE_STATE": record.state.value,
        "SWEEPLINE_REASON": record.reason.replace("\0", ""),
        "SWEEPLINE_PARAMETERS": json.dumps(dict(record.params), default=str),
    }
