"""Talks to the process of a scheduler's source file, and writes down what was said, so that it can be said again."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from sweepline.config.scheduler import Scheduler
from sweepline.contract.text import display_path
from sweepline.errors import ConfigError, RecordError, record_error

_HOST = Path(__file__).with_name("host.py")
LOG, OUTPUT = "scheduler.jsonl", "scheduler.log"
ANSWER_S, LOOK_S = 120.0, 0.2
"""How long a source file may think about one answer, and how often to look whether it is still waited for."""


class SchedulerError(ConfigError):
    """The source file refuses, fails, or does not answer; nothing more is proposed."""


class StudyProcess:
    """A study in a process of its own, brought to where its log ends.

    What is asked and answered is logged in ``folder``. A new process is asked the same again: a study with a seed gives
    the same answers, and goes on as it would have gone. One that does not is told what happened instead.

    Args:
        scheduler: what the sweep file says.
        folder: where the log is.
        specs: how each parameter is suggested, where all are known beforehand.
        is_dry: write nothing.
    """

    def __init__(
        self, scheduler: Scheduler, folder: Path, *, specs: Mapping[str, Mapping[str, Any]], is_dry: bool = False
    ) -> None:
        self._scheduler, self._folder, self._specs, self._is_dry = scheduler, folder, dict(specs), is_dry
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: IO[bytes] | None = None
        self._answers = -1
        self._rest = b""
        self._log: IO[str] | None = None
        self.is_stopping: Callable[[], bool] = lambda: False
        """Asked, while an answer is waited for, whether the sweep is to stop."""
        self.pruner = ""
        """Its name, where it stops runs."""
        self.is_replayed = False
        """Whether the study gave the same answers again."""

    def start(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Start the process, and bring its study to where the log ends; return the log: requests and answers.

        Raises:
            SchedulerError: the source file cannot be used.
        """
        history = list(self._read_log())
        n_trials = self._spawn()
        begun = [request for request, _ in history if request["op"] == "begin"]
        if begun and begun[0]["n_trials"] != n_trials:
            raise SchedulerError(
                f"scheduler: the study begins with {n_trials} trials, it began with {begun[0]['n_trials']}: leave out "
                "a storage of its own, what was tried is kept here and told to a new study"
            )
        history = [(request, answer) for request, answer in history if request["op"] != "begin"]
        if not begun:
            self._write({"op": "begin", "n_trials": n_trials}, {})
        self.is_replayed = all(self._answers_alike(request, answer) for request, answer in history)
        if not self.is_replayed:
            self.close()
            self._spawn()
            for number, trial in trials_of(history).items():
                if self._exchange({"op": "add", **trial})["number"] != number:
                    raise SchedulerError(
                        "scheduler: the study cannot be brought to where it was, as it proposes something else each "
                        "time: give its sampler a seed, or start over with --fresh"
                    )
        return history

    def _answers_alike(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
        try:
            return self._exchange(request) == answer
        except SchedulerError:
            return False

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            SchedulerError: the source file refuses, fails, or does not answer.
            RecordError: the log cannot be written.
        """
        request = {"op": op, **fields}
        answer = self._exchange(request)
        self._write(request, answer)
        return answer

    def _write(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        if not self._is_dry:
            path = self._folder / LOG
            try:
                if self._log is None:
                    self._log = _open_log(path)
                self._log.write(json.dumps([request, answer]) + "\n")
                self._log.flush()
            except OSError as error:
                raise record_error(path, "cannot be written", error) from None

    def close(self) -> None:
        """End the process."""
        for file in (self._log, self._requests):
            if file is not None:
                file.close()
        self._log = self._requests = None
        if self._answers >= 0:
            os.close(self._answers)
            self._answers = -1
        if self._process is not None:
            try:
                self._process.wait(2.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _spawn(self) -> int:
        """Start the process; return how many trials its study begins with."""
        scheduler = self._scheduler
        self._rest = b""
        theirs_in, ours_out = os.pipe()
        self._answers, theirs_out = os.pipe()
        self._requests = os.fdopen(ours_out, "wb", buffering=0)
        try:
            with open(os.devnull if self._is_dry else self._folder / OUTPUT, "ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, str(_HOST), str(theirs_in), str(theirs_out)],
                    cwd=scheduler.working_dir,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(theirs_in, theirs_out),
                    start_new_session=True,  # Ctrl-C is for the sweep, which ends it
                )
        except OSError as error:
            raise SchedulerError(f"scheduler: no process can be started for it: {error.strerror}") from None
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        told = self._exchange(
            {
                "op": "start",
                "engine": scheduler.engine,
                "seed": scheduler.seed,
                "parameters": self._specs,
                "source": str(scheduler.source or ""),
                "optimizer": scheduler.optimizer,
                "search_space": scheduler.search_space,
                "objectives": [{"name": one.name, "goal": one.goal} for one in scheduler.objectives],
                "sweep": scheduler.sweep,
            }
        )
        self.pruner = told["pruner"]
        return int(told["n_trials"])

    def _exchange(self, request: Mapping[str, Any]) -> dict[str, Any]:
        source = display_path(self._scheduler.source) if self._scheduler.source else "scheduler"
        assert self._requests is not None
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
        except OSError:
            raise SchedulerError(f"{source}: its process has ended{self._hint()}") from None
        line = self._read_line()
        if line is None and self.is_stopping():
            raise SchedulerError(f"{source}: the sweep was stopped while it was thinking")
        if line is None:
            raise SchedulerError(f"{source}: no answer within {ANSWER_S:.0f} s{self._hint()}")
        if not line:
            raise SchedulerError(f"{source}: its process has ended{self._hint()}")
        answer: dict[str, Any] = json.loads(line)
        if "refused" in answer:
            raise SchedulerError(f"{source}: {answer['refused']}{self._hint()}")
        return answer

    def _read_line(self) -> bytes | None:
        """Return the next line; nothing when there will be none, None when it takes too long, or shall wait no more."""
        until = time.monotonic() + ANSWER_S
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], LOOK_S)
            if not ready and (time.monotonic() > until or self.is_stopping()):
                return None
            if not ready:
                continue
            data = os.read(self._answers, 1 << 16)
            if not data:
                return b""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _hint(self) -> str:
        return "" if self._is_dry else f"; what it printed is in {display_path(self._folder / OUTPUT)}"

    def _read_log(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        try:
            with (self._folder / LOG).open(encoding="utf-8") as file:
                for line in file:
                    if line.endswith("\n"):  # else it was cut off by a kill, and nothing came of it
                        yield tuple(json.loads(line))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise RecordError(f"{display_path(self._folder / LOG)}: cannot be read: {error}") from None


def _open_log(path: Path) -> IO[str]:
    """Open a log for appending, without a last line that was cut off by a kill."""
    with path.open("ab+") as file:
        file.seek(0)
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)
    return path.open("a", encoding="utf-8")


def trials_of(history: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[int, dict[str, Any]]:
    """Return what a log amounts to: its trials by number, as requests to add them."""
    found: dict[int, dict[str, Any]] = {}
    for request, answer in history:
        op = request["op"]
        number = request.get("number", answer.get("number", -1))
        if op == "ask" and "number" in answer:
            trial = answer.get("trial") or {"params": {}, "distributions": {}}
            found[number] = {"state": "RUNNING", "values": None, "reports": {}, "trial": trial}
        elif op == "suggest":
            found[number]["trial"] = answer["trial"]
        elif op == "report":
            found[number]["reports"][str(request["step"])] = request["value"]
        elif op == "tell" and found[number]["state"] == "RUNNING":
            found[number] |= {"state": request["state"], "values": request["values"]}
    return found
