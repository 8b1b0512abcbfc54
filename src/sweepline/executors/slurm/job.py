"""What a job of an array does: it runs the task of its index, and tells how that ended. ``python -m`` this, BATCH."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from sweepline.contract.runfolder import read_start_line
from sweepline.executors.base import Exit, StopReason
from sweepline.executors.node.claim import Claim
from sweepline.executors.node.running import Wish, run_task, write_not_started
from sweepline.executors.node.taskfile import VariableMissingError, decode_task
from sweepline.executors.slurm.mailbox import Mailbox, read_task

TIME_IS_NEARLY_OVER = signal.SIGUSR1
DECLINED = 3
"""The exit code of a job that has left its run to another one."""


class Job:
    """One task of an array, on its node."""

    def __init__(self, batch: Path, index: int) -> None:
        self._told = read_task(batch, index)
        self.run_id, self.attempt, self.run_dir = self._told["run"], self._told["attempt"], Path(self._told["run_dir"])
        self._mailbox, self._claim = Mailbox(batch.parent.parent), Claim(self.run_dir)
        self._wish: Wish | None = None
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, TIME_IS_NEARLY_OVER):
            signal.signal(number, self._receive)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def run(self) -> None:
        """Run the task, unless it is not wanted any more."""
        name = (read_start_line(self.run_dir) or {}).get("name", self.run_id)
        host = os.uname().nodename
        names = {"job": "SLURM_JOB_ID", "array": "SLURM_ARRAY_JOB_ID"}
        told = {"node": host, **{key: os.environ.get(name, "") for key, name in names.items()}}
        is_stopped = self._mailbox.read_stop(self.run_id, self.attempt) is not None
        if is_stopped or not self._claim.take(self.attempt, told):
            print(f"{name}: attempt {self.attempt} is not wanted any more, or another job has it", flush=True)
            sys.exit(DECLINED)
        print(f"{name}: attempt {self.attempt} on {host}; its output is in {self.run_dir}", flush=True)
        ended = self._run()
        if ended is None:
            print(f"{name}: attempt {self.attempt} was given up by its sweep, and is ended", flush=True)
            return
        self._mailbox.note_end(self.run_id, self.attempt)
        print(f"{name}: {describe(ended)}", flush=True)

    def _run(self) -> Exit | None:
        try:
            task = decode_task(self._told)
        except VariableMissingError as error:
            ended = Exit(not_started=f"{error}: export it before the sweep is started, and let sbatch pass it on")
            write_not_started(decode_task({**self._told, "argv": [], "masked": {}, "needed": []}), ended)
            return ended
        return run_task(task, lambda: self._claim.holds, self._find_wish, watched=lambda: [self._reading])

    def _find_wish(self) -> Wish | None:
        """Return what the sweep asks for; what Slurm does counts where the sweep asks for nothing."""
        with suppress(BlockingIOError):
            os.read(self._reading, 4096)
        return self._mailbox.read_stop(self.run_id, self.attempt) or self._wish

    def _receive(self, number: int, _frame: object) -> None:
        reason = StopReason.TIME_LIMIT if number == TIME_IS_NEARLY_OVER else StopReason.PREEMPTED
        self._wish = self._wish or (reason, False)


def describe(ended: Exit) -> str:
    """Return how a run ended, for the log of its job."""
    if ended.not_started is not None:
        return f"not started: {ended.not_started}"
    how = f"signal {ended.signal}" if ended.signal is not None else f"exit code {ended.exit_code}"
    why = f" ({ended.stopped})" if ended.stopped is not None else ""
    return f"ended after {ended.duration_s:.0f} s, {how}{why}"


if __name__ == "__main__":
    Job(Path(sys.argv[1]), int(os.environ["SLURM_ARRAY_TASK_ID"])).run()
