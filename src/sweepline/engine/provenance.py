"""Where the runs of a start come from: commit and uncommitted changes, packages, machine. Names of secrets, no values.

One file for each start, ``provenance/<time>.json``, which the ``command.txt`` of every run names: what is the same for
ten thousand runs is written once.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline import __version__
from sweepline.contract.files import write_whole
from sweepline.executors.local.gpus import Gpu
from sweepline.programs.interpreter import site_folders

FOLDER = "provenance"
MAX_DIFF_BYTES, MAX_UNTRACKED = 4 << 20, 200
_SECRET_FILES = (".env*", "*.env", "*secret*", "*credential*", "*token*", "*.pem", "*.key", ".netrc", "id_rsa*")
_GIT_TIMEOUT_S = 10.0
_DRIVER = Path("/proc/driver/nvidia/version")


class Provenance:
    """The provenance of a start, gathered beside its work: asking git can take long."""

    def __init__(
        self,
        sweep_dir: Path,
        *,
        program_dir: Path,
        python: Sequence[str],
        environment: Mapping[str, Any],
        gpus: Sequence[Gpu] | None,
        start: Mapping[str, Any],
    ) -> None:
        """Note down what is known at once.

        Args:
            sweep_dir: the sweep's folder.
            program_dir: where the program lies, for git.
            python: the interpreters that runs may use: ours, and that of the command.
            environment: the variables that are set, with values, and the names of those inherited.
            gpus: the GPUs of this machine, where they are told.
            start: what else a run of this start is repeated by: its sweep file, threads, slots.
        """
        self._folder, self._is_begun = sweep_dir / FOLDER, False
        self.name = f"{datetime.now():%Y%m%d_%H%M%S_%f}.json"
        own = {
            "at": datetime.now().astimezone().isoformat(timespec="seconds"),
            "sweepline": __version__,
            "python": _python_version(python[0]),
            "interpreter": python[0],
            "platform": platform.platform(),
            "host": platform.node(),
            "n_cores": len(os.sched_getaffinity(0)),
            "environment": environment,
            "gpus": [{"name": gpu.name, "uuid": gpu.uuid} for gpu in gpus or ()],
            "driver": _driver(),
            "start": start,
        }
        self._thread = threading.Thread(
            target=self._write, args=(own, program_dir, list(dict.fromkeys(python))), daemon=True
        )

    def begin(self) -> None:
        """Begin to gather, once: when the first run has been started, so that nothing is taken from what it needs."""
        if self._is_begun:
            return
        self._is_begun = True
        with suppress(RuntimeError):  # no further thread is allowed
            self._thread.start()

    def close(self) -> None:
        """Wait until it is written."""
        if self._thread.ident is not None:
            self._thread.join(2 * _GIT_TIMEOUT_S)

    def _write(self, own: dict[str, Any], program_dir: Path, python: Sequence[str]) -> None:
        packages = {
            name: version for interpreter in python for name, version in installed_packages(interpreter).items()
        }
        with suppress(OSError):  # a full disk: the runs themselves say so
            self._folder.mkdir(exist_ok=True)
            content = {**own, "git": self._describe_git(program_dir), "packages": packages}
            write_whole(self._folder / self.name, (json.dumps(content, indent=1) + "\n").encode())

    def _describe_git(self, folder: Path) -> dict[str, Any]:
        """Return commit, branch and what is not committed; the changes themselves go into a file of their own."""
        commit = _git(folder, "rev-parse", "HEAD")
        if commit is None:
            return {}
        found: dict[str, Any] = {
            "commit": commit.decode().strip(),
            "branch": (_git(folder, "rev-parse", "--abbrev-ref", "HEAD") or b"").decode().strip(),
        }
        untracked = (_git(folder, "ls-files", "--others", "--exclude-standard", "-z") or b"").split(b"\0")
        names = [os.fsdecode(name) for name in untracked if name]
        if names:
            found["untracked"] = names[:MAX_UNTRACKED]
        changes = _read_changes(folder)
        if changes:
            if len(changes) > MAX_DIFF_BYTES:
                found["changes"] = f"more than {MAX_DIFF_BYTES:,} bytes, too many to be kept"
            else:
                name = f"{hashlib.sha256(changes).hexdigest()[:12]}.diff"
                write_whole(self._folder / name, changes)
                (self._folder / name).chmod(0o600)
                found["changes"] = name
        return found


def read_provenance(sweep_dir: Path, name: str) -> dict[str, Any]:
    """Return the provenance that a run names; empty where there is none."""
    try:
        found = json.loads((sweep_dir / FOLDER / name).read_bytes()) if name else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def flat_provenance(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provenance by dotted name, without what differs from start to start and means nothing."""
    flat: dict[str, Any] = {name: found[name] for name in ("python", "platform", "host", "driver") if found.get(name)}
    flat |= {f"git.{name}": value for name, value in found.get("git", {}).items() if name in ("commit", "changes")}
    flat |= {f"package {name}": version for name, version in found.get("packages", {}).items()}
    flat |= {f"gpu {i}": gpu["name"] for i, gpu in enumerate(found.get("gpus", ()))}
    return flat


def installed_packages(python: str) -> dict[str, str]:
    """Return the packages beside an interpreter, with version and the beginning of the hash of what they consist of.

    Told by the folders that installers leave; where an interpreter finds packages elsewhere too, those are not seen.
    """
    found: dict[str, str] = {}
    for site in site_folders(python):
        for info in sorted(site.glob("*.dist-info")):
            name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
            with suppress(OSError):
                digest = hashlib.sha256((info / "RECORD").read_bytes()).hexdigest()[:8]
                found[name] = f"{version} ({'editable' if _is_editable(info) else digest})"
    return found


def _is_editable(info: Path) -> bool:
    try:
        return '"editable": true' in (info / "direct_url.json").read_text()
    except OSError:
        return False


def _driver() -> str:
    try:
        return _DRIVER.read_text().splitlines()[0].removeprefix("NVRM version: ")
    except (OSError, IndexError):
        return ""


def _python_version(python: str) -> str:
    """Return the version of an interpreter; of another than ours as far as its folders tell."""
    if python == sys.executable:
        return platform.python_version()
    names = [site.parent.name.removeprefix("python") for site in site_folders(python)]
    return names[0] if len(names) == 1 else ""


def _read_changes(folder: Path) -> bytes:
    """Return what is not committed, a little more than is kept at most; without files whose names speak of secrets."""
    pathspecs = ["--", ":/", *(f":(exclude,top,icase,glob)**/{pattern}" for pattern in _SECRET_FILES)]
    words = ["--no-optional-locks", "diff", "--no-ext-diff", "--no-textconv", "--binary", "HEAD", *pathspecs]
    try:
        with subprocess.Popen(
            ["git", "-C", str(folder), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        ) as process:
            assert process.stdout is not None
            killer = threading.Timer(_GIT_TIMEOUT_S, process.kill)
            killer.start()
            changes = process.stdout.read(MAX_DIFF_BYTES + 1)
            process.kill()  # it has ended, or has more to say than is kept
            killer.cancel()
            return changes
    except (OSError, RuntimeError):
        return b""


def _git(folder: Path, *words: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
