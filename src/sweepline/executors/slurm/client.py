"""Slurm's own commands: sbatch, squeue, scancel, sacct and scontrol. Nothing here knows runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweepline.errors import ExecutorUnavailableError

_LIMIT_S = 60.0  # a controller under load may take long, one that is gone gives up earlier by itself
_MOST_TEXT = 400
_MOST_WORDS = 500  # of jobs in one command
_NO_ACCOUNTS = ("", "(null)", "accounting_storage/none")
_DEFAULT_ARRAY_SIZE = 1001
_SQUEUE = ("squeue", "-h", "-r", "-t", "all", "-o", "%F|%K|%T|%N|%k|%r")  # a reason may hold anything
_NUMBER = re.compile(r"(\d+)(;\S*)?")
_OWN_VARIABLES = ("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_", "SACCT_", "SINFO_")
_PASSED_ON = ("SLURM_CONF", "SLURM_CLUSTERS", "SBATCH_EXPORT")
"""Variables that change what the commands do: those of a job that this process is in, and options of a user's own. What
:data:`~sweepline.executors.slurm.script.FROM_ENVIRONMENT` names of these stands in the script."""
_PASSING = re.compile(
    r"timed out|standby|authenticat|munge|I/O error|told no number|unable to contact|temporar|try again|connection|"
    r"zero bytes|slurmctld|too many|"
    r"(job|submit|size).{0,20}limit|QOS.*(limit|policy)|policy.*limit",
    re.IGNORECASE,
)


class SlurmError(Exception):
    """A command of Slurm was refused. It ``may_pass``: tried again later it may not be."""

    def __init__(self, sentence: str, *, may_pass: bool) -> None:
        super().__init__(sentence)
        self.may_pass = may_pass


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """How one job of an array stands."""

    state: str
    reason: str
    node: str
    comment: str


Key = tuple[str, int]
"""The number of an array, and the index in it."""


def check_available() -> None:
    """Make sure that jobs can be submitted from here.

    Raises:
        ExecutorUnavailableError: Slurm's commands are not there.
    """
    missing = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise ExecutorUnavailableError(
            f"executor: slurm needs {', '.join(missing)}, which is not on PATH: start the sweep on a machine from "
            "which jobs are submitted, or use executor: local"
        )


class SlurmClient:
    """Calls the commands as this user, outside of any job that this process is in."""

    def __init__(self) -> None:
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith(_OWN_VARIABLES) or k in _PASSED_ON}
        self._user = str(os.getuid())
        self._has_accounting: bool | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def submit(self, script: Path) -> str:
        """Submit a script; return the number of its array.

        Raises:
            SlurmError: it was refused.
        """
        text = self._call(["sbatch", "--parsable", str(script)])
        numbers = [found[1] for line in text.splitlines() if (found := _NUMBER.fullmatch(line.strip()))]
        if not numbers:
            raise SlurmError(f"sbatch: told no number of a job, but {text.strip()[:200]!r}", may_pass=True)
        return numbers[-1]  # sites greet in wrappers

    def list_jobs(self, name: str) -> dict[Key, JobRow]:
        """Return how the jobs of a name stand that are under way, wait, or have ended lately.

        Raises:
            SlurmError: Slurm does not answer.
        """
        return _read_rows(self._call([*_SQUEUE, "-u", self._user, "-n", name]))

    def find_jobs(self, keys: Sequence[Key]) -> dict[Key, JobRow]:
        """Return how jobs stand that are asked for by their numbers, of those that are known.

        Raises:
            SlurmError: Slurm does not answer.
        """
        found: dict[Key, JobRow] = {}
        for words in _in_parts(keys):
            try:
                found |= _read_rows(self._call([*_SQUEUE, "-j", ",".join(words)]))
            except SlurmError as error:  # a number that is not known is refused
                if error.may_pass:
                    raise
        return found

    def cancel(self, keys: Sequence[Key]) -> None:
        """End jobs, with those that only wait among them.

        Raises:
            SlurmError: it was refused.
        """
        for words in _in_parts(keys):
            self._scancel(words)

    def ask_to_end(self, keys: Sequence[Key]) -> None:
        """Send SIGTERM to what runs in jobs, which end by themselves then.

        Raises:
            SlurmError: it was refused.
        """
        for words in _in_parts(keys):
            self._scancel(["--signal=TERM", "--batch", *words])

    def _scancel(self, words: Sequence[str]) -> None:
        try:
            self._call(["scancel", "-Q", *words])
        except SlurmError as error:  # what has ended by now is refused, which is as good
            if error.may_pass:
                raise

    def read_final_states(self, keys: Sequence[Key]) -> dict[Key, str]:
        """Return how jobs have ended that Slurm itself has forgotten, from its accounting; nothing where none is kept.

        Raises:
            SlurmError: the accounting does not answer.
        """
        if not self.keeps_accounts():
            return {}
        found: dict[Key, str] = {}
        for words in _in_parts(keys):
            text = self._call(["sacct", "-n", "-P", "-X", "-o", "JobID,State", "-j", ",".join(words)])
            for line in text.splitlines():
                name, _, state = line.partition("|")
                job, _, index = name.partition("_")
                if index.isdecimal():
                    found[job, int(index)] = state.partition(" ")[0]
        return found

    def keeps_accounts(self) -> bool:
        """Whether sacct can tell of jobs that squeue does not know any more."""
        if self._has_accounting is None:
            told = self.read_config().get("AccountingStorageType", "")
            if not told:  # it does not answer now
                return False
            self._has_accounting = shutil.which("sacct") is not None and told not in _NO_ACCOUNTS
        return self._has_accounting

    def list_partitions(self) -> list[str]:
        """Return the partitions, the one that is used by default with a star.

        Raises:
            SlurmError: Slurm does not answer.
        """
        return list(dict.fromkeys(self._call(["sinfo", "-h", "-o", "%P"]).split()))

    def read_config(self) -> dict[str, str]:
        """Return what Slurm says of itself; nothing where it does not answer."""
        try:
            text = self._call(["scontrol", "show", "config"])
        except SlurmError:
            return {}
        pairs = (line.partition("=") for line in text.splitlines())
        return {name.strip(): value.strip() for name, _, value in pairs}

    def read_array_size(self) -> int:
        """Return how many indexes an array may have, counted from 0."""
        told = self.read_config().get("MaxArraySize", "")
        return int(told) if told.isdecimal() else _DEFAULT_ARRAY_SIZE

    def abort(self) -> None:
        """End the command that is under way; from another thread."""
        if self._process is not None:
            self._process.kill()

    def _call(self, words: Sequence[str]) -> str:
        try:
            self._process = subprocess.Popen(
                words,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is the sweep's, not its
            )
        except OSError as error:
            raise SlurmError(f"{words[0]}: {error.strerror}", may_pass=False) from None
        with self._process as process:
            try:
                out, err = process.communicate(timeout=_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise SlurmError(f"{words[0]}: no answer in {_LIMIT_S:.0f} s", may_pass=True) from None
        if process.returncode == 0:
            return out.decode("utf-8", "replace")
        lines = [line for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
        text = "; ".join(dict.fromkeys(re.sub(r"^\w+: (error: )?", "", line).strip() for line in lines))
        sentence = f"{words[0]}: {text[:_MOST_TEXT] or f'exit code {process.returncode}'}"
        raise SlurmError(sentence, may_pass=_PASSING.search(text) is not None)


def _in_parts(keys: Sequence[Key]) -> list[list[str]]:
    words = [f"{job}_{index}" for job, index in keys]
    return [words[i : i + _MOST_WORDS] for i in range(0, len(words), _MOST_WORDS)]


def _read_rows(text: str) -> dict[Key, JobRow]:
    """Return the rows of squeue by number of the array and index."""
    found: dict[Key, JobRow] = {}
    for line in text.splitlines():
        job, index, state, node, comment, reason = (*line.split("|", 5), "", "", "", "", "")[:6]
        if index.isdecimal():
            found[job, int(index)] = JobRow(state=state, reason=reason, node=node, comment=comment)
    return found
